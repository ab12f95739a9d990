"""/api/v1/webhooks and /api/v1/sources: manage, as the CLI does."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from service import endpoints
from service import sources as source_rules
from service.articles import to_ms
from service.errors import InvalidInput, NotFound
from service.web.api import json_response, read_body
from service.web.state import CLOCK, STORE


async def add_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the id and, this once, the secret."""
    made = await endpoints.add(request.app[STORE], await _object(request), now=request.app[CLOCK]())
    return json_response(made, status=201)


async def list_webhooks(request: web.Request) -> web.StreamResponse:
    """GET: all of them with their states."""
    return json_response(await endpoints.all_shown(request.app[STORE]))


async def show_webhook(request: web.Request) -> web.StreamResponse:
    """GET one."""
    store = request.app[STORE]
    webhook = await endpoints.find(store, request.match_info["id"])
    return json_response(await endpoints.shown(store, webhook))


async def remove_webhook(request: web.Request) -> web.StreamResponse:
    """DELETE."""
    await endpoints.remove(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """GET: the newest attempts of a webhook."""
    store = request.app[STORE]
    webhook = await endpoints.find(store, request.match_info["id"])
    attempts = await store.deliveries.attempts(webhook.id, limit=endpoints.MAX_ATTEMPTS)
    return json_response(attempts)


async def test_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; the deliver worker sends a test message."""
    message_id = await endpoints.request_test(request.app[STORE], request.match_info["id"])
    return json_response({"message_id": message_id}, status=202)


async def add_source(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the id; 200 if it was there."""
    now = request.app[CLOCK]()
    source = source_rules.make(await _object(request), created=now)
    added = await request.app[STORE].sources.add(source, due_ms=to_ms(now))
    return json_response(source.shown(), status=201 if added else 200)


async def list_sources(request: web.Request) -> web.StreamResponse:
    """GET: all of them."""
    return json_response([source.shown() for source in await request.app[STORE].sources.all()])


async def show_source(request: web.Request) -> web.StreamResponse:
    """GET one, with what its last poll left."""
    store, source_id = request.app[STORE], request.match_info["id"]
    source = await store.sources.get(source_id)
    if source is None:
        raise NotFound(f"{source_id}: no such source")
    return json_response({**source.shown(), "poll": await store.sources.poll(source_id)})


async def remove_source(request: web.Request) -> web.StreamResponse:
    """DELETE; its articles stay."""
    source_id = request.match_info["id"]
    if not await request.app[STORE].sources.remove(source_id):
        raise NotFound(f"{source_id}: no such source")
    return web.Response(status=204)


async def _object(request: web.Request) -> dict[str, Any]:
    body = await read_body(request)
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("body", body[:80].decode("utf-8", "replace"), f"no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise InvalidInput("body", found, "must be a JSON object")
    return found
