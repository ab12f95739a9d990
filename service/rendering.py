"""Rendering a feed page from storage: one place for servers and for the aggregate worker.

The version is read before the articles, so bytes may be newer than their version says (and are then
made once more), never older. Rendering runs in one thread of its own (feedgen's rule), and what one
process rendered serves all.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from service import categories
from service.articles import Article
from service.feeds.renderer import REVISION, Renderer
from service.pages import Page
from service.settings import Settings
from service.storage.pages import Rendered, Version
from service.storage.store import Store


class FeedRenderer:
    """Renders feeds, or takes what another process rendered."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
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

    async def render(self, page: Page, extension: str, version: Version) -> Rendered:
        """The page's feed at this version or a later one."""
        if not version.changed_ms:
            # Days on which nothing ever was are without number: not worth a key each.
            return Rendered(version="", body=await self._render(page, extension), changed_ms=0)
        made_of = f"{version}/{self._made_by}"
        shared = await self._store.pages.load(page, extension)
        if shared and shared.version == made_of:
            return shared
        body = await self._render(page, extension)
        # Late or repeated events move versions, but validators move only with content.
        same = shared is not None and shared.body == body
        changed_ms = shared.changed_ms if shared and same else version.changed_ms
        rendered = Rendered(version=made_of, body=body, changed_ms=changed_ms)
        await self._store.pages.save(page, extension, rendered)
        return rendered

    async def _render(self, page: Page, extension: str) -> bytes:
        articles = await self.articles(page)
        titles = await self.titles(_paths(page, articles))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, self._renderer.render, page, extension, articles, titles
        )


def _fingerprint(settings: Settings) -> str:
    """Of all that bytes depend on besides the articles: shared bytes outlive a restart, but must
    not outlive a change of these."""
    parts = (
        REVISION, settings.site_title, settings.base_url, settings.language, settings.timezone,
        settings.page_size,
    )  # fmt: skip
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def _paths(page: Page, articles: Sequence[Article]) -> set[str]:
    found = {path for article in articles for path in article.categories}
    return found if page.category == categories.ALL else found | {page.category}
