"""All subscriptions to our hub, the news of their topics, and pings to other hubs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial

from service import process
from service.articles.times import to_ms
from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.faults import each_alone
from service.storage.rendered_pages import Change
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.endpoint import DeliveryContext, Endpoint, Partition, lease_of
from workers.deliver.hub.limits import HubLimits
from workers.deliver.hub.pings import MAX_WAITING, PingEndpoint, ping_id
from workers.deliver.hub.subscription import SubscriptionEndpoint
from workers.deliver.hub.topics import Topics
from workers.http_client import OutboundClient

# How often all topics are looked at: announcements may be lost.
LOOK_EVERY_S = 30.0
RECONNECT_S = 1.0
# Changes this young are pinged by a worker that takes over a hub: nobody had its lease meanwhile.
RECENT_S = 10.0


class SubscriptionRegistry:
    """The subscriptions of one worker, and the hubs that it pings."""

    def __init__(
        self, context: DeliveryContext, dispatcher: Dispatcher, group: asyncio.TaskGroup,
        client: OutboundClient,
    ) -> None:  # fmt: skip
        self._context = context
        self._limits = HubLimits(context, client)
        self._dispatcher = dispatcher
        self._topics = Topics(context, dispatcher, group)
        self._pings = {ping_id(url): PingEndpoint(url, context) for url in self._hubs}
        self._recent: deque[tuple[float, Change]] = deque(maxlen=MAX_WAITING)
        """Changes of public pages in the last RECENT_S, each with the loop's time."""
        self._looked_at = 0.0
        self._unread: set[str] = set()
        """Leases whose subscriptions could not be read."""

    @property
    def _hubs(self) -> Sequence[str]:
        return self._context.settings.hub_pings

    def close(self) -> None:
        """End the thread that renders."""
        self._topics.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the announcements of changed pages until stopped."""
        faults = self._context.store.faults
        while not stop.is_set():
            try:
                with redis_errors_as_unavailable():
                    await self._follow(stop)
            except Unavailable:
                pass
            except Exception as exc:  # noqa: BLE001 -- reported, and followed again
                await faults.report("loop", "deliver pings", exc, now=self._context.now())
            await process.sleep(stop, RECONNECT_S)
            self._looked_at = 0

    async def _follow(self, stop: asyncio.Event) -> None:
        async with self._context.store.rendered_pages.announcements() as announcements:
            async for announcement in announcements:
                if announcement.erased:
                    self._topics.forget_articles()
                self._topics.changed(announcement.changes)
                await self._ping(announcement.changes)
                if stop.is_set():
                    return

    async def _ping(self, changes: Sequence[Change]) -> None:
        if not self._pings:
            return
        # Names of private views are not published.
        is_public = {
            category: await self._topics.is_public(category)
            for category in {category for category, _ in changes}
        }
        public = [change for change in changes if is_public[change[0]]]
        now = self._dispatcher.time
        self._recent.extend((now, change) for change in public)
        self._forget_old_changes(now)
        for partition in self._dispatcher.partitions:
            for endpoint_id in self._pings.keys() & partition.endpoints.keys():
                self._pings[endpoint_id].changed(public)

    def _forget_old_changes(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - RECENT_S:
            self._recent.popleft()

    async def load(self, partition: Partition) -> None:
        """Serve the subscriptions and the pings of a partition; one of webhooks has none."""
        if partition.of_webhooks is not None:
            return
        for url in self._hubs:
            if lease_of(ping_id(url)) == partition.lease.name:
                self._load_ping(url, partition)
        await self._load_subscriptions(partition)

    async def _load_subscriptions(self, partition: Partition) -> None:
        """Read the subscriptions; what is wrong with their keys must not stop the webhooks."""
        context, name = self._context, partition.lease.name

        async def load() -> bool:
            ids = await context.store.hub_subscriptions.ids()
            mine = [each for each in ids if lease_of(each) == name]
            if mine:
                await each_alone(mine, partial(self._load, partition), context.report)
            return True

        is_read = await context.store.faults.isolate(
            "loop", "deliver subscriptions", load, now=context.now()
        )
        if is_read:
            self._unread.discard(name)
        else:
            self._unread.add(name)

    def _load_ping(self, url: str, partition: Partition) -> None:
        # A new one: another worker may have had it meanwhile, and pinged.
        ping = self._pings[ping_id(url)] = PingEndpoint(url, self._context)
        partition.endpoints[ping.id] = ping
        self._forget_old_changes(self._dispatcher.time)
        if self._recent:
            ping.changed([change for _, change in self._recent])

    async def _load(self, partition: Partition, ids: Sequence[str]) -> None:
        store = self._context.store.hub_subscriptions
        states = await store.states(ids)
        pairs = await store.get_many(ids)
        for subscription_id, pair, state in zip(ids, pairs, states, strict=True):
            is_ours = self._dispatcher.partition_of(subscription_id) is partition
            if is_ours and subscription_id not in partition.endpoints and any(pair):
                endpoint = SubscriptionEndpoint(
                    subscription_id, *pair, state, self._topics, self._limits, self._context
                )
                partition.endpoints[subscription_id] = endpoint
                self._dispatcher.wake(endpoint)

    async def refresh(self, subscription_id: str) -> None:
        """Read again one subscription that was asked for, renewed or removed."""
        writes = self._writes(subscription_id)
        subscription, request = await self._context.store.hub_subscriptions.get(subscription_id)
        partition = self._dispatcher.partition_of(subscription_id)
        if partition is None:
            return
        if self._writes(subscription_id) != writes:
            # It was confirmed or ended meanwhile.
            await self.refresh(subscription_id)
            return
        endpoint = partition.endpoints.get(subscription_id)
        if isinstance(endpoint, SubscriptionEndpoint) and endpoint.turn.is_gone:
            # Its end was not noticed yet.
            self._drop(partition, endpoint)
            endpoint = None
        if endpoint is None:
            await self._load(partition, [subscription_id])
        elif isinstance(endpoint, SubscriptionEndpoint) and (subscription or request):
            endpoint.note(subscription, request)
            self._dispatcher.wake(endpoint)
        else:
            self._drop(partition, endpoint)

    def _writes(self, subscription_id: str) -> int:
        partition = self._dispatcher.partition_of(subscription_id)
        endpoint = partition.endpoints.get(subscription_id) if partition else None
        return endpoint.writes if isinstance(endpoint, SubscriptionEndpoint) else 0

    def _drop(self, partition: Partition, endpoint: Endpoint) -> None:
        self._dispatcher.drop(endpoint)
        self.forget(endpoint)
        del partition.endpoints[endpoint.id]

    def forget(self, endpoint: Endpoint) -> None:
        """Take a subscription that was dropped out of its topic; other kinds are ignored."""
        if isinstance(endpoint, SubscriptionEndpoint):
            self._topics.leave(endpoint.topic, endpoint.wake)

    async def save(self, partition: Partition) -> None:
        """End the subscriptions that have expired, and read those that could not be read; every
        LOOK_EVERY_S look at all topics."""
        if partition.lease.name in self._unread:
            await self._load_subscriptions(partition)
        now_ms = to_ms(self._context.now())
        for endpoint in list(partition.endpoints.values()):
            if not isinstance(endpoint, SubscriptionEndpoint):
                continue
            if endpoint.turn.is_gone:
                self._drop(partition, endpoint)
                # It may have been requested again.
                await self._load(partition, [endpoint.id])
            elif endpoint.subscription and endpoint.subscription.expires_ms <= now_ms:
                self._dispatcher.wake(endpoint)
        if self._dispatcher.time - self._looked_at > LOOK_EVERY_S:
            self._looked_at = self._dispatcher.time
            await self._topics.look_at_all()
