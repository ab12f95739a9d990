"""Many workers, many endpoints: fair shares, takeovers, receivers that must not harm others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from service.settings import Settings
from service.storage import keys
from service.storage.leases import Lease, SharedLeases
from service.storage.store import Store
from tests.deliver.working import (
    LEASES,
    delivered,
    delivering,
    publish,
    shared,
    subscribe,
    take_all,
)
from tests.receiver import FakeReceiver
from workers.deliver import slots


async def test_workers_share_fairly_and_take_over(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """All for one, half for two; back to one when the other stops; nothing is doubled."""

    for _ in range(20):
        await subscribe(store, receiver, secret=receiver.secret or None)
    expected: list[str] = []
    async with delivering(store, settings):
        await shared(store, LEASES)
        expected += await publish(store, "a")
        await delivered(receiver, 20)
        async with delivering(store, settings):
            await shared(store, LEASES // 2, LEASES // 2)
            expected += await publish(store, "b")
            await delivered(receiver, 40)
        await shared(store, LEASES)
        expected += await publish(store, "c")
        await delivered(receiver, 60)
    await shared(store)
    assert Counter(dict.fromkeys(expected, 20)) == Counter(receiver.seen)


async def test_a_worker_that_dies_is_replaced_when_its_leases_lapse(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Leases of a worker that was killed are taken after LEASE_TTL_S, and no sooner."""
    await subscribe(store, receiver)
    started = time.monotonic()
    taken = await take_all(store, token="dead", ttl_ms=1_500)
    assert (LEASES, LEASES) == (sum(fair for fair, _ in taken), sum(len(all) for _, all in taken))
    expected = await publish(store, "a")
    async with delivering(store, settings):
        assert expected == await delivered(receiver, 1)
        assert time.monotonic() - started > 1.45
        await shared(store, LEASES)


async def test_a_lease_that_lapsed_is_taken_again_as_it_was(store: Store) -> None:
    """A stalled loop does not fence its own worker out; another's turn in between does."""
    shared = some_leases(16)
    _, held = await store.leases.share(shared, token="me", ttl_ms=1, held={})
    await asyncio.sleep(0.01)
    _, again = await store.leases.share(shared, token="me", ttl_ms=1, held=held)
    assert held == again
    await asyncio.sleep(0.01)
    await store.leases.share(shared, token="other", ttl_ms=1, held={})
    await asyncio.sleep(0.01)
    _, after = await store.leases.share(shared, token="me", ttl_ms=1_000, held=held)
    assert all(after[name].epoch > held[name].epoch for name in shared.names)
    fair, none = await store.leases.share(shared, token="late", ttl_ms=1_000, held={})
    assert (8, {}) == (fair, none)
    await store.leases.leave(shared, token="late")
    await store.leases.leave(shared, token="me")


def some_leases(count: int, number: int = 0) -> SharedLeases:
    """A group of so many leases."""
    names = tuple(f"deliver:{each}" for each in range(count))
    return SharedLeases(names=names, members=keys.DELIVERERS, number=number)


async def test_leases_are_taken_a_few_at_a_time(store: Store) -> None:
    """A worker loads what it took before it takes more; all of its own are renewed meanwhile."""
    shared = some_leases(5)
    held: dict[str, Lease] = {}
    for expected in (2, 4, 5, 5):
        _, held = await store.leases.share(shared, token="me", ttl_ms=1_000, held=held, most_new=2)
        assert expected == len(held)


async def test_what_is_left_over_in_each_group_falls_to_different_workers(store: Store) -> None:
    """With one lease a group and three workers, each worker has one of three groups."""
    fair: dict[str, list[int]] = {token: [] for token in ("a", "b", "c")}
    for number in range(3):
        for _ in range(2):
            # Until all are known, the first has more.
            shares = [
                await store.leases.share(some_leases(4, number), token=token, ttl_ms=5_000, held={})
                for token in fair
            ]
        for token, (share, _) in zip(fair, shares, strict=True):
            fair[token].append(share)
    assert [[1, 1, 2]] * 3 == [sorted(each) for each in fair.values()]


async def test_receivers_that_hang_hold_nobody_up(
    store: Store, settings: Settings, receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More receivers hang than there are slots: the slots are free again after a second."""
    monkeypatch.setattr(slots, "HEALTHY_SLOTS", 4)
    patient = settings.model_copy(update={"webhook_timeout_s": 8})
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(12):
            hanging = await stack.enter_async_context(FakeReceiver())
            hanging.delay_s = 9
            await subscribe(store, hanging)
        await subscribe(store, receiver)
        async with delivering(store, patient):
            expected = await publish(store, "a")
            assert expected == await delivered(receiver, 1)


async def test_endpoints_that_fail_have_places_of_their_own(
    store: Store, settings: Settings, receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While receivers that hang have all of those, a healthy one does not wait."""
    monkeypatch.setattr(slots, "SUSPECT_SLOTS", 1)
    monkeypatch.setattr(slots, "MAX_SUSPECTS_IN_FLIGHT", 1)
    async with FakeReceiver() as sick, delivering(store, settings):
        sick.answers = [500]
        for _ in range(5):
            await subscribe(store, sick)
        await subscribe(store, receiver)
        await publish(store, "a")
        await delivered(receiver, 1)
        sick.delay_s = 0.4
        more = await publish(store, *(f"n{i}" for i in range(10)))
        assert more == (await delivered(receiver, 11))[1:]


async def test_an_endpoint_far_behind_catches_up_by_itself(
    store: Store, settings: Settings, receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads from Redis until it reaches what is in memory; in order, nothing twice."""
    monkeypatch.setattr("workers.deliver.webhooks.event_log.MAX_EVENTS", 8)
    monkeypatch.setattr("workers.deliver.webhooks.registry.MAX_EVENTS", 8)
    monkeypatch.setattr("workers.deliver.webhooks.endpoint.READ", 3)
    await subscribe(store, receiver, categories=["Sports"])
    expected = []
    for i in range(30):
        expected += await publish(store, f"n{i}", category="Sports")
        await publish(store, f"other{i}")
    async with delivering(store, settings):
        assert expected[:10] == (await delivered(receiver, 10))[:10]
        expected += await publish(store, "last", category="Sports")
        assert expected == await delivered(receiver, 31)
