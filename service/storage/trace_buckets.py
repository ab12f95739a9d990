"""Where traces of articles are stored: in which hash a link or a landmark is, and in which shard.

A hash is a bucket with a number, which follows from the field alone, and all shards have equal
parts of the buckets. So the traces of a batch of articles are spread over all shards, wherever
these articles are, and a bucket is never in two of them.
"""

from __future__ import annotations

import hashlib
import zlib

from service.storage import keys
from service.storage.shards import Shards

FIELD_BYTES = 8
"""Length of a link's or landmark's field."""


def link_field(canonical: str) -> bytes:
    """The field of a canonical URL."""
    return hashlib.blake2b(canonical.encode(), digest_size=FIELD_BYTES).digest()


def link_bucket(field: bytes) -> int:
    """Number of the bucket that has the field of a link."""
    return zlib.crc32(field) % keys.URL_BUCKETS


def landmark_bucket(landmark: bytes) -> int:
    """Number of the bucket that has a landmark."""
    # By the last byte: the first ones of all landmarks are alike.
    return landmark[-1] % keys.LANDMARK_BUCKETS


def link_shard(bucket: int, shards: Shards) -> int:
    """The shard of a bucket of links."""
    return shards.of_bucket(bucket, keys.URL_BUCKETS)


def landmark_shard(bucket: int, shards: Shards) -> int:
    """The shard of a bucket of landmarks, whatever its window is."""
    return shards.of_bucket(bucket, keys.LANDMARK_BUCKETS)
