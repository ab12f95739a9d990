"""/sitemap.xml, /sitemaps/…, /news-sitemap.xml, /robots.txt: for search engines."""

from __future__ import annotations

from aiohttp import web

from service.articles import categories
from service.errors import NotFound
from service.feeds import sitemap
from service.feeds.page import Page, parse_page
from service.web.request.keys import SETTINGS
from service.web.request.page import answer_cached
from service.web.serving.headers import SITEMAP_MAX_AGE_S
from service.web.serving.listings import SITEMAP_PAGES as PAGES
from service.web.serving.page_loader import (
    SITEMAP_INDEX,
    SITEMAP_NEWS,
    SITEMAP_PAGES,
    SITEMAP_PART,
)
from service.web.serving.response import PreparedPage

EVERYTHING = Page(categories.ALL)


async def show_index(request: web.Request) -> web.StreamResponse:
    """GET `/sitemap.xml`: the index of one sitemap for the pages of categories and one for the
    articles of each month; a large month has one for each day."""
    return await answer_cached(request, EVERYTHING, SITEMAP_INDEX, "/sitemap.xml")


async def show_part(request: web.Request) -> web.StreamResponse:
    """GET `/sitemaps/pages.xml`, the pages of categories, or `/sitemaps/{yyyy-mm}[-{dd}].xml`, the
    articles of a month or day; 404 for another name."""
    name = request.match_info["name"].removesuffix(".xml")
    true_path = f"/sitemaps/{name}.xml"
    if name == PAGES:
        return await answer_cached(request, EVERYTHING, SITEMAP_PAGES, true_path)
    page = parse_page(f"{categories.ALL}/{name.replace('-', '/')}")
    if page is None or str(page.period) != name or page.period.is_live:
        raise NotFound(f"{request.path}: no such sitemap")
    return await answer_cached(request, page, SITEMAP_PART, true_path)


async def show_news(request: web.Request) -> web.StreamResponse:
    """GET `/news-sitemap.xml`: the articles of the last two days."""
    return await answer_cached(request, EVERYTHING, SITEMAP_NEWS, "/news-sitemap.xml")


async def show_robots(request: web.Request) -> web.StreamResponse:
    """GET `/robots.txt`: the paths that crawlers may visit, and the sitemaps."""
    body = sitemap.robots(request.app[SETTINGS].base_url)
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": f"public, max-age={SITEMAP_MAX_AGE_S}",
    }
    return PreparedPage(body, headers=headers).make_answer(request)
