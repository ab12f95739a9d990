"""How large the shards of an archive are, and which server has them: estimates from samples.

A server answers how many keys and bytes it has. Of which shards they are is estimated by a sample
of its keys, and the stream and the index `all` of each shard, which are large, are measured.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from redis.crc import key_slot

from service.storage import keys
from service.storage.client import each_primary, servers_of
from service.storage.commands import Client
from service.storage.event_stream import EventStream
from service.storage.shards import Shards

SAMPLE_KEYS, SAMPLE_SIZES = 2_000, 200
SCAN_COUNT = 500
_TAG = re.compile(rb"dateline:\{(\d+)\}:")
_LARGE = (b":events", b":category:all")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSize:
    """One primary; empty address for a Redis that a plain URL names."""

    server: str
    shards: int
    keys: int
    bytes: int
    """Memory that it uses for data and itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSize:
    """Where a shard is, and how large: keys and bytes are estimated from samples."""

    shard: int
    """Its hash tag."""
    slot: int
    server: str
    keys: int
    """Estimate."""
    bytes: int
    """Estimate."""
    events: int


@dataclass(slots=True)
class _Sample:
    keys: Counter[int]
    mean_bytes: float
    keys_each: float
    """How many keys of the server each one in the sample stands for."""


async def sizes(client: Client, shards: Shards) -> tuple[list[ServerSize], list[ShardSize]]:
    """The sizes of all primaries, and of all shards in their order."""
    stream = EventStream(client, shards=shards)
    owners = dict(
        zip(shards, await servers_of(client, [keys.dirty(n) for n in shards]), strict=True)
    )
    servers: list[ServerSize] = []
    by_tag: dict[int, ShardSize] = {}
    for address, primary in await each_primary(client):
        own = [tag for tag in shards if owners[tag] == address]
        count = await primary.dbsize()
        used = int((await primary.info("memory"))["used_memory"])
        servers.append(ServerSize(server=address, shards=len(own), keys=count, bytes=used))
        sample = await _sample(primary, count)
        for tag in own:
            estimated = round(sample.keys[tag] * sample.keys_each)
            by_tag[tag] = ShardSize(
                shard=tag,
                slot=key_slot(keys.dirty(tag).encode()),
                server=address,
                keys=estimated,
                bytes=round(estimated * sample.mean_bytes) + await _large_bytes(primary, tag),
                events=await stream.length(tag),
            )
    return servers, [by_tag[tag] for tag in shards]


async def _sample(primary: Client, count: int) -> _Sample:
    """What some of the keys of a server are; keys come in the order of their hashes."""
    names: list[bytes] = []
    async for name in primary.scan_iter(match="*", count=SCAN_COUNT):
        names.append(name)
        if len(names) == SAMPLE_KEYS:
            break
    of = Counter(int(match[1]) for name in names if (match := _TAG.match(name)))
    small = [name for name in names if not name.endswith(_LARGE)][:SAMPLE_SIZES]
    total = sum([await _bytes_of(primary, name) for name in small])
    return _Sample(
        keys=of,
        mean_bytes=total / max(len(small), 1),
        keys_each=count / max(len(names), 1),
    )


async def _large_bytes(primary: Client, tag: int) -> int:
    names = [b"dateline:{%d}%b" % (tag, end) for end in _LARGE]
    return sum([await _bytes_of(primary, name) for name in names])


async def _bytes_of(primary: Client, name: bytes) -> int:
    return int(await primary.execute_command("MEMORY USAGE", name) or 0)
