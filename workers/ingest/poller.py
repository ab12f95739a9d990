"""Poller: claim sources that are due → poll_once (source_poll.py) → finish.

A slow source holds one of AT_ONCE slots and delays no other. Claims and results go to Redis many at
a time. A claim that is not finished (kill -9) is taken over by the next process with the same
WORKER_ORDINAL; without one it lapses, and its source is due again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from service.articles.times import to_ms
from service.errors import Unavailable
from service.process import stopping_group
from service.settings import Settings
from service.storage.claims import Claim, Claimant, Finished
from service.storage.client import redis_errors_as_unavailable
from service.storage.faults import each_alone
from service.storage.store import Store
from workers import runtime
from workers.http_client import open_client
from workers.ingest.fetch import user_agent
from workers.ingest.full_texts import HOLD_S
from workers.ingest.intake import Intake
from workers.ingest.parser_pool import open_parser_pool
from workers.ingest.parser_process import CPU_S
from workers.ingest.preview_consumer import PreviewConsumer
from workers.ingest.push_consumer import PushConsumer
from workers.ingest.source_poll import Polled, SourcePoller
from workers.runtime import Clock, Stopwatch
from workers.schedule import ticking

logger = logging.getLogger(__name__)

TICK_S = 1.0
COUNT_SUBSCRIBERS_S = 600.0
AT_ONCE = 256
CLAIM = 64
"""The loop waits up to MOMENT_S for this many free slots before it claims more."""
MOMENT_S = 0.02
FINISH = 500
POSTPONE_S = 5.0
# On top of what fetching and parsing may take, before another worker may poll the source.
CLAIM_SLACK_S = 60


class Poller:
    """The loop of one ingest worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._polls: set[asyncio.Task[None]] = set()
        self._free_slots = asyncio.Event()
        self._finished: list[Finished] = []
        self._counts: Counter[str] = Counter()
        self._some_finished = asyncio.Event()
        self._claim_ms = int((settings.fetch_timeout_s + HOLD_S + 4 * CPU_S + CLAIM_SLACK_S) * 1000)
        self._claimant = Claimant(ordinal=settings.worker_ordinal, token=uuid.uuid4().hex)
        self._lapse_ms = 0
        self._is_answered = True
        """Whether the last call that claimed sources was answered."""

    async def run(self, stop: asyncio.Event) -> None:
        """Poll sources that are due until stopped."""
        agent = await self._user_agent()
        async with (
            open_client(self._settings, user_agent=agent) as client,
            open_parser_pool(self._settings.parse_processes) as parser_pool,
            ticking({"poll": TICK_S, "subscribers": COUNT_SUBSCRIBERS_S}) as ticks,
        ):
            intake = Intake(self._store, self._settings, parser_pool, now=self._now)
            source_poller = SourcePoller(self._store, self._settings, client, intake, now=self._now)
            drained = asyncio.Event()
            async with stopping_group(stop) as group:
                group.create_task(self._note_results(drained))
                push_consumer = PushConsumer(
                    self._store, intake, ordinal=self._settings.worker_ordinal, now=self._now
                )
                group.create_task(push_consumer.run(stop))
                preview_consumer = PreviewConsumer(
                    self._store, self._settings, client, parser_pool, now=self._now
                )
                group.create_task(preview_consumer.run(stop))

                async def unit() -> None:
                    await self._claim_some(source_poller, group, ticks["poll"], stop)
                    if ticks["subscribers"].is_set():
                        ticks["subscribers"].clear()
                        client.set_user_agent(await self._user_agent())
                        await self._store.faults.isolate(
                            "loop", "ingest subscriptions", self._sweep, now=self._now()
                        )

                await runtime.attempt(self._take_over, stop, what="poll")
                await runtime.repeat(unit, stop, what="poll")
                await self._drain()
                drained.set()
                self._some_finished.set()

    async def _user_agent(self) -> str:
        """The header; this site counts as one subscriber, and each webhook as one more."""
        webhooks = 0
        with suppress(Unavailable):
            count = self._store.webhooks.count
            name = "ingest subscribers"
            webhooks = await self._store.faults.isolate("loop", name, count, now=self._now()) or 0
        return user_agent(self._settings.base_url, subscribers=1 + webhooks)

    async def _sweep(self) -> None:
        await self._store.our_subscriptions.sweep(to_ms(self._now()))
        await self._store.claims.complete_moves()

    async def _take_over(self) -> None:
        """Poll at once what the process before this one had claimed when it was killed."""
        ordinal = self._settings.worker_ordinal
        count = await self._store.claims.release(ordinal, now_ms=to_ms(self._now()))
        if count:
            logger.info("took over sources of the process before", extra={"sources": count})

    async def _claim_some(
        self, source_poller: SourcePoller, group: asyncio.TaskGroup, tick: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:  # fmt: skip
        free = AT_ONCE - len(self._polls)
        if free < CLAIM:
            self._free_slots.clear()
            await runtime.woken(self._free_slots, stop, timeout_s=MOMENT_S if free else TICK_S)
            free = AT_ONCE - len(self._polls)
        now_ms = to_ms(self._now())
        if self._is_answered or self._lapse_ms <= now_ms:
            self._lapse_ms = max(self._lapse_ms + 1, now_ms + self._claim_ms)
        self._is_answered = False
        claims, next_ms = await self._store.claims.claim(
            claimant=self._claimant,
            now_ms=now_ms,
            limit=max(free, 0),
            lapse_ms=self._lapse_ms,
            spacing_ms=int(self._settings.poll_spacing_s * 1000),
        )
        self._is_answered = True
        for claim in claims:
            task = group.create_task(self._poll(source_poller, claim))
            self._polls.add(task)
            task.add_done_callback(self._free_slot)
        if not claims:
            wait_s = TICK_S if next_ms is None else (next_ms - now_ms) / 1000
            await runtime.woken(tick, stop, timeout_s=min(max(wait_s, MOMENT_S), TICK_S))

    def _free_slot(self, task: asyncio.Task[None]) -> None:
        self._polls.discard(task)
        if AT_ONCE - len(self._polls) >= CLAIM:
            self._free_slots.set()

    async def _poll(self, source_poller: SourcePoller, claim: Claim) -> None:
        watch = Stopwatch()
        try:
            polled = await source_poller.poll_once(claim)
        except Unavailable as exc:
            # What was not appended is fetched again as soon as Redis is back.
            extra = {"source": claim.source.url, "reason": str(exc)}
            logger.warning("a poll is postponed", extra=extra)
            due_ms = to_ms(self._now()) + int(POSTPONE_S * 1000)
            self._finish(Finished(claim=claim, poll=claim.poll, due_ms=due_ms))
            return
        except Exception as exc:  # noqa: BLE001 -- reported; a source costs no other
            await self._store.faults.report("source", claim.source.url, exc, now=self._now())
            due_ms = to_ms(self._now()) + int(self._settings.poll_default_s * 1000)
            self._finish(Finished(claim=claim, poll=claim.poll, due_ms=due_ms))
            return
        except asyncio.CancelledError:
            # The worker stops: another one may poll the source at once.
            self._finish(Finished(claim=claim, poll=claim.poll, due_ms=to_ms(self._now())))
            raise
        self._finish(polled.finished)
        await self._store.faults.clear("source", claim.source.url)
        self._counts["polls"] += 1
        self._counts["polls_failed"] += polled.is_failure
        self._counts["polls_unchanged"] += polled.is_unchanged
        self._log(polled, watch)

    def _finish(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._some_finished.set()

    def _log(self, polled: Polled, watch: Stopwatch) -> None:
        level = logging.WARNING if polled.is_failure else logging.INFO
        # Most polls find nothing new, and their lines would hide the others.
        level = logging.DEBUG if polled.is_unchanged else level
        if logger.isEnabledFor(level):
            finished = polled.finished
            extra = {
                "source": finished.claim.source.url,
                "result": finished.poll.result,
                "ms": watch.ms,
            }
            logger.log(level, "polled", extra=extra)

    async def _note_results(self, drained: asyncio.Event) -> None:
        """Write results to Redis, many at a time, until the last poll has ended."""
        never = asyncio.Event()
        while self._finished or not drained.is_set():
            await self._some_finished.wait()
            self._some_finished.clear()
            await asyncio.sleep(MOMENT_S)
            while batch := self._finished[:FINISH]:

                async def write(batch: list[Finished] = batch) -> None:
                    await each_alone(batch, self._write_results, self._report)

                await runtime.attempt(write, never, what="poll results")
                del self._finished[: len(batch)]
            with suppress(Unavailable), redis_errors_as_unavailable():
                # Only a figure for /metrics: not worth waiting for.
                counts, self._counts = self._counts, Counter()
                await self._store.count(counts)

    async def _write_results(self, batch: Sequence[Finished]) -> None:
        await self._store.claims.finish(batch, now_ms=to_ms(self._now()))

    async def _report(self, finished: Finished, exc: Exception) -> None:
        """The claim of this one lapses by itself, and the source is due again."""
        url = finished.claim.source.url
        await self._store.faults.report("source", url, exc, now=self._now())

    async def _drain(self) -> None:
        """Wait for polls that end soon, and give the other claims back."""
        if self._polls:
            await asyncio.wait(self._polls, timeout=self._settings.drain_s / 2)
        for task in self._polls:
            task.cancel()
        if self._polls:
            await asyncio.wait(self._polls)
