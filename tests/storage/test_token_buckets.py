"""Buckets of tokens on a real server."""

from __future__ import annotations

import asyncio

from service.storage import keys
from service.storage.store import Store
from service.storage.token_buckets import Bucket


def bucket(name: str = "b", *, size: int = 3, period_s: float = 60, cost: int = 1) -> Bucket:
    """A bucket of three tokens, one every 20 s."""
    return Bucket(name=name, size=size, period_s=period_s, cost=cost)


async def test_a_bucket_has_its_size_at_once_and_is_refilled_evenly(store: Store) -> None:
    """The fourth of three waits for its token exactly, and is not taken meanwhile."""
    waits = [await store.token_buckets.take([bucket()], now_ms=1_000) for _ in range(5)]
    assert [0, 0, 0, 20, 20] == waits
    assert 0.001 == await store.token_buckets.take([bucket()], now_ms=20_999)
    assert 0 == await store.token_buckets.take([bucket()], now_ms=21_000)
    assert 20 == await store.token_buckets.take([bucket()], now_ms=21_000)


async def test_tokens_are_taken_from_all_buckets_or_from_none(store: Store) -> None:
    """One that is empty does not cost the others."""
    one, two = bucket("one", size=1), bucket("two")
    assert 0 == await store.token_buckets.take([one, two], now_ms=0)
    assert 60 == await store.token_buckets.take([one, two], now_ms=0)
    assert [0, 0, 20] == [await store.token_buckets.take([two], now_ms=0) for _ in range(3)]


async def test_a_cost_is_taken_whole(store: Store) -> None:
    """Bytes are tokens, too: what does not fit is refused, what is smaller still fits."""

    async def take(cost: int) -> float:
        large = bucket(size=20_000_000, period_s=3_600, cost=cost)
        return await store.token_buckets.take([large], now_ms=1_764_000_000_000)

    assert 0 == await take(15_000_000)
    assert 0 < await take(5_000_001) < 0.01
    assert 0 == await take(5_000_000)
    assert 0 < await take(1)


async def test_many_at_once_do_not_take_more_than_there_is(store: Store) -> None:
    """Servers and workers share the bucket."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(store.token_buckets.take([bucket()], now_ms=0)) for _ in range(40)
        ]
    assert 3 == [task.result() for task in tasks].count(0)


async def test_a_clock_that_is_ahead_costs_the_others_a_period_at_most(store: Store) -> None:
    """Servers' clocks differ: one is a day ahead, and takes all that there is."""
    day_ms = 86_400_000
    for _ in range(3):
        assert 0 == await store.token_buckets.take([bucket()], now_ms=day_ms)
    assert 20 == await store.token_buckets.take([bucket()], now_ms=0)
    assert 0 == await store.token_buckets.take([bucket()], now_ms=20_000)


async def test_a_full_bucket_takes_no_room(store: Store) -> None:
    """Its key lives until it is full again."""
    await store.token_buckets.take([bucket()], now_ms=0)
    assert 19_000 < await store.client.execute_command("PTTL", keys.tokens("b")) <= 20_000
    assert 0 == await store.token_buckets.take([], now_ms=0)
