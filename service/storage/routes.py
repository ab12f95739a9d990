"""Routes: what of a command decides where it goes, and which faults pass by themselves. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

PASSING = (
    RedisConnectionError, RedisTimeoutError, ClusterDownError, TryAgainError, ReadOnlyError,
    BusyLoadingError, MovedError,
)  # fmt: skip
"""Faults that pass when another primary takes over, or when a slot has moved. (MASTERDOWN is a
ClusterDownError.)"""
_EVAL = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"})
_READS_OF_STREAMS = frozenset({"XREAD", "XREADGROUP"})
# Commands without a key, which every primary gets.
_EVERYWHERE = frozenset(
    {
        "PING", "DBSIZE", "FLUSHDB", "FLUSHALL", "SCRIPT LOAD", "SCRIPT FLUSH", "CONFIG GET",
        "CONFIG SET", "CONFIG RESETSTAT", "INFO", "SAVE", "BGSAVE", "BGREWRITEAOF", "TIME",
    }
)  # fmt: skip


class CrossesSlots(RedisError):
    """Keys of one atomic step are on several servers: a bug."""


class TooFewReplicas(RedisError):
    """A write was done on the primary, and not confirmed by as many replicas as it has to be."""


def key_of(args: Sequence[Any]) -> bytes | None:
    """The first key of a command; None if every primary gets it."""
    name = str(args[0]).upper()
    if name in _EVERYWHERE:
        return None
    at = 1
    if name == "SCAN":
        raise CrossesSlots("a cursor belongs to one server: use scan_iter")
    if name in _EVAL:
        if not int(args[2]):
            raise CrossesSlots("a script without keys has no server")
        at = 3
    elif name in _READS_OF_STREAMS:
        at = 1 + next(n for n, arg in enumerate(args) if arg in (b"STREAMS", "STREAMS"))
    key = args[at]
    return key if isinstance(key, bytes) else str(key).encode()


def is_ask(reply: object) -> bool:
    """Whether the slot of a command is moving, and its keys have moved."""
    return isinstance(reply, AskError) and not isinstance(reply, MovedError)
