"""Write pages for people from storage: the home page, news pages, articles, the categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from service.articles import categories
from service.articles.article import LIVE, Article
from service.articles.head import decode_head
from service.articles.times import to_ms
from service.errors import Gone, NotFound
from service.feeds.formats import FORMATS
from service.feeds.page import ArticlePage, Page, Period
from service.feeds.query import Query
from service.http import link
from service.rendering.feed_renderer import FeedRenderer
from service.settings import Settings
from service.storage.store import Store
from service.storage.stored import decoded
from service.web.html import render
from service.web.serving.headers import (
    BRIEFLY,
    CLOSED_MAX_AGE_S,
    CORS,
    HTML_HEADERS,
    LIVE_MAX_AGE_S,
    STALE_S,
)
from service.web.serving.kinds import WorkThread, Written

# How long after its end a day may still get late articles.
SETTLES_AFTER = timedelta(days=1)
HOME_ARTICLES = 20
# Articles on a page of a day, month or year, with their texts: 0.3 MB. The rest is on further
# pages.
PERIOD_ARTICLES = 200
# Categories that one page lists: 10 ms of rendering.
MAX_CATEGORIES = 500


class HtmlPages:
    """Writes pages for people, and reads their versions."""

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

    async def news_version(self, page: Page) -> str:
        """Version of a home or news page. The page has a calendar and links to other days, so its
        version is that of the whole category."""
        return str(await self._store.page_states.version(Page(page.category)))

    async def news(self, page: Page) -> Written:
        """The page of a category or view, live or for a period."""
        limit = self._settings.page_size if page.period.is_live else PERIOD_ARTICLES
        articles, last = await self._feeds.listed(page, limit=limit)
        more = page.continued(str(Query(before=last))) if last else None
        titles = await self._feeds.page_titles(page, articles)
        children = (await self._feeds.categories.all()).below(page.category)
        month = self._shown_month(page, articles)
        zone = self._settings.timezone
        older, newer = await self._neighbours(page, month)
        view = render.NewsView(
            site_title=self._settings.site_title,
            base_url=self._settings.base_url,
            page=page,
            titles=titles,
            articles=articles,
            children=children[:MAX_CATEGORIES],
            has_more_children=len(children) > MAX_CATEGORIES,
            month_days=await self._store.category_index.month_days(page.category, month, zone),
            shown_month=(month.year, month.month),
            older=older,
            newer=newer,
            more=None if page.period.is_live else more,
            zone=zone,
        )
        body = await self._thread.run(lambda: render.render_news(view))
        return Written(body=body, headers=self._headers(page, view.more))

    async def home(self, page: Page) -> Written:
        """The newest articles of all categories, and as many categories as one page lists."""
        articles, _ = await self._feeds.listed(page, limit=HOME_ARTICLES)
        zone = self._settings.timezone
        month = self._shown_month(page, articles)
        older, _ = await self._neighbours(page, month)
        listed = await self._feeds.categories.all()
        view = render.HomeView(
            site_title=self._settings.site_title,
            base_url=self._settings.base_url,
            tree=await self._thread.run(lambda: listed.overview(MAX_CATEGORIES)),
            category_count=len(listed.titles),
            titles=await self._feeds.page_titles(page, articles),
            articles=articles,
            zone=zone,
            month_days=await self._store.category_index.month_days(categories.ALL, month, zone),
            shown_month=(month.year, month.month),
            older=older,
        )
        body = await self._thread.run(lambda: render.render_home(view))
        return Written(body=body, headers=self._headers(page))

    async def categories_version(self, _: Page) -> str:
        """Version of every page that lists categories."""
        return await self._feeds.categories.version()

    async def categories(self, page: Page) -> Written:
        """The categories that follow that of the page; for `all`, the first."""
        listed = await self._feeds.categories.all()
        after = "" if page.category == categories.ALL else page.category
        shown = listed.after(after, MAX_CATEGORIES + 1)
        view = render.CategoriesView(
            site_title=self._settings.site_title,
            base_url=self._settings.base_url,
            after=after,
            titles=listed.titles,
            shown=shown[:MAX_CATEGORIES],
            next_after=shown[MAX_CATEGORIES - 1][0] if len(shown) > MAX_CATEGORIES else "",
        )
        body = await self._thread.run(lambda: render.render_categories(view))
        return Written(body=body, headers={**HTML_HEADERS, "Cache-Control": BRIEFLY})

    async def article_version(self, page: ArticlePage) -> str:
        """Version of an article: what is stored besides its text. Raises NotFound or Gone."""
        (head,) = await self._store.articles.heads([page.id])
        fields = decoded(decode_head, head, what=f"article {page.id}") if head else None
        if fields is None:
            raise await _missing(self._store, page.id)
        if fields["status"] != LIVE:
            raise Gone(f"{page.id}: this article was withdrawn")
        return head.hex()

    async def article(self, page: ArticlePage) -> Written:
        """One article for people. Raises NotFound or Gone."""
        article = await live_article(self._store, page.id)
        view = render.ArticleView(
            site_title=self._settings.site_title,
            base_url=self._settings.base_url,
            article=article,
            titles=dict(await self._feeds.categories.of(article.categories)),
            zone=self._settings.timezone,
        )
        body = await self._thread.run(lambda: render.render_article(view))
        headers = {**HTML_HEADERS, "Cache-Control": BRIEFLY}
        return Written(body=body, headers=headers, changed_ms=to_ms(article.updated))

    async def article_json(self, page: ArticlePage) -> Written:
        """One article for machines. Raises NotFound or Gone."""
        article = await live_article(self._store, page.id)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Cache-Control": BRIEFLY,
            **CORS,
        }
        body = await self._thread.run(article.to_json)
        return Written(body=body, headers=headers, changed_ms=to_ms(article.updated))

    def _headers(self, page: Page, more: Page | None = None) -> dict[str, str]:
        base = self._settings.base_url
        links = [
            link(base + page.whole.feed_path(extension), rel="alternate", media_type=f.media_type)
            for extension, f in FORMATS.items()
        ]
        if more:
            links.append(link(base + more.news_path(), rel="next", media_type="text/html"))
        return {
            **HTML_HEADERS,
            "Cache-Control": self.cache_control(page),
            "Link": ", ".join(links),
        }

    def cache_control(self, page: Page) -> str:
        """Cache-Control of a feed or page: long for a period that has settled."""
        closed = (
            not page.period.is_live
            and page.period.bounds(self._settings.timezone)[1] + SETTLES_AFTER < self._now()
        )
        max_age_s = CLOSED_MAX_AGE_S if closed else LIVE_MAX_AGE_S
        return (
            f"public, max-age={max_age_s}, stale-while-revalidate={max_age_s}, "
            f"stale-if-error={STALE_S}"
        )

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


async def live_article(store: Store, article_id: str) -> Article:
    """A live article.

    Raises:
        NotFound: the id is unknown.
        Gone: the article was withdrawn, or removed by retention.
    """
    (article,) = await store.articles.get([article_id])
    if article is None:
        raise await _missing(store, article_id)
    if article.status != LIVE:
        raise Gone(f"{article_id}: this article was withdrawn")
    return article


async def _missing(store: Store, article_id: str) -> NotFound:
    if await store.removals.contains(article_id):
        return Gone(f"{article_id}: this article is no longer kept")
    return NotFound(f"{article_id}: no such article")
