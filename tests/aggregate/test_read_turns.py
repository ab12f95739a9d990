"""Several aggregate workers: one reads while little happens, all read a backlog, and nobody waits
long for one that has died."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest

from service.articles.article import Entry
from service.articles.compose import compose
from service.articles.event import Event
from service.process import stopping_group
from service.settings import Settings
from service.storage import keys, read_turns
from service.storage.event_stream import AGGREGATE
from service.storage.read_turns import ALONE_UP_TO, READER_TTL_MS, Turn
from service.storage.store import Store
from tests.loops import at_work
from tests.running import ROOT
from tests.waiting import wait_until
from workers.aggregate import group_consumer
from workers.aggregate.group_consumer import WAIT_S, GroupConsumer

LONG_MS = 600_000
BATCH = 10


class Consumer:
    """One that notes what it processes, and can be held up."""

    def __init__(self, store: Store, ordinal: int) -> None:
        self.processed: list[str] = []
        self.idle = 0
        self.may_work = asyncio.Event()
        self.may_work.set()
        self.has_begun = asyncio.Event()
        self._consumer = GroupConsumer(
            store, AGGREGATE, ordinal=ordinal, batch=BATCH,
            process=self._process, process_articles=_nothing,
            on_idle=self._note_idle, now=lambda: datetime.now(UTC),
        )  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until stopped."""
        async with stopping_group(stop) as group:
            self._consumer.start(group, stop)

    async def _process(self, events: Sequence[Event]) -> None:
        self.has_begun.set()
        await self.may_work.wait()
        self.processed += [event.id for event in events]

    def _note_idle(self) -> None:
        self.idle += 1


async def _nothing(_: Sequence[str]) -> None:
    """No event fails here."""


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that does not come again is not replaced."""
    monkeypatch.setattr(read_turns, "READER_TTL_MS", LONG_MS)


@asynccontextmanager
async def two(store: Store) -> AsyncIterator[tuple[Consumer, Consumer]]:
    """The reader, and another consumer that began later."""
    first, second = Consumer(store, 1), Consumer(store, 2)
    async with at_work(first.run):
        await wait_until(lambda: _is_reader(store, 1))
        async with at_work(second.run):
            yield first, second


async def _is_reader(store: Store, ordinal: int) -> bool:
    """Whether it is the reader of every shard."""
    names = [keys.reader(shard) for shard in store.event_stream.shards]
    return {await store.client.get(name) for name in names} == {b"%d" % ordinal}


async def append(store: Store, count: int, *, name: str = "a") -> None:
    """As many articles, all in one shard, of one category."""
    shard = next(iter(store.event_stream.shards))
    drafts = []
    number = 0
    while len(drafts) < count:
        number += 1
        title = f"{name} {number}"
        draft = compose(Entry(guid=title, title=title, categories=("a",)), source="s")
        if store.event_stream.shards.of(draft.id) == shard:
            drafts.append(draft)
    await store.articles.append(drafts, now=datetime.now(UTC))


async def test_at_a_trickle_one_consumer_reads(store: Store) -> None:
    """The other one gets no event, however often they come."""
    async with two(store) as (first, second):
        for number in range(1, 31):
            await append(store, 1, name=str(number))

            async def is_processed(count: int = number) -> bool:
                return len(first.processed) + len(second.processed) == count

            await wait_until(is_processed)
        assert [] == second.processed


@pytest.mark.usefixtures("lasting")
async def test_a_backlog_is_shared(store: Store) -> None:
    """The others help until so much is left as one reads alone."""
    async with two(store) as (first, second):
        first.may_work.clear()
        await append(store, 1, name="held")
        await first.has_begun.wait()
        await append(store, ALONE_UP_TO + 3 * BATCH, name="more")

        async def has_helped() -> bool:
            return len(second.processed) == 3 * BATCH

        await wait_until(has_helped)
        first.may_work.set()

        async def is_done() -> bool:
            return len(first.processed) == 1 + ALONE_UP_TO

        await wait_until(is_done)
        assert set() == set(first.processed) & set(second.processed)


@pytest.mark.usefixtures("lasting")
async def test_a_reader_that_stops_leaves_at_once(store: Store) -> None:
    """The next reads without waiting until the mark of the former lapses."""
    second = Consumer(store, 2)
    async with AsyncExitStack() as stack:
        async with two(store) as (first, _):
            await stack.enter_async_context(at_work(second.run))
            await append(store, 1)

            async def is_processed() -> bool:
                return len(first.processed) == 1

            await wait_until(is_processed)
        await append(store, 1, name="b")

        async def goes_on() -> bool:
            return len(second.processed) == 1

        await wait_until(goes_on)


@pytest.mark.usefixtures("lasting")
async def test_a_consumer_that_comes_back_reads_at_once(store: Store) -> None:
    """Killed and started again with its number, it need not wait for its former self."""
    for shard in store.event_stream.shards:
        assert Turn.READ is await store.read_turns.turn(shard, AGGREGATE, "1")
    again = Consumer(store, 1)
    async with at_work(again.run):
        await append(store, 1)

        async def is_processed() -> bool:
            return len(again.processed) == 1

        await wait_until(is_processed)


async def test_what_is_in_memory_is_dropped_once_when_idle(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more after the next event."""
    monkeypatch.setattr(group_consumer, "IDLE_S", 0.2)
    consumer = Consumer(store, 1)
    async with at_work(consumer.run):
        for times in (1, 2):
            await append(store, 1, name=str(times))

            async def is_idle(count: int = times) -> bool:
                return (len(consumer.processed), consumer.idle) == (count, count)

            await wait_until(is_idle)


async def test_whose_turn_it_is(store: Store) -> None:
    """Of two workers, also where Redis does not know how much is unread."""
    stream, shard = store.event_stream, next(iter(store.event_stream.shards))

    async def turn(worker: str) -> Turn:
        return await store.read_turns.turn(shard, AGGREGATE, worker)

    await store.client.delete(keys.reader(shard))
    await store.client.rpush(keys.reader(shard), "planted")
    assert [Turn.READ, Turn.WAIT] == [await turn("a"), await turn("b")]
    await stream.create_group(AGGREGATE)
    await append(store, ALONE_UP_TO)
    assert [Turn.READ, Turn.WAIT] == [await turn("a"), await turn("b")]
    await append(store, 2, name="more")
    assert [Turn.READ, Turn.HELP] == [await turn("a"), await turn("b")]
    events = await stream.read(shard, "0-0", count=ALONE_UP_TO, wait=False)
    await store.client.execute_command("XDEL", keys.stream(shard), events[30].entry_id)
    assert [None] == [lag.lag for lag in await stream.backlogs() if lag.shard == shard]
    assert [Turn.READ, Turn.HELP] == [await turn("a"), await turn("b")]
    await store.client.execute_command("XDEL", keys.stream(shard), events[31].entry_id)
    assert [Turn.READ, Turn.WAIT] == [await turn("a"), await turn("b")]
    await store.read_turns.leave(shard, "b")
    assert Turn.WAIT is await turn("b")
    await store.read_turns.leave(shard, "a")
    assert [Turn.READ, Turn.WAIT] == [await turn("b"), await turn("a")]


@asynccontextmanager
async def worker(settings: Settings, ordinal: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """An aggregate worker in a process; killed at the end."""
    environ = {
        **os.environ, **settings.to_env(), "DATELINE_WORKER_ORDINAL": str(ordinal),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers", "work", "aggregate", env=environ,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.timeout(60)
async def test_a_killed_reader_is_replaced(store: Store, settings: Settings) -> None:
    """What comes after its end is indexed by the other worker within seconds."""
    stream = keys.stream(next(iter(store.event_stream.shards)))

    async def is_indexed(count: int) -> bool:
        return await store.category_index.count("all") == count

    async def has_second() -> bool:
        consumers = await store.client.execute_command("XINFO", "CONSUMERS", stream, AGGREGATE)
        return b"aggregate-2" in [name for each in consumers for name in each]

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(worker(settings, 1))
        await wait_until(lambda: _is_reader(store, 1))
        await stack.enter_async_context(worker(settings, 2))
        await wait_until(has_second)
        await append(store, 1)
        await wait_until(lambda: is_indexed(1))
        assert await _is_reader(store, 1)
        first.kill()
        await append(store, 1, name="after")
        await wait_until(lambda: is_indexed(2), timeout_s=READER_TTL_MS / 1000 + WAIT_S + 2)
        assert await _is_reader(store, 2)
