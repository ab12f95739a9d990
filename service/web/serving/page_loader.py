"""Load pages from storage and prepare their responses: feeds and HTML pages alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web

from service.articles import categories
from service.articles.article import Article
from service.errors import DatelineError, NotFound
from service.feeds.archive import ArchiveLinks
from service.feeds.formats import FORMATS
from service.feeds.head import HUB_PATH, archive_urls
from service.feeds.page import VIEWS, Page, Period
from service.feeds.private_feed import token_hash
from service.http import link
from service.rendering.feed_renderer import FeedRenderer
from service.settings import Settings
from service.storage.category_index import State
from service.storage.client import redis_errors_as_unavailable
from service.storage.rendered_pages import Rendered
from service.storage.store import Store
from service.web.html import render
from service.web.serving.page_cache import Held
from service.web.serving.response import CONTENT_SECURITY_POLICY, PreparedPage

T = TypeVar("T")

# The formats of HTML pages in the keys of the page cache; those of feeds are their extensions.
HTML, HOME = "html", "home"
# Feed readers use max-age as their poll interval; proxies serve the old page while they fetch the
# new one.
LIVE_MAX_AGE_S = 60
BRIEFLY = f"public, max-age={LIVE_MAX_AGE_S}"
CLOSED_MAX_AGE_S = 86_400
STALE_S = 86_400
# How long after its end a day may still get late articles.
SETTLES_AFTER = timedelta(days=1)
HOME_ARTICLES = 20
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Last-Modified, Link, IM, Delta-Base",
}
HTML_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}


class PageLoader:
    """Loads pages for the cache, and runs CPU work of pages in one thread."""

    def __init__(self, store: Store, settings: Settings, *, now: Callable[[], datetime]) -> None:
        self.feeds = FeedRenderer(store, settings, now=now)
        self._store = store
        self._settings = settings
        self._now = now
        # For compression and templates; feedgen has its own thread in FeedRenderer.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="page_loader")

    def close(self) -> None:
        """End the threads; work that waits for them is dropped."""
        self.feeds.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def load(self, page: Page, extension: str, cached: Held | None) -> Held:
        """Load the current version of a page (see `page_cache.Load`); report internal errors."""
        load = self._load_feed if extension in FORMATS else self._load_news
        name = f"{page}.{extension}"
        try:
            with redis_errors_as_unavailable():
                loaded = await load(page, extension, cached)
        except DatelineError:
            raise
        except Exception as exc:
            await self._store.faults.report("page", name, exc, now=self._now())
            raise
        await self._store.faults.clear("page", name)
        return loaded

    async def _load_feed(self, page: Page, extension: str, cached: Held | None) -> Held:
        if page.token:
            await self._check_token(page)
        (state,) = await self.feeds.states([page])
        version = str(state)
        if cached is not None and cached.version == version:
            return cached
        before = cached.rendered if cached else None
        rendered = await self.feeds.render(page, extension, state, before=before)
        headers = self._feed_headers(page, extension, state.archive_links)
        has_twin = FORMATS[extension].is_xml and not page.token
        twin_url = self._settings.base_url + page.news_path() if has_twin else ""
        prepared = await self._prepare(
            rendered.body, headers, cached, rendered=rendered, twin_url=twin_url
        )

        async def difference(base: str) -> PreparedPage | None:
            return await self._difference(page, extension, state, rendered, base)

        prepared.difference = difference
        # The rendered feed of a shared page is in Redis.
        own_feed = None if page.is_shared else rendered
        return Held(prepared=prepared, version=version, rendered=own_feed)

    async def _check_token(self, page: Page) -> None:
        """Raise NotFound if the private feed is revoked; called for cached feeds, too."""
        feed = await self._store.private_feeds.get(token_hash(page.token))
        if feed is None or feed.category != page.category:
            raise NotFound("no such private feed")

    async def _load_news(self, page: Page, extension: str, cached: Held | None) -> Held:
        # An HTML page has a calendar and links to other days, so its version is the category's.
        version = str(await self._store.category_index.version(Page(page.category)))
        if cached is not None and cached.version == version:
            return cached
        body = await self._news(page, extension)
        prepared = await self._prepare(body, self._html_headers(page), cached)
        return Held(prepared=prepared, version=version)

    async def _prepare(
        self,
        body: bytes,
        headers: Mapping[str, str],
        cached: Held | None,
        *,
        rendered: Rendered | None = None,
        twin_url: str = "",
    ) -> PreparedPage:
        # Clients that requested these codings of the old version will request them again.
        codings = cached.prepared.prepared_codings if cached else ()
        etags = [etag for etag, _ in rendered.previous_versions] if rendered else ()

        def prepare() -> PreparedPage:
            prepared = PreparedPage(
                body,
                headers=headers,
                changed_ms=rendered.changed_ms if rendered else 0,
                etag=rendered.etag if rendered else "",
                previous_etags=etags,
                twin_url=twin_url,
            )
            for coding in codings:
                prepared.make(coding)
            return prepared

        return await self._in_thread(prepare)

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
        return await self._in_thread(
            lambda: PreparedPage(
                body,
                headers=headers,
                changed_ms=rendered.changed_ms,
                etag=rendered.etag,
                status=HTTPStatus.IM_USED,
            )
        )

    async def answer(self, prepared: PreparedPage, request: web.Request) -> web.StreamResponse:
        """The response of a page; what is not prepared yet is prepared in the thread."""
        answer = prepared.answer(request)
        if answer is not None:
            return answer
        base = prepared.delta_base(request)
        if base and base not in prepared.deltas and prepared.difference:
            prepared.deltas[base] = await prepared.difference(base) or prepared
        return await self._in_thread(lambda: prepared.make_answer(request))

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
            link(base + page.news_path(), rel="alternate", media_type="text/html"),
            *(
                link(url, rel=rel, media_type=media_type)
                for rel, url in archive_urls(page, archive_links, base, extension).items()
            ),
        ]
        return {
            "Content-Type": f"{media_type}; charset=utf-8",
            "Cache-Control": self._cache_control(page),
            "Link": ", ".join(links),
            "X-Content-Type-Options": "nosniff",
            **CORS,
        }

    def _html_headers(self, page: Page) -> dict[str, str]:
        base = self._settings.base_url
        links = ", ".join(
            link(base + page.feed_path(extension), rel="alternate", media_type=format.media_type)
            for extension, format in FORMATS.items()
        )
        return {**HTML_HEADERS, "Cache-Control": self._cache_control(page), "Link": links}

    def _cache_control(self, page: Page) -> str:
        closed = (
            not page.period.is_live
            and page.period.bounds(self._settings.timezone)[1] + SETTLES_AFTER < self._now()
        )
        max_age_s = CLOSED_MAX_AGE_S if closed else LIVE_MAX_AGE_S
        return (
            f"public, max-age={max_age_s}, stale-while-revalidate={max_age_s}, "
            f"stale-if-error={STALE_S}"
        )

    async def _news(self, page: Page, extension: str) -> bytes:
        articles = await self.feeds.articles(page)
        titles = await self._store.articles.category_titles()
        if page.category.startswith(VIEWS):
            titles[page.category] = (await self.feeds.page_titles(page, ()))[page.category]
        if extension == HOME:
            return await self._home(articles[:HOME_ARTICLES], titles)
        month = self._shown_month(page, articles)
        zone = self._settings.timezone
        older, newer = await self._neighbours(page, month)
        view = render.NewsView(
            site_title=self._settings.site_title,
            base_url=self._settings.base_url,
            page=page,
            titles=titles,
            articles=articles,
            children=_children(page.category, titles),
            month_days=await self._store.category_index.month_days(page.category, month, zone),
            shown_month=(month.year, month.month),
            older=older,
            newer=newer,
            zone=zone,
        )
        return await self._in_thread(lambda: render.render_news(view))

    async def _home(self, articles: Sequence[Article], titles: Mapping[str, str]) -> bytes:
        everything, zone = Page(categories.ALL), self._settings.timezone
        month = self._shown_month(everything, articles)
        older, _ = await self._neighbours(everything, month)
        view = render.HomeView(
            site_title=self._settings.site_title,
            base_url=self._settings.base_url,
            tree=sorted(titles.items()),
            titles=titles,
            articles=articles,
            zone=zone,
            month_days=await self._store.category_index.month_days(categories.ALL, month, zone),
            shown_month=(month.year, month.month),
            older=older,
        )
        return await self._in_thread(lambda: render.render_home(view))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _shown_month(self, page: Page, articles: Sequence[Article]) -> Period:
        """The month of the page's period, else that of its newest article. A page without articles
        shows the current month, or January of its year."""
        period = page.period
        if period.month or not articles:
            today = self._now().astimezone(self._settings.timezone)
            return Period(
                period.year or today.year, period.month or (1 if period.year else today.month)
            )
        newest = Period.of(articles[0].published, self._settings.timezone)
        return Period(newest.year, newest.month)

    async def _neighbours(self, page: Page, month: Period) -> tuple[Period | None, Period | None]:
        """The nearest days with articles before and after what the page shows."""
        zone = self._settings.timezone
        start, end = (month if page.period.is_live else page.period).bounds(zone)
        older = await self._store.category_index.neighbour(page.category, start, newer=False)
        newer = await self._store.category_index.neighbour(page.category, end, newer=True)
        return (
            Period.of(older, zone) if older else None,
            Period.of(newer, zone) if newer else None,
        )


def _children(category: str, titles: Mapping[str, str]) -> list[tuple[str, str]]:
    prefix = "" if category == categories.ALL else f"{category}/"
    return sorted(
        (path, title)
        for path, title in titles.items()
        if path.startswith(prefix) and "/" not in path.removeprefix(prefix)
    )
