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
from dataclasses import dataclass
from datetime import datetime

from service import articles as article_rules
from service import categories
from service.articles import Article
from service.feeds.feed import Tombstone
from service.feeds.renderer import REVISION, Renderer
from service.pages import Chain, Page, tag_of
from service.settings import Settings
from service.storage.pages import Rendered, State
from service.storage.store import Store

# Versions of a page that a difference can be made to, and the longest page that has any.
MAX_PAST = 8
MAX_COMPARED = 1_000
_MARK_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is in a feed."""

    articles: Sequence[Article]
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
        )
        self._made_by = _fingerprint(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._titles: dict[str, str] = {}

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
        return category == categories.ALL or category in await self.titles([category])

    async def articles(self, page: Page) -> list[Article]:
        """The live articles of a page, newest first."""
        ids = await self._store.pages.ids(page, limit=self._page_size, zone=self._zone)
        return [article for article in await self._store.articles.get(ids) if article]

    async def states(self, pages: Sequence[Page]) -> list[State]:
        """Of these pages now; one round trip."""
        return await self._store.pages.states(
            pages, now=self._now(), zone=self._zone, page_size=self._page_size
        )

    async def render(self, page: Page, extension: str, state: State) -> Rendered:
        """The page's feed in this state or a later one."""
        if not state.changed_ms:
            # Days on which nothing ever was are without number: not worth a key each.
            return await self._render(page, extension, state, version="")
        made_of = f"{state}/{self._made_by}"
        shared = await self._store.pages.load(page, extension)
        if shared and shared.version == made_of:
            return shared
        rendered = await self._render(page, extension, state, version=made_of, before=shared)
        await self._store.pages.save(page, extension, rendered)
        return rendered

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
        body = await self._made(page, extension, state.chain, content)
        tag = tag_of(body)
        changed_ms, past = state.changed_ms, before.past if before else ()
        if before and before.tag == tag:
            # Late or repeated events move versions, but validators move only with content.
            changed_ms = before.changed_ms
        elif before:
            past = ((before.tag, before.entries), *past)[:MAX_PAST] if before.entries else ()
            if changed_ms // 1000 <= before.changed_ms // 1000:
                changed_ms = article_rules.to_ms(self._now())
        return Rendered(
            version=version,
            body=body,
            changed_ms=changed_ms,
            tag=tag,
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
        if _marks(content.articles) != entries:
            return None
        known = {base[i : i + _MARK_BYTES] for i in range(0, len(base), _MARK_BYTES)}
        new = {a.id for a in content.articles if _mark(a) not in known}
        return await self._made(page, extension, state.chain, content, only=new)

    async def _content(self, page: Page) -> Content:
        articles = await self.articles(page)
        is_full = len(articles) >= self._page_size
        since = articles[-1].published if articles and is_full else None
        gone = await self._store.pages.gone(page, since=since, zone=self._zone)
        withdrawn = await self._store.articles.get(gone)
        return Content(
            articles=articles,
            deleted=[Tombstone.of(a) for a in withdrawn if a and a.status != article_rules.LIVE],
            titles=await self.titles(_paths(page, articles)),
        )

    async def _made(
        self,
        page: Page,
        extension: str,
        chain: Chain,
        content: Content,
        *,
        only: Collection[str] | None = None,
    ) -> bytes:
        def make() -> bytes:
            return self._renderer.render(
                page, extension, content.articles, content.titles,
                chain=chain, deleted=content.deleted, only=only,
            )  # fmt: skip

        return await asyncio.get_running_loop().run_in_executor(self._thread, make)


def _fingerprint(settings: Settings) -> str:
    """Of all that bytes depend on besides the articles: shared bytes outlive a restart, but must
    not outlive a change of these."""
    parts = (
        REVISION, settings.site_title, settings.base_url, settings.language, settings.timezone,
        settings.page_size,
    )  # fmt: skip
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def _mark(article: Article) -> bytes:
    name = f"{article.id}.{article.revision}".encode()
    return hashlib.blake2b(name, digest_size=_MARK_BYTES).digest()


def _marks(articles: Sequence[Article]) -> bytes:
    return b"".join(map(_mark, articles)) if len(articles) <= MAX_COMPARED else b""


def _paths(page: Page, articles: Sequence[Article]) -> set[str]:
    found = {path for article in articles for path in article.categories}
    return found if page.category == categories.ALL else found | {page.category}
