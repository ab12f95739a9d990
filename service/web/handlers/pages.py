"""Pages for people: `/`, `/news/…` and `/categories`."""

from __future__ import annotations

from aiohttp import web

from service.articles import categories
from service.errors import InvalidInput
from service.feeds.page import Page
from service.feeds.query import PageCursor, Query
from service.web.request.page import answer_cached, answer_page, known_page
from service.web.request.parameters import single_value
from service.web.serving.page_loader import CATEGORIES, HOME, HTML


async def show_news(request: web.Request) -> web.StreamResponse:
    """GET `/news/{category}[/{date}]`: the articles of a category or view as HTML; `?before=`, from
    the link to more articles, continues."""
    page = await known_page(request, request.match_info["path"].rstrip("/"))
    if "before" in request.query:
        cursor = PageCursor.parse(single_value(request.query, "before"))
        page = page.continued(str(Query(before=cursor)))
    return await answer_page(request, page, HTML, page.news_path())


async def show_home(request: web.Request) -> web.StreamResponse:
    """GET `/`: the newest articles of all categories as HTML."""
    return await answer_page(request, Page(categories.ALL), HOME, "/")


async def show_categories(request: web.Request) -> web.StreamResponse:
    """GET `/categories`: all categories, in parts; `?after=` continues after a category's path."""
    after = single_value(request.query, "after")
    path = categories.ALL
    if after:
        path = "/".join(categories.fold(step) for step in after.split("/"))
        if not categories.is_path(path):
            raise InvalidInput("after", after, "is not the path of a category")
    return await answer_cached(request, Page(path), CATEGORIES, "" if after else "/categories")
