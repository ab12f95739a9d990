"""Topologies: which server has which key, as Sentinels or a cluster say.

A key belongs to a slot by its hash tag (Redis Cluster specification), and a slot to a primary. A
cluster decides that itself; several primaries behind Sentinels have equal parts of the slots, in
the order of their names.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.asyncio import Redis, Sentinel
from redis.cluster import parse_cluster_slots
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from service.redis_url import Address

SLOTS = REDIS_CLUSTER_HASH_SLOTS
OpenServer = Callable[[Address], Redis]
"""Opens a client of one server, or returns the one that is open."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The primary of each slot."""

    starts: Sequence[int]
    """First slots of ranges, rising from 0."""
    primaries: Sequence[Address]
    """The primary of each range."""

    def of(self, key: bytes) -> Address:
        """The primary that has a key."""
        return self.primaries[bisect_right(self.starts, key_slot(key)) - 1]

    def servers(self) -> tuple[Address, ...]:
        """All primaries, each once."""
        return tuple(dict.fromkeys(self.primaries))


class Topology(Protocol):
    """Finds the primaries, as one kind of installation names them."""

    async def place(self, at: OpenServer, suspects: Collection[Address]) -> Placement:
        """Ask where the primaries are now.

        Args:
            at: returns the client of one server.
            suspects: servers that did not answer, to be asked last.

        Raises:
            RedisError: nobody could say.
        """

    async def aclose(self) -> None:
        """Close the connections that are not those of `at`."""


class One:
    """A single primary, which its URL names."""

    async def place(self, at: OpenServer, suspects: Collection[Address]) -> Placement:
        """The server that there is."""
        return Placement([0], [Address("", 0)])

    async def aclose(self) -> None:
        """Do nothing: it has no connection."""


@dataclass(slots=True)
class Sentinels:
    """Primaries that Sentinels watch."""

    sentinels: Sentinel
    names: tuple[str, ...]

    async def place(self, at: OpenServer, suspects: Collection[Address]) -> Placement:
        """Ask them for the primary of each name."""
        primaries = [Address(*await self.sentinels.discover_master(name)) for name in self.names]
        return Placement([SLOTS * n // len(primaries) for n in range(len(primaries))], primaries)

    async def aclose(self) -> None:
        """Close the connections to the Sentinels."""
        for sentinel in self.sentinels.sentinels:
            await sentinel.aclose()


@dataclass(slots=True)
class Cluster:
    """The masters of a cluster."""

    seeds: tuple[Address, ...]
    _known: list[Address] = field(default_factory=list)

    async def place(self, at: OpenServer, suspects: Collection[Address]) -> Placement:
        """Ask one node after another for the slots of all."""
        known = random.sample(self._known, len(self._known))
        nodes = sorted(dict.fromkeys([*known, *self.seeds]), key=suspects.__contains__)
        errors: list[str] = []
        for node in nodes:
            client: Any = at(node)
            try:
                reply = await client.execute_command("CLUSTER SLOTS")
                placement, self._known = _placement(reply, node)
            except (RedisError, ValueError) as exc:
                errors.append(f"{node}: {exc}")
            else:
                return placement
        raise RedisConnectionError(f"no node of the cluster says where keys are: {errors}")

    async def aclose(self) -> None:
        """Its nodes are those of the client."""


def _placement(reply: Any, node: Address) -> tuple[Placement, list[Address]]:
    """The placement in a reply to CLUSTER SLOTS, and all nodes. Raises ValueError without one."""
    ranges = sorted(parse_cluster_slots(reply, current_host=node.host).items())
    if not ranges:
        raise ValueError("no slot has a node")
    primaries = [Address(*nodes["primary"][:2]) for _, nodes in ranges]
    replicas = [Address(*each[:2]) for _, nodes in ranges for each in nodes["replicas"]]
    # Slots that nobody has go to the range before, whose node answers CLUSTERDOWN.
    starts = [0, *(start for (start, _), _ in ranges[1:])]
    return Placement(starts, primaries), list(dict.fromkeys([*primaries, *replicas]))
