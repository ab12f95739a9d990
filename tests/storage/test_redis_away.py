"""A Redis that is not there, does not answer, or resets connections; and one that is coming."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from chaos.redis_proxy import open_way
from service.errors import StartFailed, Unavailable
from service.settings import Settings
from service.storage import client as redis_client
from service.storage import store
from service.storage.client import redis_errors_as_unavailable
from service.storage.store import open_store
from tests.running import call, free_port
from tests.servers import (
    Server,
    connected,
    read,
    run_pipeline,
    run_script,
    run_transaction,
    serving,
    write,
)
from tests.waiting import random_moment, wait_until, within


@pytest.mark.parametrize("stopped", [False, True], ids=["away", "stopped"])
async def test_a_server_that_does_not_answer_is_a_fault(
    server: Server, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended, or stopped (SIGSTOP): the first is refused, the second times out."""
    monkeypatch.setattr(redis_client, "SOCKET_TIMEOUT_S", 0.2)
    async with connected(server.embedded.url) as client:
        await write(client)
        if stopped:
            server.process.send_signal(19)
        else:
            server.process.kill()
            await server.process.wait()
        with pytest.raises(Unavailable), redis_errors_as_unavailable():
            await write(client)
        if stopped:
            server.process.send_signal(18)
            await write(client)


def test_connections_that_are_reset_are_faults() -> None:
    """On uvloop, whose error for a closed transport redis-py takes for a bug of its caller: each of
    many resets is reported as Unavailable."""

    async def run() -> None:
        async with within(25):
            await _reset_again_and_again()

    uvloop.run(run())


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
                    with contextlib.suppress(Unavailable), redis_errors_as_unavailable():
                        await units[number % len(units)](client)
                        done += 1

            async with asyncio.TaskGroup() as group:
                for number in range(30):
                    group.create_task(work(number))
            assert done > 30


async def wait_for_nothing(client: Any) -> None:
    """A blocking read that ends without a result."""
    await client.xread({"nothing": "0-0"}, block=30)


@asynccontextmanager
async def resetting(port: int) -> AsyncIterator[int]:
    """A way to a port on which every connection is reset (RST) after a moment; its own port."""
    ended = asyncio.Event()
    async with open_way(port) as way, asyncio.TaskGroup() as group:

        async def reset() -> None:
            while not ended.is_set():
                await random_moment(0.08, shortest_s=0.01)
                way.reset()

        group.create_task(reset())
        yield way.port
        ended.set()


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
            async def waits() -> bool:
                return bool(caplog.records)

            await wait_until(waits)
            assert "the start waits for Redis" == caplog.records[0].getMessage()
            await server.admin.execute_command("REPLICAOF", "NO", "ONE")

        async with asyncio.TaskGroup() as group:
            group.create_task(promote())
            async with open_store(settings, stop=asyncio.Event()) as opened:
                await opened.client.ping()
        assert "Redis is ready" == caplog.records[-1].getMessage()


async def test_a_start_that_waits_can_be_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends at once, and says what it waited for."""
    caplog.set_level("INFO")
    url = f"redis://127.0.0.1:{free_port()}"
    settings = Settings.from_env(
        {"DATELINE_REDIS_URL": url, "DATELINE_DATA_DIR": str(tmp_path)}, env_file=None
    )
    ended = asyncio.Event()
    async with within(10), asyncio.TaskGroup() as group:

        async def wait() -> None:
            with pytest.raises(StartFailed, match="Redis cannot serve now"):
                async with open_store(settings, stop=ended):
                    pass

        async def waits() -> bool:
            return "the start waits for Redis" in caplog.messages

        group.create_task(wait())
        await wait_until(waits)
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
