"""Reports of isolated faults, and the isolation of items that fail."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from service import logs
from service.errors import Unavailable
from service.storage import faults, keys
from service.storage.client import redis_errors_as_unavailable
from service.storage.faults import each_alone
from service.storage.store import Store

NOW = datetime(2026, 11, 28, 7, tzinfo=UTC)


async def test_a_fault_is_counted_until_it_is_cleared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first and last time, how often it happened, its newest reason; a counter for metrics."""
    monkeypatch.setattr(faults, "NOTE_EVERY_S", 0)
    later = NOW + timedelta(minutes=5)
    await store.faults.report("page", "all.rss", ValueError("one\nreason"), now=NOW)
    await store.faults.report("page", "all.rss", KeyError("another"), now=later)
    (fault,) = await store.faults.all(now=later)
    assert ("page", "all.rss", 2) == (fault.kind, fault.name, fault.count)
    assert "KeyError: 'another'" == fault.reason
    assert ("2026-11-28T07:00:00.000Z", "2026-11-28T07:05:00.000Z") == (fault.first, fault.last)
    assert 2 == (await store.counters())["faults_page"]
    assert [] == await store.faults.all(now=later + timedelta(days=1, seconds=1))
    await store.faults.clear("page", "all.rss")
    assert [] == await store.faults.all(now=later)


async def test_a_burst_of_reports_is_one_write(store: Store) -> None:
    """A page that is requested a thousand times a second does not write as often."""
    for _ in range(50):
        await store.faults.report("page", "all.rss", ValueError(), now=NOW)
    assert 1 == (await store.faults.all(now=NOW))[0].count


async def test_faults_are_capped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten first."""
    monkeypatch.setattr(keys, "FAULTS_MAX", 3)
    for number in range(6):
        moment = NOW + timedelta(minutes=number)
        await store.faults.report("page", str(number), ValueError(), now=moment)
    names = [fault.name for fault in await store.faults.all(now=NOW + timedelta(minutes=6))]
    assert ["5", "4", "3"] == names


@pytest.mark.parametrize("key", [keys.counters(0), keys.FAULTS])
async def test_reports_never_raise(
    store: Store, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """What cannot be noted, or cleared, is logged all the same."""
    await store.client.execute_command("SET", key, "planted")
    await store.faults.report("page", "all.rss", ValueError("its reason"), now=NOW)
    await store.faults.clear("page", "all.rss")
    assert "its reason" in caplog.text
    assert "a fault cannot be stored" in caplog.text
    await store.client.delete(key)


async def test_a_stored_fault_that_cannot_be_read_hides_no_other(store: Store) -> None:
    """It is of another version, or broken: it is left out."""
    await store.faults.report("page", "all.rss", ValueError(), now=NOW)
    for number, value in enumerate((b"{", b"[]", b'{"newer": 1}', b'{"last": 5}')):
        await store.client.hset(keys.FAULTS, f"page {number}", value)
    broken = orjson.loads(await store.client.hget(keys.FAULTS, "page all.rss") or b"")
    await store.client.hset(keys.FAULTS, "page 9", orjson.dumps({**broken, "last": 5}))
    assert ["all.rss"] == [fault.name for fault in await store.faults.all(now=NOW)]


async def test_what_is_isolated_is_listed_until_it_succeeds(store: Store) -> None:
    """Its result comes through; a Redis that is away is still raised."""

    async def work() -> int:
        if failures:
            raise failures.pop()
        return 7

    async def isolated() -> int | None:
        return await store.faults.isolate("loop", "sweep", work, now=NOW)

    failures: list[Exception] = [ValueError("planted")]
    assert await isolated() is None
    assert ["sweep"] == [fault.name for fault in await store.faults.all(now=NOW)]
    assert 7 == await isolated()
    assert [] == await store.faults.all(now=NOW)
    failures.append(RedisConnectionError("gone"))
    with pytest.raises(Unavailable):
        await isolated()


async def test_each_item_is_tried_alone_when_all_fail() -> None:
    """Those that can be done are done; the others are handed over with their reasons."""
    done: list[int] = []
    failures: dict[int, str] = {}

    async def work(items: Sequence[int]) -> None:
        if 3 in items:
            raise ValueError("three")
        done.extend(items)

    async def failed(item: int, exc: Exception) -> None:
        failures[item] = str(exc)

    await each_alone([1, 2, 3, 4], work, failed)
    assert ([1, 2, 4], {3: "three"}) == (done, failures)


async def test_a_redis_that_is_away_is_no_items_fault() -> None:
    """Unavailable is raised at once, out of a task group, too."""

    async def work(items: Sequence[int]) -> None:
        raise ExceptionGroup("", [ExceptionGroup("", [RedisConnectionError("gone")])])

    async def failed(item: int, exc: Exception) -> None:
        raise AssertionError(item)

    with pytest.raises(Unavailable):
        await each_alone([1, 2], work, failed)


def test_a_bug_beside_a_redis_that_is_away_is_a_bug() -> None:
    """A group is Redis's fault only if nothing else is in it."""
    with pytest.raises(ExceptionGroup), redis_errors_as_unavailable():
        raise ExceptionGroup("", [RedisConnectionError("gone"), ValueError("a bug")])


def test_equal_tracebacks_are_written_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one says how many there were; another line or type is another traceback."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    handler.addFilter(logs.RepeatFilter())
    logger = logging.getLogger("tests.repeat")
    logger.addHandler(handler)

    def fail(kind: type[Exception]) -> None:
        try:
            raise kind
        except Exception:
            logger.exception("failed")

    for _ in range(10):
        fail(ValueError)
    fail(KeyError)
    assert 2 == len(records)
    monkeypatch.setattr(logs, "REPEAT_S", 0.0)
    logger.filters.clear()
    for key, (_, count) in handler.filters[0]._counts.items():  # type: ignore[union-attr]
        handler.filters[0]._counts[key] = (0.0, count)  # type: ignore[union-attr]
    fail(ValueError)
    assert 9 == records[-1].repeated  # type: ignore[attr-defined]
    logger.removeHandler(handler)
