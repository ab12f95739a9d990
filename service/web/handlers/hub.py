"""/hub: the WebSub hub of all feeds and views; deliver workers process the accepted requests."""

from __future__ import annotations

import logging
from math import ceil

from aiohttp import web

from service.errors import InvalidInput, NotFound
from service.manage import hub as manage_hub
from service.settings import Settings
from service.storage.hub_subscriptions import Refusal
from service.web.request.body import json_response, media_type, read_body
from service.web.request.client_address import client_address
from service.web.request.keys import CLOCK, PAGE_LOADER, SETTINGS, STORE
from service.websub import hub

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 3_600
# Enough for three URLs and a secret, all percent-encoded, and for pings with many topics.
MAX_FORM_BYTES = 65_536
# The second is aiohttp's default for a request without Content-Type.
_FORMS = ("application/x-www-form-urlencoded", "application/octet-stream")


async def take(request: web.Request) -> web.StreamResponse:
    """POST: 202, to be confirmed by the callback; 4xx with the reason as text (5.1.2)."""
    # Requests need no token: limit the body before it is parsed.
    body = await read_body(request, max_bytes=MAX_FORM_BYTES)
    named = media_type(request)
    if named not in _FORMS:
        raise web.HTTPUnsupportedMediaType(text=f"must be {_FORMS[0]}, not {named[:100]!r}")
    form = hub.form_of(body)
    if hub.single_values(form, ["hub.mode"]).get("hub.mode") == hub.PUBLISH:
        topics = [value for name, value in form if name in ("hub.topic", "hub.url") and value]
        return _publish(topics, request.app[SETTINGS])
    fields = hub.single_values(form, hub.PARAMETERS)
    return await _ask(request, hub.parse_request(fields, settings=request.app[SETTINGS]))


async def _ask(request: web.Request, hub_request: hub.SubscriptionRequest) -> web.StreamResponse:
    """Store a request to subscribe or unsubscribe, unless a limit is reached."""
    store, settings = request.app[STORE].hub_subscriptions, request.app[SETTINGS]
    if hub_request.mode == hub.UNSUBSCRIBE:
        if await store.get(hub_request.id) == (None, None):
            raise NotFound("no such subscription")
    else:
        ours = hub.topic_of(hub_request.topic, settings)
        category = ours[0].category if ours else ""
        is_known = not ours or await request.app[PAGE_LOADER].feeds.is_known(category)
        # A subscription to a feed whose category has another path now can be renewed.
        if not is_known and not await request.app[STORE].category_renames.of(category):
            raise NotFound(f"hub.topic: {hub_request.topic} is not a feed of this site")
    now = request.app[CLOCK]()
    wait_s = await manage_hub.take_tokens(
        request.app[STORE], hub_request, client=client_address(request), settings=settings, now=now
    )
    if wait_s:
        return _said(429, "too many requests; try again later", retry_after_s=ceil(wait_s))
    refusal = await store.ask(hub_request, settings=settings, now=now)
    if refusal is Refusal.ENDING and hub_request.mode == hub.SUBSCRIBE:
        return _said(503, "this subscription is being ended; try again later")
    if refusal in (Refusal.NO, Refusal.ENDING):
        return _said(202, "accepted; the callback will be asked to confirm it")
    logger.warning("a subscription was refused", extra={"cap": refusal.value})
    where = "this callback's host has" if refusal is Refusal.HOST else "this hub has"
    return _said(429 if refusal is Refusal.HOST else 503, f"{where} no room for more subscriptions")


def _publish(topics: list[str], settings: Settings) -> web.StreamResponse:
    """Accept a ping for feeds of this site; their changes are noticed without it."""
    if not topics:
        raise InvalidInput("hub.topic", "", "hub.topic or hub.url must name the changed feed")
    for topic in map(hub.unescaped, topics):
        if hub.topic_of(topic, settings) is None:
            raise InvalidInput("hub.topic", topic, "is not a feed of this site")
    return _said(202, "accepted")


def _said(status: int, text: str, *, retry_after_s: int = RETRY_AFTER_S) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status in (429, 503):
        headers["Retry-After"] = str(retry_after_s)
    return web.Response(status=status, text=text + "\n", headers=headers)


async def list_subscribers(request: web.Request) -> web.StreamResponse:
    """GET: all subscriptions to our feeds, without their secrets."""
    return json_response(await manage_hub.all_public(request.app[STORE]))


async def remove_subscriber(request: web.Request) -> web.StreamResponse:
    """DELETE: end a subscription; its callback is notified, but cannot refuse."""
    await manage_hub.remove(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)
