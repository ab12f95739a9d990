"""Render a feed page from storage, for servers and for the aggregate worker.

A page's state is read before its articles, so the bytes may be newer than their state (and are then
rendered again), never older. Rendering runs in one separate thread (feedgen is not thread-safe),
and a page that one process rendered serves all processes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from service.articles import categories
from service.articles.article import LIVE, Article
from service.errors import Unavailable
from service.feeds.archive import ArchiveLinks
from service.feeds.digests import digest_of, digests_of, split_digests
from service.feeds.head import Tombstone
from service.feeds.page import VIEWS, Page, etag_of
from service.feeds.query import Query, cursor_of, parse_query
from service.feeds.writer import REVISION, Renderer
from service.rendering.article_cache import ArticleCache
from service.rendering.article_selector import ArticleSelector
from service.rendering.category_titles import CategoryTitles
from service.settings import Settings
from service.storage.category_index import Entries, Limits
from service.storage.client import redis_errors_as_unavailable
from service.storage.faults import each_alone
from service.storage.page_states import State
from service.storage.rendered_pages import Change, Rendered
from service.storage.store import Store

logger = logging.getLogger(__name__)

# Versions of a page that a client can get the difference to.
MAX_PREVIOUS_VERSIONS = 8
# Entries of a feed that is sent with its newest alone.
MAX_NEWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The articles of a feed, and the facts about them that its head shows."""

    articles: Sequence[Article]
    older: str
    """Query of the selection that continues after this one; empty if this is the last."""
    is_brief: bool
    deleted: Sequence[Tombstone]
    titles: Mapping[str, str]


class FeedRenderer:
    """Renders feeds, or loads them if another process has rendered them already."""

    def __init__(self, store: Store, settings: Settings, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._zone = settings.timezone
        self._limits = Limits(live=settings.page_size, period=settings.period_page_size)
        self._renderer = Renderer(
            site_title=settings.site_title,
            base_url=settings.base_url,
            language=settings.language,
            zone=settings.timezone,
            hubs=settings.hub_pings,
        )
        self._settings_hash = _hash_of(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        self.categories = CategoryTitles(store)
        self._article_cache = ArticleCache(store)
        self._selector = ArticleSelector(store, self._article_cache, self._limits, zone=self._zone)
        self.listed = self._selector.listed

    def close(self) -> None:
        """Stop the rendering thread; renderings that have not begun are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def is_known(self, category: str) -> bool:
        """Whether a category or a public view exists; `all` always exists."""
        if category.startswith(VIEWS):
            view = await self._store.views.get(category.removeprefix(VIEWS))
            return view is not None and not view.private
        return category == categories.ALL or category in await self.categories.of([category])

    async def page_titles(self, page: Page, articles: Sequence[Article]) -> Mapping[str, str]:
        """Path → title, for the page itself and for every category of its articles."""
        paths = {path for article in articles for path in article.categories}
        if not page.category.startswith(VIEWS):
            return await self.categories.of(paths | ({page.category} - {categories.ALL}))
        view = await self._store.views.get(page.category.removeprefix(VIEWS))
        title = view.title if view else categories.title_of(page.category)
        return {**await self.categories.of(paths), page.category: title}

    async def states(self, pages: Sequence[Page]) -> list[State]:
        """The present states of these pages, in their order, read in one round trip."""
        return await self._store.page_states.states(
            pages, now=self._now(), zone=self._zone, page_size=self._limits.live
        )

    async def render(
        self, page: Page, extension: str, state: State, *, before: Rendered | None = None
    ) -> Rendered:
        """Return the page's feed in this state or a later one.

        Args:
            before: the previous rendering by this process, for a page that is not shared.
        """
        if not state.changed_ms or not page.is_shared:
            # Clients can ask for any number of empty days and selections: none of them gets a key.
            return await self._render(page, extension, state, version="", before=before)
        version = self._version_of(state)
        shared = await self._store.rendered_pages.load(page, extension)
        if shared and shared.version == version:
            return shared
        rendered = await self._render(page, extension, state, version=version, before=shared)
        # A Redis that takes no writes now can still be read.
        with suppress(Unavailable), redis_errors_as_unavailable():
            await self._store.rendered_pages.save([(page, extension, rendered)])
        return rendered

    async def render_ahead(
        self, wanted: Sequence[tuple[Page, str]], *, changes: Sequence[Change]
    ) -> None:
        """Render and share the present versions of these pages, then notify the servers of changes.

        The number of round trips does not grow with the number of pages: servers keep serving the
        old versions until the notification at the end.
        """
        renderings: list[tuple[Page, str, Rendered]] = []

        async def render(some: Sequence[tuple[Page, str]]) -> None:
            renderings.extend(await self._render_outdated(some))

        async def failed(pair: tuple[Page, str], exc: Exception) -> None:
            # It is not announced later than others; servers render it when it is requested.
            name = f"{pair[0]}.{pair[1]}"
            await self._store.faults.report("page", name, exc, now=self._now())

        if wanted:
            await each_alone(wanted, render, failed)
        for page, extension, _ in renderings:
            await self._store.faults.clear("page", f"{page}.{extension}")
        await self._store.rendered_pages.save(renderings, changes=changes)

    async def _render_outdated(
        self, wanted: Sequence[tuple[Page, str]]
    ) -> list[tuple[Page, str, Rendered]]:
        pages = list(dict.fromkeys(page for page, _ in wanted))
        # The states are read before the articles; the module docstring says why.
        states = dict(zip(pages, await self.states(pages), strict=True))
        async with asyncio.TaskGroup() as group:
            shared = group.create_task(self._store.rendered_pages.load_without_body(wanted))
            contents = group.create_task(
                self._store.category_index.entries(pages, limits=self._limits, zone=self._zone)
            )
        entries_of = dict(zip(pages, contents.result(), strict=True))
        renderings = []
        for (page, extension), before in zip(wanted, shared.result(), strict=True):
            version = self._version_of(states[page])
            if before is None or before.version != version:
                content = await self._content_of(page, entries_of[page])
                rendered = await self._rendered(
                    page, extension, states[page], content, version=version, before=before
                )
                renderings.append((page, extension, rendered))
        return renderings

    def forget_articles(self) -> None:
        """Drop the articles in memory: some were erased, or none is needed soon."""
        self._article_cache.clear()

    def prime(self, article: Article, head: bytes) -> None:
        """Cache an article that will soon be rendered, with the head that it was read with."""
        self._article_cache.put(article, head)

    def _version_of(self, state: State) -> str:
        return f"{state}/{self._settings_hash}"

    async def _render(
        self,
        page: Page,
        extension: str,
        state: State,
        *,
        version: str,
        before: Rendered | None = None,
    ) -> Rendered:
        content = await self._content(page)
        return await self._rendered(page, extension, state, content, version=version, before=before)

    async def _rendered(
        self,
        page: Page,
        extension: str,
        state: State,
        content: Content,
        *,
        version: str,
        before: Rendered | None,
    ) -> Rendered:
        body = await self._bytes_of(page, extension, state.archive_links, content)
        etag, digests = await asyncio.to_thread(
            lambda: (etag_of(body), digests_of(content.articles))
        )
        changed_ms = state.changed_ms
        previous = before.previous_versions if before else ()
        if before and before.etag == etag:
            # Late or repeated events change versions, but validators change only with the content.
            changed_ms = before.changed_ms
        elif before:
            previous = ((before.etag, before.entry_digests), *previous)[:MAX_PREVIOUS_VERSIONS]
            if not before.entry_digests:
                previous = ()
            # Each version gets another second, or If-Modified-Since could not tell them apart.
            changed_ms = max(changed_ms, (before.changed_ms // 1000 + 1) * 1000)
        return Rendered(
            version=version,
            body=body,
            changed_ms=changed_ms,
            etag=etag,
            entry_digests=digests,
            previous_versions=previous,
        )

    async def difference(
        self, page: Page, extension: str, state: State, *, entry_digests: bytes, base: bytes
    ) -> bytes | None:
        """Render the feed with only those entries that are new or changed since a previous version.

        Args:
            entry_digests: of the version that is served.
            base: entry digests of the previous version.

        Returns:
            None if the page has changed since `entry_digests`, or is too long to compare.
        """
        content = await self._content(page)
        if not entry_digests or digests_of(content.articles) != entry_digests:
            return None
        known = split_digests(base)
        new = {a.id for a in content.articles if digest_of(a) not in known}
        return await self._bytes_of(page, extension, state.archive_links, content, only=new)

    async def newest(self, page: Page, extension: str, state: State, *, base: bytes = b"") -> bytes:
        """Render the feed with at most MAX_NEWEST entries: the newest of those that are new or
        changed since a previous version, or of all.

        Args:
            base: entry digests of the previous version; empty if it is not known.
        """
        content = await self._content(page)
        known = split_digests(base)
        newest = [article.id for article in content.articles if digest_of(article) not in known]
        return await self._bytes_of(
            page, extension, state.archive_links, content, only=newest[:MAX_NEWEST]
        )

    async def _content(self, page: Page) -> Content:
        if page.query:
            query = parse_query(page.query, zone=self._zone)
            articles, last = await self._selector.selected(page, query)
            return Content(
                articles=articles,
                older=str(replace(query, before=last)) if last else "",
                is_brief=query.is_brief,
                deleted=(),
                titles=await self.page_titles(page, articles),
            )
        (entries,) = await self._store.category_index.entries(
            [page], limits=self._limits, zone=self._zone
        )
        return await self._content_of(page, entries)

    async def _content_of(self, page: Page, entries: Entries) -> Content:
        articles = await self._article_cache.get(entries.ids)
        older = cursor_of(articles[-1]) if articles and entries.is_cut else None
        # One that was just withdrawn is still indexed.
        articles = [article for article in articles if article.status == LIVE]
        withdrawn = await self._store.articles.get(entries.gone)
        return Content(
            articles=articles,
            older=str(Query(before=older)) if older and not page.period.is_live else "",
            is_brief=False,
            deleted=[Tombstone.of(a) for a in withdrawn if a and a.status != LIVE],
            titles=await self.page_titles(page, articles),
        )

    async def _bytes_of(
        self,
        page: Page,
        extension: str,
        archive_links: ArchiveLinks,
        content: Content,
        *,
        only: Collection[str] | None = None,
    ) -> bytes:
        def render(articles: Sequence[Article]) -> bytes:
            return self._renderer.render(
                page, extension, articles, content.titles,
                archive_links=archive_links, deleted=content.deleted, only=only,
                older=content.older, is_brief=content.is_brief,
            )  # fmt: skip

        try:
            return await self._in_thread(lambda: render(content.articles))
        except Exception as exc:
            # If it fails without articles, too, the page is at fault, not one of them.
            await self._in_thread(lambda: render(()))
            articles = await self._without_faulty(content.articles, render)
            if len(articles) == len(content.articles):
                raise
            logger.warning("rendered without some articles", extra={"page": page, "reason": exc})
            return await self._in_thread(lambda: render(articles))

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _without_faulty(
        self, articles: Sequence[Article], render: Callable[[Sequence[Article]], bytes]
    ) -> list[Article]:
        """Return the articles that can be rendered, each tried alone, and report the others."""
        good = []
        for article in articles:
            try:
                await self._in_thread(partial(render, [article]))
            except Exception as exc:  # noqa: BLE001 -- reported
                await self._store.faults.report("article", article.id, exc, now=self._now())
            else:
                good.append(article)
        return good


def _hash_of(settings: Settings) -> str:
    """Hash everything that the bytes depend on besides the articles.

    Shared bytes outlive a restart, but must not outlive a change of these settings.
    """
    values = (
        REVISION, settings.site_title, settings.base_url, settings.language, settings.timezone,
        settings.page_size, settings.period_page_size, settings.hub_pings,
    )  # fmt: skip
    return hashlib.sha256("\0".join(map(str, values)).encode()).hexdigest()[:12]
