"""Topics of the hub with subscriptions, and whether there is news in them.

The ETag of its bytes tells whether a topic has news. One burst of changes is one distribution: the
first change starts HUB_DEBOUNCE_S, and what the topic is after it is what is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from cachetools import LRUCache

from service.errors import Unavailable
from service.feeds.page import VIEWS, Page
from service.rendering.feed_renderer import FeedRenderer
from service.storage.client import redis_errors_as_unavailable
from service.storage.hub_subscriptions import Content
from service.storage.rendered_pages import Change
from service.websub import hub
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.endpoint import DeliveryContext

logger = logging.getLogger(__name__)
Wake = Callable[[], None]

# Contents of topics that were sent recently, so that many subscribers cause one load.
MAX_CONTENT_BYTES = 32_000_000
AFTER_OUTAGE_S = 2.0


class Topic:
    """One feed with at least one subscription."""

    def __init__(self, url: str, page: Page | None, extension: str) -> None:
        self.url = url
        self.page = page
        """None if the URL is not a feed of this site: such a topic is gone."""
        self.extension = extension
        self.etag = ""
        """ETag of its present content; empty until it was rendered."""
        self.version = ""
        """State of the page that this content was rendered from."""
        self.is_gone = page is None
        self.subscriptions: set[Wake] = set()
        """Wakes each subscription to it."""
        self.timer: asyncio.TimerHandle | None = None
        self.previous: dict[str, bytes] = {}
        """ETags of earlier contents → digests of their entries, as far as they are known."""
        self.newest: dict[str, Content] = {}
        """The same ETags, or an empty one → the present content with its newest entries only."""


class Topics:
    """The topics of all subscriptions that this worker holds."""

    def __init__(
        self, context: DeliveryContext, dispatcher: Dispatcher, group: asyncio.TaskGroup
    ) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._group = group
        self._feeds = FeedRenderer(context.store, context.settings, now=context.now)
        self._topics: dict[str, Topic] = {}
        self._contents: LRUCache[str, Content] = LRUCache(
            MAX_CONTENT_BYTES, getsizeof=lambda content: len(content.body)
        )
        """By the topic's URL."""

    def close(self) -> None:
        """End the thread that renders."""
        self._feeds.close()

    def join(self, url: str, wake: Wake) -> Topic:
        """Return the topic of a subscription; the first one has it rendered soon."""
        topic = self._topics.get(url)
        if topic is None:
            ours = hub.topic_of(url, self._context.settings)
            page, extension = ours or (None, "")
            topic = self._topics[url] = Topic(url, page, extension)
            self._look_soon(topic, 0)
        topic.subscriptions.add(wake)
        return topic

    def leave(self, topic: Topic, wake: Wake) -> None:
        """Remove a subscription, which may have left already; the last one removes the topic."""
        topic.subscriptions.discard(wake)
        # There may be another of this URL by now.
        if not topic.subscriptions and self._topics.get(topic.url) is topic:
            del self._topics[topic.url]
            self._contents.pop(topic.url, None)
            if topic.timer:
                topic.timer.cancel()

    def forget_articles(self) -> None:
        """Drop articles and contents in memory: some show the text of an erased article."""
        self._feeds.forget_articles()
        self._contents.clear()
        for topic in self._topics.values():
            topic.newest.clear()

    def changed(self, changes: Sequence[Change]) -> None:
        """Look soon at the topics whose pages have changed."""
        pages = set(changes)
        for topic in self._topics.values():
            if topic.page and (topic.page.category, str(topic.page.period)) in pages:
                self._look_soon(topic, self._context.settings.hub_debounce_s)

    async def is_public(self, category: str) -> bool:
        """Whether a category may be named to other hubs: it exists and is not a private view."""
        return await self._feeds.is_known(category)

    async def look_at_all(self) -> None:
        """Look soon at the topics that changed unnoticed; few round trips."""
        ours = [topic for topic in self._topics.values() if topic.page and not topic.timer]
        pages = [topic.page for topic in ours if topic.page]
        states = await self._feeds.states(pages) if pages else []
        views = {view.path for view in await self._context.store.views.all() if not view.private}
        for topic, page, state in zip(ours, pages, states, strict=True):
            is_lost = page.category.startswith(VIEWS) and page.category not in views
            if is_lost or str(state) != topic.version:
                self._look_soon(topic, self._context.settings.hub_debounce_s)

    def _look_soon(self, topic: Topic, delay_s: float) -> None:
        if topic.timer is None:
            loop = asyncio.get_running_loop()
            topic.timer = loop.call_later(delay_s, self._start, topic)

    def _start(self, topic: Topic) -> None:
        if not self._dispatcher.is_ending:
            self._group.create_task(self._look(topic))

    async def _look(self, topic: Topic) -> None:
        topic.timer = None
        try:
            with redis_errors_as_unavailable():
                topic.etag = (await self._load(topic)).etag or topic.etag
        except Unavailable:
            self._look_soon(topic, AFTER_OUTAGE_S)
        except Exception:
            # The border: a topic that cannot be rendered must not stop others.
            logger.exception("a topic failed", extra={"topic": topic.url})
        for wake in topic.subscriptions:
            wake()
        self._dispatcher.pump()

    async def content(self, topic: Topic) -> Content:
        """Return the present content of a topic; its ETag is empty if the topic is gone."""
        content = self._contents.get(topic.url)
        if content and content.etag == topic.etag:
            return content
        content = await self._load(topic)
        topic.etag = content.etag or topic.etag
        return content

    async def newest(self, topic: Topic, content: Content, *, since: str) -> Content:
        """Return a content with its newest entries only: what it has more than the one of the ETag
        `since`, if that is known. The ETag is that of the whole."""
        base = since if since in topic.previous else ""
        newest = topic.newest.get(base)
        if newest is None or newest.etag != content.etag:
            if topic.page is None or not content.etag:
                return content
            (state,) = await self._feeds.states([topic.page])
            body = await self._feeds.newest(
                topic.page, topic.extension, state, base=topic.previous.get(base, b"")
            )
            newest = topic.newest[base] = Content(content.etag, body, content.content_type)
        return newest

    async def _present_page(self, page: Page | None) -> Page | None:
        """The page as it is called now: its category may have got another path since it was
        subscribed to. None if it does not exist."""
        if page is None or await self._feeds.is_known(page.category):
            return page
        present = await self._context.store.category_renames.of(page.category)
        return replace(page, category=present) if present else None

    async def _load(self, topic: Topic) -> Content:
        topic.page = await self._present_page(topic.page)
        if topic.page is None:
            topic.is_gone = True
            return Content("", b"", "")
        (state,) = await self._feeds.states([topic.page])
        rendered = await self._feeds.render(topic.page, topic.extension, state)
        topic.version = str(state)
        topic.previous, topic.newest = dict(rendered.previous_versions), {}
        content = Content(rendered.etag, rendered.body, hub.content_type_of(topic.extension))
        if len(content.body) <= MAX_CONTENT_BYTES:
            self._contents[topic.url] = content
        return content
