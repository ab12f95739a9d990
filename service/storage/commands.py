"""The Redis commands that storage uses, with the types of their replies.

redis-py's own types do not state that replies are bytes here, nor that a pipeline's commands are
not awaited. These Protocols describe the client of `connect`: RESP2, nothing decoded.
tests/storage/test_commands.py compares each reply with its type on a real server.

A pipeline's commands return nothing; `execute` returns their replies in order, each of the type
that `Client` states for the command. Callers annotate the replies with that type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, Protocol, TypeAlias, TypedDict

Value: TypeAlias = str | bytes | int | float
"""An argument or a value of a command."""
Bound: TypeAlias = str | int
"""An end of a range: a number, `(5` without the 5 itself, `-inf`, `+`."""
StreamEntry: TypeAlias = tuple[bytes, dict[bytes, bytes]]
"""(entry id, fields)."""
PendingEntry: TypeAlias = tuple[bytes | None, dict[bytes, bytes] | None]
"""A pending entry, read again by a group: a deleted one has no fields, and before Redis 7 no id."""
ScoredMembers: TypeAlias = list[tuple[bytes, float]]
StreamReply: TypeAlias = list[list[Any]]
"""[stream, list of its entries] for each stream with new entries; empty after the block time. Lists
of two types cannot be stated: `entries_of` and `pending_of` read them."""
ClaimReply: TypeAlias = list[Any]
"""[id for the next call, entries], since Redis 7 ids of deleted entries: `claimed_of` reads it."""
GroupInfo = TypedDict(
    "GroupInfo",
    {
        "name": bytes,
        "last-delivered-id": bytes,
        "pending": int,
        # Since Redis 7; None if the server does not know it.
        "lag": NotRequired[int | None],
    },
)
"""A group of a stream; servers add other fields."""


class PendingSummary(TypedDict):
    """How much a group has read and not acknowledged."""

    pending: int
    min: bytes | None
    """The oldest id; None if nothing is pending."""


class PendingInfo(TypedDict):
    """An entry that a consumer of a group has read and not acknowledged."""

    message_id: bytes
    consumer: bytes
    time_since_delivered: int
    """Milliseconds."""
    times_delivered: int


class PubSub(Protocol):
    """A subscription to channels, and its messages."""

    async def subscribe(self, *channels: str) -> None: ...
    async def get_message(
        self,
        *,
        timeout: float,  # noqa: ASYNC109 -- redis-py's name
    ) -> dict[str, Any] | None: ...
    async def aclose(self) -> None: ...


class Pipeline(Protocol):
    """Commands that `execute` sends together."""

    def execute_command(self, *args: Value) -> object: ...
    def get(self, name: str) -> object: ...
    def incr(self, name: str) -> object: ...
    def delete(self, *names: str) -> object: ...
    def expire(self, name: str, time: int) -> object: ...
    def publish(self, channel: str, message: bytes) -> object: ...

    def hget(self, name: str, key: str) -> object: ...
    def hmget(self, name: str, keys: Sequence[str]) -> object: ...
    def hgetall(self, name: str) -> object: ...
    def hset(
        self,
        name: str,
        key: str | None = None,
        value: Value | None = None,
        mapping: Mapping[str, Value] | None = None,
    ) -> object: ...
    def hsetnx(self, name: str, key: str, value: Value) -> object: ...
    def hdel(self, name: str, *keys: str) -> object: ...
    def hincrby(self, name: str, key: str, amount: int) -> object: ...

    def rpush(self, name: str, *values: Value) -> object: ...
    def lrange(self, name: str, start: int, end: int) -> object: ...

    def zadd(self, name: str, mapping: Mapping[str, float], nx: bool = False) -> object: ...
    def zrem(self, name: str, *values: str) -> object: ...
    def zcard(self, name: str) -> object: ...
    def zcount(self, name: str, min: Bound, max: Bound) -> object: ...
    def zremrangebyrank(self, name: str, min: int, max: int) -> object: ...
    def zrangebyscore(
        self,
        name: str,
        min: Bound,
        max: Bound,
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> object: ...
    def zrevrangebyscore(
        self,
        name: str,
        max: Bound,
        min: Bound,
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
    ) -> object: ...

    def xadd(self, name: str, fields: Mapping[str, Value], *, maxlen: int) -> object: ...
    def xack(self, name: str, groupname: str, *ids: str) -> object: ...
    def xdel(self, name: str, *ids: str) -> object: ...
    def xrange(self, name: str, *, min: str, count: int) -> object: ...

    async def execute(self) -> list[Any]: ...


class Client(Protocol):
    """A connection pool whose commands are awaited, each in a round trip."""

    async def ping(self) -> bool: ...
    async def aclose(self) -> None: ...
    async def dbsize(self) -> int: ...
    async def config_get(self, pattern: str) -> dict[str, str]: ...
    async def info(self, section: str) -> dict[str, Any]: ...
    async def execute_command(self, *args: Value) -> Any: ...
    def pipeline(self, transaction: bool) -> Pipeline: ...
    def pubsub(self, *, ignore_subscribe_messages: bool) -> PubSub: ...
    def scan_iter(self, match: str, count: int) -> AsyncIterator[bytes]: ...

    async def get(self, name: str) -> bytes | None: ...
    async def psetex(self, name: str, time_ms: int, value: Value) -> bool: ...
    async def delete(self, *names: str) -> int: ...
    async def unlink(self, *names: str) -> int: ...

    async def hget(self, name: str, key: str | bytes) -> bytes | None: ...
    async def hmget(self, name: str, keys: Sequence[str]) -> list[bytes | None]: ...
    async def hset(self, name: str, key: str | bytes, value: Value) -> int: ...
    async def hsetnx(self, name: str, key: str | bytes, value: Value) -> int: ...
    async def hdel(self, name: str, *keys: str) -> int: ...
    async def hincrby(self, name: str, key: str, amount: int) -> int: ...
    async def hexists(self, name: str, key: str | bytes) -> bool: ...
    async def hlen(self, name: str) -> int: ...
    async def hkeys(self, name: str) -> list[bytes]: ...
    async def hgetall(self, name: str) -> dict[bytes, bytes]: ...

    async def llen(self, name: str) -> int: ...
    async def smembers(self, name: str) -> set[bytes]: ...

    async def zadd(
        self, name: str, mapping: Mapping[str, float], *, xx: bool = False, lt: bool = False
    ) -> int: ...
    async def zrangebyscore(
        self, name: str, min: Bound, max: Bound, start: int | None = None, num: int | None = None
    ) -> list[bytes]: ...
    async def zrevrangebyscore(
        self,
        name: str,
        max: Bound,
        min: Bound,
        start: int | None = None,
        num: int | None = None,
        withscores: Literal[True] = True,
    ) -> ScoredMembers: ...

    async def xadd(
        self, name: str, fields: Mapping[str, Value], *, maxlen: int | None = None
    ) -> bytes: ...
    async def xlen(self, name: str) -> int: ...
    async def xrange(
        self, name: str, min: str | bytes = "-", max: str | bytes = "+", count: int | None = None
    ) -> list[StreamEntry]: ...
    async def xrevrange(
        self, name: str, max: str = "+", min: str = "-", count: int | None = None
    ) -> list[StreamEntry]: ...
    async def xread(
        self, streams: Mapping[str, str], *, count: int | None = None, block: int | None = None
    ) -> StreamReply: ...
    async def xgroup_create(self, name: str, groupname: str, *, id: str, mkstream: bool) -> bool:
        """Raises ResponseError (BUSYGROUP) if the group exists."""

    async def xreadgroup(
        self,
        groupname: str,
        consumername: str,
        streams: Mapping[str, str],
        *,
        count: int,
        block: int | None,
    ) -> StreamReply: ...
    async def xautoclaim(
        self, name: str, groupname: str, consumername: str, min_idle_time: int, *, count: int
    ) -> ClaimReply: ...
    async def xack(self, name: str, groupname: str, *ids: bytes) -> int: ...
    async def xinfo_groups(self, name: str) -> list[GroupInfo]: ...
    async def xpending(self, name: str, groupname: str) -> PendingSummary: ...
    async def xpending_range(
        self, name: str, groupname: str, *, min: str, max: str, count: int
    ) -> list[PendingInfo]: ...


def entries_of(reply: StreamReply) -> list[StreamEntry]:
    """The entries that a read of one stream returned, oldest first."""
    entries: list[StreamEntry] = reply[0][1] if reply else []
    return entries


def pending_of(reply: StreamReply) -> list[PendingEntry]:
    """The entries that a group read of one stream, new ones or those that are pending."""
    entries: list[PendingEntry] = reply[0][1] if reply else []
    return entries


def claimed_of(reply: ClaimReply) -> list[PendingEntry]:
    """The entries that a consumer took over."""
    entries: list[PendingEntry] = reply[1]
    return entries
