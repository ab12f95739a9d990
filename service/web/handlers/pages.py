"""Pages for people: `/` and `/news/…`."""

from __future__ import annotations

from aiohttp import web

from service.feeds.page import Page
from service.web.request.page import answer_page, known_page
from service.web.serving.page_loader import HOME, HTML


async def show_news(request: web.Request) -> web.StreamResponse:
    """GET `/news/{category}[/{date}]`: the articles of a category or view as HTML."""
    page = await known_page(request, request.match_info["path"].rstrip("/"))
    return await answer_page(request, page, HTML, page.news_path())


async def show_home(request: web.Request) -> web.StreamResponse:
    """GET `/`: the newest articles of all categories as HTML."""
    return await answer_page(request, Page("all"), HOME, "/")
