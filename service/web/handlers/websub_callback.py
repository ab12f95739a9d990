"""/websub/{id}: the callback of our own WebSub subscriptions (W3C REC, sections 5.2, 5.3 and 7).

Hubs verify by GET and deliver by POST. Nothing is parsed here: a delivery with a valid signature is
stored, and an ingest worker processes it.
"""

from __future__ import annotations

import logging

from aiohttp import web

from service.articles.times import to_ms
from service.web.request.body import read_body
from service.web.request.keys import CLOCK, STORE
from service.web.request.parameters import single_value
from service.websub import subscriber
from service.websub.subscriber import LEASE_S

logger = logging.getLogger(__name__)

MAX_CHALLENGE_CHARS = 4_096
# A longer lease is not plausible: then, or if the hub names none, the requested lease counts.
MAX_LEASE_S = 10 * 365 * 86_400


async def verify(request: web.Request) -> web.StreamResponse:
    """GET: 200 with the challenge if we made this request, 404 for anything else."""
    store, now_ms = request.app[STORE], to_ms(request.app[CLOCK]())
    subscription = await store.our_subscriptions.get(request.match_info["id"])
    mode, topic = single_value(request.query, "hub.mode"), single_value(request.query, "hub.topic")
    if subscription is None or topic != subscription.topic:
        raise web.HTTPNotFound(text="no such subscription")
    if mode == "denied":
        logger.warning(
            "a hub denied a subscription", extra={"topic": topic, "hub": subscription.hub}
        )
        await store.our_subscriptions.put(subscription.requested(now_ms).ended())
        return web.Response(text="")
    is_asked = mode == ("unsubscribe" if subscription.is_ending else "subscribe")
    challenge = single_value(request.query, "hub.challenge")
    if not is_asked or not challenge or len(challenge) > MAX_CHALLENGE_CHARS:
        raise web.HTTPNotFound(text="no such request was made")
    if subscription.is_ending:
        await store.our_subscriptions.remove(subscription.id)
    else:
        live = subscription.verified(_lease_s(request), now_ms)
        await store.our_subscriptions.put(live)
        await store.sources.wake_for_renewal(live.source_id, due_ms=live.renew_ms)
    headers = {"X-Content-Type-Options": "nosniff"}
    return web.Response(text=challenge, content_type="text/plain", headers=headers)


def _lease_s(request: web.Request) -> int:
    text = single_value(request.query, "hub.lease_seconds")
    if text.isascii() and text.isdigit() and 0 < int(text[:12]) <= MAX_LEASE_S:
        return int(text[:12])
    return LEASE_S


async def deliver(request: web.Request) -> web.StreamResponse:
    """POST: 202; 403 without a signature; 410 if the subscription or its source has ended, so that
    the hub ends it, too."""
    store, now_ms = request.app[STORE], to_ms(request.app[CLOCK]())
    subscription = await store.our_subscriptions.get(request.match_info["id"])
    if subscription is None or not subscription.is_live(now_ms):
        raise web.HTTPGone(text="no such subscription")
    source = await store.sources.get(subscription.source_id)
    if source is None or source.paused:
        await store.our_subscriptions.remove(subscription.id)
        raise web.HTTPGone(text="this subscription is not needed any more")
    body = await read_body(request)
    signature = request.headers.get("X-Hub-Signature", "")
    if not subscriber.is_signed(body, signature=signature, secret=subscription.secret):
        logger.warning("a push has a wrong signature", extra={"topic": subscription.topic})
        await store.count({"pushes_forged": 1})
        # Section 7.1.1 lets a wrong signature look like success, so that nobody can guess one.
        # A push without a signature offers nothing to guess, and its hub should learn of it.
        return web.Response(status=202 if signature else 403)
    content_type = request.headers.get("Content-Type", "")
    pushed = store.our_subscriptions.push(source.id, body, content_type, host=source.host)
    if not await pushed:
        await store.sources.wake(subscription.source_id, due_ms=now_ms)
    await store.count({"pushes": 1})
    return web.Response(status=202)
