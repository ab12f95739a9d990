"""Failovers under writes on real servers: `python -m bench.topologies [PART…]`.

Processes as shipped (a server, a worker with all roles) run on a primary behind three Sentinels or
on a cluster, two replicas a primary, all on loopback. One client posts articles; what was answered
with 201 must be there, on a stream, and be sent to a webhook.

    sentinel  cluster   ROUNDS kills of a primary; each comes back with what it had
    hang                a primary stands still for HANG_S, and goes on
    replicas            both replicas stand still
    slots               slots move both ways between two masters
    spread              keys a master, and CPU of each Redis an article, with 1, 2 and 3 masters

Only processes that were started here are ended, each by its pid.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from redis.crc import key_slot
from redis.exceptions import RedisError

from bench.machine import header
from bench.posting import SHARDS, posting, until
from service.articles.article import Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store, open_store
from tests.topologies import (
    DOWN_AFTER_MS,
    Node,
    Topology,
    cluster,
    move_slot,
    watched_by_sentinels,
)

FAILOVER_MS = 2_000
"""Kills follow one another faster than Sentinels fail over by default: twice in 3 minutes."""
ROUNDS, HANG_S, REPLICAS_S = 10, 10.0, 5.0
ARTICLES, AT_ONCE = 6_000, 100
DOWN_AFTER_S = DOWN_AFTER_MS / 1000


async def victim(topology: Topology) -> Node:
    """One of the primaries; each has shards of the archive."""
    return random.choice(await topology.primaries())


async def kills(topology: Topology, name: str) -> None:
    """Kill a primary ROUNDS times; it comes back and follows the new one before the next."""
    gaps: list[float] = []
    count = len(await topology.primaries())
    async with posting(topology) as (site, _):
        for _ in range(ROUNDS):
            node = await victim(topology)
            site.ledger.begin()
            _process(node).kill()
            await _process(node).wait()
            await until(lambda: _has_primaries(topology, count))
            await site.goes_on()
            gaps.append(site.ledger.gap_s)
            await node.start()
            await until(lambda: _all_follow(topology))
            await site.goes_on()
        shown = " ".join(f"{gap:.1f}" for gap in gaps)
        aim = DOWN_AFTER_S + 3
        print(
            f"{name}: {ROUNDS} kills, gaps {shown} s, longest {max(gaps):.1f} ({_met(gaps, aim)})"
        )


async def hang(topology: Topology, name: str) -> None:
    """Let a primary stand still for HANG_S, and go on: it takes itself for one for a while."""
    async with posting(topology) as (site, _):
        node = await victim(topology)
        site.ledger.begin()
        _process(node).send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(HANG_S)
        finally:
            _process(node).send_signal(signal.SIGCONT)
        await until(lambda: _all_follow(topology))
        await site.goes_on()
        gap = site.ledger.gap_s
        print(f"{name}: stopped {HANG_S:g} s, gap {gap:.1f} s ({_met([gap], DOWN_AFTER_S + 5)})")


async def replicas(topology: Topology, name: str) -> None:
    """Stop both replicas: nothing may be acknowledged."""
    async with posting(topology) as (site, _):
        (primary,) = await topology.primaries()
        others = [node for node in topology.nodes if node is not primary]
        for node in others:
            _process(node).send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(1)
            before = len(site.ledger.kept)
            await asyncio.sleep(REPLICAS_S)
            taken = len(site.ledger.kept) - before
        finally:
            for node in others:
                _process(node).send_signal(signal.SIGCONT)
        await site.goes_on()
        print(f"{name}: both replicas stopped {REPLICAS_S:g} s, 2xx {taken} (aim 0)")


async def slots(topology: Topology, name: str) -> None:
    """Move the slots of two shards to another master and back, under writes."""
    async with posting(topology) as (site, _):
        async with open_store(site.settings) as store:
            tags = store.event_stream.shards.tags[:2]
        site.ledger.begin()
        moved = 0
        for tag in tags:
            slot = key_slot(keys.dirty(tag).encode())
            owner = await _owner(topology, slot)
            other = next(n for n in await topology.primaries() if n is not owner)
            for source, target in ((owner, other), (other, owner)):
                await move_slot(slot, source, target, topology)
                await site.goes_on()
                moved += 1
        print(f"{name}: {moved} moves of slots, longest gap {site.ledger.gap_s:.2f} s")


async def _owner(topology: Topology, slot: int) -> Node:
    reply = await topology.nodes[0].command("CLUSTER", "SLOTS")
    port = next(master[1] for first, last, master, *_ in reply if first <= slot <= last)
    return next(node for node in topology.nodes if node.port == port)


async def spread() -> None:
    """Append to 1, 2 and 3 masters, and compare them."""
    print("masters  keys max/mean  CPU us an article, of each Redis")
    for masters in (1, 2, 3):
        async with cluster(masters, replicas=0) as topology:
            environ = {"DATELINE_REDIS_URL": topology.url, "DATELINE_SHARDS": str(SHARDS)}
            settings = Settings.from_env({**environ, "DATELINE_WAIT_REPLICAS": "0"}, env_file=None)
            before = [await _cpu_s(node) for node in topology.nodes]
            async with open_store(settings) as store:
                await _append(store)
            after = [await _cpu_s(node) for node in topology.nodes]
            sizes = [await node.command("DBSIZE") for node in topology.nodes]
        us = [(b - a) / ARTICLES * 1e6 for a, b in zip(before, after, strict=True)]
        even = max(sizes) / statistics.mean(sizes)
        print(f"{masters:7}  {even:13.2f}  {' '.join(f'{each:.0f}' for each in us)}", flush=True)


async def _append(store: Store) -> None:
    for at in range(0, ARTICLES, AT_ONCE):
        drafts = [
            compose(
                Entry(guid=str(n), title=f"Story {n}", content_html=f"<p>{os.urandom(1500).hex()}"),
                source="bench",
            )
            for n in range(at, at + AT_ONCE)
        ]
        await store.articles.append(drafts, now=datetime.now(UTC))


async def _cpu_s(node: Node) -> float:
    reply: dict[str, float] = await node.command("INFO", "cpu")
    return reply["used_cpu_user"] + reply["used_cpu_sys"]


def _process(node: Node) -> asyncio.subprocess.Process:
    assert node.process is not None
    return node.process


async def _has_primaries(topology: Topology, count: int) -> bool:
    return len(await topology.primaries()) >= count


async def _all_follow(topology: Topology) -> bool:
    """Whether every other server is a replica with a link to its primary."""
    linked = 0
    for node in topology.nodes:
        try:
            role, *details = await node.command("ROLE")
        except RedisError:
            return False
        linked += role == b"slave" and details[2] == b"connected"
    masters = len(topology.nodes) // 3
    return linked == len(topology.nodes) - masters


def _met(gaps: Sequence[float], aim: float) -> str:
    return f"aim <= {aim:g}: {'met' if max(gaps) <= aim else 'MISSED'}"


async def _on_sentinels(work: Callable[[Topology, str], Awaitable[None]], name: str) -> None:
    async with watched_by_sentinels(2, failover_timeout_ms=FAILOVER_MS) as topology:
        await work(topology, name)


async def _on_cluster(work: Callable[[Topology, str], Awaitable[None]], name: str) -> None:
    async with cluster(3, replicas=2) as topology:
        await work(topology, name)


PARTS: dict[str, Callable[[], Awaitable[None]]] = {
    "sentinel": lambda: _on_sentinels(kills, "sentinel"),
    "cluster": lambda: _on_cluster(kills, "cluster"),
    "hang": lambda: _on_sentinels(hang, "hang"),
    "replicas": lambda: _on_sentinels(replicas, "replicas"),
    "slots": lambda: _on_cluster(slots, "slots"),
    "spread": spread,
}


async def main(parts: Sequence[str]) -> None:
    """Run these parts, one after the other."""
    print(header(f"servers   down after {DOWN_AFTER_S:g} s, 2 replicas a primary"), flush=True)
    for part in parts:
        await PARTS[part]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    asyncio.run(main(parser.parse_args().parts or list(PARTS)))
