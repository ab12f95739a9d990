"""Endpoint partitions: the parts in which webhooks are stored, leased and listed.

A partition is wholly in one shard: settings, cursors, logs, leases and changes. So a step of one
webhook, or of many of a shard, stays in one slot, and nothing has to read all webhooks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from service.storage import keys
from service.storage.shards import Shards

PARTITIONS = 256
"""Fixed: the names of keys in Redis depend on it."""
HUB_PREFIXES = ("sub_", "ping_")
"""Of the ids of endpoints that are no webhooks: subscriptions to our hub, and hubs that we ping."""


def partition_of(endpoint_id: str) -> int:
    """The partition of an endpoint, 0 to PARTITIONS - 1; stable over versions and machines."""
    return zlib.crc32(endpoint_id.encode("utf-8", "surrogatepass")) % PARTITIONS


def shard_of(partition: int, shards: Shards) -> int:
    """The shard that has a partition."""
    return shards.tags[partition % len(shards)]


def partitions_of(shard: int, shards: Shards) -> range:
    """The partitions that a shard has, in order; none if there are more shards than partitions."""
    return range(shards.tags.index(shard), PARTITIONS, len(shards))


def home_of(endpoint_id: str, shards: Shards) -> int:
    """The shard that has the keys of an endpoint: a webhook's, or 0 for one of the hub."""
    return (
        0 if endpoint_id.startswith(HUB_PREFIXES) else shard_of(partition_of(endpoint_id), shards)
    )


def registries(shards: Shards) -> Iterator[tuple[int, str]]:
    """(shard, key of the webhooks) of each partition, in the order of partitions."""
    for partition in range(PARTITIONS):
        shard = shard_of(partition, shards)
        yield shard, keys.endpoints(shard, partition)
