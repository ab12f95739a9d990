"""STREAM_MAX_BYTES bounds the memory of a stream, and loses nothing that is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from service.articles.event import FIRST
from service.manage import webhooks
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON
from tests.loops import at_work
from tests.many_articles import prose
from tests.waiting import wait_until
from workers.aggregate import aggregator as aggregator_module
from workers.aggregate.aggregator import Aggregator

MANY, MAX_BYTES = 600, 400_000


async def memory(store: Store) -> int:
    """Bytes of the stream of events."""
    client: Any = store.client
    return int(await client.execute_command("MEMORY USAGE", keys.stream(0), "SAMPLES", 0))


def bounded(settings: Settings) -> Settings:
    """The retention alone would keep everything."""
    more = {"stream_max_bytes": MAX_BYTES, "stream_retention_s": 1e9}
    return settings.model_copy(update=more)


def working(store: Store, settings: Settings) -> Any:
    """An aggregate worker."""
    return at_work(Aggregator(store, settings, now=lambda: datetime.now(UTC)).run)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is trimmed all the time."""
    monkeypatch.setattr(aggregator_module, "TRIM_EVERY_S", 0.05)


async def test_the_oldest_events_go_before_their_time(store: Store, settings: Settings) -> None:
    """As soon as they were read, until the stream fits; all articles are indexed."""
    await store.articles.append([prose(n) for n in range(MANY)], now=NOON)
    assert await memory(store) > 1.5 * MAX_BYTES
    async with working(store, bounded(settings)):

        async def fits() -> bool:
            return await memory(store) <= MAX_BYTES

        await wait_until(fits)
        assert MANY == await store.category_index.count("all")
    length = await store.event_stream.length(0)
    assert MANY / 4 < length < MANY
    assert MANY - length == (await store.counters())["stream_dropped_over_bytes"]
    assert await store.event_stream.is_behind(0, FIRST)


async def test_no_event_goes_that_a_webhook_still_needs(store: Store, settings: Settings) -> None:
    """Even if the stream takes more than it may; when the webhook is removed, they go."""
    webhook = await webhooks.add(store, {"url": "http://x.example/"}, now=datetime.now(UTC))
    await store.articles.append([prose(n) for n in range(MANY)], now=NOON)
    async with working(store, bounded(settings)):

        async def all_there() -> bool:
            return MANY == await store.category_index.count("all")

        await wait_until(all_there)
        worker = Aggregator(store, bounded(settings), now=lambda: datetime.now(UTC))
        await worker._trim()
        assert MANY == await store.event_stream.length(0)
        await webhooks.remove(store, webhook["id"])

        async def fits() -> bool:
            return await memory(store) <= MAX_BYTES

        await wait_until(fits)


async def test_a_group_that_has_read_nothing_needs_everything(store: Store) -> None:
    """So nothing is dropped for the bytes, and an empty stream is no fault."""
    trim = store.event_stream.trim
    assert (0, 0, 0) == await trim(0, min_id=FIRST, max_entries=100, max_bytes=1)
    receipts = await store.articles.append([prose(n) for n in range(10)], now=NOON)
    assert (0, 0, 0) == await trim(0, min_id=FIRST, max_entries=100, max_bytes=1)
    last = (await store.event_stream.newest(0, count=1))[0].entry_id
    dropped = await trim(0, min_id=FIRST, max_entries=100, max_bytes=1, needed=last)
    assert 9 == dropped[2] == len(receipts) - await store.event_stream.length(0)
