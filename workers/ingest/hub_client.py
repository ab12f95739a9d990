"""Subscribe: ask hubs to tell us, instead of asking sites again and again (WebSub section 5).

A source whose document or headers name a hub and a topic is subscribed to as a part of its polls;
when a lease is about to end, the source comes due for that alone. Without PUBLIC_URL no hub could
reach us, and none is asked.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace

import aiohttp

from service import http
from service.articles.times import to_ms
from service.errors import FetchFailed
from service.settings import Settings
from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage.store import Store
from service.websub import subscriber
from service.websub.subscriber import HubSubscription
from workers.runtime import Clock

logger = logging.getLogger(__name__)

TIMEOUT_S = 15
MAX_REDIRECTS = 3


class HubClient:
    """Keeps subscriptions of sources alive."""

    def __init__(
        self, store: Store, settings: Settings, client: aiohttp.ClientSession, *, now: Clock
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self._now = now

    async def kept(self, source: Source, poll: Poll, headers: Mapping[str, str]) -> Poll:
        """The poll after its subscription was seen to: made, renewed, or given up.

        Args:
            headers: of the answer; what they name counts before what the document names.
        """
        hub, topic = _named(headers, source.url) if "Link" in headers else ("", "")
        if not hub and not poll.hub:
            return poll
        # A 304 has no document, and often no Link.
        poll = replace(poll, hub=hub or poll.hub, topic=topic or poll.topic)
        if not self._settings.public_url:
            return poll
        poll = replace(poll, topic=poll.topic or source.url)
        return await self.renewed(source, poll)

    async def renewed(self, source: Source, poll: Poll) -> Poll:
        """The poll after its hub was asked, if it was time to."""
        now_ms = to_ms(self._now())
        before = await self._get(poll)
        if before and (before.hub, before.topic) == (poll.hub, poll.topic):
            if before.is_live(now_ms) and before.replaces:
                before = await self._end_former(before)
            if before.renew_ms > now_ms:
                return poll
        after = HubSubscription(
            id=secrets.token_urlsafe(24),
            source_id=source.id,
            hub=poll.hub,
            topic=poll.topic,
            secret=secrets.token_hex(32),
            failures=before.failures if before else 0,
            replaces=before.id if before else "",
        ).asked(now_ms)
        if before and not before.is_live(now_ms):
            await self._store.our_subscriptions.remove(before.id)
            after = replace(after, replaces="")
        await self._store.our_subscriptions.put(after)
        await self._ask("subscribe", after)
        return replace(poll, subscription=after.id)

    async def is_live(self, poll: Poll) -> bool:
        """Whether its hub tells us of news."""
        now_ms = to_ms(self._now())
        subscription = await self._get(poll)
        if subscription is None:
            return False
        former = await self._store.our_subscriptions.get(subscription.replaces)
        return subscription.is_live(now_ms) or bool(former and former.is_live(now_ms))

    async def due_ms(self, poll: Poll) -> int | None:
        """When its hub is to be asked again."""
        subscription = await self._get(poll)
        return subscription.renew_ms if subscription else None

    async def _get(self, poll: Poll) -> HubSubscription | None:
        return (
            await self._store.our_subscriptions.get(poll.subscription)
            if poll.subscription
            else None
        )

    async def _end_former(self, subscription: HubSubscription) -> HubSubscription:
        """The hub would tell the former callback, too, until its lease ends."""
        former = await self._store.our_subscriptions.get(subscription.replaces)
        subscription = replace(subscription, replaces="")
        await self._store.our_subscriptions.put(subscription)
        if former:
            await self._store.our_subscriptions.put(replace(former, is_ending=True))
            await self._ask("unsubscribe", former)
        return subscription

    async def _ask(self, mode: str, subscription: HubSubscription) -> None:
        """Section 5.1. What the hub thinks of it comes to the callback."""
        form = {
            "hub.callback": f"{self._settings.base_url}/websub/{subscription.id}",
            "hub.mode": mode,
            "hub.topic": subscription.topic,
        }
        if mode == "subscribe":
            form["hub.secret"] = subscription.secret
            form["hub.lease_seconds"] = str(subscriber.LEASE_S)
        extra: dict[str, object] = {"hub": subscription.hub, "topic": subscription.topic}
        try:
            status = await self._post(subscription.hub, form)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError, FetchFailed) as exc:
            logger.warning("a hub cannot be asked", extra={**extra, "reason": repr(exc)})
        else:
            logger.info("a hub was asked", extra={**extra, "mode": mode, "status": status})

    async def _post(self, url: str, form: Mapping[str, str]) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(MAX_REDIRECTS):
                async with self._client.post(url, data=form, allow_redirects=False) as response:
                    # Section 5.1.1: a hub may send us on, with the same request.
                    if response.status not in (307, 308):
                        return response.status
                    url = response.headers.get("Location", "")
        raise FetchFailed(url, f"more than {MAX_REDIRECTS} redirects")


def _named(headers: Mapping[str, str], base_url: str) -> tuple[str, str]:
    getall = getattr(headers, "getall", None)
    values = getall("Link", ()) if getall else filter(None, [headers.get("Link")])
    return http.links(values, base_url=base_url)
