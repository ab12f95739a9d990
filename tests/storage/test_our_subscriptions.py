"""Our subscriptions at hubs, and what hubs pushed, in several shards."""

from __future__ import annotations

import pytest

from service.storage import keys
from service.storage.layout import migrate
from service.storage.shards import ONE, claim_shards, numbered
from service.storage.store import Store, of_client
from service.websub.subscriber import HubSubscription
from tests.storage.test_source_moves import host_in

SHARDS = numbered(3)


@pytest.fixture
async def sharded(store: Store) -> Store:
    """The store with three shards."""
    await store.client.flushdb()
    return of_client(store.client, shards=await claim_shards(store.client, SHARDS))


def subscription(name: str, **fields: int) -> HubSubscription:
    """A subscription of this id."""
    return HubSubscription(
        id=name, source_id="s", hub="http://hub.example/", topic="http://t.example/", secret="x",
        **fields,
    )  # fmt: skip


async def counts(store: Store) -> list[int]:
    """How many subscriptions each shard has."""
    return [await store.client.hlen(keys.subscriptions(shard)) for shard in SHARDS]


async def test_subscriptions_are_spread_by_id(sharded: Store) -> None:
    """Whatever their hub is; each is found, swept and removed by its id alone."""
    names = [f"id{number}" for number in range(30)]
    for name in names:
        await sharded.our_subscriptions.put(subscription(name, expires_ms=1, renew_ms=1))
    assert 30 == sum(await counts(sharded))
    assert all(await counts(sharded))
    for name in names[:5]:
        assert subscription(name, expires_ms=1, renew_ms=1) == await sharded.our_subscriptions.get(
            name
        )
        await sharded.our_subscriptions.remove(name)
        assert None is await sharded.our_subscriptions.get(name)
    await sharded.our_subscriptions.sweep(10**12)
    assert [0, 0, 0] == await counts(sharded)


async def test_subscriptions_of_the_version_before_are_moved(sharded: Store) -> None:
    """By the layout's step; what was renewed meanwhile is not undone by one that was cut."""
    of_then = of_client(sharded.client, shards=ONE)
    for number in range(30):
        await of_then.our_subscriptions.put(subscription(f"id{number}"))
    renewed = next(f"id{n}" for n in range(30) if SHARDS.of(f"id{n}"))
    await sharded.our_subscriptions.put(subscription(renewed, renew_ms=7))
    await sharded.client.hset(keys.LAYOUT, "version", "2")
    await migrate(sharded.client)
    assert 30 == sum(await counts(sharded))
    for number in range(30):
        stored = await sharded.our_subscriptions.get(f"id{number}")
        assert stored
        assert (7 if f"id{number}" == renewed else 0) == stored.renew_ms


async def test_pushes_are_with_their_source(sharded: Store) -> None:
    """In the stream of its shard, one worker each; all of them are dropped by an erasure."""
    for shard in SHARDS:
        host = host_in(shard)
        await sharded.our_subscriptions.push(f"s{shard}", b"x", "text/xml", host=host)
    for shard in SHARDS:
        await sharded.our_subscriptions.pushes(shard, "c", count=9, block_ms=1)
        (push,) = await sharded.our_subscriptions.pushes(shard, "c", count=9, block_ms=1)
        assert f"s{shard}" == push.source_id
        if shard:
            await sharded.our_subscriptions.taken(push)
    lengths = [await sharded.client.xlen(keys.pushes(shard)) for shard in SHARDS]
    assert [1, 0, 0] == lengths
    await sharded.our_subscriptions.push("other", b"x", "text/xml", host=host_in(2))
    assert ["s0", "other"] == await sharded.our_subscriptions.drop_pushes()
    assert [] == await sharded.our_subscriptions.drop_pushes()
