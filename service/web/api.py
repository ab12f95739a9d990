"""/api/v1/articles: publish by push, list, read, withdraw."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from service.articles import categories, input, times
from service.articles.article import Draft
from service.articles.compose import compose
from service.errors import InvalidInput, NotFound
from service.web import problems
from service.web.body import read_body
from service.web.reading import find_article
from service.web.state import CLOCK, SETTINGS, STORE, TOKEN

# Where a push says of itself nothing else.
PUSH_SOURCE = "urn:dateline:push"
MAX_BATCH = 1_000
MAX_LIST = 1_000
DEFAULT_LIST = 50
_LIST_PARAMETERS = ("category", "since", "until", "limit")

Authorized = Callable[[web.Request], Awaitable[web.StreamResponse]]


def authorized(handler: Authorized, *, scheme: str = "Bearer") -> Authorized:
    """The handler, for those who bear the token (RFC 6750); with scheme Basic for people whose
    browser asks them for it, as the password of any name (RFC 7617)."""

    async def check(request: web.Request) -> web.StreamResponse:
        # Headers are decoded so that bytes which are not UTF-8 become surrogates.
        given = _token(request, scheme).encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, request.app[TOKEN].encode()):
            raise web.HTTPUnauthorized(
                text=f"this needs the header Authorization: {scheme} with the API token",
                headers={"WWW-Authenticate": f'{scheme} realm="dateline"'},
            )
        return await handler(request)

    return check


def _token(request: web.Request, scheme: str) -> str:
    """What the header gives as the token; nothing if it is of another scheme."""
    found, _, given = request.headers.get("Authorization", "").partition(" ")
    if found.lower() != scheme.lower():
        return ""
    if scheme == "Bearer":
        return given.strip()
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


async def publish(request: web.Request) -> web.StreamResponse:
    """POST: one article, an array, or NDJSON."""
    items, single = _items(await read_body(request, takes_gzip=True), request.content_type)
    loop = asyncio.get_running_loop()
    drafts = await loop.run_in_executor(None, lambda: [_draft(item) for item in items])
    if single and isinstance(drafts[0], InvalidInput):
        raise drafts[0]
    kept = [draft for draft in drafts if isinstance(draft, Draft)]
    receipts = await request.app[STORE].articles.append(kept, now=request.app[CLOCK](), revive=True)
    if single:
        status = 201 if receipts[0].status == "created" else 200
        location = {"Location": f"{request.app[SETTINGS].base_url}/articles/{receipts[0].id}"}
        return json_response(receipts[0], status=status, headers=location)
    answers = iter(receipts)
    return json_response(
        [next(answers) if isinstance(draft, Draft) else _rejected(draft) for draft in drafts]
    )


def _items(body: bytes, content_type: str) -> tuple[list[Any], bool]:
    """(the items, whether it was one alone); an item that is no JSON is an InvalidInput."""
    if "ndjson" in content_type or "jsonl" in content_type:
        lines = [line for line in body.splitlines() if line.strip()]
        return _bounded([_line(number, line) for number, line in enumerate(lines, 1)]), False
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("body", body[:80].decode("utf-8", "replace"), f"no JSON: {exc}") from exc
    return (_bounded(found), False) if isinstance(found, list) else ([found], True)


def _bounded(items: list[Any]) -> list[Any]:
    if len(items) > MAX_BATCH:
        raise InvalidInput("body", f"{len(items)} articles", f"at most {MAX_BATCH} in one request")
    return items


def _line(number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        return InvalidInput(f"line {number}", line[:80].decode("utf-8", "replace"), f"{exc}")


def _draft(item: Any) -> Draft | InvalidInput:
    """An item's draft, or why there is none."""
    if isinstance(item, InvalidInput):
        return item
    try:
        if not isinstance(item, dict):
            raise InvalidInput("article", item, "must be a JSON object")
        entry = input.entry_from_json(item)
        return compose(entry, source=entry.source or PUSH_SOURCE)
    except InvalidInput as exc:
        return exc


def _rejected(exc: InvalidInput) -> dict[str, Any]:
    return {"status": "rejected", "error": problems.of_error(exc)}


async def list_articles(request: web.Request) -> web.StreamResponse:
    """GET: newest first. `next` is the URL of the older ones; null at the end."""
    given = request.query
    unknown = next((name for name in given if name not in _LIST_PARAMETERS), None)
    if unknown:
        known = ", ".join(_LIST_PARAMETERS)
        raise InvalidInput(unknown, given[unknown], f"no such parameter; known: {known}")
    category = given.get("category", categories.ALL)
    if category != categories.ALL:
        category = categories.parse(category).path
    limit = _limit(given)
    store = request.app[STORE]
    ids = await store.pages.between(
        category,
        since=_moment(given, "since"),
        until=_moment(given, "until"),
        limit=limit,
    )
    found = [article for article in await store.articles.get(ids) if article]
    following = None
    if len(ids) == limit and found:
        # Ties at the border come again on the next page rather than never.
        until = times.from_ms(times.to_ms(found[-1].published) + 1)
        following = str(request.rel_url.with_query({**given, "until": times.to_rfc3339(until)}))
    items = [orjson.Fragment(article.to_json()) for article in found]
    return json_response({"articles": items, "next": following})


def _limit(given: Mapping[str, str]) -> int:
    text = given.get("limit", str(DEFAULT_LIST))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LIST:
        raise InvalidInput("limit", text, f"must be a number from 1 to {MAX_LIST}")
    return int(text)


def _moment(given: Mapping[str, str], name: str) -> datetime | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        return times.from_rfc3339(text)
    except ValueError as exc:
        raise InvalidInput(name, text, "must be RFC 3339 with a zone") from exc


async def show_article(request: web.Request) -> web.StreamResponse:
    """GET one."""
    article = await find_article(request, request.match_info["id"])
    return json_response(orjson.Fragment(article.to_json()))


async def withdraw(request: web.Request) -> web.StreamResponse:
    """DELETE: take an article out of all feeds."""
    article_id = request.match_info["id"]
    receipt = await request.app[STORE].articles.withdraw(article_id, now=request.app[CLOCK]())
    if receipt is None:
        raise NotFound(f"{article_id}: no such article")
    return json_response(receipt)


def json_response(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """JSON, not to be kept by caches."""
    return web.json_bytes_response(
        value, status=status, headers={"Cache-Control": "no-store", **(headers or {})},
        dumps=orjson.dumps,
    )  # fmt: skip
