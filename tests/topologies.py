"""Topologies of real servers on loopback: a primary behind Sentinels, and a cluster.

They are started from the program of the embedded server, each process in a folder of its own.
"""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.storage.embedded_redis import end, find_binary
from tests.waiting import wait_until

NAME = "articles"
DOWN_AFTER_MS = 1_000
PASSWORD = "the-password-of-the-servers"
SENTINEL_PASSWORD = "the-password-of-the-sentinels"


@dataclass(slots=True)
class Node:
    """A server process."""

    port: int
    folder: Path
    options: Sequence[str]
    password: str = PASSWORD
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, with the files that it had."""
        self.folder.mkdir(exist_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            str(find_binary().path), *self.options, "--port", str(self.port),
            "--bind", "127.0.0.1", "--dir", str(self.folder),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        async def answers() -> bool:
            try:
                async with self.admin() as admin:
                    return bool(await admin.ping())
            except RedisError:
                return False

        await wait_until(answers)

    def admin(self) -> Redis:
        """A client of this server alone."""
        return Redis(host="127.0.0.1", port=self.port, password=self.password, socket_timeout=5)

    async def command(self, *args: Any) -> Any:
        """The reply to one command."""
        async with self.admin() as admin:
            return await admin.execute_command(*args)  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class Topology:
    """Servers, and the URL that names them."""

    url: str
    nodes: list[Node] = field(default_factory=list)
    sentinels: list[Node] = field(default_factory=list)

    async def primaries(self) -> list[Node]:
        """Those of the nodes that are primaries now, and answer."""
        found = []
        for node in self.nodes:
            try:
                role, *_ = await node.command("ROLE")
            except RedisError:
                continue
            if role == b"master":
                found.append(node)
        return found


def _free_port() -> int:
    """A port that nobody listens on, and that is given to no client: a cluster needs a dozen."""
    while True:
        with socket.socket() as sock, suppress(OSError):
            port = random.randrange(10_000, 32_000)
            sock.bind(("127.0.0.1", port))
            return port


def _server(folder: Path, number: int, *options: str) -> Node:
    login = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    files = ("--appendonly", "yes", "--save", "", "--appendfsync", "no")
    quick = ("--repl-diskless-sync-delay", "0")
    return Node(_free_port(), folder / str(number), (*login, *files, *quick, *options))


@asynccontextmanager
async def watched_by_sentinels(
    replicas: int = 1, *, failover_timeout_ms: int = 10_000
) -> AsyncIterator[Topology]:
    """A primary with replicas, and three Sentinels, which wait up to twice the timeout between two
    failovers, and up to once for an election."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-")))
        primary = _server(folder, 0)
        others = [
            _server(folder, n, "--replicaof", "127.0.0.1", str(primary.port))
            for n in range(1, replicas + 1)
        ]
        sentinels = [_sentinel(folder, n, primary, failover_timeout_ms) for n in range(3)]
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
        topology = Topology(
            f"redis+sentinel://:{PASSWORD}@{hosts}/{NAME}", [primary, *others], sentinels
        )
        stack.push_async_callback(_stop, topology)
        for node in (*topology.nodes, *sentinels):
            await node.start()

        async def is_watched() -> bool:
            states = [dict(_pairs(await s.command("SENTINEL", "MASTER", NAME))) for s in sentinels]
            return all(
                int(s[b"num-slaves"]) == replicas and int(s[b"num-other-sentinels"]) == 2
                for s in states
            )

        await wait_until(is_watched)
        yield topology


def _pairs(flat: Any) -> Any:
    return flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)


def _sentinel(folder: Path, number: int, primary: Node, failover_timeout_ms: int) -> Node:
    own = folder / f"sentinel{number}"
    own.mkdir()
    config = own / "sentinel.conf"
    config.write_text(
        f'requirepass "{SENTINEL_PASSWORD}"\n'
        f"sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
        f"sentinel monitor {NAME} 127.0.0.1 {primary.port} 2\n"
        f"sentinel auth-pass {NAME} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {NAME} {failover_timeout_ms}\n"
    )
    return Node(_free_port(), own, (str(config), "--sentinel"), SENTINEL_PASSWORD)


@asynccontextmanager
async def cluster(masters: int = 3, replicas: int = 0) -> AsyncIterator[Topology]:
    """A cluster of masters with equal parts of the slots, each with so many replicas."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-")))
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_AFTER_MS))
        nodes = [
            _server(folder, n, *options, "--cluster-port", str(_free_port()))
            for n in range(masters * (1 + replicas))
        ]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2])
        topology = Topology(f"redis+cluster://:{PASSWORD}@{hosts}", nodes)
        stack.push_async_callback(_stop, topology)
        for node in nodes:
            await node.start()
        for number, node in enumerate(nodes[:masters]):
            first, last = (16_384 * n // masters for n in (number, number + 1))
            await node.command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        for number, node in enumerate(nodes):
            await node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            bus = nodes[0].options[nodes[0].options.index("--cluster-port") + 1]
            await node.command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)
        await wait_until(lambda: _know_each_other(nodes))
        for number, node in enumerate(nodes[masters:]):
            master_id = await nodes[number % masters].command("CLUSTER", "MYID")
            await node.command("CLUSTER", "REPLICATE", master_id)
        await wait_until(lambda: _is_complete(nodes, masters))
        yield topology


async def move_slot(slot: int, source: Node, target: Node, topology: Topology) -> None:
    """Move a slot of a cluster with its keys, a few at a time, while it is used."""
    source_id, target_id = [
        (await node.command("CLUSTER", "MYID")).decode() for node in (source, target)
    ]
    await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := await source.command("CLUSTER", "GETKEYSINSLOT", slot, 10):
        await source.command(
            "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "AUTH", target.password, "KEYS",
            *keys,
        )  # fmt: skip
        await asyncio.sleep(0.01)
    for node in (target, source, *await topology.primaries()):
        await node.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)


async def _know_each_other(nodes: Sequence[Node]) -> bool:
    return all([len(await _nodes_of(node)) == len(nodes) for node in nodes])


async def _is_complete(nodes: Sequence[Node], masters: int) -> bool:
    for node in nodes:
        info = await node.command("CLUSTER", "INFO")
        replicas = sum(b"slave" in each for each in await _nodes_of(node))
        if b"cluster_state:ok" not in info or replicas != len(nodes) - masters:
            return False
    return True


async def _nodes_of(node: Node) -> list[bytes]:
    """A line for each node that a node knows."""
    reply: bytes = await node.command("CLUSTER", "NODES")
    return reply.splitlines()


async def _stop(topology: Topology) -> None:
    for node in (*topology.sentinels, *topology.nodes):
        if node.process is not None and node.process.returncode is None:
            node.process.kill()
            await end(node.process)


STARTED = {"sentinel": watched_by_sentinels, "cluster": partial(cluster, replicas=1)}
"""Name of a topology for a whole run of tests → what starts it."""
