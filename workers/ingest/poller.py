"""Poll: claim what is due → poll it (taking.py) → note what came of it.

One slow source holds one of AT_ONCE places and nobody up. Claims and results go to Redis many at a
time. A claim that is not finished (kill -9) lapses, and its source is due again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress

from service.articles.times import to_ms
from service.errors import Unavailable
from service.process import stopping_group
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.sources import Claim, Finished
from service.storage.store import Store
from workers import runtime
from workers.http_client import open_client
from workers.ingest.fetch import user_agent
from workers.ingest.parser_pool import open_parser_pool
from workers.ingest.parser_process import CPU_S
from workers.ingest.push_consumer import PushConsumer
from workers.ingest.source_poll import Outcome, Taker
from workers.runtime import Clock, Stopwatch
from workers.schedule import ticking

logger = logging.getLogger(__name__)

TICK_S = 1.0
COUNT_SUBSCRIBERS_S = 600.0
AT_ONCE = 256
CLAIM = 64
"""So many places are waited for before more is claimed, for a moment."""
MOMENT_S = 0.02
FINISH = 500
PUT_OFF_S = 5.0
# On top of what fetching and reading may take, before somebody else may poll a source.
CLAIM_SLACK_S = 60


class Poller:
    """The loop of one ingest worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._polls: set[asyncio.Task[None]] = set()
        self._place = asyncio.Event()
        self._finished: list[Finished] = []
        self._counts: Counter[str] = Counter()
        self._some_finished = asyncio.Event()
        self._claim_ms = int((settings.fetch_timeout_s + 4 * CPU_S + CLAIM_SLACK_S) * 1000)

    async def run(self, stop: asyncio.Event) -> None:
        """Poll what is due, until stopped."""
        agent = await self._user_agent()
        async with (
            open_client(self._settings, user_agent=agent) as client,
            open_parser_pool(self._settings.parse_processes) as readers,
            ticking({"poll": TICK_S, "subscribers": COUNT_SUBSCRIBERS_S}) as ticks,
        ):
            taker = Taker(self._store, self._settings, client, readers, now=self._now)
            drained = asyncio.Event()
            async with stopping_group(stop) as group:
                group.create_task(self._note_results(drained))
                pushed = PushConsumer(
                    self._store, taker, ordinal=self._settings.worker_ordinal, now=self._now
                )
                group.create_task(pushed.run(stop))

                async def unit() -> None:
                    await self._claim_some(taker, group, ticks["poll"], stop)
                    if ticks["subscribers"].is_set():
                        ticks["subscribers"].clear()
                        client.headers["User-Agent"] = await self._user_agent()

                await runtime.repeat(unit, stop, what="poll")
                await self._drain()
                drained.set()
                self._some_finished.set()

    async def _user_agent(self) -> str:
        """With us as one subscriber, and each webhook as one more."""
        subscribers = 1
        with suppress(Unavailable), redis_errors_as_unavailable():
            subscribers += len(await self._store.webhooks.all())
        return user_agent(self._settings.base_url, subscribers=subscribers)

    async def _claim_some(
        self, taker: Taker, group: asyncio.TaskGroup, tick: asyncio.Event, stop: asyncio.Event
    ) -> None:
        free = AT_ONCE - len(self._polls)
        if free < CLAIM:
            self._place.clear()
            await runtime.woken(self._place, stop, timeout_s=MOMENT_S if free else TICK_S)
            free = AT_ONCE - len(self._polls)
        now_ms = to_ms(self._now())
        claims, next_ms = await self._store.sources.claim(
            now_ms=now_ms,
            limit=max(free, 0),
            claim_ms=self._claim_ms,
            spacing_ms=int(self._settings.poll_spacing_s * 1000),
        )
        for claim in claims:
            task = group.create_task(self._poll(taker, claim))
            self._polls.add(task)
            task.add_done_callback(self._leave)
        if not claims:
            wait_s = TICK_S if next_ms is None else (next_ms - now_ms) / 1000
            await runtime.woken(tick, stop, timeout_s=min(max(wait_s, MOMENT_S), TICK_S))

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        if AT_ONCE - len(self._polls) >= CLAIM:
            self._place.set()

    async def _poll(self, taker: Taker, claim: Claim) -> None:
        watch = Stopwatch()
        try:
            outcome = await taker.take(claim)
        except Unavailable as exc:
            # What was not appended is asked for again as soon as Redis is back.
            extra = {"source": claim.source.url, "reason": str(exc)}
            logger.warning("a poll is put off", extra=extra)
            due_ms = to_ms(self._now()) + int(PUT_OFF_S * 1000)
            self._finish(Finished(claim=claim, poll=claim.poll, due_ms=due_ms))
            return
        except asyncio.CancelledError:
            # The worker stops: somebody else may have it at once.
            self._finish(Finished(claim=claim, poll=claim.poll, due_ms=to_ms(self._now())))
            raise
        self._finish(outcome.finished)
        self._counts["polls"] += 1
        self._counts["polls_failed"] += outcome.is_failure
        self._counts["polls_unchanged"] += outcome.is_unchanged
        self._log(outcome, watch)

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._some_finished.set()

    def _log(self, outcome: Outcome, watch: Stopwatch) -> None:
        level = logging.WARNING if outcome.is_failure else logging.INFO
        # Most polls find nothing, and lines about nothing hide the others.
        level = logging.DEBUG if outcome.is_unchanged else level
        if logger.isEnabledFor(level):
            finished = outcome.finished
            extra = {
                "source": finished.claim.source.url,
                "result": finished.poll.result,
                "ms": watch.ms,
            }
            logger.log(level, "polled", extra=extra)

    async def _note_results(self, drained: asyncio.Event) -> None:
        """Write results down, many at a time, as long as there may be some."""
        never = asyncio.Event()
        while self._finished or not drained.is_set():
            await self._some_finished.wait()
            self._some_finished.clear()
            await asyncio.sleep(MOMENT_S)
            while batch := self._finished[:FINISH]:

                async def write(batch: list[Finished] = batch) -> None:
                    await self._store.sources.finish(batch, now_ms=to_ms(self._now()))

                await runtime.attempt(write, never, what="poll results")
                del self._finished[: len(batch)]
            with suppress(Unavailable), redis_errors_as_unavailable():
                # A figure for /metrics, no more: not worth waiting for.
                counts, self._counts = self._counts, Counter()
                await self._store.count(counts)

    async def _drain(self) -> None:
        """Let polls end that are about to, and give the others back."""
        if self._polls:
            await asyncio.wait(self._polls, timeout=self._settings.drain_s / 2)
        for task in self._polls:
            task.cancel()
        if self._polls:
            await asyncio.wait(self._polls)
