"""Buckets of tokens in Redis: limits that all servers and workers share.

A bucket is one number, the moment at which it is full again (GCRA), and is gone when it is full: so
many buckets exist as were used within their periods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket, and how many tokens are to be taken from it."""

    name: str
    size: int
    """Tokens of a full bucket, at least 1."""
    period_s: float
    """Seconds in which an empty one is refilled."""
    cost: int = 1
    """Tokens to take; more than `size` are never there."""


class TokenBuckets:
    """Takes tokens from buckets that all processes share."""

    def __init__(self, client: Client) -> None:
        self._take: Script[int] = lua_script(client, "take_tokens")

    async def take(self, buckets: Sequence[Bucket], *, now_ms: int) -> float:
        """Take the tokens of all these buckets, or none.

        Returns:
            Seconds until there are enough in all of them; 0 if they were taken.
        """
        if not buckets:
            return 0.0
        args: list[Value] = [now_ms]
        for bucket in buckets:
            args += [bucket.period_s * 1000 / bucket.size, bucket.size, bucket.cost]
        names = [keys.tokens(bucket.name) for bucket in buckets]
        return await self._take(keys=names, args=args) / 1000
