"""Handlers of what people and readers read: feeds, pages, single articles."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote_plus

from aiohttp import web

from service.articles.article import Article
from service.articles.times import to_ms
from service.errors import NotFound
from service.feeds import opml
from service.feeds.page import FORMATS, Page, parse_page
from service.feeds.private_feed import token_hash
from service.feeds.query import parse_query
from service.web import html
from service.web.documents import CORS, HOME, HTML, HTML_HEADERS, LIVE_MAX_AGE_S
from service.web.ready import Document
from service.web.state import CACHE, CLOCK, DOCUMENTS, SETTINGS, STORE

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_BRIEFLY = f"public, max-age={LIVE_MAX_AGE_S}"


async def show_feed(request: web.Request) -> web.StreamResponse:
    """`/feeds/{category}[/{date}].{rss|atom|json}`."""
    path, dot, extension = request.match_info["path"].rstrip("/").rpartition(".")
    if not dot or extension.lower() not in FORMATS:
        raise NotFound(f"{request.path}: a feed's path ends with .rss, .atom or .json")
    page = await _known_page(request, path)
    query = parse_query(request.rel_url.raw_query_string, zone=request.app[SETTINGS].timezone)
    page = replace(page, query=str(query))
    return await _show(request, page, extension.lower(), page.feed_path(extension.lower()))


async def show_private(request: web.Request) -> web.StreamResponse:
    """`/private/{token}.{rss|atom|json}`: a category or view, live, for one subscriber."""
    token, _, extension = request.match_info["name"].rpartition(".")
    feed = await request.app[STORE].private_feeds.get(token_hash(token))
    if feed is None or extension not in FORMATS:
        # Neither the token nor what is near it is repeated to anybody.
        raise NotFound("no such private feed")
    query = parse_query(request.rel_url.raw_query_string, zone=request.app[SETTINGS].timezone)
    page = Page(feed.category, query=str(query), token=token)
    return await _show(request, page, extension, page.feed_path(extension))


async def show_options(_: web.Request) -> web.StreamResponse:
    """What a script of another site may do (WHATWG Fetch 3.2.2: conditional requests ask first)."""
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


async def show_news(request: web.Request) -> web.StreamResponse:
    """`/news/{category}[/{date}]`."""
    page = await _known_page(request, request.match_info["path"].rstrip("/"))
    return await _show(request, page, HTML, page.news_path())


async def show_home(request: web.Request) -> web.StreamResponse:
    """`/`."""
    return await _show(request, Page("all"), HOME, "/")


async def _known_page(request: web.Request, path: str) -> Page:
    page = parse_page(path)
    if page is None:
        raise NotFound(f"{request.path}: no such category or date")
    if not await request.app[DOCUMENTS].feeds.is_known(page.category):
        raise NotFound(f"{page.category}: no such category")
    return page


async def _show(
    request: web.Request, page: Page, extension: str, true_path: str
) -> web.StreamResponse:
    # One URL for each page: near misses (case, a missing zero, another order) are sent there.
    asked = request.path_qs if extension in FORMATS else request.path
    if unquote_plus(asked) != unquote_plus(true_path):
        raise web.HTTPPermanentRedirect(true_path)
    # Percent-encoding spells one path in thousands of ways: only ours is remembered.
    hot_path = true_path if request.raw_path == true_path else ""
    document = await request.app[CACHE].get(page, extension, hot_path=hot_path)
    return await request.app[DOCUMENTS].answer(document, request)


async def show_opml(request: web.Request) -> web.StreamResponse:
    """`/feeds.opml`."""
    app = request.app
    titles = await app[STORE].articles.category_titles()
    views = [view for view in await app[STORE].views.all() if not view.private]
    version = await app[STORE].pages.version(Page("all"))
    body = opml.render(
        titles,
        views={view.path: view.title for view in views},
        site_title=app[SETTINGS].site_title,
        base_url=app[SETTINGS].base_url,
        changed_ms=version.changed_ms,
    )
    headers = {"Content-Type": "text/x-opml; charset=utf-8", "Cache-Control": _BRIEFLY, **CORS}
    return Document(body, headers=headers).made(request)


async def show_article(request: web.Request) -> web.StreamResponse:
    """`/articles/{id}` for people, `/articles/{id}.json` for machines."""
    name = request.match_info["name"]
    article = await find_article(request, name.removesuffix(".json"))
    headers = {"Cache-Control": _BRIEFLY}
    if name.endswith(".json"):
        headers |= {"Content-Type": "application/json; charset=utf-8", **CORS}
        body = article.to_json()
    else:
        titles = await request.app[DOCUMENTS].feeds.titles(article.categories)
        headers |= HTML_HEADERS
        body = html.render_article(
            html.ArticleView(
                site_title=request.app[SETTINGS].site_title,
                base_url=request.app[SETTINGS].base_url,
                article=article,
                titles=dict(titles),
                zone=request.app[SETTINGS].timezone,
            )
        )
    return Document(body, headers=headers, changed_ms=to_ms(article.updated)).made(request)


async def find_article(request: web.Request, article_id: str) -> Article:
    """A live article. Raises NotFound, and HTTPGone for one that was withdrawn."""
    found = (
        (await request.app[STORE].articles.get([article_id]))[0]
        if _ID.fullmatch(article_id)
        else None
    )
    if found is None:
        raise NotFound(f"{article_id}: no such article")
    if found.status != "live":
        raise web.HTTPGone(text=f"{article_id}: this article was withdrawn")
    return found


async def note_readers(request_app: web.Application) -> None:
    """Tell the aggregate workers what was read since the last call: they render it ahead."""
    asked = [
        (page, extension)
        for page, extension in request_app[CACHE].take_asked()
        if extension in FORMATS and page.is_shared
    ]
    await request_app[STORE].rendered.ask(asked, now=request_app[CLOCK]())
