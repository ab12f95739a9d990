"""/sitemap.xml, /sitemaps/…, /news-sitemap.xml, /robots.txt: for search engines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from aiohttp import web

from service.articles import categories
from service.articles.times import from_ms, to_rfc3339
from service.errors import NotFound
from service.feeds import sitemap
from service.feeds.page import Page, parse_page
from service.web.request.keys import CLOCK, SETTINGS, STORE
from service.web.serving.response import PreparedPage

MAX_AGE_S = 3_600
PAGES = "pages"
# The age up to which Google accepts articles in a news sitemap.
NEWS_AGE = timedelta(days=2)


async def show_index(request: web.Request) -> web.StreamResponse:
    """GET `/sitemap.xml`: the index of one sitemap for the pages of categories and one for the
    articles of each month; a large month has one for each day."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    changes_ms = await store.category_index.periods(categories.ALL)
    months = sorted(period for period in changes_ms if period.month and not period.day)
    days = sorted(period for period in changes_ms if period.day)
    counts = await store.category_index.counts(categories.ALL, months, settings.timezone)
    base = f"{settings.base_url}/sitemaps"
    filled = [(month, count) for month, count in zip(months, counts, strict=True) if count]
    sitemaps = [
        (f"{base}/{PAGES}.xml", ""),
        *(
            (f"{base}/{period}.xml", to_rfc3339(from_ms(changes_ms[period])))
            for period in sitemap.parts(filled, days)
        ),
    ]
    return await _xml(request, lambda: sitemap.index(sitemaps))


async def show_part(request: web.Request) -> web.StreamResponse:
    """GET `/sitemaps/pages.xml`, the pages of categories, or `/sitemaps/{yyyy-mm}[-{dd}].xml`, the
    articles of a month or day; 404 for another name."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    name = request.match_info["name"].removesuffix(".xml")
    base = settings.base_url
    if name == PAGES:
        titles = await store.articles.category_titles()
        paths = [Page(path).news_path() for path in (categories.ALL, *sorted(titles))]
        locations = [f"{base}/", *(base + path for path in paths)]
    else:
        page = parse_page(f"{categories.ALL}/{name.replace('-', '/')}")
        if page is None or str(page.period) != name or page.period.is_live:
            raise NotFound(f"{request.path}: no such sitemap")
        start, end = page.period.bounds(settings.timezone)
        ids = await store.category_index.between(
            categories.ALL, since=start, until=end, limit=sitemap.MAX_URLS
        )
        locations = [f"{base}/articles/{article_id}" for article_id in ids]
    return await _xml(request, lambda: sitemap.urls(locations))


async def show_news(request: web.Request) -> web.StreamResponse:
    """GET `/news-sitemap.xml`: the articles of the last two days."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    ids = await store.category_index.between(
        categories.ALL, since=request.app[CLOCK]() - NEWS_AGE, until=None, limit=sitemap.MAX_NEWS
    )
    articles = [article for article in await store.articles.get(ids) if article]
    return await _xml(
        request,
        lambda: sitemap.news(
            articles,
            site_title=settings.site_title,
            language=settings.language,
            base_url=settings.base_url,
        ),
    )


async def show_robots(request: web.Request) -> web.StreamResponse:
    """GET `/robots.txt`: the paths that crawlers may visit, and the sitemaps."""
    body = sitemap.robots(request.app[SETTINGS].base_url)
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": _cache_control()}
    return PreparedPage(body, headers=headers).make_answer(request)


async def _xml(request: web.Request, make: Callable[[], bytes]) -> web.StreamResponse:
    headers = {"Content-Type": "application/xml; charset=utf-8", "Cache-Control": _cache_control()}

    def answer() -> web.StreamResponse:
        return PreparedPage(make(), headers=headers).make_answer(request)

    return await asyncio.get_running_loop().run_in_executor(None, answer)


def _cache_control() -> str:
    return f"public, max-age={MAX_AGE_S}"
