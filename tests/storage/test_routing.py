"""Commands go to the primary that has their keys, whatever becomes of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from service.errors import InvalidSettings, StartFailed, Unavailable
from service.redis_url import Address
from service.settings import Settings
from service.storage.client import Script, client_of, each_primary, redis_errors_as_unavailable
from service.storage.routes import CrossesSlots, key_of
from service.storage.store import Store, open_store
from service.storage.topologies import Placement
from tests.conftest import NOON
from tests.storage.test_backup import drafts
from tests.topologies import (
    SENTINEL_PASSWORD,
    Node,
    Topology,
    cluster,
    move_slot,
    watched_by_sentinels,
)
from tests.waiting import wait_until


def settings_of(topology: Topology, **values: Any) -> Settings:
    """Settings that name these servers."""
    fields = {"REDIS_URL": topology.url, "SENTINEL_PASSWORD": SENTINEL_PASSWORD, "SHARDS": 3}
    environ = {f"DATELINE_{name}": str(value) for name, value in {**fields, **values}.items()}
    return Settings.from_env(environ, env_file=None)


@pytest.fixture
async def sentinels() -> AsyncIterator[Topology]:
    """A primary with one replica behind three Sentinels."""
    async with watched_by_sentinels() as topology:
        yield topology


@pytest.fixture
async def masters() -> AsyncIterator[Topology]:
    """A cluster of three masters, with a replica each."""
    async with cluster(3, replicas=1) as topology:
        yield topology


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (("GET", "a"), b"a"),
        (("EVALSHA", "f0", 2, "k", "l", "x"), b"k"),
        (("EVAL", "return 1", "1", b"k"), b"k"),
        (("XREADGROUP", b"GROUP", "g", "c", b"COUNT", 1, b"STREAMS", "s", ">"), b"s"),
        (("XREAD", b"BLOCK", 5, b"STREAMS", "s", "0"), b"s"),
        (("XINFO GROUPS", "s"), b"s"),
        (("PUBLISH", "c", "x"), b"c"),
        (("SCRIPT LOAD", "return 1"), None),
        (("PING",), None),
    ],
)
def test_the_key_of_a_command(args: tuple[Any, ...], key: bytes | None) -> None:
    """The key is found wherever it stands in the command."""
    assert key == key_of(args)


@pytest.mark.parametrize("args", [("SCAN", 0), ("EVAL", "return 1", 0)])
def test_what_has_no_server_is_an_error(args: tuple[Any, ...]) -> None:
    """At once, and not on a server of chance."""
    with pytest.raises(CrossesSlots):
        key_of(args)


def test_slots_have_one_primary() -> None:
    """Keys of one tag are together; ranges begin where they say."""
    a, b = Address("a", 1), Address("b", 2)
    placement = Placement([0, 8_192], [a, b])
    assert b == placement.of(b"dateline:{0}:sources")
    assert placement.of(b"dateline:{3}:x") == placement.of(b"{3}") == a
    assert (a, b) == placement.servers()


async def append(store: Store, name: str) -> str:
    """Append an article; its status."""
    (receipt,) = await store.articles.append(drafts(name), now=NOON)
    return receipt.status


async def acknowledged(store: Store, names: list[str], stop: asyncio.Event) -> list[str]:
    """Append one article after the other until stopped; those that were acknowledged."""
    done: list[str] = []
    for name in names:
        if stop.is_set():
            break
        try:
            with redis_errors_as_unavailable():
                await append(store, name)
        except Unavailable:
            continue
        done.append(name)
        await asyncio.sleep(0.01)
    return done


async def lost(store: Store, names: list[str]) -> list[str]:
    """Those of the articles that are not stored."""
    articles = await store.articles.get([draft.id for draft in drafts(*names)])
    return [name for name, article in zip(names, articles, strict=True) if article is None]


NAMES = [str(number) for number in range(5_000)]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("blow", ["kill", "stop"])
async def test_nothing_acknowledged_is_lost_when_sentinels_promote_a_replica(
    sentinels: Topology, blow: str
) -> None:
    """Neither when the primary is killed and comes back as one, nor when it only stands still."""
    (primary,) = await sentinels.primaries()
    assert primary.process
    async with open_store(settings_of(sentinels), patience_s=8) as store:
        await append(store, "before")
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(acknowledged(store, NAMES, stop))
            await wait_until(lambda: _has_written(store, 30))
            if blow == "kill":
                primary.process.kill()
                await primary.process.wait()
            else:
                primary.process.send_signal(signal.SIGSTOP)
            await wait_until(lambda: _is_promoted(sentinels, primary), timeout_s=30)
            if blow == "kill":
                await primary.start()
            else:
                primary.process.send_signal(signal.SIGCONT)
            count = len(await _stored(store))

            async def goes_on() -> bool:
                return len(await _stored(store)) > count + 20

            await wait_until(goes_on, timeout_s=30)
            stop.set()
        assert 20 < len(writing.result())
        assert [] == await lost(store, writing.result())


async def _has_written(store: Store, count: int) -> bool:
    return len(await _stored(store)) >= count


async def _stored(store: Store) -> list[str]:
    try:
        return [i async for chunk in store.articles.all_ids() for i in chunk]
    except RedisError:
        return []


async def _is_promoted(topology: Topology, before: Node) -> bool:
    others = [node for node in topology.nodes if node is not before]
    for node in others:
        role, *_ = await node.command("ROLE")
        if role == b"master":
            return True
    return False


@pytest.mark.timeout(90)
async def test_nothing_acknowledged_is_lost_when_a_master_of_a_cluster_dies(
    masters: Topology,
) -> None:
    """Its replica takes over; writes to the others go on. WAIT asks for a replica, which the new
    master has when the old one is back."""
    victim = masters.nodes[0]
    assert victim.process
    async with open_store(settings_of(masters), patience_s=8) as store:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(acknowledged(store, NAMES, stop))
            await wait_until(lambda: _has_written(store, 30))
            victim.process.kill()
            await victim.process.wait()
            await wait_until(lambda: _is_promoted_in_cluster(masters, 3), timeout_s=30)
            await victim.start()
            await wait_until(lambda: _takes_writes(store), timeout_s=30)
            stop.set()
        assert 20 < len(writing.result())
        assert [] == await lost(store, writing.result())


async def _is_promoted_in_cluster(topology: Topology, count: int) -> bool:
    return len(await topology.primaries()) == count


async def _takes_writes(store: Store) -> bool:
    """Whether each shard takes writes."""
    try:
        with redis_errors_as_unavailable():
            for name in map(str, range(12)):
                await append(store, f"again {name}")
    except Unavailable:
        return False
    return True


async def test_scripts_are_sent_in_full_to_a_server_that_a_slot_moves_to(
    masters: Topology,
) -> None:
    """A new master has run none; it is asked in the midst of a pipeline, with one call for it."""
    target, source = masters.nodes[:2]
    slot = await source.command("CLUSTER", "KEYSLOT", "{2}")
    ids = [await node.command("CLUSTER", "MYID") for node in (source, target)]
    async with open_store(settings_of(masters), patience_s=8) as store:
        script: Script[int] = Script(store.client, "return redis.call('INCRBY', KEYS[1], ARGV[1])")
        names = [f"dateline:{{{tag}}}:probe" for tag in (1, 2)]
        assert [1, 1] == await script.run_all([([name], [1]) for name in names])
        await store.client.delete(names[1])
        await target.command("SCRIPT", "FLUSH")
        await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        assert 5 == (await script.run_all([([name], [5]) for name in names]))[1]
        for node in (source, target):
            await node.command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        await store.client.delete(*names[1:])


@pytest.mark.timeout(90)
async def test_a_slot_moves_under_writes(masters: Topology) -> None:
    """There and back, without an error or a loss."""
    async with open_store(settings_of(masters), patience_s=8) as store:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(acknowledged(store, NAMES, stop))
            await wait_until(lambda: _has_written(store, 30))
            slot = await masters.nodes[0].command("CLUSTER", "KEYSLOT", "{1}")
            owner = await _owner(masters, slot)
            other = next(n for n in await masters.primaries() if n is not owner)
            await move_slot(slot, owner, other, masters)
            await move_slot(slot, other, owner, masters)
            stop.set()
        done = writing.result()
        assert NAMES[: len(done)] == done
        assert [] == await lost(store, done)


async def _owner(topology: Topology, slot: int) -> Node:
    for node in await topology.primaries():
        for line in (await node.command("CLUSTER", "NODES")).decode().splitlines():
            if "myself" in line:
                ranges = [part.split("-") for part in line.split()[8:] if "[" not in part]
                if any(int(r[0]) <= slot <= int(r[-1]) for r in ranges):
                    return node
    raise AssertionError(slot)


@pytest.mark.timeout(60)
async def test_too_few_replicas_acknowledge_nothing(sentinels: Topology) -> None:
    """What was written may be kept; it is said so, and without WAIT_REPLICAS it is acknowledged."""
    replica = sentinels.nodes[1]
    assert replica.process
    replica.process.kill()
    await replica.process.wait()
    async with open_store(settings_of(sentinels, WAIT_MS=200)) as store:
        with pytest.raises(Unavailable, match="0 of 1 replicas"), redis_errors_as_unavailable():
            await append(store, "a")
        assert [] == await lost(store, ["a"])
    async with open_store(settings_of(sentinels, WAIT_REPLICAS=0)) as store:
        assert "created" == await append(store, "b")


@pytest.mark.timeout(60)
async def test_pipelines_and_transactions(masters: Topology) -> None:
    """Replies are in order; a transaction over several servers is a bug and not half done."""
    client: Any = client_of(settings_of(masters))
    keys = [f"{{{number}}}:k" for number in range(9)]
    pipe = client.pipeline(transaction=False)
    script: Script[int] = Script(client, "return redis.call('INCRBY', KEYS[1], ARGV[1])")
    script.load_in(pipe)
    for number, key in enumerate(keys):
        script.run_in(pipe, keys=[key], args=[number])
    _, *replies = await pipe.execute()
    assert list(range(9)) == replies
    assert 3 == len(await each_primary(client))
    assert 9 == await client.dbsize()
    assert sorted(keys) == sorted([key.decode() async for key in client.scan_iter()])
    pipe = client.pipeline(transaction=True)
    for key in keys:
        pipe.incr(key)
    with pytest.raises(CrossesSlots):
        await pipe.execute()
    assert b"0" == await client.get(keys[0])
    pipe = client.pipeline(transaction=True)
    pipe.incr("{1}:k")
    pipe.incr("{1}:l")
    assert [2, 1] == await pipe.execute()
    await client.aclose()


async def test_an_unknown_place_is_a_fault_of_redis() -> None:
    """Which passes when somebody answers."""
    settings = Settings.from_env(
        {"DATELINE_REDIS_URL": "redis+cluster://127.0.0.1:1,127.0.0.1:2"}, env_file=None
    )
    client = client_of(settings, patience_s=0.1)
    with pytest.raises(RedisConnectionError, match="no node of the cluster"):
        await client.ping()
    await client.aclose()


@pytest.mark.timeout(60)
async def test_a_plain_url_of_a_node_or_a_replica_says_which_to_use(
    masters: Topology, sentinels: Topology
) -> None:
    """The start fails before anything is written."""
    node, replica = masters.nodes[0], sentinels.nodes[1]
    for server, error, match in (
        (node, InvalidSettings, r"redis\+cluster://"),
        (replica, StartFailed, f"its primary, 127.0.0.1:{sentinels.nodes[0].port}"),
    ):
        url = f"redis://:{server.password}@127.0.0.1:{server.port}"
        settings = Settings.from_env({"DATELINE_REDIS_URL": url}, env_file=None)
        with pytest.raises(error, match=match):
            async with open_store(settings):
                pass


@pytest.mark.timeout(60)
async def test_every_primary_is_checked(
    masters: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    """One that drops data is refused, one that goes on alone is warned of, and one that takes no
    writes makes all not ready."""
    settings = settings_of(masters)
    async with open_store(settings) as store:
        await store.check_writable()
        assert {m.port for m in masters.nodes[:3]} == {
            extra.rpartition(":")[2] and int(extra.rpartition(":")[2])
            for record in caplog.records
            if (extra := getattr(record, "server", ""))
        }
        placement = await store.client.placement()  # type: ignore[attr-defined]
        used = placement.of(b"{1}")
        node = next(n for n in masters.nodes if n.port == used.port)
        await node.command("CONFIG", "SET", "min-replicas-to-write", 3)
        with pytest.raises(Unavailable, match="NOREPLICAS"), redis_errors_as_unavailable():
            await store.check_writable()
        await node.command("CONFIG", "SET", "min-replicas-to-write", 0)
        await node.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(InvalidSettings, match=f"{used.port} has maxmemory-policy allkeys-lru"):
        async with open_store(settings):
            pass
