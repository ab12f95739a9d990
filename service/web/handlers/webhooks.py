"""/api/v1/webhooks: manage webhooks, as the CLI does; /webhooks: their state as HTML pages."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from service.http import whole_number
from service.manage import webhooks as manage_webhooks
from service.web.html import render
from service.web.request.body import json_response, read_object
from service.web.request.keys import CLOCK, SETTINGS, STORE
from service.web.request.paging import check_length, part_response, part_wanted
from service.web.request.parameters import single_value
from service.web.serving.headers import HTML_HEADERS


async def add_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the new webhook and its secret, which is never shown again."""
    store, now = request.app[STORE], request.app[CLOCK]()
    return json_response(
        await manage_webhooks.add(store, await read_object(request), now=now), status=201
    )


async def list_webhooks(request: web.Request) -> web.StreamResponse:
    """GET: webhooks with their states, without their secrets; all, or with `limit` a part."""
    store, part = request.app[STORE], part_wanted(request)
    if part is None:
        check_length(await store.webhooks.count())
        return json_response(await manage_webhooks.all_public(store))
    shown, last = await manage_webhooks.part_public(store, after=part.after, limit=part.limit)
    return part_response(request, "webhooks", shown, last=last)


async def show_webhook(request: web.Request) -> web.StreamResponse:
    """GET: one webhook with its state; 404 for an unknown id."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    return json_response((await manage_webhooks.to_public(store, [webhook]))[0])


async def change_webhook(request: web.Request) -> web.StreamResponse:
    """PATCH: change the named fields (RFC 7396, but `headers` are replaced whole)."""
    fields = await read_object(request)
    store, webhook_id = request.app[STORE], request.match_info["id"]
    return json_response(await manage_webhooks.change(store, webhook_id, fields))


async def remove_webhook(request: web.Request) -> web.StreamResponse:
    """DELETE: remove a webhook; events that wait for it are not sent any more."""
    await manage_webhooks.remove(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """GET: the newest delivery attempts of a webhook, up to `limit`."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    return json_response(await store.webhooks.attempts(webhook.id, limit=_limit(request)))


async def list_dead_letters(request: web.Request) -> web.StreamResponse:
    """GET: the newest ranges of events whose delivery was given up, up to `limit`."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    return json_response(await store.webhooks.dead_letters(webhook.id, limit=_limit(request)))


async def list_operations(request: web.Request) -> web.StreamResponse:
    """GET: the newest events for operators: webhooks disabled, failing, recovered, with a gap."""
    return json_response(await request.app[STORE].operations.newest(limit=_limit(request)))


async def test_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; the deliver worker sends a test message."""
    message_id = await manage_webhooks.request_test(request.app[STORE], request.match_info["id"])
    return json_response({"message_id": message_id}, status=202)


async def resume_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; delivery continues where it stopped, or at the position that `from` names."""
    fields = await read_object(request) if request.can_read_body else {}
    store, now = request.app[STORE], request.app[CLOCK]()
    resumed = await manage_webhooks.resume(store, request.match_info["id"], fields, now=now)
    return json_response(resumed, status=202)


async def replay_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 202; a range of past events is sent again."""
    fields = await read_object(request)
    store, webhook_id = request.app[STORE], request.match_info["id"]
    return json_response(await manage_webhooks.replay(store, webhook_id, fields), status=202)


async def rotate_webhook(request: web.Request) -> web.StreamResponse:
    """POST: 200 with a new secret, which is never shown again."""
    fields = await read_object(request) if request.can_read_body else {}
    store, now = request.app[STORE], request.app[CLOCK]()
    return json_response(
        await manage_webhooks.rotate(store, request.match_info["id"], fields, now=now)
    )


# The state of a webhook is shown before its settings.
_FIRST = (
    "state", "disabled", "failures", "failing_since", "next_attempt", "waiting", "waiting_since",
)  # fmt: skip


async def show_page(request: web.Request) -> web.StreamResponse:
    """GET: an HTML page of webhooks, the first MAX_WHOLE if there are more, their states and the
    newest events for operators."""
    webhooks = await anext(manage_webhooks.parts_public(request.app[STORE]))
    operations = await request.app[STORE].operations.newest(limit=manage_webhooks.MAX_LISTED)
    return _page(request, webhooks=webhooks, operations=operations)


async def show_one(request: web.Request) -> web.StreamResponse:
    """GET: an HTML page of one webhook with its newest attempts and dead letters."""
    store = request.app[STORE]
    webhook = await manage_webhooks.find(store, request.match_info["id"])
    (shown,) = await manage_webhooks.to_public(store, [webhook])
    shown = {**{name: shown[name] for name in _FIRST}, **shown}
    attempts = await store.webhooks.attempts(webhook.id, limit=manage_webhooks.MAX_LISTED)
    dead_letters = await store.webhooks.dead_letters(webhook.id, limit=manage_webhooks.MAX_LISTED)
    return _page(request, webhook=shown, attempts=attempts, dead_letters=dead_letters)


def _page(request: web.Request, **values: Any) -> web.Response:
    settings = request.app[SETTINGS]
    view = render.WebhooksView(site_title=settings.site_title, base_url=settings.base_url, **values)
    headers = {**HTML_HEADERS, "Cache-Control": "no-store"}
    return web.Response(headers=headers, body=render.render_webhooks(view))


def _limit(request: web.Request) -> int:
    maximum = manage_webhooks.MAX_LISTED
    text = single_value(request.query, "limit", str(maximum))
    return whole_number("limit", text, low=1, high=maximum)
