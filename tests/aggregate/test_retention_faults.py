"""A pass of retention that is cut, that another worker does, or that meets a fault."""

from __future__ import annotations

import asyncio

import pytest

from service.articles.retention import RetentionPolicy
from service.manage import retention
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.aggregate.test_retention import append, draft, indexed, now, often, passed, titles
from tests.old_articles import put_field
from workers.aggregate import retention as retention_module
from workers.aggregate.aggregator import Aggregator

__all__ = ["often"]


async def test_a_changed_article_is_left_for_the_next_pass(
    store: Store, settings: Settings
) -> None:
    """What was read of it no longer holds: it may have a new date or category."""
    (article_id,) = await indexed(store, settings, draft("old", 9))
    policy = RetentionPolicy.parse("5d")
    (chunk,) = [chunk async for chunk in retention.expired(store, policy, now=now())]
    await append(store, draft("old", 9, "Archive"))
    taken = await retention.remove(
        store, chunk.expired, now=now(), zone=settings.timezone, all_views=()
    )
    assert [] == taken
    assert ["old"] == await titles(store)
    assert not await store.removals.contains(article_id)


async def test_a_pass_that_is_cut_is_begun_anew(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is noted of it, and what it removed stays removed, each article wholly."""
    await indexed(store, settings, *(draft(f"old {n}", 9 + n) for n in range(30)))
    stop = asyncio.Event()
    stop.set()
    policy = settings.model_copy(update={"retention": RetentionPolicy.parse("5d")})
    worker = Aggregator(store, policy, now=now)
    monkeypatch.setattr(retention, "REMOVED_AT_ONCE", 10)

    async def publish(changes: object) -> None:
        """Accept changed pages, and notify nobody."""

    await worker._retention.run(publish, stop)
    assert await store.removals.last_pass() is None
    await store.client.delete(keys.lease(retention_module.LEASE))
    await passed(store, settings, "5d")
    assert [] == await titles(store)
    assert 0 == await store.category_index.count("all")


async def test_one_worker_does_it(store: Store, settings: Settings) -> None:
    """While another one has the lease, nothing is removed; and a pass is not repeated at once."""
    await indexed(store, settings, draft("old", 9))
    assert await store.leases.take(retention_module.LEASE, token="other", ttl_ms=60_000)
    policy = settings.model_copy(update={"retention": RetentionPolicy.parse("5d")})
    worker = Aggregator(store, policy, now=now)._retention
    published: list[object] = []

    async def publish(changes: object) -> None:
        published.append(changes)

    await worker.run(publish, asyncio.Event())
    assert ["old"] == await titles(store)
    await store.client.delete(keys.lease(retention_module.LEASE))
    await worker.run(publish, asyncio.Event())
    assert [] == await titles(store)
    assert any(published)
    await append(store, draft("older", 10))
    await worker.run(publish, asyncio.Event())
    assert ["older"] == await titles(store)


async def test_a_bad_article_costs_itself(store: Store, settings: Settings) -> None:
    """One with an index of a wrong type is reported, and one that cannot be read is passed."""
    bad, unreadable, _ = await indexed(
        store, settings, draft("bad", 9, "Bad"), draft("unreadable", 9), draft("good", 9)
    )
    await store.client.delete(keys.category(0, "bad"))
    await store.client.hset(keys.category(0, "bad"), "a", "b")
    name = keys.article(0, unreadable)
    await put_field(store.client, name, "head", b'{"published": 3}')
    assert 1 == await passed(store, settings, "5d")
    assert ["bad"] == await titles(store)
    faults = [(f.kind, f.name) for f in await store.faults.all(now=now())]
    assert ("article", bad) in faults
    await store.client.delete(keys.category(0, "bad"))
