"""Feeds: `/feeds/…`, `/private/…`, `/feeds.opml`."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from service.articles import categories
from service.errors import NotFound
from service.feeds.formats import FORMATS
from service.feeds.page import Page
from service.feeds.private_feed import token_hash
from service.feeds.query import parse_query
from service.web.request.keys import SETTINGS, STORE
from service.web.request.page import answer_cached, answer_page, known_page
from service.web.serving.page_loader import OPML


async def show_feed(request: web.Request) -> web.StreamResponse:
    """GET `/feeds/{category}[/{date}].{rss|atom|json}`; a query selects some of its articles."""
    path, dot, extension = request.match_info["path"].rstrip("/").rpartition(".")
    if not dot or extension.lower() not in FORMATS:
        endings = ", ".join(f".{known}" for known in FORMATS)
        raise NotFound(f"{request.path}: a feed's path ends with one of {endings}")
    page = await known_page(request, path)
    query = parse_query(request.rel_url.raw_query_string, zone=request.app[SETTINGS].timezone)
    page = replace(page, query=str(query))
    return await answer_page(request, page, extension.lower(), page.feed_path(extension.lower()))


async def show_private(request: web.Request) -> web.StreamResponse:
    """GET `/private/{token}.{rss|atom|json}`: a live category or view for one subscriber."""
    token, _, extension = request.match_info["name"].rpartition(".")
    feed = await request.app[STORE].private_feeds.get(token_hash(token))
    if feed is None or extension not in FORMATS:
        # The message does not repeat the token: it is a secret, even if it is misspelled.
        raise NotFound("no such private feed")
    query = parse_query(request.rel_url.raw_query_string, zone=request.app[SETTINGS].timezone)
    page = Page(feed.category, query=str(query), token=token)
    return await answer_page(request, page, extension, page.feed_path(extension))


async def show_options(_: web.Request) -> web.StreamResponse:
    """OPTIONS: what scripts of other sites may send (WHATWG Fetch 3.2.2). Browsers ask before they
    send conditional requests."""
    return web.Response(
        status=204,
        headers={
            "Allow": "GET, HEAD, OPTIONS",
            "Access-Control-Allow-Origin": "*",
            "Access-Control-Allow-Methods": "GET, HEAD",
            "Access-Control-Allow-Headers": "A-IM, If-Modified-Since, If-None-Match",
            "Access-Control-Max-Age": "86400",
        },
    )


async def show_opml(request: web.Request) -> web.StreamResponse:
    """GET `/feeds.opml`: the live feeds of all categories and public views, as OPML 2.0."""
    return await answer_cached(request, Page(categories.ALL), OPML, "/feeds.opml")
