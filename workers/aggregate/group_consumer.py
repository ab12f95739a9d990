"""One consumer group of the event stream: read, process, acknowledge; isolate what fails.

    one's turn? → read → process the batch → ack
                              └ fails → each event alone → those that fail stay pending
    every SWEEP_EVERY_S: claim what nobody acknowledged → process it again, MAX_TRIES times at most
    (own events at once: none is in work then, so a reply was lost, or their last try failed)
               └ then it becomes a dead letter (storage/dead_events.py), tried again more and more
                 rarely

One worker reads while there is little to read (storage/read_turns.py); the others look each WAIT_S
whether it lives and keeps up. All of them sweep.

An event whose process dies of it is found at the next start among the pending ones. After MAX_TRIES
deliveries it is processed alone, with a note of the process that is removed afterwards; notes of
MAX_DEATHS other processes make it a dead letter. (Faults of Redis cause deliveries, but no deaths.)
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from service import process
from service.articles.event import FIRST, Event
from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.dead_events import DeadEvent, dead_event
from service.storage.event_stream import AGGREGATE
from service.storage.faults import each_alone, reason_of
from service.storage.read_turns import Turn
from service.storage.store import Store
from workers import runtime
from workers.runtime import Clock

MAX_TRIES = 5
MAX_DEATHS = 3
SWEEP_EVERY_S = 5.0
# A reader asks for its turn at the first read after RENEW_S, others each WAIT_S.
RENEW_S, WAIT_S = 1.5, 1.0
LEAVE_S = 1.0
# What is in memory for the next events is dropped when none came for so long.
IDLE_S = 300.0

ProcessEvents = Callable[[Sequence[Event]], Awaitable[None]]
ProcessArticles = Callable[[Sequence[str]], Awaitable[object]]


class GroupConsumer:
    """The loops of one consumer of a group, one for each shard.

    Args:
        ordinal: WORKER_ORDINAL; the next process with this number takes over from this one.
        process: has the effect of events, idempotently; it does not acknowledge them.
        process_articles: has the effect of the newest revisions of articles, by their ids.
        on_idle: called once when no event was read for IDLE_S.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        ordinal: int,
        batch: int,
        process: ProcessEvents,
        process_articles: ProcessArticles,
        on_idle: Callable[[], None],
        now: Clock,
    ) -> None:
        self._store = store
        self._group = group
        self._worker = str(ordinal)
        self._consumer = f"{group}-{ordinal}"
        self._batch = batch
        self._process = process
        self._process_articles = process_articles
        self._on_idle = on_idle
        self._now = now
        self._renew_at: dict[int, float] = {}
        """Shard → until when this worker is its reader without asking again."""
        self._busy_at = time.monotonic()
        self._is_idle = False
        self._process_id = uuid.uuid4().hex

    def start(self, tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Start to consume every shard; the tasks end when stopped."""
        for shard in self._store.event_stream.shards:
            tasks.create_task(self._consume(shard, stop))

    async def _consume(self, shard: int, stop: asyncio.Event) -> None:
        has_recovered = False
        swept = 0.0

        async def unit() -> None:
            nonlocal has_recovered, swept
            if not has_recovered:
                await self._recover(shard)
                has_recovered = True
            elif time.monotonic() - swept > SWEEP_EVERY_S:
                await self._sweep(shard)
                swept = time.monotonic()
            else:
                # If this fails, events may be pending that were never received: sweep at once.
                before, swept = swept, 0.0
                await self._read(shard, stop)
                swept = before

        await runtime.repeat(unit, stop, what=f"{self._group} {shard}")
        # Redis may be away, or stand still.
        with suppress(Unavailable, TimeoutError), redis_errors_as_unavailable():
            async with asyncio.timeout(LEAVE_S):
                await self._store.read_turns.leave(shard, self._worker)

    async def _read(self, shard: int, stop: asyncio.Event) -> None:
        """Read and process new events, or wait if another worker does."""
        turn = await self._turn(shard)
        events: Sequence[Event] = ()
        if turn is not Turn.WAIT:
            events = await self._store.event_stream.read_group(
                shard, self._group, self._consumer, count=self._batch, wait=turn is Turn.READ
            )
            await self._apply(events)
        if not events and turn is not Turn.READ:
            await process.sleep(stop, WAIT_S)
        self._note_idleness(is_busy=bool(events))

    async def _turn(self, shard: int) -> Turn:
        asked_at = time.monotonic()
        if asked_at < self._renew_at.get(shard, 0.0):
            return Turn.READ
        turn = await self._store.read_turns.turn(shard, self._group, self._worker)
        self._renew_at[shard] = asked_at + RENEW_S if turn is Turn.READ else 0.0
        return turn

    def _note_idleness(self, *, is_busy: bool) -> None:
        now = time.monotonic()
        if is_busy:
            self._busy_at, self._is_idle = now, False
        elif not self._is_idle and now - self._busy_at > IDLE_S:
            self._is_idle = True
            self._store.event_stream.forget_decoded()
            self._on_idle()

    async def _recover(self, shard: int) -> None:
        """Create the group if it does not exist, and process what this consumer did not ack."""
        stream = self._store.event_stream
        await stream.create_group(self._group)
        after = FIRST
        while events := await stream.read_pending(
            shard, self._group, self._consumer, after=after, count=self._batch
        ):
            after = events[-1].entry_id
            tries = await stream.deliveries(shard, self._group, events)
            for event in events:
                if tries.get(event.entry_id, 0) > MAX_TRIES:
                    await self._try_suspect(event)
            await self._apply([e for e in events if tries.get(e.entry_id, 0) <= MAX_TRIES])

    async def _try_suspect(self, event: Event) -> None:
        """Process an event that was left pending often: processes may have died of it."""
        letters = self._store.dead_events
        tries = await letters.begin_try(self._group, event, process=self._process_id)
        if tries > MAX_DEATHS:
            reason = f"{MAX_DEATHS} processes ended while they processed it"
            await self._bury(event, reason=reason, tries=tries, is_deadly=True)
        else:
            await self._apply([event])
        await letters.end_try(self._group, event)

    async def _sweep(self, shard: int) -> None:
        """Process what no loop processed: events of dead consumers, lost replies, failures."""
        stream = self._store.event_stream
        own = await stream.read_pending(
            shard, self._group, self._consumer, after=FIRST, count=self._batch
        )
        await self._apply(own)
        await self._apply(await stream.claim(shard, self._group, self._consumer, count=self._batch))
        # What is wrong with them must not stop the events.
        await self._store.faults.isolate(
            "loop", f"dead events of {self._group}", lambda: self._revive_due(shard),
            now=self._now(),
        )  # fmt: skip

    async def _revive_due(self, shard: int) -> None:
        letters = await self._store.dead_events.due(self._group, shard=shard, now=self._now())
        if letters:
            await each_alone(letters, self._revive, self._fail_again)

    async def _apply(self, events: Sequence[Event]) -> None:
        if events:
            await each_alone(events, self._process_and_ack, self._fail)

    async def _process_and_ack(self, events: Sequence[Event]) -> None:
        await self._process(events)
        await self._store.event_stream.ack(self._group, events)
        for event in events:
            await self._store.faults.clear("event", self._name(event.subject))

    async def _fail(self, event: Event, exc: Exception) -> None:
        """Leave the event pending for another try, or make it a dead letter."""
        await self._store.faults.report("event", self._name(event.subject), exc, now=self._now())
        tries = await self._store.event_stream.deliveries(event.shard, self._group, [event])
        if tries.get(event.entry_id, 0) >= MAX_TRIES:
            await self._bury(event, reason=reason_of(exc), tries=tries[event.entry_id])

    async def _bury(
        self, event: Event, *, reason: str, tries: int, is_deadly: bool = False
    ) -> None:
        letter = dead_event(
            group=self._group, article_id=event.subject, entry_id=event.entry_id,
            reason=reason, tries=tries, now=self._now(), is_deadly=is_deadly,
        )  # fmt: skip
        await self._store.dead_events.bury(letter, is_dirty=self._group == AGGREGATE)

    async def _revive(self, letters: Sequence[DeadEvent]) -> None:
        ids = [letter.article_id for letter in letters]
        await self._process_articles(ids)
        await self._store.dead_events.remove(self._group, ids)
        for article_id in ids:
            await self._store.faults.clear("event", self._name(article_id))

    async def _fail_again(self, letter: DeadEvent, exc: Exception) -> None:
        await self._store.faults.report(
            "event", self._name(letter.article_id), exc, now=self._now()
        )
        await self._store.dead_events.put(letter.tried_again(reason_of(exc), now=self._now()))

    def _name(self, article_id: str) -> str:
        return f"{self._group} {article_id}"
