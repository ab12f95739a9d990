"""/api/v1/webhooks: manage webhooks, as the CLI does; /webhooks: the same as read-only pages."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from service.http import whole_number
from service.manage import webhooks as manage_webhooks
from service.web.html import render
from service.web.request.body import json_response, read_object
from service.web.request.keys import CLOCK, SETTINGS, STORE
from service.web.serving.page_loader import HTML_HEADERS


async def add_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the id and, this once, the secret."""
    store, now = request.app[STORE], request.app[CLOCK]()
    return json_response(
        await manage_webhooks.add(store, await read_object(request), now=now), status=201
    )


async def list_webhooks(request: web.Request) -> web.StreamResponse:
    """GET: all of them with their states."""
    return json_response(await manage_webhooks.all_public(request.app[STORE]))


async def show_webhook(request: web.Request) -> web.StreamResponse:
    """GET one."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    return json_response((await manage_webhooks.to_public(store, [webhook]))[0])


async def change_webhook(request: web.Request) -> web.StreamResponse:
    """PATCH: change the named fields (RFC 7396, but `headers` are replaced whole)."""
    fields = await read_object(request)
    store, webhook_id = request.app[STORE], request.match_info["id"]
    return json_response(await manage_webhooks.change(store, webhook_id, fields))


async def remove_webhook(request: web.Request) -> web.StreamResponse:
    """DELETE."""
    await manage_webhooks.remove(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """GET: the newest attempts of a webhook, or one of them."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    return json_response(await store.webhooks.attempts(webhook.id, limit=_limit(request)))


async def list_dead_letters(request: web.Request) -> web.StreamResponse:
    """GET: the newest ranges of events that were given up."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    return json_response(await store.webhooks.dead_letters(webhook.id, limit=_limit(request)))


async def list_operations(request: web.Request) -> web.StreamResponse:
    """GET: the newest events for operators: webhooks disabled, failing, recovered, with a gap."""
    return json_response(await request.app[STORE].webhooks.operations(limit=_limit(request)))


async def test_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; the deliver worker sends a test message."""
    message_id = await manage_webhooks.request_test(request.app[STORE], request.match_info["id"])
    return json_response({"message_id": message_id}, status=202)


async def resume_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; it goes on, from where it stood unless `from` says otherwise."""
    fields = await read_object(request) if request.can_read_body else {}
    store, now = request.app[STORE], request.app[CLOCK]()
    resumed = await manage_webhooks.resume(store, request.match_info["id"], fields, now=now)
    return json_response(resumed, status=202)


async def replay_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; events are sent again."""
    fields = await read_object(request)
    store, webhook_id = request.app[STORE], request.match_info["id"]
    return json_response(await manage_webhooks.replay(store, webhook_id, fields), status=202)


async def rotate_webhook(request: web.Request) -> web.StreamResponse:
    """POST: another key; 200 with, this once, its secret."""
    fields = await read_object(request) if request.can_read_body else {}
    store, now = request.app[STORE], request.app[CLOCK]()
    return json_response(
        await manage_webhooks.rotate(store, request.match_info["id"], fields, now=now)
    )


# How it is, before how it is set up.
_FIRST = (
    "state", "disabled", "failures", "failing_since", "next_attempt", "waiting", "waiting_since",
)  # fmt: skip


async def show_page(request: web.Request) -> web.StreamResponse:
    """GET: all webhooks and their states, for people."""
    webhooks = await manage_webhooks.all_public(request.app[STORE])
    operations = await request.app[STORE].webhooks.operations(limit=manage_webhooks.MAX_LISTED)
    return _page(request, webhooks=webhooks, operations=operations)


async def show_one(request: web.Request) -> web.StreamResponse:
    """GET: one with what was tried, for people."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    (shown,) = await manage_webhooks.to_public(store, [webhook])
    shown = {**{name: shown[name] for name in _FIRST}, **shown}
    attempts = await store.webhooks.attempts(webhook.id, limit=manage_webhooks.MAX_LISTED)
    letters = await store.webhooks.dead_letters(webhook.id, limit=manage_webhooks.MAX_LISTED)
    return _page(request, one=shown, attempts=attempts, letters=letters)


def _page(request: web.Request, **found: Any) -> web.Response:
    settings = request.app[SETTINGS]
    view = render.WebhooksView(site_title=settings.site_title, base_url=settings.base_url, **found)
    headers = {**HTML_HEADERS, "Cache-Control": "no-store"}
    return web.Response(headers=headers, body=render.render_webhooks(view))


def _limit(request: web.Request) -> int:
    most = manage_webhooks.MAX_LISTED
    return whole_number("limit", request.query.get("limit", str(most)), low=1, high=most)
