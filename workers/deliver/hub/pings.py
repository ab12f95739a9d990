"""Pings to other hubs (HUB_PINGS): these feeds have news. Best effort: nothing is kept over a
restart, and who hears of no ping finds the news by polling."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from itertools import islice
from urllib.parse import urlencode

from service.articles.times import to_ms
from service.feeds.formats import FORMATS
from service.feeds.page import Page, Period
from service.storage.rendered_pages import Change
from service.storage.webhooks import Ack
from service.webhooks import retry
from service.webhooks.retry import Answer, Verdict
from workers.deliver.endpoint import DeliveryContext, Request
from workers.deliver.send import target
from workers.deliver.slots import Sender

PREFIX = "ping_"
# In one request; the rest goes in the next.
MAX_TOPICS = 100
# Of those that wait: a hub that is away for long has missed some.
MAX_WAITING = 10_000
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ping_id(hub_url: str) -> str:
    """Of a hub, among the endpoints."""
    return PREFIX + hashlib.sha256(hub_url.encode()).hexdigest()[:32]


class Ping(Sender):
    """One hub, and the topics that it is to be told of."""

    def __init__(self, hub_url: str, means: DeliveryContext) -> None:
        super().__init__(ping_id(hub_url))
        self.hub_url = hub_url
        self._means = means
        self._waiting: dict[str, int] = {}
        """Topic → number of its newest change."""
        self._changes = 0
        self._failures = 0
        self._next_ms = 0

    def changed(self, changes: Sequence[Change]) -> None:
        """These pages have news; those of a burst are told together."""
        if not self._waiting and self.timer is None:
            self._next_ms = to_ms(self._means.now()) + self._debounce_ms
        self._changes += 1
        for category, period in changes:
            page = Page(category, Period.parse(period))
            for extension in FORMATS:
                self._waiting[self._means.settings.base_url + page.feed_path(extension)] = (
                    self._changes
                )
        for topic in list(self._waiting)[: max(0, len(self._waiting) - MAX_WAITING)]:
            del self._waiting[topic]
        self._means.dispatcher.ring(self)

    @property
    def _debounce_ms(self) -> int:
        return int(self._means.settings.hub_debounce_s * 1000)

    async def next(self) -> Request | Ack | None:
        """The topics that wait, together."""
        wait_s = (self._next_ms - to_ms(self._means.now())) / 1000
        if not self._waiting:
            return None
        if wait_s > 0:
            self._means.dispatcher.later(self, wait_s)
            return None
        told = dict(islice(self._waiting.items(), MAX_TOPICS))
        # PubSubHubbub's hubs read hub.url, WebSub's hub.topic.
        pairs = [("hub.mode", "publish")]
        pairs += [(name, topic) for topic in told for name in ("hub.url", "hub.topic")]

        def judged(answer: Answer) -> Ack | None:
            self._judge(told, answer)
            return None

        return Request(target(self.hub_url), _FORM, urlencode(pairs).encode(), judged, 0)

    def _judge(self, told: Mapping[str, int], answer: Answer) -> None:
        now = self._means.now()
        if answer.verdict is Verdict.DELIVERED:
            self._failures = self.first_failure_ms = 0
            for topic, change in told.items():
                # What changed during the request is told in the next.
                if self._waiting.get(topic) == change:
                    del self._waiting[topic]
            self._next_ms = to_ms(now) + self._debounce_ms
            return
        self._failures += 1
        self.first_failure_ms = self.first_failure_ms or to_ms(now)
        delay_s = retry.retry_delay_s(
            self._failures, schedule_s=self._means.settings.webhook_retry_schedule_s,
            retry_after=answer.retry_after, now=now, chance=random.random(),  # noqa: S311 -- jitter
        )  # fmt: skip
        self._next_ms = to_ms(now) + int(delay_s * 1000)

    async def take(self, ack: Ack) -> None:
        """Nothing is written of pings."""

    def rest(self) -> None:
        """Changes wake it, which does no harm."""
