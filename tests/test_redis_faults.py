"""Every row of the table of Redis faults, on a real server: no bug, and over again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from service.errors import StartFailed, Unavailable
from service.settings import Settings
from service.storage import connecting, store
from service.storage.connecting import FAULTS, Script, connect, translated
from service.storage.embedded import Embedded, find_binary, stop
from service.storage.store import open_store
from tests.conftest import wait_until
from tests.running import call, free_port

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of the test's own, and a client that is let do anything."""

    embedded: Embedded
    admin: Redis
    process: asyncio.subprocess.Process


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[Server]:
    """Start one, end it."""
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        embedded = Embedded(
            binary=find_binary(), folder=Path(folder, "r"), appendfsync="no", port=port
        )
        process = await embedded.start()
        async with Redis.from_url(embedded.url) as admin:
            await admin.ping()
            yield Server(embedded=embedded, admin=admin, process=process)
        await stop(process)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that a test may ruin."""
    async with serving() as found:
        yield found


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
    """A script runs for ever."""
    await server.admin.config_set("lua-time-limit", "1")

    async def spin(client: Redis) -> None:
        with contextlib.suppress(ResponseError):
            await client.eval("while true do end", 0)

    async with Redis.from_url(server.embedded.url) as other, asyncio.TaskGroup() as group:
        group.create_task(spin(other))
        await asyncio.sleep(0.1)
        yield
        await server.admin.script_kill()


@asynccontextmanager
async def changed_password(server: Server) -> AsyncIterator[None]:
    """Another one than our URL has; who is connected is thrown out."""
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


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A client as dateline's own."""
    client = connect(url)
    try:
        yield client
    finally:
        await client.aclose()


async def write(client: Any) -> None:
    """A plain write."""
    await client.set("a", "x" * 100_000)


async def run_script(client: Any) -> None:
    """A write in a script."""
    await Script(client, ADD)(keys=["n"], args=[1])


async def run_pipeline(client: Any) -> None:
    """Scripts in a pipeline."""
    pipe = client.pipeline(transaction=False)
    script = Script(client, ADD)
    script.load_in(pipe)
    for _ in range(3):
        script.run_in(pipe, keys=["n"], args=[1])
    await pipe.execute()


async def run_transaction(client: Any) -> None:
    """Writes that belong together."""
    pipe = client.pipeline(transaction=True)
    pipe.set("a", "x")
    pipe.incr("n")
    await pipe.execute()


async def read(client: Any) -> None:
    """A plain read."""
    await client.get("a")


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
    """Commands, scripts, pipelines and transactions say Unavailable with the row's advice; when it
    is over, the same client goes on."""
    async with connected(server.embedded.url) as client:
        for unit in units:
            await unit(client)
        async with fault(server):
            for unit in units:
                with pytest.raises(Unavailable) as raised, translated():
                    await unit(client)
                # A write on a replica is refused as such, whatever else is wrong with it.
                words = [word, "READONLY"] if word == "MASTERDOWN" else [word]
                assert raised.value.advice in [FAULTS[each] for each in words], raised.value
                assert raised.value.advice in str(raised.value)

        async def works() -> bool:
            with contextlib.suppress(Unavailable), translated():
                for unit in units:
                    await unit(client)
                return True
            return False

        await wait_until(works)


async def test_a_reader_that_waits_on_a_server_that_is_demoted_goes_on(server: Server) -> None:
    """UNBLOCKED is what it is told."""
    async with connected(server.embedded.url) as client:
        await client.xadd("s", {"a": "b"})

        async def wait() -> None:
            with pytest.raises(Unavailable, match="UNBLOCKED"), translated():
                await client.xread({"s": "$"}, block=4_000)

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await asyncio.sleep(0.2)
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
        with pytest.raises(Unavailable), translated():
            await pipe.execute()


async def test_a_server_that_loads_its_file_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LOADING, as after every restart of a large archive."""
    monkeypatch.setattr(connecting, "RETRIES", 0)
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    async with raw_server(*slowly, keys=1_000) as url, connected(url) as client:
        seen = set()

        async def loaded() -> bool:
            try:
                with translated():
                    return bool(await client.get("key:1"))
            except Unavailable as exc:
                seen.add(exc.advice)
                return False

        await wait_until(loaded)
        assert {""} == seen


async def test_a_cluster_without_its_slots_is_waited_for() -> None:
    """CLUSTERDOWN."""
    async with raw_server("--cluster-enabled", "yes") as url, connected(url) as client:
        with pytest.raises(Unavailable), translated():
            await write(client)


@asynccontextmanager
async def raw_server(*options: str, keys: int = 0) -> AsyncIterator[str]:
    """A server with options that the embedded one does not have, on a file of so many keys."""
    binary = find_binary().path
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        base = [str(binary), "--port", "0", "--save", "", "--dir", folder]
        sock = Path(folder, "s")

        async def start(*more: str) -> asyncio.subprocess.Process:
            found = await asyncio.create_subprocess_exec(
                *base, "--unixsocket", str(sock), *more, stdout=subprocess.DEVNULL
            )

            async def listens() -> bool:
                return sock.exists()

            await wait_until(listens)
            return found

        if keys:
            process = await start()
            async with Redis(unix_socket_path=str(sock)) as admin:
                pipe = admin.pipeline(transaction=False)
                for number in range(keys):
                    pipe.set(f"key:{number}", "x")
                await pipe.execute()
                await admin.save()
            process.kill()
            await process.wait()
            sock.unlink()
        process = await start(*options)
        yield f"unix://{sock}"
        process.kill()
        await process.wait()


@pytest.mark.parametrize("stopped", [False, True], ids=["away", "stopped"])
async def test_a_server_that_does_not_answer_is_a_fault(
    server: Server, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended, or stopped (SIGSTOP): the first is refused, the second times out."""
    monkeypatch.setattr(connecting, "SOCKET_TIMEOUT_S", 0.2)
    async with connected(server.embedded.url) as client:
        await write(client)
        if stopped:
            server.process.send_signal(19)
        else:
            server.process.kill()
            await server.process.wait()
        with pytest.raises(Unavailable), translated():
            await write(client)
        if stopped:
            server.process.send_signal(18)
            await write(client)


@pytest.mark.parametrize(
    "text", ["WRONGTYPE Operation against a key", "ERR unknown command 'OOM'", "NOGROUP no group"]
)
async def test_a_bug_of_ours_is_a_bug(text: str) -> None:
    """Even if it has the word of a fault in it."""
    with pytest.raises(ResponseError), translated():
        raise ResponseError(text)


def test_what_redis_6_says_inside_scripts_is_known() -> None:
    """It wraps the fault in an error of the script."""
    text = "ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed when"
    assert FAULTS["OOM"] == connecting.advice_of(ResponseError(text))


def test_connections_that_are_reset_are_faults() -> None:
    """On uvloop, which says of a closed transport what redis-py takes for its caller's bug: not one
    of many resets is told as anything but Unavailable."""
    uvloop.run(_reset_again_and_again())


async def _reset_again_and_again() -> None:
    port = free_port()
    async with serving(port) as server, resetting(port) as listening:
        password = server.embedded.password
        async with connected(f"redis://:{password}@127.0.0.1:{listening}") as client:
            end = time.monotonic() + 4
            done = 0

            async def work(number: int) -> None:
                nonlocal done
                units = (write, run_script, run_pipeline, run_transaction, read, wait_for_nothing)
                while time.monotonic() < end:
                    with contextlib.suppress(Unavailable), translated():
                        await units[number % len(units)](client)
                        done += 1

            async with asyncio.TaskGroup() as group:
                for number in range(30):
                    group.create_task(work(number))
            assert done > 30


async def wait_for_nothing(client: Any) -> None:
    """A blocking read."""
    await client.xread({"nothing": "0-0"}, block=30)


@asynccontextmanager
async def resetting(port: int) -> AsyncIterator[int]:
    """A way to a port on which every connection is reset (RST) after a moment; its own port."""
    pairs: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back = await asyncio.open_connection("127.0.0.1", port)
        pairs.add(writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, back))
            group.create_task(pump(back_reader, writer))
        pairs.discard(writer)

    async def reset(ended: asyncio.Event) -> None:
        while not ended.is_set():
            await asyncio.sleep(random.uniform(0.01, 0.08))
            for writer in list(pairs):
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    # Closing then sends RST instead of FIN.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(reset(ended))
        yield listener.sockets[0].getsockname()[1]
        ended.set()
    listener.close()


async def test_a_start_waits_for_a_redis_that_is_coming(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs for long is there when Redis is; it says that it waits."""
    monkeypatch.setattr(store, "CHECK_EVERY_S", 0.05)
    caplog.set_level("INFO")
    async with serving() as server:
        settings = Settings.from_env(
            {"DATELINE_REDIS_URL": server.embedded.url, "DATELINE_DATA_DIR": str(tmp_path)},
            env_file=None,
        )
        await server.admin.execute_command("REPLICAOF", "127.0.0.1", "1")

        async def promote() -> None:
            await asyncio.sleep(0.5)
            assert ["the start waits for Redis"] == [r.getMessage() for r in caplog.records]
            await server.admin.execute_command("REPLICAOF", "NO", "ONE")

        async with asyncio.TaskGroup() as group:
            group.create_task(promote())
            async with open_store(settings, waits=asyncio.Event()) as opened:
                await opened.ping()
        assert "Redis is there" == caplog.records[-1].getMessage()


async def test_a_start_that_waits_can_be_stopped(tmp_path: Path) -> None:
    """It ends at once, and says what it waited for."""
    url = f"redis://127.0.0.1:{free_port()}"
    settings = Settings.from_env(
        {"DATELINE_REDIS_URL": url, "DATELINE_DATA_DIR": str(tmp_path)}, env_file=None
    )
    ended = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:

        async def wait() -> None:
            with pytest.raises(StartFailed, match="Redis cannot serve now"):
                async with open_store(settings, waits=ended):
                    pass

        group.create_task(wait())
        await asyncio.sleep(0.1)
        ended.set()


async def test_a_command_does_not_wait(tmp_path: Path) -> None:
    """Nothing listens where DATELINE_REDIS_URL points: one line names it, at once."""
    port = free_port()
    (tmp_path / "x.txt").write_text("x")
    status, _, err = await call(
        "import", str(tmp_path / "x.txt"), cwd=tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}"
    )
    assert 1 == status
    assert 1 == err.count("\n"), err
    assert str(port) in err
