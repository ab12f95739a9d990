"""Write what lists all of something: the OPML of all feeds, and sitemaps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from service.articles import categories
from service.articles.article import LIVE
from service.articles.times import from_ms, to_ms, to_rfc3339
from service.feeds import opml, sitemap
from service.feeds.page import Page
from service.rendering.feed_renderer import FeedRenderer
from service.settings import Settings
from service.storage.store import Store
from service.web.serving.headers import BRIEFLY, CORS, SITEMAP_MAX_AGE_S
from service.web.serving.kinds import WorkThread, Written

# The age up to which Google accepts articles in a news sitemap.
NEWS_AGE = timedelta(days=2)
# Articles leave the news sitemap by age alone: it is written again after this time.
NEWS_AGES_MS = 3_600_000
SITEMAP_PAGES = "pages"
_XML = {
    "Content-Type": "application/xml; charset=utf-8",
    "Cache-Control": f"public, max-age={SITEMAP_MAX_AGE_S}",
}


class Listings:
    """Writes listings, and reads their versions."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        feeds: FeedRenderer,
        thread: WorkThread,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._feeds = feeds
        self._thread = thread
        self._now = now

    async def opml_version(self, _: Page) -> str:
        """Of the OPML: it changes with the categories and views alone, not with their articles."""
        return f"{await self._feeds.categories.version()}/{await self._store.views.changes()}"

    async def opml(self, _: Page) -> Written:
        """The live feeds of all categories and public views, as OPML 2.0."""
        views = [view for view in await self._store.views.all() if not view.private]
        listed = await self._feeds.categories.all()
        body = await self._thread.run(
            lambda: opml.render(
                listed.titles,
                views={view.path: view.title for view in views},
                site_title=self._settings.site_title,
                base_url=self._settings.base_url,
            )
        )
        headers = {"Content-Type": "text/x-opml; charset=utf-8", "Cache-Control": BRIEFLY, **CORS}
        return Written(body=body, headers=headers)

    async def period_version(self, page: Page) -> str:
        """Of the sitemap of a period; for a live page, of the index of all sitemaps."""
        return str(await self._store.category_index.version(page))

    async def sitemap_index(self, _: Page) -> Written:
        """The index of one sitemap for the pages of categories and one for the articles of each
        month; a large month has one for each day."""
        changes_ms = await self._store.category_index.periods(categories.ALL)
        months = sorted(period for period in changes_ms if period.month and not period.day)
        days = sorted(period for period in changes_ms if period.day)
        zone = self._settings.timezone
        counts = await self._store.category_index.counts(categories.ALL, months, zone)
        base = f"{self._settings.base_url}/sitemaps"
        filled = [(month, count) for month, count in zip(months, counts, strict=True) if count]

        def write() -> bytes:
            parts = sitemap.parts(filled, days)
            changes = [(f"{base}/{p}.xml", to_rfc3339(from_ms(changes_ms[p]))) for p in parts]
            return sitemap.index([(f"{base}/{SITEMAP_PAGES}.xml", ""), *changes])

        return Written(body=await self._thread.run(write), headers=_XML)

    async def categories_version(self, _: Page) -> str:
        """Of the sitemap of the pages of categories."""
        return await self._feeds.categories.version()

    async def sitemap_pages(self, _: Page) -> Written:
        """The sitemap of the pages of categories."""
        titles = (await self._feeds.categories.all()).titles
        base = self._settings.base_url

        def write() -> bytes:
            paths = [Page(path).news_path() for path in (categories.ALL, *sorted(titles))]
            return sitemap.urls([f"{base}/", *(base + path for path in paths)])

        return Written(body=await self._thread.run(write), headers=_XML)

    async def sitemap_part(self, page: Page) -> Written:
        """The sitemap of the articles of a period."""
        start, end = page.period.bounds(self._settings.timezone)
        ids = await self._store.category_index.between(
            categories.ALL, since=start, until=end, limit=sitemap.MAX_URLS
        )
        base = self._settings.base_url
        body = await self._thread.run(
            lambda: sitemap.urls([f"{base}/articles/{article_id}" for article_id in ids])
        )
        return Written(body=body, headers=_XML)

    async def news_version(self, page: Page) -> str:
        """Of the news sitemap."""
        hour = to_ms(self._now()) // NEWS_AGES_MS
        return f"{await self._store.category_index.version(page)}/{hour}"

    async def sitemap_news(self, _: Page) -> Written:
        """The sitemap of the articles of the last two days, with the news extension."""
        ids = await self._store.category_index.between(
            categories.ALL, since=self._now() - NEWS_AGE, until=None, limit=sitemap.MAX_NEWS
        )
        # One that was just withdrawn is still in the index.
        articles = [a for a in await self._store.articles.get(ids) if a and a.status == LIVE]
        body = await self._thread.run(
            lambda: sitemap.news(
                articles,
                site_title=self._settings.site_title,
                language=self._settings.language,
                base_url=self._settings.base_url,
            )
        )
        return Written(body=body, headers=_XML)
