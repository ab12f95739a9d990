"""Rendering a feed page from storage: one place for servers and for the aggregate worker.

The state is read before the articles, so bytes may be newer than their state says (and are then
made once more), never older. Rendering runs in one thread of its own (feedgen's rule), and what one
process rendered serves all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from service.articles import categories
from service.articles.article import LIVE, Article
from service.feeds.archive import ArchiveLinks
from service.feeds.head import Tombstone
from service.feeds.page import VIEWS, Page, etag_of
from service.feeds.query import PageCursor, Query, cursor_of, parse_query
from service.feeds.writer import REVISION, Renderer
from service.rendering.article_cache import ArticleCache
from service.settings import Settings
from service.storage.category_index import Entries, State
from service.storage.rendered_pages import Change, Rendered
from service.storage.store import Store

# Versions of a page that a difference can be made to, and the longest page that has any.
MAX_PAST = 8
MAX_COMPARED = 1_000
_MARK_BYTES = 8
# Articles that one request looks through for what it selects (0.1 s), and requests that do so at
# once; `next` leads on. Who wants more of the same saves a view.
MAX_SCANNED = 2_000
SCANNED_AT_ONCE = 100
MAX_SCANS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is in a feed."""

    articles: Sequence[Article]
    older: str
    """Query of the selection that goes on where this one ends; empty if there is none."""
    is_brief: bool
    deleted: Sequence[Tombstone]
    titles: Mapping[str, str]


class FeedRenderer:
    """Renders feeds, or takes what another process rendered."""

    def __init__(self, store: Store, settings: Settings, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._zone = settings.timezone
        self._page_size = settings.page_size
        self._renderer = Renderer(
            site_title=settings.site_title,
            base_url=settings.base_url,
            language=settings.language,
            zone=settings.timezone,
            hubs=settings.hub_pings,
        )
        self._made_by = _fingerprint(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._titles: dict[str, str] = {}
        self._shelf = ArticleCache(store)
        self._scans = asyncio.Semaphore(MAX_SCANS)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def titles(self, needed: Iterable[str]) -> Mapping[str, str]:
        """Category path → title, of the needed paths and all above them, as far as they exist.

        A title never changes, so each is read once; asking for what does not exist costs one field.
        """
        paths = categories.with_ancestors(tuple(needed))
        missing = [path for path in paths if path not in self._titles]
        if missing:
            self._titles.update(await self._store.articles.titles_of(missing))
        return self._titles

    async def is_known(self, category: str) -> bool:
        """Whether a category exists; `all` does."""
        if category.startswith(VIEWS):
            view = await self._store.views.get(category.removeprefix(VIEWS))
            return view is not None and not view.private
        return category == categories.ALL or category in await self.titles([category])

    async def page_titles(self, page: Page, articles: Sequence[Article]) -> Mapping[str, str]:
        """What a page's feed names: path → title."""
        paths = {path for article in articles for path in article.categories}
        if not page.category.startswith(VIEWS):
            return await self.titles(paths | ({page.category} - {categories.ALL}))
        view = await self._store.views.get(page.category.removeprefix(VIEWS))
        title = view.title if view else categories.title_of(page.category)
        return {**await self.titles(paths), page.category: title}

    async def articles(self, page: Page) -> list[Article]:
        """The live articles of a page that selects nothing, newest first."""
        ids = await self._store.category_index.ids(page, limit=self._page_size, zone=self._zone)
        return await self._shelf.get(ids)

    async def _selected(self, page: Page, query: Query) -> tuple[list[Article], PageCursor | None]:
        """The articles of a page that a query selects, and where to go on after them."""
        limit = query.limit or (self._page_size if page.period.is_live else MAX_SCANNED)
        since, until = query.since, query.until
        if not page.period.is_live:
            start, end = page.period.bounds(self._zone)
            since, until = max(since or start, start), min(until or end, end)
        ids = await self._store.category_index.between(
            page.category, since=since, until=until, before=query.before, limit=MAX_SCANNED
        )
        found: list[Article] = []
        last = None
        async with self._scans:
            for at in range(0, len(ids), SCANNED_AT_ONCE):
                for article in await self._store.articles.get(ids[at : at + SCANNED_AT_ONCE]):
                    if article is None:
                        continue
                    if len(found) == limit:
                        return found, last
                    last = cursor_of(article)
                    if query.filter.matches(article):
                        found.append(article)
                await asyncio.sleep(0)
        return found, last if len(ids) == MAX_SCANNED else None

    async def states(self, pages: Sequence[Page]) -> list[State]:
        """Of these pages now; one round trip."""
        return await self._store.category_index.states(
            pages, now=self._now(), zone=self._zone, page_size=self._page_size
        )

    async def render(
        self, page: Page, extension: str, state: State, *, before: Rendered | None = None
    ) -> Rendered:
        """The page's feed in this state or a later one.

        Args:
            before: of a page that is not shared: what this process rendered before.
        """
        if not state.changed_ms or not page.is_shared:
            # Empty days and selections are without number: not worth a key each.
            return await self._render(page, extension, state, version="", before=before)
        version = self._made_of(state)
        shared = await self._store.rendered_pages.load(page, extension)
        if shared and shared.version == version:
            return shared
        rendered = await self._render(page, extension, state, version=version, before=shared)
        await self._store.rendered_pages.save([(page, extension, rendered)])
        return rendered

    async def render_ahead(
        self, wanted: Sequence[tuple[Page, str]], *, changes: Sequence[Change]
    ) -> None:
        """Render and share these pages as they are now, then tell the servers what changed.

        In few round trips, however many pages: readers wait for the news at the end of them.
        """
        made = await self._made_anew(wanted) if wanted else []
        await self._store.rendered_pages.save(made, changes=changes)

    async def _made_anew(
        self, wanted: Sequence[tuple[Page, str]]
    ) -> list[tuple[Page, str, Rendered]]:
        pages = list(dict.fromkeys(page for page, _ in wanted))
        # The states first, see above.
        states = dict(zip(pages, await self.states(pages), strict=True))
        async with asyncio.TaskGroup() as group:
            shared = group.create_task(self._store.rendered_pages.load_without_body(wanted))
            entries = group.create_task(
                self._store.category_index.entries(pages, limit=self._page_size, zone=self._zone)
            )
        shown = dict(zip(pages, entries.result(), strict=True))
        made = []
        for (page, extension), before in zip(wanted, shared.result(), strict=True):
            version = self._made_of(states[page])
            if before is None or before.version != version:
                content = await self._content_of(page, shown[page])
                rendered = await self._rendered(
                    page, extension, states[page], content, version=version, before=before
                )
                made.append((page, extension, rendered))
        return made

    def prime(self, article: Article, head: bytes) -> None:
        """An article that will soon be asked for, with the head that it was read with."""
        self._shelf.put(article, head)

    def _made_of(self, state: State) -> str:
        return f"{state}/{self._made_by}"

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
        body = await self._made(page, extension, state.archive_links, content)
        tag = etag_of(body)
        changed_ms, past = state.changed_ms, before.past if before else ()
        if before and before.etag == tag:
            # Late or repeated events move versions, but validators move only with content.
            changed_ms = before.changed_ms
        elif before:
            past = ((before.etag, before.entries), *past)[:MAX_PAST] if before.entries else ()
            # A second of its own for each version, or If-Modified-Since could not tell them apart.
            changed_ms = max(changed_ms, (before.changed_ms // 1000 + 1) * 1000)
        return Rendered(
            version=version,
            body=body,
            changed_ms=changed_ms,
            etag=tag,
            entries=_marks(content.articles),
            past=past,
        )

    async def difference(
        self, page: Page, extension: str, state: State, *, entries: bytes, base: bytes
    ) -> bytes | None:
        """The feed with those entries only that a version before had not, or not like this.

        Args:
            entries, base: of the version that is served, and of that before.

        Returns:
            None if the page is not what `entries` says any more.
        """
        content = await self._content(page)
        if not entries or _marks(content.articles) != entries:
            return None
        known = {base[i : i + _MARK_BYTES] for i in range(0, len(base), _MARK_BYTES)}
        new = {a.id for a in content.articles if _mark(a) not in known}
        return await self._made(page, extension, state.archive_links, content, only=new)

    async def _content(self, page: Page) -> Content:
        if page.query:
            query = parse_query(page.query, zone=self._zone)
            articles, last = await self._selected(page, query)
            return Content(
                articles=articles,
                older=str(replace(query, before=last)) if last else "",
                is_brief=query.is_brief,
                deleted=(),
                titles=await self.page_titles(page, articles),
            )
        (entries,) = await self._store.category_index.entries(
            [page], limit=self._page_size, zone=self._zone
        )
        return await self._content_of(page, entries)

    async def _content_of(self, page: Page, entries: Entries) -> Content:
        articles = await self._shelf.get(entries.ids)
        withdrawn = await self._store.articles.get(entries.gone)
        return Content(
            articles=articles,
            older="",
            is_brief=False,
            deleted=[Tombstone.of(a) for a in withdrawn if a and a.status != LIVE],
            titles=await self.page_titles(page, articles),
        )

    async def _made(
        self,
        page: Page,
        extension: str,
        archive_links: ArchiveLinks,
        content: Content,
        *,
        only: Collection[str] | None = None,
    ) -> bytes:
        def make() -> bytes:
            return self._renderer.render(
                page, extension, content.articles, content.titles,
                archive_links=archive_links, deleted=content.deleted, only=only,
                older=content.older, is_brief=content.is_brief,
            )  # fmt: skip

        return await asyncio.get_running_loop().run_in_executor(self._thread, make)


def _fingerprint(settings: Settings) -> str:
    """Of all that bytes depend on besides the articles: shared bytes outlive a restart, but must
    not outlive a change of these."""
    parts = (
        REVISION, settings.site_title, settings.base_url, settings.language, settings.timezone,
        settings.page_size, settings.hub_pings,
    )  # fmt: skip
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def _mark(article: Article) -> bytes:
    name = f"{article.id}.{article.revision}".encode()
    return hashlib.blake2b(name, digest_size=_MARK_BYTES).digest()


def _marks(articles: Sequence[Article]) -> bytes:
    return b"".join(map(_mark, articles)) if len(articles) <= MAX_COMPARED else b""
