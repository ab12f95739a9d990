"""Hub client: subscribes to hubs, so that sources need not be polled often (WebSub section 5).

A source whose document or headers name a hub and a topic is subscribed to after its polls; when a
lease is about to end, the source becomes due for the renewal alone. Without PUBLIC_URL no hub could
reach us, and no request is sent to hubs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urljoin

import aiohttp

from service.articles.times import to_ms
from service.errors import FetchFailed
from service.http import may_share_secrets
from service.settings import Settings
from service.sources.outcome import SubscriptionOutcome
from service.sources.schedule import Poll, due_of
from service.sources.source import Source
from service.storage.claims import Claim, Finished
from service.storage.store import Store
from service.websub import subscriber
from service.websub.subscriber import HubSubscription
from workers.http_client import OutboundClient, reason_of, typed_by_operator
from workers.runtime import Clock

logger = logging.getLogger(__name__)

TIMEOUT_S = 15
MAX_REDIRECTS = 3


class HubClient:
    """Subscribes sources to their hubs, and renews the subscriptions."""

    def __init__(
        self, store: Store, settings: Settings, client: OutboundClient, *, now: Clock
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self._now = now

    async def renew_alone(self, claim: Claim) -> Finished | None:
        """Renew a subscription that is due although its source is not.

        Returns:
            The end of the claim; None if this is not why the source was claimed.
        """
        poll, now_ms = claim.poll, to_ms(self._now())
        if poll.due_ms <= now_ms or not poll.subscription:
            return None
        subscription = await self._store.our_subscriptions.get(poll.subscription)
        if subscription is None or subscription.renew_ms > now_ms:
            return None
        outcome = await self.keep(claim.source, poll)
        poll = replace(poll, subscription=outcome.id if outcome else "")
        due_ms = due_of(poll, outcome.renew_ms if outcome else None)
        return Finished(claim=claim, poll=poll, due_ms=due_ms)

    async def renew_ms_of(self, poll: Poll) -> int | None:
        """When the subscription of a source must be renewed, ms since the epoch; None without
        one."""
        subscription = await self._get(poll.subscription)
        return subscription.renew_ms if subscription else None

    async def keep(self, source: Source, poll: Poll) -> SubscriptionOutcome | None:
        """Subscribe to the hub that a poll names, or renew if that is due; end the subscription of
        a source that names no hub any more.

        Returns:
            The subscription; None if the source has none from now on.
        """
        if not poll.hub or not self._settings.public_url:
            await self._end_all(source, poll.subscription)
            return None
        return await self._outcome(await self._renewed(source, poll))

    async def _renewed(self, source: Source, poll: Poll) -> str:
        """The id of the subscription, after a request to the hub if that was due."""
        now_ms = to_ms(self._now())
        before = await self._get(poll.subscription)
        if before and (before.hub, before.topic) == (poll.hub, poll.topic):
            if before.is_live(now_ms) and before.replaces:
                before = await self._end_former(source, before)
            if before.renew_ms > now_ms:
                return before.id
        after = HubSubscription(
            id=secrets.token_urlsafe(24),
            source_id=source.id,
            hub=poll.hub,
            topic=poll.topic,
            secret=secrets.token_hex(32),
            failures=before.failures if before else 0,
            replaces=before.id if before else "",
        ).requested(now_ms)
        if before and not before.is_live(now_ms):
            await self._store.our_subscriptions.remove(before.id)
            after = replace(after, replaces="")
        await self._store.our_subscriptions.put(after)
        await self._request("subscribe", source, after)
        return after.id

    async def _outcome(self, subscription_id: str) -> SubscriptionOutcome | None:
        """The state of a subscription, read again: the hub may have verified it meanwhile."""
        now_ms = to_ms(self._now())
        subscription = await self._get(subscription_id)
        if subscription is None:
            return None
        is_live = subscription.is_live(now_ms)
        if not is_live:
            former = await self._get(subscription.replaces)
            is_live = former is not None and former.is_live(now_ms)
        return SubscriptionOutcome(
            id=subscription.id, is_live=is_live, renew_ms=subscription.renew_ms
        )

    async def _get(self, subscription_id: str) -> HubSubscription | None:
        if not subscription_id:
            return None
        return await self._store.our_subscriptions.get(subscription_id)

    async def _end_former(self, source: Source, subscription: HubSubscription) -> HubSubscription:
        """Unsubscribe the former callback: the hub would push to it, too, until its lease ends."""
        former = subscription.replaces
        subscription = replace(subscription, replaces="")
        await self._store.our_subscriptions.put(subscription)
        await self._end(source, former)
        return subscription

    async def _end_all(self, source: Source, subscription_id: str) -> None:
        """End a subscription, and the one that it replaces."""
        subscription = await self._get(subscription_id)
        if subscription:
            await self._end(source, subscription.replaces)
            await self._end(source, subscription.id)

    async def _end(self, source: Source, subscription_id: str) -> None:
        """Unsubscribe at the hub; one that it never verified is forgotten at once."""
        subscription = await self._get(subscription_id)
        if subscription is None:
            return
        if not subscription.expires_ms or not self._settings.public_url:
            # Should the hub push to it, 410 tells it to forget it.
            await self._store.our_subscriptions.remove(subscription.id)
            return
        await self._store.our_subscriptions.put(replace(subscription, is_ending=True))
        await self._request("unsubscribe", source, subscription)

    async def _request(self, mode: str, source: Source, subscription: HubSubscription) -> None:
        """Section 5.1. The hub's decision comes to the callback later."""
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
            status = await self._post(source, subscription.hub, form)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError, FetchFailed) as exc:
            logger.warning("a request to a hub failed", extra={**extra, "reason": reason_of(exc)})
        else:
            logger.info("a hub answered", extra={**extra, "mode": mode, "status": status})

    async def _post(self, source: Source, url: str, form: Mapping[str, str]) -> int:
        # The feed names its hub: only one on the source's own site is the operator's.
        provenance = typed_by_operator(source.operator_url)
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(MAX_REDIRECTS):
                is_own = may_share_secrets(source.url, url)
                async with self._client.request(
                    "POST",
                    url,
                    provenance=provenance,
                    data=form,
                    transport=source.transport if is_own else source.transport.elsewhere(),
                ) as response:
                    # Section 5.1.1: a hub may redirect the same request.
                    if response.status not in (307, 308):
                        return response.status
                    url = urljoin(url, response.headers.get("Location", ""))
        raise FetchFailed(url, f"more than {MAX_REDIRECTS} redirects")
