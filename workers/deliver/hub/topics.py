"""Topics of the hub that somebody subscribed to, and whether there is news in them.

What a topic is now is told apart by the tag of its bytes. One burst of changes is one distribution:
the first change starts HUB_DEBOUNCE_S, and what the topic is after it is what is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from service.errors import Unavailable
from service.feeds.page import VIEWS, Page
from service.rendering.feed_renderer import FeedRenderer
from service.storage.client import redis_errors_as_unavailable
from service.storage.hub_subscriptions import Content
from service.storage.rendered_pages import Change
from service.websub import hub
from workers.deliver.endpoint import DeliveryContext

if TYPE_CHECKING:
    from workers.deliver.hub.subscription import SubscriptionEndpoint

logger = logging.getLogger(__name__)

# Of topics that were sent lately, so that many subscribers take one load.
MAX_HELD_BYTES = 32_000_000
AFTER_OUTAGE_S = 2.0


class Topic:
    """One feed that somebody subscribed to."""

    def __init__(self, url: str, page: Page | None, extension: str) -> None:
        self.url = url
        self.page = page
        """None if the URL is not a feed of this site: such a topic is gone."""
        self.extension = extension
        self.etag = ""
        """Of what it is now; empty until it was looked at."""
        self.version = ""
        """What that was made of."""
        self.is_gone = page is None
        self.subscriptions: set[SubscriptionEndpoint] = set()
        self.timer: asyncio.TimerHandle | None = None


class Topics:
    """All topics that the subscriptions of this worker are for."""

    def __init__(self, means: DeliveryContext, group: asyncio.TaskGroup) -> None:
        self._means = means
        self._group = group
        self._feeds = FeedRenderer(means.store, means.settings, now=means.now)
        self._topics: dict[str, Topic] = {}
        self._held: dict[str, Content] = {}

    def close(self) -> None:
        """End the thread."""
        self._feeds.close()

    def join(self, url: str, subscription: SubscriptionEndpoint) -> Topic:
        """The topic of a subscription, looked at if it is the first."""
        topic = self._topics.get(url)
        if topic is None:
            ours = hub.topic_of(url, self._means.settings)
            page, extension = ours or (None, "")
            topic = self._topics[url] = Topic(url, page, extension)
            self._look_soon(topic, 0)
        topic.subscriptions.add(subscription)
        return topic

    def leave(self, topic: Topic, subscription: SubscriptionEndpoint) -> None:
        """The last one takes the topic with it."""
        topic.subscriptions.discard(subscription)
        # There may be another of this URL by now.
        if not topic.subscriptions and self._topics.get(topic.url) is topic:
            del self._topics[topic.url]
            self._held.pop(topic.url, None)
            if topic.timer:
                topic.timer.cancel()

    def changed(self, changes: Sequence[Change]) -> None:
        """These pages have changed."""
        found = set(changes)
        for topic in self._topics.values():
            if topic.page and (topic.page.category, str(topic.page.period)) in found:
                self._look_soon(topic, self._means.settings.hub_debounce_s)

    async def is_public(self, category: str) -> bool:
        """Whether it may be told of."""
        return await self._feeds.is_known(category)

    async def look_at_all(self) -> None:
        """See whether a change was missed; few round trips."""
        ours = [topic for topic in self._topics.values() if topic.page and not topic.timer]
        pages = [topic.page for topic in ours if topic.page]
        states = await self._feeds.states(pages) if pages else []
        views = {view.path for view in await self._means.store.views.all() if not view.private}
        for topic, page, state in zip(ours, pages, states, strict=True):
            is_lost = page.category.startswith(VIEWS) and page.category not in views
            if is_lost or str(state) != topic.version:
                self._look_soon(topic, self._means.settings.hub_debounce_s)

    def _look_soon(self, topic: Topic, delay_s: float) -> None:
        if topic.timer is None:
            loop = asyncio.get_running_loop()
            topic.timer = loop.call_later(delay_s, self._start, topic)

    def _start(self, topic: Topic) -> None:
        if not self._means.dispatcher.is_ending:
            self._group.create_task(self._look(topic))

    async def _look(self, topic: Topic) -> None:
        topic.timer = None
        try:
            with redis_errors_as_unavailable():
                topic.etag = (await self._load(topic)).etag or topic.etag
        except Unavailable:
            self._look_soon(topic, AFTER_OUTAGE_S)
        except Exception:
            # The border: a topic that cannot be made holds up no other.
            logger.exception("a topic failed", extra={"topic": topic.url})
        for subscription in topic.subscriptions:
            self._means.dispatcher.wake(subscription)
        self._means.dispatcher.pump()

    async def content(self, topic: Topic) -> Content:
        """What the topic is now."""
        held = self._held.get(topic.url)
        if held and held.etag == topic.etag:
            return held
        found = await self._load(topic)
        topic.etag = found.etag or topic.etag
        return found

    async def _load(self, topic: Topic) -> Content:
        if topic.page is None or not await self._feeds.is_known(topic.page.category):
            topic.is_gone = True
            return Content("", b"", "")
        (state,) = await self._feeds.states([topic.page])
        rendered = await self._feeds.render(topic.page, topic.extension, state)
        topic.version = str(state)
        found = Content(rendered.etag, rendered.body, hub.content_type_of(topic.extension))
        self._hold(topic.url, found)
        return found

    def _hold(self, url: str, found: Content) -> None:
        self._held.pop(url, None)
        self._held[url] = found
        while sum(len(each.body) for each in self._held.values()) > MAX_HELD_BYTES:
            self._held.pop(next(iter(self._held)))
