"""All subscriptions to our hub, and the news of their topics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from service.articles.times import to_ms
from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.rendered_pages import Change
from workers import runtime
from workers.deliver.endpoint import DeliveryContext, Partition, lease_of
from workers.deliver.hub.pings import Ping, ping_id
from workers.deliver.hub.subscription import SubscriptionEndpoint
from workers.deliver.hub.topics import Topics
from workers.deliver.slots import Sender

# After announcements that may have been lost.
LOOK_EVERY_S = 30.0
RECONNECT_S = 1.0
PREFIX = "sub_"


class SubscriptionRegistry:
    """The subscriptions of one worker."""

    def __init__(self, means: DeliveryContext, group: asyncio.TaskGroup) -> None:
        self._means = means
        self._topics = Topics(means, group)
        self._pings = {ping_id(url): Ping(url, means) for url in means.settings.hub_pings}
        self._looked = 0.0

    def close(self) -> None:
        """End the thread that renders."""
        self._topics.close()

    async def _ping(self, changes: Sequence[Change]) -> None:
        pings = [
            self._pings[endpoint_id]
            for part in self._means.dispatcher.parts
            for endpoint_id in self._pings.keys() & part.endpoints.keys()
        ]
        if pings and changes:
            # Names of private views are nobody's business.
            known = {
                category: await self._topics.is_public(category)
                for category in {category for category, _ in changes}
            }
            for ping in pings:
                ping.changed([change for change in changes if known[change[0]]])

    async def run(self, stop: asyncio.Event) -> None:
        """Hear which pages change, until stopped."""
        while not stop.is_set():
            with contextlib.suppress(Unavailable), redis_errors_as_unavailable():
                async with self._means.store.rendered_pages.announcements() as announcements:
                    async for changes in announcements:
                        self._topics.changed(changes)
                        await self._ping(changes)
                        if stop.is_set():
                            return
            await runtime.sleep(stop, RECONNECT_S)
            self._looked = 0

    async def load(self, part: Partition) -> None:
        """Set those of a part to work."""
        for endpoint_id, known in self._pings.items():
            if lease_of(endpoint_id) == part.lease.name:
                # It may have been another's meanwhile, and told.
                ping = self._pings[endpoint_id] = Ping(known.hub_url, self._means)
                part.endpoints[endpoint_id] = ping
        found = await self._means.store.hub_subscriptions.ids()
        await self._load(part, [each for each in found if lease_of(each) == part.lease.name])

    async def _load(self, part: Partition, ids: list[str]) -> None:
        states = await self._means.store.hub_subscriptions.states(ids)
        found = await self._means.store.hub_subscriptions.get_many(ids)
        for subscriber_id, (kept, asked), state in zip(ids, found, states, strict=True):
            is_ours = self._means.dispatcher.part_of(subscriber_id) is part
            if is_ours and subscriber_id not in part.endpoints and (kept or asked):
                part.endpoints[subscriber_id] = SubscriptionEndpoint(
                    subscriber_id, kept, asked, state, self._topics, self._means
                )
                self._means.dispatcher.wake(part.endpoints[subscriber_id])

    async def refresh(self, subscriber_id: str) -> None:
        """Read again one subscription that was asked for, renewed or removed."""
        before = self._writes(subscriber_id)
        kept, asked = await self._means.store.hub_subscriptions.get(subscriber_id)
        part = self._means.dispatcher.part_of(subscriber_id)
        if part is None:
            return
        if self._writes(subscriber_id) != before:
            # It was confirmed or ended meanwhile.
            await self.refresh(subscriber_id)
            return
        found = part.endpoints.get(subscriber_id)
        if isinstance(found, SubscriptionEndpoint) and found.is_gone:
            # Its end was not noticed yet.
            self._drop(part, found)
            found = None
        if found is None:
            await self._load(part, [subscriber_id])
        elif isinstance(found, SubscriptionEndpoint) and (kept or asked):
            found.note(kept, asked)
            self._means.dispatcher.wake(found)
        else:
            self._drop(part, found)

    def _writes(self, subscriber_id: str) -> int:
        part = self._means.dispatcher.part_of(subscriber_id)
        found = part.endpoints.get(subscriber_id) if part else None
        return found.writes if isinstance(found, SubscriptionEndpoint) else 0

    def _drop(self, part: Partition, sender: Sender) -> None:
        self._means.dispatcher.drop(sender)
        self.forget(sender)
        del part.endpoints[sender.id]

    def forget(self, sender: Sender) -> None:
        """It is not ours any more."""
        if isinstance(sender, SubscriptionEndpoint):
            self._topics.leave(sender.topic, sender)

    async def save(self, part: Partition) -> None:
        """End what has expired; now and then see whether a change was missed."""
        now_ms = to_ms(self._means.now())
        for sender in list(part.endpoints.values()):
            if not isinstance(sender, SubscriptionEndpoint):
                continue
            if sender.is_gone:
                self._drop(part, sender)
                # It may have been asked for anew.
                await self._load(part, [sender.id])
            elif sender.kept and sender.kept.expires_ms <= now_ms:
                self._means.dispatcher.wake(sender)
        if self._means.dispatcher.time - self._looked > LOOK_EVERY_S:
            self._looked = self._means.dispatcher.time
            await self._topics.look_at_all()
