"""What every worker does around its loops."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from service import process
from service.process import end_within, raise_file_limit
from service.settings import Settings
from service.storage.store import Store
from tests.running import ROOT, serving
from tests.waiting import wait_until, within
from workers import runtime, schedule


async def test_a_unit_is_tried_again_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It logs once that it waits, tries again, and logs when Redis is back."""
    monkeypatch.setattr(runtime, "FIRST_WAIT_S", 0.001)
    caplog.set_level("INFO")
    errors = [RedisConnectionError("gone"), RedisConnectionError("gone"), ResponseError("LOADING")]
    done = []

    async def unit() -> None:
        if errors:
            raise errors.pop(0)
        done.append(True)

    await runtime.attempt(unit, asyncio.Event(), what="test")
    assert [True] == done
    assert ["waiting for Redis", "Redis is back"] == [r.getMessage() for r in caplog.records]


async def test_a_bug_is_not_waited_out() -> None:
    """Anything but Redis being away ends the loop, and so the process."""

    async def unit() -> None:
        raise ResponseError("WRONGTYPE")

    with pytest.raises(ResponseError):
        await runtime.repeat(unit, asyncio.Event(), what="test")


async def test_waiting_ends_when_the_process_is_to_stop() -> None:
    """Sleep, wait for a wake-up, and retries all end at once."""
    stop = asyncio.Event()
    stop.set()
    async with within(1):
        await process.sleep(stop, 60)
        assert not await runtime.woken(asyncio.Event(), stop, timeout_s=60)

        async def unit() -> None:
            raise AssertionError("must not be called")

        await runtime.repeat(unit, stop, what="test")


async def test_a_wake_up_is_cleared() -> None:
    """Each set of the event wakes once."""
    event, stop = asyncio.Event(), asyncio.Event()
    event.set()
    assert await runtime.woken(event, stop, timeout_s=60)
    assert not event.is_set()
    assert not await runtime.woken(event, stop, timeout_s=0.01)


async def test_ticks_come() -> None:
    """Each name has its own interval; cleared, it is set again."""
    async with schedule.ticking({"fast": 0.05, "slow": 600}) as ticks, within(5):
        for _ in range(2):
            await ticks["fast"].wait()
            ticks["fast"].clear()
        assert not ticks["slow"].is_set()


_SCRIPT = """
import asyncio, sys, time
from service.process import stopping_group
from service import process
from workers import runtime

async def loop(stop):
    print("started", flush=True)
    if "crash" in sys.argv:
        raise RuntimeError("a bug")
    if "late" in sys.argv:
        await asyncio.sleep(60)
    if "return" in sys.argv:
        return
    await stop.wait()
    print("ended", flush=True)

async def deaf(stop):
    "Loses every cancellation, and never looks at stop."
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def nested(stop):
    async with stopping_group(stop) as group:
        group.create_task(deaf(stop))
        group.create_task(loop(stop))

async def body(stop):
    async with stopping_group(stop) as group:
        group.create_task(deaf(stop))
        await asyncio.sleep(0)
        raise RuntimeError("a bug")

async def thread(stop):
    await asyncio.to_thread(time.sleep, 60)

beside = {"deaf": [loop, deaf], "nested": [nested], "body": [body], "thread": [loop, thread]}
loops = next((found for name, found in beside.items() if name in sys.argv), [loop])

async def main():
    await runtime.run(loops, runtime.stop_at_signals(), drain_s=0.5)
asyncio.run(main())
"""


async def _run(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _SCRIPT,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_loops_finish(number: signal.Signals) -> None:
    """The loop sees `stop`, ends by itself, and the process with status 0."""
    process = await _run()
    assert process.stdout
    await process.stdout.readline()
    process.send_signal(number)
    out, _ = await process.communicate()
    assert (0, b"ended\n") == (process.returncode, out)


async def test_a_late_loop_is_cancelled() -> None:
    """Past drain_s a loop that does not end is ended."""
    process = await _run("late")
    assert process.stdout
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    async with within(5):
        await process.communicate()


async def test_a_crash_ends_the_process() -> None:
    """A bug in a loop ends the process with a traceback and status 1, so that its supervisor starts
    it again."""
    process = await _run("crash")
    _, err = await process.communicate()
    assert 1 == process.returncode
    assert b"RuntimeError: a bug" in err


async def test_a_loop_that_returns_unasked_ends_the_process() -> None:
    """No process lives on without one of its loops."""
    process = await _run("return")
    _, err = await process.communicate()
    assert 1 == process.returncode
    assert b"ended unasked" in err


@pytest.mark.parametrize("others", ["deaf", "nested", "body", "thread"])
async def test_a_crash_ends_the_process_whoever_waits_on_what(others: str) -> None:
    """Even if a neighbour at any depth loses its cancellation, or a thread hangs: the process ends
    hard after drain_s."""
    process = await _run("crash", others)
    async with within(10):
        _, err = await process.communicate()
    assert 1 == process.returncode
    assert b"RuntimeError: a bug" in err
    assert b"did not end in time" in err


# A key of each role's, which holds something that the role cannot read.
_PLANTED = {
    "aggregate": "dateline:{0}:events",
    "deliver": "dateline:{0}:changes:endpoints",
    "ingest": "dateline:{0}:sources:due",
}

# A key that it makes when it begins to work.
_AT_WORK = {
    "aggregate": "dateline:{0}:events",
    "deliver": "dateline:{0}:deliverers",
    "ingest": "dateline:{0}:pushes",
}


@pytest.mark.parametrize("role", _PLANTED)
async def test_a_role_that_cannot_work_ends(
    role: str, settings: Settings, store: Store, redis: Redis, tmp_path: Path
) -> None:
    """A loop of it fails; the process does not sit there without a lease, a log line or work."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers", "work", role,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
        env={**os.environ, **settings.to_env(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    await wait_until(lambda: redis.exists(_AT_WORK[role]), timeout_s=20)
    await redis.set(_PLANTED[role], "planted")
    async with within(25):
        out, _ = await process.communicate()
    await redis.delete(_PLANTED[role])
    assert 1 == process.returncode, out.decode()
    assert b"so the process ends" in out
    assert b"WRONGTYPE" in out


async def test_a_server_that_cannot_read_the_stream_serves_on(
    settings: Settings, redis: Redis, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Readers of /events cannot end it for all others; it ends in order when it is asked to."""
    async with serving(settings, tmp_path) as server:
        base = f"http://127.0.0.1:{server.port}"
        await redis.set("dateline:{0}:events", "planted")
        with suppress(aiohttp.ClientError):
            async with http.get(f"{base}/events", headers={"Last-Event-ID": "1-1"}) as response:
                assert b"HTTP" not in await response.read()
        async with http.get(f"{base}/feeds/all.rss") as response:
            assert 200 == response.status
        await redis.delete("dateline:{0}:events")
        server.process.terminate()
        async with within(10):
            assert 0 == await server.process.wait()
        assert "so the process ends" not in server.output.read_text()
        assert "did not end in time" not in server.output.read_text()


async def test_more_readers_than_the_usual_limit_on_files(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """A server that is started with room for 200 files raises its limit: 300 readers of /events
    leave it on the air, and do not hold up its end."""
    many = settings.model_copy(
        update={"max_connections_per_address": 400, "events_max_per_address": 400}
    )
    async with serving(many, tmp_path, files=200) as server:
        writers = []
        for path in ["/events"] * 300 + ["/livez"]:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            writers.append(writer)
        async with within(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for writer in writers:
            writer.close()
        server.process.terminate()
        async with within(10):
            assert 0 == await server.process.wait(), server.output.read_text()
        assert "refused" not in server.output.read_text()


_BLOCKED = """
import logging, sys
from service import logs, process
logs.configure("info")
process.end_within(0.3)
while True:
    logging.getLogger("x").info("x" * 10_000)
"""


async def test_a_process_that_hangs_in_its_log_ends() -> None:
    """The pipe that it writes to is full, because its output is not read, and the lock of the log
    is held."""
    unread, end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _BLOCKED, stdout=end, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    os.close(end)
    async with within(10):
        assert 1 == await process.wait()
    os.close(unread)


async def test_what_is_ended_in_time_is_left_alone() -> None:
    """A cancelled timer ends without ending the process."""
    timer = end_within(60)
    timer.cancel()
    timer.join()


def test_the_file_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the hard limit; what the kernel does not grant is left as it is."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))

        def refuse(*_: object) -> None:
            raise ValueError("not allowed")

        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert 256 == raise_file_limit()
    finally:
        monkeypatch.undo()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
