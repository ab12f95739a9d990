"""Load pages from storage and prepare their responses: feeds and HTML pages alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from aiohttp import web

from service.errors import DatelineError, NotFound
from service.feeds.archive import ArchiveLinks
from service.feeds.formats import FORMATS
from service.feeds.head import HUB_PATH, archive_urls
from service.feeds.page import ArticlePage, Page
from service.feeds.private_feed import token_hash
from service.http import link
from service.rendering.feed_renderer import FeedRenderer
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.page_states import State
from service.storage.rendered_pages import Rendered
from service.storage.store import Store
from service.web.serving.costly_reads import Client, CostlyReads
from service.web.serving.headers import CORS, LIVE_MAX_AGE_S
from service.web.serving.held_page import Held
from service.web.serving.html_pages import HtmlPages
from service.web.serving.kinds import Kind, P, WorkThread
from service.web.serving.listings import Listings
from service.web.serving.response import PreparedPage

# The formats of pages besides feeds, in the keys of the page cache; those of feeds are their
# extensions.
HTML, HOME, CATEGORIES, OPML, JSON = "html", "home", "categories", "opml", "json"
SITEMAP_INDEX, SITEMAP_PAGES = "sitemap-index", "sitemap-pages"
SITEMAP_PART, SITEMAP_NEWS = "sitemap-part", "sitemap-news"


class PageLoader:
    """Loads pages for the cache, and runs CPU work of pages in one thread.

    Reading the version of a page is cheap. What follows if the cache does not have that version is
    a costly read.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        costly_reads: CostlyReads,
    ) -> None:
        self.feeds = FeedRenderer(store, settings, now=now)
        self._store = store
        self._settings = settings
        self._now = now
        self._costly_reads = costly_reads
        self._thread = WorkThread("page_loader")
        self._pages = HtmlPages(store, settings, self.feeds, self._thread, now=now)
        pages = self._pages
        lists = Listings(store, settings, self.feeds, self._thread, now=now)
        self._kinds: Mapping[str, Kind[Page]] = {
            HTML: Kind(pages.news_version, pages.news),
            HOME: Kind(pages.news_version, pages.home),
            CATEGORIES: Kind(pages.categories_version, pages.categories),
            OPML: Kind(lists.opml_version, lists.opml),
            SITEMAP_INDEX: Kind(lists.period_version, lists.sitemap_index),
            SITEMAP_PAGES: Kind(lists.categories_version, lists.sitemap_pages),
            SITEMAP_PART: Kind(lists.period_version, lists.sitemap_part),
            SITEMAP_NEWS: Kind(lists.news_version, lists.sitemap_news),
        }
        self._article_kinds: Mapping[str, Kind[ArticlePage]] = {
            HTML: Kind(pages.article_version, pages.article),
            JSON: Kind(pages.article_version, pages.article_json),
        }

    def close(self) -> None:
        """End the threads; work that waits for them is dropped."""
        self.feeds.close()
        self._thread.close()

    async def load(
        self, page: Page | ArticlePage, extension: str, cached: Held | None, client: Client
    ) -> Held:
        """Load the current version of a page (see `held_page.Load`); report internal errors."""
        name = f"{page}.{extension}"
        try:
            with redis_errors_as_unavailable():
                if isinstance(page, ArticlePage):
                    kind = self._article_kinds[extension]
                    loaded = await self._load_written(page, kind, cached, client)
                elif extension in FORMATS:
                    loaded = await self._load_feed(page, extension, cached, client)
                else:
                    loaded = await self._load_written(page, self._kinds[extension], cached, client)
        except DatelineError:
            raise
        except Exception as exc:
            await self._store.faults.report("page", name, exc, now=self._now())
            raise
        await self._store.faults.clear("page", name)
        return loaded

    async def _load_feed(
        self, page: Page, extension: str, cached: Held | None, client: Client
    ) -> Held:
        if page.token:
            await self._check_token(page)
        (state,) = await self.feeds.states([page])
        version = str(state)
        if cached is not None and cached.version == version:
            return cached
        before = cached.rendered if cached else None
        headers = self._feed_headers(page, extension, state.archive_links)
        has_twin = FORMATS[extension].is_xml and not page.token
        twin_url = self._settings.base_url + page.whole.news_path() if has_twin else ""
        async with self._costly_reads.slot(client):
            rendered = await self.feeds.render(page, extension, state, before=before)
            prepared = await self._prepare(
                rendered.body, headers, cached, rendered=rendered, twin_url=twin_url
            )

        async def difference(base: str) -> PreparedPage | None:
            return await self._difference(page, extension, state, rendered, base)

        prepared.difference = difference
        # The rendered feed of a shared page is in Redis.
        own_feed = None if page.is_shared else rendered
        return Held(
            prepared=prepared,
            version=version,
            rendered=own_feed,
            links=state.archive_links if page.is_shared else None,
        )

    async def _check_token(self, page: Page) -> None:
        """Raise NotFound if the private feed is revoked; called for cached feeds, too."""
        feed = await self._store.private_feeds.get(token_hash(page.token))
        if feed is None or feed.category != page.category:
            raise NotFound("no such private feed")

    async def _load_written(
        self, page: P, kind: Kind[P], cached: Held | None, client: Client
    ) -> Held:
        # The version is read first: what is written may be newer, never older.
        version = await kind.version(page)
        if cached is not None and cached.version == version:
            return cached
        async with self._costly_reads.slot(client):
            written = await kind.write(page)
            prepared = await self._prepare(
                written.body, written.headers, cached, changed_ms=written.changed_ms
            )
        return Held(prepared=prepared, version=version)

    async def _prepare(
        self,
        body: bytes,
        headers: Mapping[str, str],
        cached: Held | None,
        *,
        rendered: Rendered | None = None,
        changed_ms: int = 0,
        twin_url: str = "",
    ) -> PreparedPage:
        # Clients that requested these codings of the old version will request them again.
        codings = cached.prepared.prepared_codings if cached else ()
        etags = [etag for etag, _ in rendered.previous_versions] if rendered else ()

        def prepare() -> PreparedPage:
            prepared = PreparedPage(
                body,
                headers=headers,
                changed_ms=rendered.changed_ms if rendered else changed_ms,
                etag=rendered.etag if rendered else "",
                previous_etags=etags,
                twin_url=twin_url,
            )
            for coding in codings:
                prepared.make(coding)
            return prepared

        return await self._thread.run(prepare)

    async def _difference(
        self, page: Page, extension: str, state: State, rendered: Rendered, base: str
    ) -> PreparedPage | None:
        """The difference from an earlier version to this one (RFC 3229 10); None if the page has
        changed meanwhile, or if the difference is more than half as large as the page."""
        body = await self.feeds.difference(
            page,
            extension,
            state,
            entry_digests=rendered.entry_digests,
            base=dict(rendered.previous_versions)[base],
        )
        # A difference that saves little is not worth its memory.
        if body is None or 2 * len(body) > len(rendered.body):
            return None
        headers = {
            **self._feed_headers(page, extension, state.archive_links),
            "IM": "feed",
            "Delta-Base": f'"{base}"',
            # Caches that do not know status 226 must not store it (RFC 3229 10.9).
            "Cache-Control": f"no-store, im, max-age={LIVE_MAX_AGE_S}",
        }
        return await self._thread.run(
            lambda: PreparedPage(
                body,
                headers=headers,
                changed_ms=rendered.changed_ms,
                etag=rendered.etag,
                status=HTTPStatus.IM_USED,
            )
        )

    async def answer(
        self, prepared: PreparedPage, request: web.Request, client: Client
    ) -> web.StreamResponse:
        """The response of a page; what is not prepared yet is prepared in the thread."""
        answer = prepared.answer(request)
        if answer is not None:
            return answer
        async with self._costly_reads.slot(client):
            base = prepared.delta_base(request)
            if base and base not in prepared.deltas and prepared.difference:
                prepared.deltas[base] = await prepared.difference(base) or prepared
            return await self._thread.run(lambda: prepared.make_answer(request))

    def _feed_headers(
        self, page: Page, extension: str, archive_links: ArchiveLinks
    ) -> dict[str, str]:
        base = self._settings.base_url
        media_type = FORMATS[extension].media_type
        own = link(base + page.feed_path(extension), rel="self")
        if page.token:
            return {
                "Content-Type": f"{media_type}; charset=utf-8",
                "Cache-Control": f"private, max-age={LIVE_MAX_AGE_S}",
                "Link": own,
                "X-Content-Type-Options": "nosniff",
                "X-Robots-Tag": "noindex",
                "Referrer-Policy": "no-referrer",
            }
        links = [
            own,
            *(link(url, rel="hub") for url in (base + HUB_PATH, *self._settings.hub_pings)),
            link(base + page.whole.news_path(), rel="alternate", media_type="text/html"),
            *(
                link(url, rel=rel, media_type=media_type)
                for rel, url in archive_urls(page, archive_links, base, extension).items()
            ),
        ]
        return {
            "Content-Type": f"{media_type}; charset=utf-8",
            "Cache-Control": self._pages.cache_control(page),
            "Link": ", ".join(links),
            "X-Content-Type-Options": "nosniff",
            **CORS,
        }
