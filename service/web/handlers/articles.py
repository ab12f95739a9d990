"""Articles: `/articles/{id}` for people, `/api/v1/articles` to publish, list, read, withdraw."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web
from multidict import MultiMapping

from service.articles import categories, input, times
from service.articles.article import LIVE, Article, Draft
from service.articles.category_creator import CategoryCreator, free_paths
from service.articles.compose import compose
from service.articles.json_text import decode_json
from service.errors import (
    DatelineError,
    Gone,
    InvalidInput,
    NotFound,
    NotPermitted,
    ScopeMissing,
)
from service.feeds.page import ArticlePage
from service.feeds.query import PageCursor, cursor_of
from service.http import whole_number
from service.manage import erasure
from service.storage.articles import Receipt
from service.storage.store import Store
from service.tokens.token import Scope
from service.web.request import problems
from service.web.request.auth import limited_client
from service.web.request.body import check_json, json_response, media_type, read_body
from service.web.request.keys import CALLER, CLOCK, COSTLY_READS, SETTINGS, STORE
from service.web.request.page import answer_cached
from service.web.request.parameters import single_value
from service.web.serving.html_pages import live_article
from service.web.serving.page_loader import HTML, JSON

# The source of a posted article that does not name one.
PUSH_SOURCE = "urn:dateline:push"
MAX_BATCH = 1_000
MAX_LIST = 1_000
DEFAULT_LIST = 50
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LINES = (
    "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl",
    "application/jsonlines", "application/x-jsonlines",
)  # fmt: skip
_LIST_PARAMETERS = ("category", "since", "until", "limit", "before")
# Articles that one list reads together, and where it ends: 8 MB are 2,000 articles of 4 kB.
LISTED_AT_ONCE, MAX_LIST_BYTES = 50, 8_000_000


async def publish(request: web.Request) -> web.StreamResponse:
    """POST: one article, a JSON array, or NDJSON.

    One article is answered with 201 if it is new, else 200; the others with a list of receipts,
    in which a rejected article has its problem.
    """
    check_json(request, also=_LINES)
    items, single = _items(await read_body(request, takes_gzip=True), media_type(request))
    loop = asyncio.get_running_loop()
    drafts = await loop.run_in_executor(None, lambda: [_draft(item) for item in items])
    drafts = await _permitted(request, drafts)
    if single and isinstance(drafts[0], InvalidInput):
        raise drafts[0]
    accepted = [draft for draft in drafts if isinstance(draft, Draft)]
    receipts = await request.app[STORE].articles.append(
        accepted,
        now=request.app[CLOCK](),
        revive=True,
        # An article outside of the token's categories could not be sent again with it.
        creator=CategoryCreator(free=free_paths(request[CALLER].categories)),
    )
    answers = iter(_outcome(receipt) for receipt in receipts)
    outcomes = [next(answers) if isinstance(draft, Draft) else draft for draft in drafts]
    if single:
        if isinstance(outcomes[0], DatelineError):
            raise outcomes[0]
        status = 201 if receipts[0].status == "created" else 200
        location = {"Location": f"{request.app[SETTINGS].base_url}/articles/{receipts[0].id}"}
        return json_response(receipts[0], status=status, headers=location)
    return json_response(
        [_rejected(each) if isinstance(each, DatelineError) else each for each in outcomes]
    )


def _outcome(receipt: Receipt) -> Receipt | DatelineError:
    """The receipt of a posted article, or why it was not stored."""
    if receipt.status == "erased":
        return Gone(f"{receipt.id}: this article was erased, and is not taken in again")
    return receipt


def _items(body: bytes, content_type: str) -> tuple[list[Any], bool]:
    """(articles, whether the body is a single one); InvalidInput for a line that is not JSON."""
    if content_type in _LINES:
        lines = [line for line in body.splitlines() if line.strip()]
        return _bounded([_line(number, line) for number, line in enumerate(lines, 1)]), False
    try:
        value = decode_json(body)
    except orjson.JSONDecodeError as exc:
        start = body[:80].decode("utf-8", "replace")
        raise InvalidInput("body", start, f"is not JSON: {exc}") from exc
    return (_bounded(value), False) if isinstance(value, list) else ([value], True)


def _bounded(items: list[Any]) -> list[Any]:
    if len(items) > MAX_BATCH:
        raise InvalidInput("body", f"{len(items)} articles", f"at most {MAX_BATCH} in one request")
    return items


def _line(number: int, line: bytes) -> Any:
    try:
        return decode_json(line)
    except orjson.JSONDecodeError as exc:
        return InvalidInput(f"line {number}", line[:80].decode("utf-8", "replace"), f"{exc}")


def _draft(item: Any) -> Draft | InvalidInput:
    """The draft of a posted article, or the reason why it is rejected."""
    if isinstance(item, InvalidInput):
        return item
    try:
        if not isinstance(item, dict):
            raise InvalidInput("article", item, "must be a JSON object")
        entry = input.refuse_withdrawn(input.entry_from_json(item))
        return compose(entry, source=entry.source or PUSH_SOURCE)
    except InvalidInput as exc:
        return exc


async def _permitted(
    request: web.Request, drafts: list[Draft | InvalidInput]
) -> list[Draft | InvalidInput]:
    """The drafts, with a refusal in the place of each that is outside the token's bounds.

    An article that is kept already must be within them as it is, too: a push to the token's own
    category would take it out of another.
    """
    token = request[CALLER]
    if not token.is_bounded:
        return drafts
    ids = [draft.id for draft in drafts if isinstance(draft, Draft)]
    known = dict(zip(ids, await request.app[STORE].articles.get(ids), strict=True))

    def check(draft: Draft) -> Draft | InvalidInput:
        try:
            paths = [category.path for category in draft.categories]
            token.check_article(source=draft.source, paths=paths)
            article = known[draft.id]
            if article and not article.erased:
                token.check_article(source=article.source, paths=article.categories)
        except NotPermitted as exc:
            return exc
        return draft

    return [check(draft) if isinstance(draft, Draft) else draft for draft in drafts]


def _rejected(exc: DatelineError) -> dict[str, Any]:
    return {"status": "rejected", "error": problems.of_error(exc)}


async def list_articles(request: web.Request) -> web.StreamResponse:
    """GET: live articles, newest first; `next` is the URL of the older ones, null at the end. A
    page ends early if its articles are long. 308 for a former path of a category."""
    query = request.query
    unknown = next((name for name in query if name not in _LIST_PARAMETERS), None)
    if unknown:
        known = ", ".join(_LIST_PARAMETERS)
        raise InvalidInput(unknown, query[unknown], f"no such parameter; known: {known}")
    category = single_value(query, "category", categories.ALL)
    if category != categories.ALL:
        category = categories.parse(category).path
    limit = whole_number(
        "limit", single_value(query, "limit", str(DEFAULT_LIST)), low=1, high=MAX_LIST
    )
    since, until = _moment(query, "since"), _moment(query, "until")
    before = single_value(query, "before")
    async with request.app[COSTLY_READS].slot(limited_client(request)):
        ids = await request.app[STORE].category_index.between(
            category,
            since=since,
            until=until,
            limit=limit,
            before=PageCursor.parse(before) if before else None,
        )
        if not ids and (present := await request.app[STORE].category_renames.of(category)):
            raise web.HTTPPermanentRedirect(request.rel_url.update_query(category=present))
        items, last = await _page_of(request.app[STORE], ids)
    next_url = None
    if last and (len(ids) == limit or last.id != ids[-1]):
        next_url = str(request.rel_url.update_query(before=str(cursor_of(last))))
    return json_response({"articles": items, "next": next_url})


async def _page_of(
    store: Store, ids: Sequence[str]
) -> tuple[list[orjson.Fragment], Article | None]:
    """The JSON of these articles until it is long enough, and the last of them, if any."""
    items: list[orjson.Fragment] = []
    size, last = 0, None
    for at in range(0, len(ids), LISTED_AT_ONCE):
        articles = [a for a in await store.articles.get(ids[at : at + LISTED_AT_ONCE]) if a]
        for body, article in zip(
            await asyncio.to_thread(_json_of, articles), articles, strict=True
        ):
            # One that was just withdrawn is still in the index.
            if article.status == LIVE:
                items.append(orjson.Fragment(body))
            size, last = size + len(body), article
            if size >= MAX_LIST_BYTES:
                return items, last
    return items, last


def _json_of(articles: Sequence[Article]) -> list[bytes]:
    return [article.to_json() for article in articles]


def _moment(query: MultiMapping[str], name: str) -> datetime | None:
    if name not in query:
        return None
    text = single_value(query, name)
    try:
        return times.from_rfc3339(text)
    except ValueError as exc:
        raise InvalidInput(name, text, "must be RFC 3339 with a zone") from exc


async def show_one(request: web.Request) -> web.StreamResponse:
    """GET: an article as JSON. 404 for an unknown id, 410 for a withdrawn article."""
    article_id = _checked_id(request.match_info["id"])
    # A long article takes as long to decode as a short page to render.
    async with request.app[COSTLY_READS].slot(limited_client(request)):
        article = await live_article(request.app[STORE], article_id)
        body = await asyncio.to_thread(article.to_json)
    return json_response(orjson.Fragment(body))


async def withdraw(request: web.Request) -> web.StreamResponse:
    """DELETE: withdraw an article from all feeds; its receipt. 404 for an unknown id.

    `?erase=true`, for a token of scope admin, erases its text everywhere, too.
    """
    erase = single_value(request.query, "erase", "false")
    if erase not in ("true", "false"):
        raise InvalidInput("erase", erase, "must be true or false")
    if erase == "true":
        return await _erase(request)
    article_id, token = request.match_info["id"], request[CALLER]
    if token.is_bounded:
        (article,) = await request.app[STORE].articles.get([article_id])
        if article:
            token.check_article(source=article.source, paths=article.categories)
    receipt = await request.app[STORE].articles.withdraw(article_id, now=request.app[CLOCK]())
    if receipt is None:
        raise NotFound(f"{article_id}: no such article")
    return json_response(receipt)


async def _erase(request: web.Request) -> web.StreamResponse:
    if not request[CALLER].allows(Scope.ADMIN):
        raise ScopeMissing(Scope.ADMIN)
    article_id = request.match_info["id"]
    if not _ID.fullmatch(article_id):
        raise NotFound(f"{article_id}: no such article")
    done = await erasure.erase(request.app[STORE], [article_id], now=request.app[CLOCK]())
    (receipt,) = done.articles
    return json_response({**asdict(receipt), "deleted": done.deleted, "copies": done.copies})


async def show_article(request: web.Request) -> web.StreamResponse:
    """GET `/articles/{id}` as HTML, `/articles/{id}.json` as JSON; 404 and 410 as in the API."""
    name = request.match_info["name"]
    page = ArticlePage(_checked_id(name.removesuffix(".json")))
    # It never becomes hot: no announcement says that an article was withdrawn, so that each request
    # confirms it, by one small read.
    return await answer_cached(request, page, JSON if name.endswith(".json") else HTML, "")


def _checked_id(text: str) -> str:
    """The id of an article that a path names. Raises NotFound if it is not an article's id."""
    if not _ID.fullmatch(text):
        raise NotFound(f"{text}: no such article")
    return text
