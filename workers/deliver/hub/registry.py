"""All subscriptions to our hub, and the news of their topics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from service.articles.times import to_ms
from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.hub_subscriptions import CONTENT, TOPIC, topic_id
from service.storage.rendered_pages import Change
from workers import runtime
from workers.deliver.endpoint import DeliveryContext, Partition, lease_of
from workers.deliver.hub.pings import Ping, ping_id
from workers.deliver.hub.subscription import SubscriptionEndpoint
from workers.deliver.hub.topics import Topics
from workers.deliver.send import fetch
from workers.deliver.slots import Sender

logger = logging.getLogger(__name__)

# After announcements that may have been lost.
LOOK_EVERY_S = 30.0
RECONNECT_S = 1.0
# Of other sites' topics, at once.
FETCHES = 8
# After a ping, when it cannot be had.
FETCHED_AGAIN = 3
IDS = ("sub_", TOPIC, CONTENT)


class SubscriptionRegistry:
    """The subscriptions of one worker."""

    def __init__(self, means: DeliveryContext, group: asyncio.TaskGroup) -> None:
        self._means = means
        self._group = group
        self._topics = Topics(means, group)
        self._pings = {ping_id(url): Ping(url, means) for url in means.settings.hub_pings}
        self._fetching: dict[str, bool] = {}
        """Topics that are being fetched, to the last retry → whether they were pinged again."""
        self._fetches = asyncio.Semaphore(FETCHES)
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
        await self._see_pinged()

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

    async def refresh(self, endpoint_id: str) -> None:
        """Something is asked of one, or it was removed; another site's topic was pinged, or
        fetched."""
        if endpoint_id.startswith(TOPIC):
            self._fetch_soon(endpoint_id, is_new=True)
        elif endpoint_id.startswith(CONTENT):
            name = TOPIC + endpoint_id.removeprefix(CONTENT)
            for url in self._topics.urls:
                if topic_id(url) == name:
                    self._topics.fetched(url)
        else:
            await self._refresh(endpoint_id)

    async def _refresh(self, subscriber_id: str) -> None:
        before = self._writes(subscriber_id)
        kept, asked = await self._means.store.hub_subscriptions.get(subscriber_id)
        part = self._means.dispatcher.part_of(subscriber_id)
        if part is None:
            return
        if self._writes(subscriber_id) != before:
            # It was confirmed or ended meanwhile.
            await self._refresh(subscriber_id)
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

    async def _see_pinged(self) -> None:
        """Pings that nobody has seen to."""
        for name in await self._means.store.hub_subscriptions.all_pinged():
            self._fetch_soon(name, is_new=False)

    def _fetch_soon(self, name: str, *, is_new: bool) -> None:
        if name in self._fetching:
            self._fetching[name] |= is_new
        elif self._means.dispatcher.part_of(name):
            self._fetching[name] = False
            self._fetch_then(name, 0)

    def _fetch_then(self, name: str, failures: int) -> None:
        if self._means.dispatcher.is_ending:
            # Whoever has it next sees the ping.
            self._fetching.pop(name, None)
        else:
            self._group.create_task(self._fetch(name, failures))

    async def _fetch(self, name: str, failures: int) -> None:
        """Another site's topic as it is now, if anybody wants it; again if it cannot be had."""
        schedule_s = self._means.settings.webhook_retry_schedule_s[:FETCHED_AGAIN]
        is_done = False
        try:
            with contextlib.suppress(Unavailable), redis_errors_as_unavailable():
                async with self._fetches:
                    self._fetching[name] = False
                    is_done = await self._fetch_now(name)
                if not is_done and failures >= len(schedule_s):
                    _, ping = await self._means.store.hub_subscriptions.pinged(name)
                    await self._means.store.hub_subscriptions.drop_ping(name, ping)
        except Exception:
            # The border: another site's topic must not end the worker.
            logger.exception("a topic cannot be fetched", extra={"topic": name})
        if is_done and self._fetching[name]:
            self._fetch_then(name, 0)
        elif is_done or failures >= len(schedule_s):
            del self._fetching[name]
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(schedule_s[failures], self._fetch_then, name, failures + 1)

    async def _fetch_now(self, name: str) -> bool:
        """Whether there is nothing more to do."""
        store, settings = self._means.store.hub_subscriptions, self._means.settings
        url, ping = await store.pinged(name)
        wanted = {each.topic for each in (await store.all()).values()}
        if url not in wanted or not settings.hub_open:
            await store.drop_ping(name, ping)
            return True
        fetched = await fetch(
            self._means.dispatcher.client, url,
            timeout_s=settings.fetch_timeout_s, max_bytes=settings.fetch_max_bytes,
        )  # fmt: skip
        if fetched is None:
            logger.warning("a topic cannot be fetched", extra={"topic": url})
            return False
        await store.keep_content(
            url, fetched.body, content_type=fetched.content_type, self_url=fetched.self_url
        )
        await store.drop_ping(name, ping)
        return True

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
            await self._see_pinged()
