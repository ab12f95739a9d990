"""Shards: the parts of an archive, each with a hash tag, so that one atomic step stays in one slot.

An archive keeps its tags in its layout (keys.LAYOUT), and the names of its keys depend on them. On
one server they are 0 to SHARDS - 1. An archive that begins on several gets tags whose slots are in
equal parts of all slots: those of small numbers are not, and would leave masters empty.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from service.redis_url import CLUSTER, many_servers
from service.settings import Settings
from service.storage import keys
from service.storage.client import Script
from service.storage.commands import Client

_CLAIM = """
-- KEYS 1 layout  ARGV 1 number of shards 2 their tags, or ''. Returns those that count.
if redis.call('HSETNX', KEYS[1], 'shards', ARGV[1]) == 1 and ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], 'tags', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'shards', 'tags')
"""


@dataclass(frozen=True, slots=True)
class Shards:
    """The hash tags of an archive's shards; code calls a shard by its tag."""

    tags: tuple[int, ...]

    def __iter__(self) -> Iterator[int]:
        return iter(self.tags)

    def __len__(self) -> int:
        return len(self.tags)

    def of(self, name: str) -> int:
        """The shard of an article id or of any other name; stable over versions and machines."""
        return self.tags[zlib.crc32(name.encode()) % len(self.tags)]

    def of_bucket(self, bucket: int, count: int) -> int:
        """The shard of one of `count` numbered buckets; equal parts of the buckets are in each."""
        return self.tags[bucket * len(self.tags) // count]


ONE = Shards((0,))


def numbered(count: int) -> Shards:
    """The tags 0 to count - 1, whatever their slots are."""
    return Shards(tuple(range(count)))


def spread(count: int) -> Shards:
    """Tags whose slots are in equal parts of the slots, one in each, in this order; so each of m
    masters with equal parts has count / m shards, if m divides count."""
    tags: dict[int, int] = {}
    tag = 0
    while len(tags) < count:
        tags.setdefault(key_slot(f"{{{tag}}}".encode()) * count // REDIS_CLUSTER_HASH_SLOTS, tag)
        tag += 1
    return Shards(tuple(tags[part] for part in range(count)))


def of_new_archive(settings: Settings) -> Shards:
    """The shards that an archive gets which begins with these settings."""
    # The embedded server has no URL before it runs.
    servers = many_servers(settings.redis_url) if settings.redis_url else None
    is_on_many = servers is not None and (servers.kind == CLUSTER or len(servers.names) > 1)
    return spread(settings.shards) if is_on_many else numbered(settings.shards)


async def claim_shards(client: Client, shards: Shards) -> Shards:
    """Note the shards of an archive that has none yet; the shards that it has now."""
    claim: Script[list[bytes | None]] = Script(client, _CLAIM)
    tags_noted = "" if shards == numbered(len(shards)) else " ".join(map(str, shards))
    count, tags = await claim(keys=[keys.LAYOUT], args=[len(shards), tags_noted])
    return _shards(count, tags)


async def shards_of(client: Client) -> Shards | None:
    """The shards of an archive; None if it has none yet."""
    count, tags = await client.hmget(keys.LAYOUT, ["shards", "tags"])
    return _shards(count, tags) if count else None


def _shards(count: bytes | None, tags: bytes | None) -> Shards:
    # Archives from before there were tags have numbered ones.
    return Shards(tuple(map(int, tags.split()))) if tags else numbered(int(count or 1))
