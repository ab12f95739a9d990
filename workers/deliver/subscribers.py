"""All subscriptions to our hub, and the news of their topics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from service.articles import to_ms
from service.errors import Unavailable
from service.storage.connecting import translated
from service.storage.rendered import Change
from service.storage.subscribers import CONTENT, TOPIC, topic_id
from workers import runtime
from workers.deliver.dispatch import Means, Part
from workers.deliver.lanes import Sender
from workers.deliver.pings import Ping, ping_id
from workers.deliver.sending import fetch
from workers.deliver.subscriber import Subscription
from workers.deliver.topics import Topics

logger = logging.getLogger(__name__)

# After announcements that may have been lost.
LOOK_EVERY_S = 30.0
RECONNECT_S = 1.0
IDS = ("sub_", TOPIC, CONTENT)


class Subscribers:
    """The subscriptions of one worker; it knows the ids of all, and has at work what is its."""

    def __init__(self, means: Means, group: asyncio.TaskGroup) -> None:
        self._means = means
        self._topics = Topics(means, group)
        self._pings = {ping_id(url): Ping(url, means) for url in means.settings.hub_pings}
        self._ids: set[str] = set()
        self._looked = 0.0

    def close(self) -> None:
        """End the thread that renders."""
        self._topics.close()

    async def begin(self) -> None:
        """Know all subscriptions."""
        store = self._means.store.subscribers
        self._ids = {*await store.all(), *await store.all_asked()}

    @property
    def ids(self) -> list[str]:
        """Of all subscriptions."""
        return [*self._ids, *self._pings]

    def _ping(self, changes: Sequence[Change]) -> None:
        for part in self._means.dispatcher.parts:
            for endpoint_id in self._pings.keys() & part.endpoints.keys():
                self._pings[endpoint_id].changed(changes)

    async def run(self, stop: asyncio.Event) -> None:
        """Hear which pages change, until stopped."""
        while not stop.is_set():
            with contextlib.suppress(Unavailable), translated():
                async with self._means.store.rendered.announcements() as announcements:
                    async for changes in announcements:
                        self._topics.changed(changes)
                        self._ping(changes)
                        if stop.is_set():
                            return
            await runtime.sleep(stop, RECONNECT_S)
            self._looked = 0

    async def load(self, part: Part, ids: list[str]) -> None:
        """Set those of a part to work that are subscriptions."""
        for endpoint_id in self._pings.keys() & set(ids):
            # It may have been another's meanwhile, and told.
            ping = self._pings[endpoint_id] = Ping(self._pings[endpoint_id].hub_url, self._means)
            part.endpoints[endpoint_id] = ping
        mine = [each for each in ids if each in self._ids]
        states = await self._means.store.subscribers.states(mine)
        found = await self._means.store.subscribers.get_many(mine)
        for subscriber_id, (kept, asked), state in zip(mine, found, states, strict=True):
            if kept or asked:
                part.endpoints[subscriber_id] = Subscription(
                    subscriber_id, kept, asked, state, self._topics, self._means
                )
                self._means.dispatcher.wake(part.endpoints[subscriber_id])

    async def refresh(self, part: Part | None, endpoint_id: str) -> None:
        """Something is asked of one; another site's topic was pinged, or fetched."""
        if endpoint_id.startswith(TOPIC):
            if part:
                await self._fetch(endpoint_id)
            return
        if endpoint_id.startswith(CONTENT):
            name = TOPIC + endpoint_id.removeprefix(CONTENT)
            for url in self._topics.urls:
                if topic_id(url) == name:
                    self._topics.fetched(url)
            return
        self._ids.add(endpoint_id)
        kept, asked = await self._means.store.subscribers.get(endpoint_id)
        if part is None or (kept is None and asked is None):
            return
        found = part.endpoints.get(endpoint_id)
        if isinstance(found, Subscription) and not found.is_gone:
            found.note(kept, asked)
            self._means.dispatcher.wake(found)
        else:
            await self.load(part, [endpoint_id])

    async def _fetch(self, endpoint_id: str) -> None:
        """Another site's topic as it is now, if anybody wants it."""
        store, settings = self._means.store.subscribers, self._means.settings
        url = await store.pinged(endpoint_id)
        wanted = {each.topic for each in (await store.all()).values()}
        if url not in wanted or not settings.hub_open:
            await store.drop_ping(url)
            return
        fetched = await fetch(
            self._means.dispatcher.client, url,
            timeout_s=settings.fetch_timeout_s, max_bytes=settings.fetch_max_bytes,
        )  # fmt: skip
        if fetched is None:
            logger.warning("a topic cannot be fetched", extra={"topic": url})
            await store.drop_ping(url)
        else:
            await store.keep_content(url, *fetched)

    def forget(self, sender: Sender) -> None:
        """It is not ours any more."""
        if isinstance(sender, Subscription):
            self._topics.leave(sender.topic, sender)

    async def save(self, part: Part) -> None:
        """End what has expired; now and then see whether a change was missed."""
        now_ms = to_ms(self._means.now())
        for subscriber_id, sender in list(part.endpoints.items()):
            if not isinstance(sender, Subscription):
                continue
            if sender.is_gone:
                self.forget(sender)
                del part.endpoints[subscriber_id]
                self._ids.discard(subscriber_id)
            elif sender.kept and sender.kept.expires_ms <= now_ms:
                self._means.dispatcher.wake(sender)
        if self._means.dispatcher.time - self._looked > LOOK_EVERY_S:
            self._looked = self._means.dispatcher.time
            await self._topics.look_at_all()
