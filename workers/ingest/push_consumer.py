"""Pushes: what hubs sent → parser process → append.

The source of a push that cannot be parsed becomes due, and is polled instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from service.articles.times import to_ms
from service.errors import ParseFailed
from service.process import stopping_group
from service.storage.faults import each_alone
from service.storage.our_subscriptions import Push
from service.storage.store import Store
from workers import runtime
from workers.ingest.fetch import Fetched
from workers.ingest.intake import Intake
from workers.ingest.parse import GUESSED_KINDS
from workers.runtime import Clock, Stopwatch

logger = logging.getLogger(__name__)

AT_ONCE = 4
"""Pushes of all shards, but at least one of each, that are read and appended at a time."""
BLOCK_MS = 1_000


class PushConsumer:
    """The loop of one ingest worker that appends what hubs pushed."""

    def __init__(self, store: Store, intake: Intake, *, ordinal: int, now: Clock) -> None:
        self._store = store
        self._intake = intake
        self._consumer = f"ingest-{ordinal}"
        self._now = now
        self._clean: set[int] = set()
        """Shards in which nothing is pending for this consumer that it has not in work."""

    async def run(self, stop: asyncio.Event) -> None:
        """Append pushes until stopped, with a loop for each shard."""
        async with stopping_group(stop) as group:
            for shard in self._store.our_subscriptions.shards:
                group.create_task(
                    runtime.repeat_safely(
                        partial(self._append_some, shard), stop, what="pushes",
                        faults=self._store.faults,
                    )
                )  # fmt: skip

    async def _append_some(self, shard: int) -> None:
        # After a start, and a failure, pushes may be pending that were not processed or received.
        is_clean = shard in self._clean
        self._clean.discard(shard)
        of_shard = max(1, AT_ONCE // len(self._store.our_subscriptions.shards))
        pushes = await self._store.our_subscriptions.pushes(
            shard, self._consumer, count=of_shard, block_ms=BLOCK_MS, again=not is_clean
        )
        if pushes:
            await each_alone(pushes, self._append_all, self._drop)
        if is_clean or not pushes:
            self._clean.add(shard)

    async def _append_all(self, pushes: Sequence[Push]) -> None:
        for push in pushes:
            await self._append(push)
            await self._store.our_subscriptions.taken(push)

    async def _drop(self, push: Push, exc: Exception) -> None:
        """Have the source polled in place of a push that our code cannot process."""
        await self._store.faults.report("source", push.source_id, exc, now=self._now())
        await self._store.sources.wake(push.source_id, due_ms=to_ms(self._now()))
        await self._store.our_subscriptions.taken(push)

    async def _append(self, push: Push) -> None:
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
        # Pages are fetched by polls: a push whose articles need them makes the source due, unless
        # its polls fail.
        is_polled = not (await self._store.sources.poll(source.id)).failures
        try:
            appended = await self._intake.append_document(
                source, fetched, refused=GUESSED_KINDS, withholds_teasers=is_polled
            )
            if appended.report.error:
                raise ParseFailed(appended.report.error)
        except ParseFailed as exc:
            reason = {"source": source.url, "reason": str(exc)}
            logger.warning("a push cannot be parsed", extra=reason)
            await self._store.sources.wake(source.id, due_ms=to_ms(self._now()))
            return
        if appended.teasers:
            await self._store.sources.wake(source.id, due_ms=to_ms(self._now()))
        extra = {"source": source.url, "new": appended.counts["created"], "ms": watch.ms}
        logger.info("pushed", extra=extra)
