"""What every worker does around its loops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests.running import ROOT
from workers import runtime, schedule


async def test_a_unit_is_tried_again_while_redis_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits, says so once, goes on, and says so."""
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
    async with asyncio.timeout(1):
        await runtime.sleep(stop, 60)
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
    async with schedule.ticking({"fast": 0.05, "slow": 600}) as ticks, asyncio.timeout(5):
        for _ in range(2):
            await ticks["fast"].wait()
            ticks["fast"].clear()
        assert not ticks["slow"].is_set()


_SCRIPT = """
import asyncio, sys
from workers import runtime
async def loop(stop):
    print("started", flush=True)
    if "crash" in sys.argv:
        raise RuntimeError("a bug")
    if "late" in sys.argv:
        await asyncio.sleep(60)
    await stop.wait()
    print("ended", flush=True)
asyncio.run(runtime.run([loop], drain_s=0.1))
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
    async with asyncio.timeout(5):
        await process.communicate()


async def test_a_crash_ends_the_process() -> None:
    """A loop's bug is seen: traceback and status 1, for whoever started it to start it again."""
    process = await _run("crash")
    _, err = await process.communicate()
    assert 1 == process.returncode
    assert b"RuntimeError: a bug" in err
