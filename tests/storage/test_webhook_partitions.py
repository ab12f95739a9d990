"""Webhooks in partitions: moved there from one hash, and what they need of the event streams."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.articles.event import FIRST, position
from service.manage import webhooks
from service.settings import Settings
from service.storage import keys, layout
from service.storage.client import Script
from service.storage.leases import Lease
from service.storage.partitions import PARTITIONS, partition_of, partitions_of, registries
from service.storage.shards import Shards, numbered, spread
from service.storage.store import Store, of_client, open_store
from service.storage.webhook_partitions import partition_webhooks
from service.storage.webhooks import Ack, Range, Settled
from tests.conftest import NOON
from tests.deliver.working import registry_of
from tests.storage.backups import drafts

EARLIER, LATER = "5-1", "18446744073709551615-18446744073709551615"
FIELDS = {"url": "https://receiver.example/"}


@pytest.mark.parametrize("shards", [numbered(1), numbered(3), spread(8), numbered(300)])
def test_each_partition_is_in_one_shard(shards: Shards) -> None:
    """And each shard has as many as another, by one."""
    all_partitions = [p for shard in shards for p in partitions_of(shard, shards)]
    assert [*range(PARTITIONS)] == sorted(all_partitions)
    counts = [len(partitions_of(shard, shards)) for shard in shards]
    assert max(counts) - min(counts) <= 1
    assert PARTITIONS == len({key for _, key in registries(shards)})


async def added(store: Store, **fields: Any) -> str:
    """Add a webhook at the end of the stream; its id."""
    return str((await webhooks.add(store, {**FIELDS, **fields}, now=NOON))["id"])


async def formerly(store: Store, webhook_id: str) -> None:
    """Put a webhook where it was before there were partitions."""
    client: Any = store.client
    registry, shard = registry_of(store, webhook_id), store.webhooks.shard_of(webhook_id)
    await client.hset(keys.FORMER_ENDPOINTS, webhook_id, await client.hget(registry, webhook_id))
    await client.hdel(registry, webhook_id)
    for kind in (keys.endpoint, keys.attempts, keys.dead_letters, keys.replays):
        dump = await client.execute_command("DUMP", kind(shard, webhook_id))
        if shard and dump:
            await client.execute_command("RESTORE", kind(0, webhook_id), 0, dump)
            await client.delete(kind(shard, webhook_id))


async def with_former(settings: Settings, store: Store, *, count: int) -> dict[str, str]:
    """An archive of the layout before: id → cursor of each webhook, all with logs and a replay."""
    client: Any = store.client
    async with open_store(settings):
        pass
    cursors = {}
    for number in range(count):
        webhook_id, shard = await added(store), 0
        cursors[webhook_id] = f"{number + 7}-0"
        await formerly(store, webhook_id)
        await client.hset(keys.endpoint(shard, webhook_id), "cursor:0", cursors[webhook_id])
        await client.rpush(keys.replays(shard, webhook_id), f"0 {number + 6}-0 9-0")
        await client.xadd(keys.attempts(shard, webhook_id), {"status": "200"})
        await client.xadd(keys.dead_letters(shard, webhook_id), {"shard": "0", "first": "1-0"})
    for shard in store.event_stream.shards:
        await client.delete(keys.needed(shard))
    await client.hset(keys.LAYOUT, "version", str(layout.STEPS.index(partition_webhooks)))
    return cursors


async def check_moved(store: Store, cursors: dict[str, str]) -> None:
    """Check that all webhooks are in their partitions, with all that they had."""
    assert set(cursors) == {webhook.id async for webhook in store.webhooks.all()}
    assert len(cursors) == await store.webhooks.count()
    for webhook_id, cursor in cursors.items():
        state = await store.webhooks.state(webhook_id)
        assert (cursor, 1) == (state.cursors[0], len(state.replays))
        assert 1 == len(await store.webhooks.attempts(webhook_id, limit=5))
        assert 1 == len(await store.webhooks.dead_letters(webhook_id, limit=5))
        if store.webhooks.shard_of(webhook_id):
            assert 0 == await store.client.execute_command("EXISTS", keys.endpoint(0, webhook_id))
    assert 0 == await store.client.hlen(keys.FORMER_ENDPOINTS)


async def test_webhooks_of_before_are_moved(settings: Settings, store: Store) -> None:
    """With cursors, logs and replays; what they need is known."""
    cursors = await with_former(settings, store, count=12)
    async with open_store(settings):
        await check_moved(store, cursors)
    assert str(layout.VERSION).encode() == await store.client.hget(keys.LAYOUT, "version")
    assert "6-0" == (await store.webhooks.needed())[0]


async def test_a_move_that_was_cut_goes_on(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after a webhook is copied; none is lost, or takes an old state again."""
    cursors = await with_former(settings, store, count=6)
    call, calls = Script.__call__, 0

    async def killed(script: Script[Any], **arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        reply = await call(script, **arguments)
        if calls == 5:
            raise KeyboardInterrupt
        return reply

    monkeypatch.setattr(Script, "__call__", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            await partition_webhooks(store.client)
    monkeypatch.undo()
    await partition_webhooks(store.client)
    await check_moved(store, cursors)


async def test_a_second_process_that_moves_late_changes_nothing(
    settings: Settings, store: Store
) -> None:
    """It has read what was there before; meanwhile a webhook was delivered to, another removed."""
    cursors = await with_former(settings, store, count=2)
    former: dict[bytes, bytes] = await store.client.hgetall(keys.FORMER_ENDPOINTS)
    await partition_webhooks(store.client)
    first, second = cursors
    await store.webhooks.remove(first)
    shard = store.webhooks.shard_of(second)
    await store.client.hset(keys.endpoint(shard, second), "cursor:0", "8888-0")
    for name, value in former.items():
        await store.client.hset(keys.FORMER_ENDPOINTS, name, value)
    await partition_webhooks(store.client)
    assert [second] == [webhook.id async for webhook in store.webhooks.all()]
    assert "8888-0" == (await store.webhooks.state(second)).cursors[0]


async def lowest(store: Store) -> str | None:
    """The cursor after which a webhook needs events of the first shard."""
    return (await store.webhooks.needed()).get(store.event_stream.shards.tags[0])


async def moved_to(store: Store, webhook_id: str, cursor: str, **fields: str) -> None:
    """Set the cursors of a webhook as its worker does, and have it noted what it needs."""
    shard = store.webhooks.shard_of(webhook_id)
    lease = await store.leases.take("x", token="t", ttl_ms=60_000, shard=shard)
    assert lease
    named = {f"cursor:{tag}": cursor for tag in store.event_stream.shards}
    ack = Ack(endpoint_id=webhook_id, fields={**named, **fields})
    assert [Settled.WRITTEN] == await store.webhooks.settle([(lease, ack)], counters={})
    await store.webhooks.note_needed(partition_of(webhook_id))
    await store.leases.give_up(lease)


async def test_what_is_needed_rises_when_it_is_noted(store: Store) -> None:
    """The lowest of all that are neither disabled nor paused; nothing without webhooks."""
    assert {} == await store.webhooks.needed()
    low, high = await added(store), await added(store)
    await moved_to(store, low, "5-1")
    await moved_to(store, high, "5-12")
    assert "5-1" == await lowest(store)
    await moved_to(store, low, "18446744073709551615-9")
    assert "5-12" == await lowest(store)
    await moved_to(store, high, "5-12", disabled="410")
    assert "18446744073709551615-9" == await lowest(store)
    await webhooks.change(store, low, {"paused": True})
    assert await lowest(store) is None
    await webhooks.remove(store, low)
    assert {} == await store.webhooks.needed()


async def test_orders_lower_what_is_needed_at_once(store: Store) -> None:
    """No worker is there to note it: a trim in the next moment drops nothing that was ordered."""
    webhook_id = await added(store)
    await moved_to(store, webhook_id, "900-0")
    first = store.event_stream.shards.tags[0]
    assert await store.webhooks.replay(webhook_id, [Range(first, "700-3", "800-0")])
    assert "700-3" == await lowest(store)
    order = orjson.dumps({"at": "2026", **{str(s): "600-0" for s in store.event_stream.shards}})
    await store.webhooks.order(webhook_id, resume=order.decode())
    assert "600-0" == await lowest(store)
    await webhooks.change(store, webhook_id, {"paused": True})
    assert await lowest(store) is None
    await webhooks.change(store, webhook_id, {"paused": False})
    assert "600-0" == await lowest(store)


async def test_a_disabled_webhook_that_is_to_resume_needs_its_events(store: Store) -> None:
    """From the order on, not only when its worker has carried it out."""
    webhook_id = await added(store)
    await moved_to(store, webhook_id, "400-0", disabled="410 Gone")
    assert await lowest(store) is None
    await webhooks.resume(store, webhook_id, {}, now=NOON)
    assert "400-0" == await lowest(store)


async def test_a_new_webhook_is_needed_from_where_it_starts(store: Store) -> None:
    """Also in a partition that was noted before."""
    await store.webhooks.needed()
    await store.articles.append(drafts("One"), now=datetime.now(UTC))
    webhook_id = await added(store)
    cursors = (await store.webhooks.state(webhook_id)).cursors
    needed = await store.webhooks.needed()
    assert dict(cursors) == dict(needed)
    assert any(position(cursor) > (0, 0) for cursor in needed.values())


async def test_odd_states_need_nothing_and_stop_no_note(store: Store) -> None:
    """What no version wrote: a key of another type, an order and a cursor that are no ids."""
    good, wrong, odd = [await added(store) for _ in range(3)]
    client: Any = store.client
    await moved_to(store, good, "77-0")
    shard = store.webhooks.shard_of(wrong)
    await client.delete(keys.endpoint(shard, wrong))
    await client.set(keys.endpoint(shard, wrong), "planted")
    shard = store.webhooks.shard_of(odd)
    planted = {f"cursor:{tag}": "x" for tag in store.event_stream.shards}
    order = orjson.dumps({"0": 7, "x": "1-0", str(FIRST): None}).decode()
    await client.hset(keys.endpoint(shard, odd), mapping={**planted, "resume": order})
    await client.rpush(keys.replays(shard, odd), "nothing of a range", "\xff")
    await client.hset(registry_of(store, "a"), b"\xff\x0b", b"\xff")
    for shard in store.event_stream.shards:
        await client.delete(keys.needed(shard))
    assert "77-0" == await lowest(store)
    await client.delete(keys.endpoint(store.webhooks.shard_of(wrong), wrong))


async def test_a_partition_that_cannot_be_read_holds_the_streams(store: Store) -> None:
    """What it needs is unknown, so nothing that it may need is dropped."""
    _, registry = next(iter(registries(store.event_stream.shards)))
    await store.client.execute_command("SET", registry, "planted")
    assert {FIRST} == set((await store.webhooks.needed()).values())
    await store.client.delete(registry)
    assert {} == await store.webhooks.needed()


async def test_events_for_operators_of_all_shards_are_on_one_stream(store: Store) -> None:
    """Settled where the webhook is, and moved; counters are added up."""
    shards = numbered(3)
    spread_store = of_client(store.client, shards=shards)
    for number, shard in enumerate(shards):
        webhook_id = next(
            name
            for name in (f"wh_{n}" for n in range(100))
            if spread_store.webhooks.shard_of(name) == shard
        )
        registry = keys.endpoints(shard, partition_of(webhook_id))
        await store.client.hset(registry, webhook_id, "{}")
        lease = Lease(name="x", token="t", epoch=1, shard=shard)
        await store.client.execute_command("SET", keys.epoch("x", shard), "1")
        event = {"id": f"e{number}", "type": "dateline.webhook.gap.v1", "data": b"{}"}
        ack = Ack(endpoint_id=webhook_id, event=event)
        counters = {"webhook_delivered": 2}
        settled = await spread_store.webhooks.settle([(lease, ack)], counters=counters)
        assert [Settled.WRITTEN] == settled
    assert ["e0"] == [each["id"] for each in await store.operations.newest(limit=9)]
    for shard in (1, 2, 1):
        await store.operations.collect(shard)
    assert ["e2", "e1", "e0"] == [each["id"] for each in await store.operations.newest(limit=9)]
    assert 6 == (await spread_store.counters())["webhook_delivered"]
