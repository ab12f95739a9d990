"""Requests for a page: parse its path, redirect to its canonical URL, answer from the cache."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import unquote_plus

from aiohttp import web

from service.errors import NotFound, Unavailable
from service.feeds.formats import FORMATS
from service.feeds.page import VIEWS, ArticlePage, Page, parse_page
from service.storage.client import redis_errors_as_unavailable
from service.web.request.auth import limited_client
from service.web.request.keys import CACHE, PAGE_LOADER, STORE
from service.web.serving.page_cache import RECHECK_BUDGET_S


async def known_page(request: web.Request, path: str) -> Page:
    """The page that a path names; of a former path of a category, the page of its present one.

    Raises:
        NotFound: the path is not that of a page, or its category or view does not exist.
    """
    page = parse_page(path)
    if page is None:
        raise NotFound(f"{request.path}: no such category or date")
    if not await _is_known(request, page):
        present = await request.app[STORE].category_renames.of(page.category)
        if present:
            return replace(page, category=present)
        raise NotFound(f"{page.category}: no such category")
    return page


async def _is_known(request: web.Request, page: Page) -> bool:
    """Whether the page's category or view exists. Views are looked up each time: while Redis cannot
    say, one of which a page is held does, and that page is served as it is."""
    is_held = page.category.startswith(VIEWS) and request.app[CACHE].holds(page.category)
    try:
        async with asyncio.timeout(RECHECK_BUDGET_S if is_held else None):
            with redis_errors_as_unavailable():
                return await request.app[PAGE_LOADER].feeds.is_known(page.category)
    except (TimeoutError, Unavailable):
        if not is_held:
            raise
        return True


async def answer_page(
    request: web.Request, page: Page, extension: str, true_path: str
) -> web.StreamResponse:
    """The page in this format, from the cache.

    Raises:
        HTTPPermanentRedirect: the path is another spelling of `true_path`.
    """
    # One URL for each page: other spellings (case, a missing zero, another order) are redirected.
    # Pages for people ignore parameters that they do not have.
    requested_path = request.path_qs if extension in FORMATS or page.query else request.path
    if unquote_plus(requested_path) != unquote_plus(true_path):
        raise web.HTTPPermanentRedirect(true_path)
    return await answer_cached(request, page, extension, true_path)


async def answer_cached(
    request: web.Request, page: Page | ArticlePage, extension: str, true_path: str
) -> web.StreamResponse:
    """The page in this format, from the cache; it becomes hot if this is the request of its true
    path. A page without one, an empty path, never does."""
    # Percent-encoding can spell one path in thousands of ways: only the canonical one becomes hot.
    hot_path = true_path if request.raw_path == true_path else ""
    client = limited_client(request)
    prepared = await request.app[CACHE].get(page, extension, hot_path=hot_path, client=client)
    return await request.app[PAGE_LOADER].answer(prepared, request, client)
