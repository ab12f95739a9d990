"""One bad source costs itself, whatever is stored of it and wherever our code raises."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from service.articles.times import to_ms
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.websub.subscriber import HubSubscription
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, add, polled, polling
from tests.waiting import wait_until
from workers.ingest import poller, source_poll


async def test_what_cannot_be_read_costs_its_source(
    store: Store,
    settings: Settings,
    site: FakeSite,
    clock: Clock,
    redis: Redis,
) -> None:
    """Broken settings, and a broken rest of the last poll: the others are polled."""
    site.put("/good", RSS)
    site.put("/renewed", RSS)
    bad, renewed = (
        await add(store, f"{site.url}/bad", clock),
        await add(store, f"{site.url}/renewed", clock),
    )
    await redis.hset(keys.sources(0), bad, b"{")
    await redis.hset(keys.sources_polls(0), renewed, b"[]")
    good = await add(store, _at_another_host(f"{site.url}/good"), clock)
    async with polling(store, settings, clock):
        await polled(store, good, " new")
        await polled(store, renewed, " new")
    assert {"/renewed", "/good"} == {request.path for request in site.requests}


async def test_a_bug_in_what_decides_the_next_poll_costs_its_source(
    store: Store, settings: Settings, site: FakeSite, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It is reported until it is polled without fault; the others are polled."""
    next_poll = source_poll.next_poll

    def failing(source: Any, *args: Any, **options: Any) -> Any:
        if source.url.endswith("/bad"):
            raise RuntimeError("planted")
        return next_poll(source, *args, **options)

    monkeypatch.setattr(source_poll, "next_poll", failing)
    site.put("/good", RSS)
    site.put("/bad", RSS)
    bad = await add(store, f"{site.url}/bad", clock)
    good = await add(store, _at_another_host(f"{site.url}/good"), clock)

    async def is_reported() -> bool:
        faults = await store.faults.all(now=clock())
        return ("source", f"{site.url}/bad") in [(f.kind, f.name) for f in faults]

    async def is_over() -> bool:
        return not await is_reported()

    async with polling(store, settings, clock):
        await polled(store, good, " new")
        await wait_until(is_reported)
        monkeypatch.setattr(source_poll, "next_poll", next_poll)
        await store.sources.wake(bad, due_ms=0)
        clock.move(hours=1)
        await wait_until(is_over)


@pytest.mark.parametrize("key", [keys.endpoints(0, 7), keys.subscriptions(0), keys.pushes(0)])
async def test_keys_beside_the_sources_stop_no_poll(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, redis: Redis,
    monkeypatch: pytest.MonkeyPatch, key: str,
) -> None:  # fmt: skip
    """Webhooks are counted, subscriptions swept, pushes taken in: a key of the wrong type costs
    that alone."""
    monkeypatch.setattr(poller, "COUNT_SUBSCRIBERS_S", 0.05)
    await redis.set(key, "planted")
    site.put("/good", RSS)
    async with polling(store, settings, clock):

        async def is_reported() -> bool:
            return "loop" in [fault.kind for fault in await store.faults.all(now=clock())]

        await wait_until(is_reported)
        await polled(store, await add(store, f"{site.url}/good", clock), " new")
    await redis.delete(key)


async def test_a_subscription_that_cannot_be_read_is_not_swept(store: Store, clock: Clock) -> None:
    """The other subscriptions are swept."""
    over = HubSubscription(id="over", source_id="s", hub="h", topic="t", secret="x")
    await store.our_subscriptions.put(over)
    await store.client.hset(keys.subscriptions(0), "broken", b"{")
    clock.move(days=400)
    await store.our_subscriptions.sweep(to_ms(clock()))
    assert [b"broken"] == await store.client.hkeys(keys.subscriptions(0))


async def test_a_push_that_cannot_be_read_is_dropped(store: Store) -> None:
    """Of another program: it does not come first forever."""
    await store.our_subscriptions.pushes(0, "c", count=4, block_ms=10)
    await store.client.xadd(keys.pushes(0), {"other": "x"})
    await store.our_subscriptions.push("s", b"<rss/>", "text/xml", host="x")
    (push,) = await store.our_subscriptions.pushes(0, "c", count=4, block_ms=10)
    assert "s" == push.source_id
    assert 1 == await store.client.xlen(keys.pushes(0))


async def test_a_push_that_a_killed_worker_had_is_appended_by_its_next_process(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, redis: Redis
) -> None:
    """At once, and not when a worker with another number may take it: it was sent to this one."""
    source_id = await add(store, f"{site.url}/f", clock)
    assert await store.our_subscriptions.push(
        source_id, RSS.encode(), "application/rss+xml", host="x"
    )
    killed = partial(store.our_subscriptions.pushes, 0, "ingest-0", count=4, block_ms=10)
    assert [] == await killed()  # It has made the group.
    assert [source_id] == [push.source_id for push in await killed()]

    async def is_taken() -> bool:
        return not await redis.xlen(keys.pushes(0))

    async with polling(store, settings, clock):
        await wait_until(is_taken)
    assert 1 == (await store.event_stream.length(0))


def _at_another_host(url: str) -> str:
    """The same server by another name: sources of one host wait for one another."""
    return url.replace("127.0.0.1", "localhost")
