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
from typing import Any, Generic, TypeAlias, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis, Sentinel
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

from service.errors import Unavailable
from service.redis_url import CLUSTER, Address, ManyServers, many_servers
from service.settings import Settings
from service.storage import packing
from service.storage.commands import Client, Pipeline, Value
from service.storage.routes import TooFewReplicas
from service.storage.routing import RoutedClient
from service.storage.topologies import Cluster, One, Sentinels, Topology

Reply = TypeVar("Reply")
ScriptCall: TypeAlias = tuple[Sequence[str], Sequence[Value]]
"""(keys, arguments) of one call of a script."""
SOCKET_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 2
RETRIES = 3
MAX_CONNECTIONS = 64
"""Connections of a process, besides READERS a shard; more commands wait for a free connection."""
READERS = 5
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
    "NOREPLICAS": "Redis has fewer replicas than its min-replicas-to-write: start them; or the "
    "archive is moved (`dateline layout` says so)",
    "NOSCRIPT": "",  # between its load and its use in a pipeline: a restart, SCRIPT FLUSH
    "OOM": "Redis has reached its maxmemory: raise it, or remove what is not needed there",
    "READONLY": "Redis is a replica now: DATELINE_REDIS_URL must name the primary",
    "TRYAGAIN": "",
    "UNBLOCKED": "",  # a blocking read on a server that was demoted, or whose stream was deleted
    "WRONGPASS": _WRONG_LOGIN,
}
# Advice for a key that the caller names, since the reply does not (`wrong_type_as_unavailable`).
# Elsewhere
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


WORKER_PATIENCE_S, SERVER_PATIENCE_S = 8.0, 1.0
"""How long a command waits for another primary; who waits for a server's answer waits less."""
# Below the time in which Sentinels take a primary for gone, above that of blocking reads.
ROUTED_TIMEOUT_S = 2.0


def client_of(
    settings: Settings, *, retries: int | None = None, patience_s: float = WORKER_PATIENCE_S
) -> Client:
    """The client of these settings; it connects at its first command.

    Args:
        retries: how often one server repeats a command.
        patience_s: how long several servers do.
    """
    servers, replicas = many_servers(settings.redis_url), settings.wait_replicas
    if servers is None and not replicas:
        return connect(settings.redis_url, shards=settings.shards, retries=retries)
    timeout_s = max(ROUTED_TIMEOUT_S, settings.wait_ms / 1000 + 1)

    def open_server(address: Address) -> Redis:
        url = servers.url_of(address) if servers else settings.redis_url
        return _plain(url, shards=settings.shards, retries=0, timeout_s=timeout_s)

    return cast(
        Client,
        RoutedClient(
            _topology(servers, settings),
            open_server=open_server,
            patience_s=0 if retries == 0 else patience_s,
            replicas=1 if replicas is None else replicas,
            wait_ms=settings.wait_ms,
        ),
    )


def _topology(servers: ManyServers | None, settings: Settings) -> Topology:
    if servers is None:
        return One()
    if servers.kind == CLUSTER:
        return Cluster(servers.addresses)
    sentinels: Any = Sentinel([])  # type: ignore[no-untyped-call]
    sentinels.sentinels = [
        _plain(servers.sentinel_url(each, settings.sentinel_password), retries=0, timeout_s=1.0)
        for each in servers.addresses
    ]
    return Sentinels(sentinels, servers.names)


def connect(url: str, *, shards: int = 1, retries: int | None = None) -> Client:
    """A client of one server, `redis://`, `rediss://` or `unix://`; it connects at its first
    command."""
    count = RETRIES if retries is None else retries
    return cast(Client, _plain(url, shards=shards, retries=count, timeout_s=SOCKET_TIMEOUT_S))


def _plain(url: str, *, retries: int, timeout_s: float, shards: int = 1) -> Redis:
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=0.5)
    # A blocking pool: others raise an error when a burst needs more connections than allowed.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections(shards=shards),
        timeout=timeout_s,
        protocol=2,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
        health_check_interval=15,
        retry=Retry(backoff, retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    packing.use_hiredis(pool)
    return Redis.from_pool(pool)


async def key_on_each_primary(client: Client, names: Sequence[str]) -> list[str]:
    """Return one of these keys for each primary that has any of them."""
    if not isinstance(client, RoutedClient):
        return list(names[:1])
    placement = await client.placement()
    return list({placement.of(name.encode()): name for name in names}.values())


async def groups_on_servers(client: Client, shards: Sequence[int]) -> list[list[int]]:
    """These shards in groups of which one script can read the keys: all that are on a server, or of
    a cluster each alone."""
    if not isinstance(client, RoutedClient):
        return [list(shards)]
    if client.keeps_slots_apart:
        return [[shard] for shard in shards]
    placement = await client.placement()
    groups: dict[Address, list[int]] = {}
    for shard in shards:
        groups.setdefault(placement.of(b"{%d}" % shard), []).append(shard)
    return list(groups.values())


async def servers_of(client: Client, names: Sequence[str]) -> list[str]:
    """The address of the primary that has each of these keys; empty if there is only one."""
    if not isinstance(client, RoutedClient):
        return [""] * len(names)
    placement = await client.placement()
    return [str(placement.of(name.encode())) for name in names]


async def each_primary(client: Client) -> list[tuple[str, Client]]:
    """Each primary behind a client, as (its address, client of it alone); one without an address
    if there is only one."""
    if not isinstance(client, RoutedClient):
        return [("", client)]
    return [(str(address), cast(Client, each)) for address, each in await client.primaries()]


def connections(*, shards: int) -> int:
    """Maximum number of connections of a client."""
    return MAX_CONNECTIONS + READERS * shards


class Script(Generic[Reply]):
    """A Lua script that is called by its hash, and sent in full to a server that does not know it.

    `Script[int]` is a script whose reply is an integer; the code that loads a script states this.
    """

    def __init__(self, client: Client, source: str, *, is_durable: bool = False) -> None:
        self._client = client
        self._source = source
        # What is acknowledged to others must survive the loss of a primary.
        self._runs_durably = is_durable and isinstance(client, RoutedClient)
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, *, keys: Sequence[str], args: Sequence[Value] = ()) -> Reply:
        """Run the script and return its reply."""
        client: Any = self._client
        run = client.execute_durably if self._runs_durably else client.execute_command
        try:
            reply: Reply = await run("EVALSHA", self._sha, len(keys), *keys, *args)
        except NoScriptError:
            # EVAL loads and runs it in one command, so a SCRIPT FLUSH in between does no harm.
            reply = await run("EVAL", self._source, len(keys), *keys, *args)
        return reply

    async def run_all(self, calls: Sequence[ScriptCall]) -> list[Reply]:
        """Run the script several times in one round trip, without WAIT; the replies in order.

        If a server does not know it, all calls are sent again, in full: a script can be run twice,
        and a slot may be moving to a server that never ran it.
        """
        if not calls:
            return []
        try:
            return await self._run_all("EVALSHA", self._sha, calls)
        except NoScriptError:
            return await self._run_all("EVAL", self._source, calls)

    async def _run_all(self, command: str, script: str, calls: Sequence[ScriptCall]) -> list[Reply]:
        pipe = self._client.pipeline(transaction=False)
        for key_names, args in calls:
            pipe.execute_command(command, script, len(key_names), *key_names, *args)
        return await pipe.execute()

    def load_in(self, pipe: Pipeline) -> None:
        """Load the script at the start of a pipeline that runs it; this adds one reply.

        The server executes a pipeline in order, so this costs no separate round trip, and if the
        pipeline is resent after a lost connection, so is the script.
        """
        pipe.execute_command("SCRIPT LOAD", self._source)

    def run_in(self, pipe: Pipeline, *, keys: Sequence[str], args: Sequence[Value] = ()) -> None:
        """Run the script in a pipeline that begins with `load_in`."""
        pipe.execute_command("EVALSHA", self._sha, len(keys), *keys, *args)


def lua_script(client: Client, *names: str, is_durable: bool = False) -> Script[Reply]:
    """The script made of these .lua files, joined in this order; the caller states its reply.

    Args:
        is_durable: whether a call waits until replicas have what it wrote (WAIT_REPLICAS).
    """
    return Script(client, lua_text(*names), is_durable=is_durable)


def lua_text(*names: str) -> str:
    """The text of these .lua files, joined in this order."""
    return "".join((_SCRIPTS / f"{name}.lua").read_text("utf-8") for name in names)


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
    if isinstance(exc, TooFewReplicas):
        return "it may have been kept: send it again; start the replicas, or set WAIT_REPLICAS=0"
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
