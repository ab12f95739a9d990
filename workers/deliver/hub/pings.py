"""Pings that notify other hubs (HUB_PINGS) of feeds with news. Best effort: nothing is stored, and
subscribers of a hub that misses a ping find the news by polling."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from urllib.parse import urlencode

from service.articles.times import to_ms
from service.feeds.formats import FORMATS
from service.feeds.page import Page, Period
from service.storage.rendered_pages import Change
from service.storage.webhooks import Ack
from service.webhooks import retry
from service.webhooks.retry import Answer, Verdict
from workers.deliver.endpoint import DeliveryContext, Request, Turn
from workers.deliver.send import target
from workers.http_client import typed_by_operator

PREFIX = "ping_"
# Topics in one request; the others go in the next.
MAX_TOPICS = 100
# Topics that wait; a hub that is away for longer misses the oldest.
MAX_WAITING = 10_000
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ping_id(hub_url: str) -> str:
    """Return the endpoint id of a hub."""
    return PREFIX + hashlib.sha256(hub_url.encode()).hexdigest()[:32]


class PingEndpoint:
    """One hub and the topics that wait to be named to it: `Endpoint` for the dispatcher."""

    def __init__(self, hub_url: str, context: DeliveryContext) -> None:
        self.id = ping_id(hub_url)
        self.turn = Turn()
        self.hub_url = hub_url
        self._context = context
        self._waiting: dict[str, int] = {}
        """Topic → number of its newest change."""
        self._changes = 0
        self._failures = 0
        self._next_ms = 0

    @property
    def is_suspect(self) -> bool:
        """Whether its last ping failed."""
        return self._failures != 0

    @property
    def is_confirmed(self) -> bool:
        """Always true: the operator named it."""
        return True

    def changed(self, changes: Sequence[Change]) -> None:
        """Ping the topics of pages that have changed; one request for all of a burst."""
        if not self._waiting and self.turn.timer is None:
            self._next_ms = to_ms(self._context.now()) + self._debounce_ms
        self._changes += 1
        for category, period in changes:
            page = Page(category, Period.parse(period))
            for extension in FORMATS:
                self._waiting[self._context.settings.base_url + page.feed_path(extension)] = (
                    self._changes
                )
        for topic in list(self._waiting)[: max(0, len(self._waiting) - MAX_WAITING)]:
            del self._waiting[topic]
        self._context.scheduler.ring(self)

    @property
    def _debounce_ms(self) -> int:
        return int(self._context.settings.hub_debounce_s * 1000)

    async def next(self) -> Request | Ack | None:
        """Return one ping for all topics that wait; None if there are none, or before it is due."""
        wait_s = (self._next_ms - to_ms(self._context.now())) / 1000
        if not self._waiting:
            return None
        if wait_s > 0:
            self._context.scheduler.later(self, wait_s)
            return None
        topics = dict(islice(self._waiting.items(), MAX_TOPICS))
        # PubSubHubbub's hubs read hub.url, WebSub's hub.topic.
        pairs = [("hub.mode", "publish")]
        pairs += [(name, topic) for topic in topics for name in ("hub.url", "hub.topic")]

        judge = partial(self._judge, topics)
        return Request(
            target(self.hub_url), _FORM, urlencode(pairs).encode(), judge, 0,
            provenance=typed_by_operator(self.hub_url),
        )  # fmt: skip

    def _judge(self, topics: Mapping[str, int], answer: Answer) -> None:
        now = self._context.now()
        if answer.verdict is Verdict.DELIVERED:
            self._failures = 0
            for topic, change in topics.items():
                # What changed during the request goes in the next.
                if self._waiting.get(topic) == change:
                    del self._waiting[topic]
            self._next_ms = to_ms(now) + self._debounce_ms
            return
        self._failures += 1
        delay_s = retry.retry_delay_s(
            self._failures, schedule_s=self._context.settings.webhook_retry_schedule_s,
            retry_after=answer.retry_after, now=now, chance=random.random(),  # noqa: S311 -- jitter
        )  # fmt: skip
        self._next_ms = to_ms(now) + int(delay_s * 1000)

    async def apply_ack(self, ack: Ack) -> None:
        """Do nothing: pings write no acks."""

    def stop_waiting(self) -> None:
        """Do nothing: changes may wake it at any time, which is harmless."""
