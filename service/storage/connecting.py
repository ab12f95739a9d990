"""Open clients, load scripts, and tell passing faults from lasting ones.

Retries. redis-py resends a command whose reply was lost, so every write here is safe to send twice:
writes are scripts or plain sets. Retries are few and quick, because a server that cannot reach
Redis has something better to do (serve what it holds) and a worker waits in its own loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    ClusterError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.errors import InvalidSettings, StartFailed, Unavailable
from service.storage import keys

# redis-py's types cannot say that replies are bytes here, nor that a pipeline's commands are not
# awaited; each caller states the shape of the reply that it takes.
Client: TypeAlias = Any

SOCKET_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 2
MAX_CONNECTIONS = 64
"""Of a process, beside READERS a shard; what needs more waits its turn."""
READERS = 4
"""Loops of one process that wait on a shard's stream, with all roles in it."""

# redis-py takes the first word off the replies that it has a type for.
_PASSING_TYPES = (
    RedisConnectionError,
    RedisTimeoutError,
    OutOfMemoryError,
    ReadOnlyError,
    ClusterError,
)
# First words of replies that mean "not now": known by text, because 6.2 sends some of them (OOM
# inside a script) as plain errors.
_PASSING = (
    "OOM", "MISCONF", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "BUSY ", "LOADING", "MASTERDOWN",
    "TRYAGAIN",
)  # fmt: skip
_SCRIPTS = Path(__file__).parent


def connect(url: str, *, shards: int = 1) -> Client:
    """A client for `redis://`, `rediss://` or `unix://`; nothing is sent before the first use."""
    # One that waits: a burst of requests or polls would be refused by the pool otherwise.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS + READERS * shards,
        timeout=SOCKET_TIMEOUT_S,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    pool.connection_class = type("Packing", (_PackingInC, pool.connection_class), {})
    return Redis.from_pool(pool)


class _PackingInC:
    """A connection that has hiredis write commands as well as read replies; redis-py's blocking
    client does that by itself, its asyncio one does it in Python, at 3 µs an argument."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command in RESP; some names, such as SCRIPT LOAD, are two arguments."""
        name, *others = args
        words = name.split() if isinstance(name, bytes) else name.encode().split()
        packed: bytes = hiredis.pack_command((*words, *others))
        return [packed]

    def pack_commands(self, commands: Any) -> list[bytes]:
        """Commands of a pipeline, to be sent at once."""
        return [b"".join([part for args in commands for part in self.pack_command(*args)])]


def script(client: Client, *names: str) -> AsyncScript:
    """The script made of these .lua files in a row; registered with the server at its first use."""
    source = "".join((_SCRIPTS / f"{name}.lua").read_text("utf-8") for name in names)
    registered: AsyncScript = client.register_script(source)
    return registered


@contextmanager
def translated() -> Iterator[None]:
    """Raise Unavailable instead of what redis-py raises for faults that pass by themselves."""
    try:
        yield
    except _PASSING_TYPES as exc:
        raise Unavailable(f"Redis cannot serve now: {exc or type(exc).__name__}") from exc
    except ResponseError as exc:
        if any(word in str(exc)[:200] for word in _PASSING):
            raise Unavailable(f"Redis cannot write now: {exc}") from exc
        raise


async def check_server(client: Client, *, shards: int, allow_volatile: bool) -> None:
    """Refuse a server that would lose articles, and a SHARDS that is not the archive's.

    Raises:
        StartFailed: Redis cannot be reached or refuses us.
        InvalidSettings: the archive was written with another SHARDS, or Redis may drop data.
    """
    try:
        await client.hsetnx(keys.LAYOUT, "shards", str(shards))
        kept = int(await client.hget(keys.LAYOUT, "shards") or shards)
        policy = await _config(client, "maxmemory-policy")
        appendonly = await _config(client, "appendonly")
    except RedisError as exc:
        raise StartFailed(f"Redis does not let us in: {exc}") from exc
    faults = []
    if kept != shards:
        faults.append(
            f"DATELINE_SHARDS={shards}: the archive was written with {kept}; "
            f"set it back, or export and import into an empty Redis"
        )
    if not allow_volatile:
        if policy not in ("", "noeviction"):
            faults.append(
                f"Redis has maxmemory-policy {policy}, which drops articles when memory is short: "
                f"set noeviction (or DATELINE_ALLOW_VOLATILE_REDIS=true)"
            )
        if appendonly == "no":
            faults.append(
                "Redis has appendonly no, which loses articles when it stops: "
                "set appendonly yes (or DATELINE_ALLOW_VOLATILE_REDIS=true)"
            )
    if faults:
        raise InvalidSettings(faults)


async def _config(client: Client, name: str) -> str:
    # Hosted servers forbid CONFIG; then the operator's word has to do.
    try:
        found: dict[str, str] | list[bytes] = await client.config_get(name)
    except ResponseError:
        return ""
    value = found.get(name, "") if isinstance(found, dict) else ""
    return value.decode() if isinstance(value, bytes) else str(value)
