"""Pushed: what hubs sent → read → append. A push that cannot be read is polled for instead."""

from __future__ import annotations

import asyncio
import logging

from service.articles.times import to_ms
from service.errors import ParseFailed
from service.storage.our_subscriptions import Push
from service.storage.store import Store
from workers import runtime
from workers.ingest.fetch import Fetched
from workers.ingest.source_poll import Taker
from workers.runtime import Clock, Stopwatch

logger = logging.getLogger(__name__)

AT_ONCE = 4
BLOCK_MS = 1_000


class PushConsumer:
    """The loop of one ingest worker that takes in pushes."""

    def __init__(self, store: Store, taker: Taker, *, ordinal: int, now: Clock) -> None:
        self._store = store
        self._taker = taker
        self._consumer = f"ingest-{ordinal}"
        self._now = now

    async def run(self, stop: asyncio.Event) -> None:
        """Take in pushes, until stopped."""
        await runtime.repeat(self._some, stop, what="pushes")

    async def _some(self) -> None:
        pushes = await self._store.our_subscriptions.pushes(
            self._consumer, count=AT_ONCE, block_ms=BLOCK_MS
        )
        for push in pushes:
            await self._take(push)
            await self._store.our_subscriptions.taken(push)

    async def _take(self, push: Push) -> None:
        source = await self._store.sources.get(push.source_id)
        if source is None or source.paused:
            return
        watch = Stopwatch()
        fetched = Fetched(
            status=200,
            url=source.url,
            body=push.body,
            headers={"Content-Type": push.content_type},
            etag="",
            last_modified="",
        )
        try:
            report, counts, _ = await self._taker.read(source, fetched, refused=("html-guess",))
            reason = report.error
        except ParseFailed as exc:
            reason, counts = str(exc), None
        if reason or counts is None:
            logger.warning("a push cannot be read", extra={"source": source.url, "reason": reason})
            await self._store.sources.wake(source.id, due_ms=to_ms(self._now()))
            return
        extra = {"source": source.url, "new": counts["created"], "ms": watch.ms}
        logger.info("pushed", extra=extra)
