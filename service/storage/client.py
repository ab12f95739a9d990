"""Open clients, run scripts, and distinguish faults of Redis from our own bugs.

Retries. redis-py resends a command whose reply was lost, so every write here is safe to send twice:
writes are scripts or plain sets. Retries are few and quick: a server without Redis serves its
cached pages meanwhile, and a worker waits in its own loop.

Faults. Every Redis error that the command did not cause becomes Unavailable: workers wait and
resume, writes are answered with 503. If an operator must act, the exception has an `advice`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    ClusterError,
    InvalidResponse,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.errors import InvalidSettings, StartFailed, Unavailable
from service.storage import keys, packing
from service.storage.commands import Client, Pipeline, Value

Reply = TypeVar("Reply")
SOCKET_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 2
RETRIES = 3
MAX_CONNECTIONS = 64
"""Connections of a process, besides READERS a shard; more commands wait for a free connection."""
READERS = 4
"""Loops of a process with all roles that block on a shard's stream."""

_WRONG_LOGIN = "DATELINE_REDIS_URL must have the user and password that Redis has now"
# First word of an error reply → advice for the operator; empty if the fault passes by itself.
FAULTS = {
    "BUSY": "",  # a script has run for long
    "CLUSTERDOWN": "",
    "EXECABORT": "",  # one of the others, inside a transaction
    "LOADING": "",
    "MASTERDOWN": "",
    "MISCONF": "Redis cannot write to its disk: free some space there, and see its log; then call "
    "BGREWRITEAOF (`dateline up` does), or Redis 7.0 may not read its file at its next start",
    "NOAUTH": _WRONG_LOGIN,
    "NOPERM": "the Redis user of DATELINE_REDIS_URL needs all commands on the keys dateline:*",
    "NOREPLICAS": "Redis has fewer replicas than its min-replicas-to-write: start them",
    "NOSCRIPT": "",  # between its load and its use in a pipeline: a restart, SCRIPT FLUSH
    "OOM": "Redis has reached its maxmemory: raise it, or remove what is not needed there",
    "READONLY": "Redis is a replica now: DATELINE_REDIS_URL must name the primary",
    "TRYAGAIN": "",
    "UNBLOCKED": "",  # a blocking read on a server that was demoted, or whose stream was deleted
    "WRONGPASS": _WRONG_LOGIN,
}
# Of a key that the caller names, since the reply does not: `wrong_type_as_unavailable`. Elsewhere
# WRONGTYPE costs the one thing whose key it is (docs/reliability.md).
WRONG_TYPE = "something else wrote it: rename it in Redis (RENAME), or delete it"
# Redis before 7 wraps errors of a script: `ERR Error running script …: -OOM command not allowed …`;
# redis-py those of a pipeline: `Command # 2 (…) of pipeline caused error: ('OOM command …',)`.
_WRAPPED = re.compile(
    r"(?:[Ee]rror running script .*?-|of pipeline caused error: (?:\(['\"])?)([A-Z]+)\b", re.DOTALL
)
# Replies to a wrong password, and to a large command on a connection whose AUTH failed; redis-py
# does not always preserve the type of the first.
_LOGIN_FAILED = re.compile("unauthenticated|username-password")
_SCRIPTS = Path(__file__).parent / "lua"


def connect(url: str, *, shards: int = 1, retries: int | None = None) -> Client:
    """A client for `redis://`, `rediss://` or `unix://`; it connects at its first command."""
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=0.5)
    # A blocking pool: others raise an error when a burst needs more connections than allowed.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections(shards=shards),
        timeout=SOCKET_TIMEOUT_S,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        health_check_interval=15,
        retry=Retry(backoff, RETRIES if retries is None else retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    packing.use_hiredis(pool)
    return cast(Client, Redis.from_pool(pool))


def connections(*, shards: int) -> int:
    """Maximum number of connections of a client."""
    return MAX_CONNECTIONS + READERS * shards


class Script(Generic[Reply]):
    """A Lua script that is called by its hash, and sent in full to a server that does not know it.

    `Script[int]` is a script whose reply is an integer; the code that loads a script states this.
    """

    def __init__(self, client: Client, source: str) -> None:
        self._client = client
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, *, keys: Sequence[str], args: Sequence[Value] = ()) -> Reply:
        """Run the script and return its reply."""
        run = self._client.execute_command
        try:
            reply: Reply = await run("EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            # EVAL loads and runs it in one command, so a SCRIPT FLUSH in between does no harm.
            reply = await run("EVAL", self._source, len(keys), *keys, *args)
        return reply

    def load_in(self, pipe: Pipeline) -> None:
        """Load the script at the start of a pipeline that runs it; this adds one reply.

        The server executes a pipeline in order, so this costs no separate round trip, and if the
        pipeline is resent after a lost connection, so is the script.
        """
        pipe.execute_command("SCRIPT LOAD", self._source)

    def run_in(self, pipe: Pipeline, *, keys: Sequence[str], args: Sequence[Value] = ()) -> None:
        """Run the script in a pipeline that begins with `load_in`."""
        pipe.execute_command("EVALSHA", self._sha, len(keys), *keys, *args)


def lua_script(client: Client, *names: str) -> Script[Reply]:
    """The script made of these .lua files, joined in this order; the caller states its reply."""
    return Script(client, "".join((_SCRIPTS / f"{name}.lua").read_text("utf-8") for name in names))


@contextmanager
def redis_errors_as_unavailable() -> Iterator[None]:
    """Raise Unavailable in place of redis-py exceptions for faults of Redis; also for a group of a
    task group in which all exceptions are such faults."""
    try:
        yield
    except RedisError as exc:
        unavailable = _unavailable(exc)
        if unavailable is None:
            raise
        raise unavailable from exc
    except ExceptionGroup as group:
        faults = [_unavailable(exc) for exc in leaves_of(group)]
        if not all(faults):
            raise
        raise next(filter(None, faults)) from group


@contextmanager
def wrong_type_as_unavailable(*names: str) -> Iterator[None]:
    """Raise Unavailable with advice where one of these keys, which are all that is used inside,
    has a type that dateline did not give it."""
    try:
        yield
    except ResponseError as exc:
        if "WRONGTYPE" not in str(exc):
            raise
        raise of_wrong_type(" or ".join(names)) from exc


def of_wrong_type(what: str) -> Unavailable:
    """The lasting fault of a key that holds something else."""
    return Unavailable(f"Redis has another type of value in {what}", advice=WRONG_TYPE)


def leaves_of(exc: BaseException) -> list[BaseException]:
    """All exceptions of a group and its subgroups; for a plain exception, a list of it alone."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for each in exc.exceptions for leaf in leaves_of(each)]
    return [exc]


def _unavailable(exc: BaseException) -> Unavailable | None:
    """None if the exception is not a fault of Redis."""
    if isinstance(exc, Unavailable):
        return exc
    advice = advice_of(exc) if isinstance(exc, RedisError) else None
    if advice is None:
        return None
    what = str(exc) or type(exc).__name__
    return Unavailable(f"Redis cannot serve now: {what}", advice=advice)


def advice_of(exc: RedisError) -> str | None:
    """The remedy for a fault of Redis (empty if it passes by itself); None if the error is a bug in
    dateline."""
    text = str(exc)[:500]
    if isinstance(exc, AuthenticationError) or _LOGIN_FAILED.search(text):
        return _WRONG_LOGIN
    if isinstance(exc, ResponseError):
        inside = _WRAPPED.search(text)
        # redis-py removes the first word of the replies for which it has an exception type.
        word = inside.group(1) if inside else exc.status_code or text.partition(" ")[0]
        if word in FAULTS:
            return FAULTS[word]
    if isinstance(exc, RedisConnectionError | RedisTimeoutError | ClusterError | InvalidResponse):
        return ""
    return None


async def check_server(
    client: Client, *, shards: int, allow_volatile: bool, restores: bool = False
) -> None:
    """Refuse a server that would lose articles, a SHARDS that is not the archive's, and an archive
    of which a backup restored only a part; only `restores`, the restore itself, works on that.

    Raises:
        Unavailable: Redis is not there, or cannot be written to now.
        StartFailed: it refuses a command that the check needs, or a restore is not complete.
        InvalidSettings: the archive was written with another SHARDS, or Redis may drop data.
    """
    try:
        with redis_errors_as_unavailable():
            if not restores and await client.get(keys.RESTORING):
                raise StartFailed(
                    "the archive is not complete: a restore is at work, or was cut; run "
                    "`dateline restore` with the same backup again"
                )
            await client.hsetnx(keys.LAYOUT, "shards", str(shards))
            archive_shards = int(await client.hget(keys.LAYOUT, "shards") or shards)
            policy = await _config(client, "maxmemory-policy")
            appendonly = await _config(client, "appendonly")
    except RedisError as exc:
        raise StartFailed(f"Redis refuses a command that dateline needs: {exc}") from exc
    faults = []
    if archive_shards != shards:
        faults.append(
            f"DATELINE_SHARDS={shards}: the archive was written with {archive_shards}; "
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
    # Hosted servers forbid CONFIG; their configuration is not checked.
    try:
        return (await client.config_get(name)).get(name, "")
    except ResponseError:
        return ""
