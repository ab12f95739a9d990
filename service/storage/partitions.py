"""Endpoint partitions: the parts in which webhooks are stored, leased and listed."""

from __future__ import annotations

import zlib

PARTITIONS = 256
"""Fixed: the names of keys in Redis depend on it."""


def partition_of(endpoint_id: str) -> int:
    """The partition of an endpoint, 0 to PARTITIONS - 1; stable over versions and machines."""
    return zlib.crc32(endpoint_id.encode("utf-8", "surrogatepass")) % PARTITIONS
