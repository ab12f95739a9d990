"""The table of Redis faults on real servers: none is taken for a bug, and work goes on after it.

Not provoked here: NOAUTH (a server asks for a password that the URL has not; WRONGPASS is the same
row), EXECABORT (redis-py raises what is inside), TRYAGAIN (a cluster that moves its slots).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.errors import Unavailable
from service.storage import client as redis_client
from service.storage.client import FAULTS, Script, advice_of, redis_errors_as_unavailable
from tests.servers import (
    Server,
    connected,
    raw_server,
    read,
    run_pipeline,
    run_script,
    run_transaction,
    write,
)
from tests.waiting import wait_until

Fault = Callable[[Server], contextlib.AbstractAsyncContextManager[None]]


def setting(name: str, value: str, after: str) -> Fault:
    """A fault by a setting, until it is set back."""

    @asynccontextmanager
    async def fault(server: Server) -> AsyncIterator[None]:
        await server.admin.config_set(name, value)
        yield
        await server.admin.config_set(name, after)

    return fault


@asynccontextmanager
async def replica(server: Server) -> AsyncIterator[None]:
    """It was demoted; its primary does not answer."""
    await server.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    await server.admin.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def stale_replica(server: Server) -> AsyncIterator[None]:
    """The same, and it does not give what may be old."""
    await server.admin.config_set("replica-serve-stale-data", "no")
    async with replica(server):
        yield
    await server.admin.config_set("replica-serve-stale-data", "yes")


@asynccontextmanager
async def full_disk(server: Server) -> AsyncIterator[None]:
    """The last save failed: where its file goes is a folder."""
    taken = server.embedded.folder / "dump.rdb"
    (taken / "x").mkdir(parents=True)
    await server.admin.config_set("save", "3600 1")

    async def status(word: str) -> bool:
        with contextlib.suppress(ResponseError):
            await server.admin.bgsave()
        info: dict[str, Any] = await server.admin.info("persistence")
        return bool(info["rdb_last_bgsave_status"] == word)

    await wait_until(lambda: status("err"))
    yield
    (taken / "x").rmdir()
    taken.rmdir()
    await wait_until(lambda: status("ok"))


@asynccontextmanager
async def busy(server: Server) -> AsyncIterator[None]:
    """A script runs until it is killed."""
    await server.admin.config_set("lua-time-limit", "1")

    async def spin(client: Redis) -> None:
        with contextlib.suppress(ResponseError):
            await client.eval("while true do end", 0)

    async with Redis.from_url(server.embedded.url) as other, asyncio.TaskGroup() as group:
        group.create_task(spin(other))

        async def is_busy() -> bool:
            try:
                return not await server.admin.ping()
            except ResponseError:
                return True

        await wait_until(is_busy)
        yield
        await server.admin.script_kill()


@asynccontextmanager
async def changed_password(server: Server) -> AsyncIterator[None]:
    """The password differs from that of our URL, and open connections were closed."""
    await server.admin.config_set("requirepass", "another")
    await server.admin.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
    yield
    await server.admin.config_set("requirepass", server.embedded.password)


@asynccontextmanager
async def forbidden(server: Server) -> AsyncIterator[None]:
    """Our user may not write."""
    await server.admin.acl_setuser("default", commands=["-set", "-eval", "-evalsha"])
    yield
    await server.admin.acl_setuser("default", commands=["+@all"])


WRITES = (write, run_script, run_pipeline, run_transaction)
ROWS: list[tuple[str, Fault, tuple[Callable[[Any], Awaitable[None]], ...]]] = [
    ("OOM", setting("maxmemory", "1", "0"), WRITES),
    ("NOREPLICAS", setting("min-replicas-to-write", "1", "0"), WRITES),
    ("READONLY", replica, WRITES),
    ("MASTERDOWN", stale_replica, (read, *WRITES)),
    ("MISCONF", full_disk, WRITES),
    ("BUSY", busy, (read, *WRITES)),
    ("WRONGPASS", changed_password, (read, *WRITES)),
    ("NOPERM", forbidden, (write, run_script)),
]


@pytest.mark.parametrize(("word", "fault", "units"), ROWS, ids=[row[0] for row in ROWS])
async def test_a_fault_of_redis_is_no_bug(
    server: Server, word: str, fault: Fault, units: tuple[Callable[[Any], Awaitable[None]], ...]
) -> None:
    """Commands, scripts, pipelines and transactions raise Unavailable with the row's advice; after
    the fault the same client works again."""
    async with connected(server.embedded.url) as client:
        for unit in units:
            await unit(client)
        async with fault(server):
            for unit in units:
                with pytest.raises(Unavailable) as raised, redis_errors_as_unavailable():
                    await unit(client)
                # A write on a replica is refused as such, whatever else is wrong with it.
                words = [word, "READONLY"] if word == "MASTERDOWN" else [word]
                assert raised.value.advice in [FAULTS[each] for each in words], raised.value
                assert raised.value.advice in str(raised.value)

        async def works() -> bool:
            with contextlib.suppress(Unavailable), redis_errors_as_unavailable():
                for unit in units:
                    await unit(client)
                return True
            return False

        await wait_until(works)


async def test_a_reader_that_waits_on_a_server_that_is_demoted_goes_on(server: Server) -> None:
    """Its blocking read ends with UNBLOCKED, which is Unavailable; the next read succeeds."""
    async with connected(server.embedded.url) as client:
        await client.xadd("s", {"a": "b"})

        async def wait() -> None:
            with pytest.raises(Unavailable, match="UNBLOCKED"), redis_errors_as_unavailable():
                await client.xread({"s": "$"}, block=4_000)

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())

            async def is_blocked() -> bool:
                return bool((await server.admin.info("clients"))["blocked_clients"])

            await wait_until(is_blocked)
            await server.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert await client.xread({"s": "0"}, block=10)


async def test_scripts_that_the_server_forgot_are_sent_again(server: Server) -> None:
    """After SCRIPT FLUSH or a restart, alone and in pipelines, without anybody noticing."""
    async with connected(server.embedded.url) as client:
        for number in range(1, 4):
            await server.admin.script_flush()
            await run_script(client)
            await server.admin.script_flush()
            await run_pipeline(client)
            assert 4 * number == int(await client.get("n"))
        # Between the load and the use in one pipeline there is no time; should there be, it passes.
        pipe = client.pipeline(transaction=False)
        await server.admin.script_flush()
        Script(client, "return 1").run_in(pipe, keys=["n"])
        with pytest.raises(Unavailable), redis_errors_as_unavailable():
            await pipe.execute()


async def test_a_server_that_loads_its_file_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LOADING, as after every restart of a large archive."""
    monkeypatch.setattr(redis_client, "RETRIES", 0)
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    async with raw_server(*slowly, keys=1_000) as url, connected(url) as client:
        seen = set()

        async def loaded() -> bool:
            try:
                with redis_errors_as_unavailable():
                    return bool(await client.get("key:1"))
            except Unavailable as exc:
                seen.add(exc.advice)
                return False

        await wait_until(loaded)
        assert {""} == seen


async def test_a_cluster_without_its_slots_is_waited_for() -> None:
    """CLUSTERDOWN is Unavailable, not a fault of our code."""
    async with raw_server("--cluster-enabled", "yes") as url, connected(url) as client:
        with pytest.raises(Unavailable), redis_errors_as_unavailable():
            await write(client)


@pytest.mark.parametrize(
    "text", ["WRONGTYPE Operation against a key", "ERR unknown command 'OOM'", "NOGROUP no group"]
)
async def test_a_bug_of_ours_is_a_bug(text: str) -> None:
    """Even if it has the word of a fault in it."""
    with pytest.raises(ResponseError), redis_errors_as_unavailable():
        raise ResponseError(text)


def test_what_redis_6_says_inside_scripts_is_known() -> None:
    """It wraps the fault in an error of the script."""
    text = "ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed when"
    assert FAULTS["OOM"] == advice_of(ResponseError(text))
