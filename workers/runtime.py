"""Runtime of a worker process: signals, one task per loop, waiting while Redis is away.

A loop is `async def loop(stop)`: it blocks for about two seconds at most, checks `stop` between
units of work, finishes the unit and returns. The first loop that fails, or returns unasked, ends
the process within DRAIN_S (service/process.py), and its supervisor starts it again: nothing is
lost by that, because effects come before acks.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from service import process
from service.errors import Unavailable
from service.logs import Throttle
from service.storage.client import redis_errors_as_unavailable
from service.storage.faults import Faults

logger = logging.getLogger(__name__)

Loop = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
Unit = Callable[[], Awaitable[None]]
Clock = Callable[[], datetime]
# While Redis is away: first wait, and the longest one. Its restart takes a second or two.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0


def now() -> datetime:
    """The clock of all loops, passed down as an argument."""
    return datetime.now(UTC)


class LoopsFailed(ExceptionGroup[Exception]):
    """The exceptions that ended loops of a process, at least one."""


def stop_at_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def run(loops: list[Loop], stop: asyncio.Event, *, drain_s: float) -> None:
    """Run loops until `stop` is set, or until one of them fails; the process then ends within
    `drain_s`: hard, if it does not by itself.

    Raises:
        LoopsFailed: after all have ended; each failure was logged when it happened.
    """
    process.freeze_garbage_collector()
    process.raise_file_limit()
    failures: list[Exception] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_watched(loop, stop, failures)) for loop in loops]
        group.create_task(_drain(tasks, stop, drain_s))
        group.create_task(process.keep_memory_small(stop))
    if failures:
        raise LoopsFailed("loops failed", failures)


async def _watched(loop: Loop, stop: asyncio.Event, failures: list[Exception]) -> None:
    """Run one loop. The others are asked to stop rather than cancelled, so that they end in
    order."""
    try:
        await loop(stop)
        if not stop.is_set():
            raise RuntimeError(f"{loop!r} ended unasked")
    except Exception as exc:  # noqa: BLE001 -- raised by `run` when all have ended
        process.stop_for(exc, stop, what=getattr(loop, "__qualname__", repr(loop)))
        failures.append(exc)
    finally:
        stop.set()


async def _drain(tasks: list[asyncio.Task[None]], stop: asyncio.Event, drain_s: float) -> None:
    await stop.wait()
    process.end_within(drain_s)
    _, late = await asyncio.wait(tasks, timeout=process.DRAIN_SHARE * drain_s)
    for task in late:
        logger.warning("a loop did not end in time", extra={"task": task.get_name()})
        task.cancel()


async def woken(event: asyncio.Event, stop: asyncio.Event, *, timeout_s: float) -> bool:
    """Wait for an event, which is cleared, or until the process is to stop; whether it came."""
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()), group.create_task(stop.wait())]
        _, pending = await asyncio.wait(
            waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in pending:
            wait.cancel()
    came = event.is_set()
    event.clear()
    return came


async def repeat(unit: Unit, stop: asyncio.Event, *, what: str) -> None:
    """Do one unit of work after another until stopped, waiting while Redis is away. What fails for
    another reason fails the loop, and ends the process."""
    while not stop.is_set():
        await attempt(unit, stop, what=what)


async def repeat_safely(unit: Unit, stop: asyncio.Event, *, what: str, faults: Faults) -> None:
    """The same for work beside a process's main loops: a failure is reported, and the unit is done
    again after a pause."""
    failures = 0
    while not stop.is_set():
        try:
            await attempt(unit, stop, what=what)
        except Exception as exc:  # noqa: BLE001 -- reported
            failures += 1
            await faults.report("loop", what, exc, now=now())
            await process.sleep(stop, _pause_s(failures))
        else:
            failures = 0
            await faults.clear("loop", what)


def _pause_s(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row, with jitter."""
    delay_s: float = min(FIRST_WAIT_S * 2 ** min(failures, 10), LONGEST_WAIT_S)
    return delay_s * random.uniform(0.5, 1)  # noqa: S311 -- only spreads load


async def attempt(unit: Unit, stop: asyncio.Event, *, what: str) -> None:
    """Do one unit of work, however long Redis makes it wait; give up only when stopped."""
    failures, throttle = 0, Throttle()
    while not stop.is_set():
        try:
            with redis_errors_as_unavailable():
                await unit()
        except Unavailable as exc:
            failures += 1
            if (failures == 1 or exc.advice) and throttle.is_due():
                logger.warning("waiting for Redis", extra={"loop": what, "reason": str(exc)})
            await process.sleep(stop, _pause_s(failures))
        else:
            if failures:
                logger.info("Redis is back", extra={"loop": what})
            return


class Stopwatch:
    """Milliseconds since its creation, for log lines."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def ms(self) -> float:
        """Milliseconds since the start, rounded to microseconds."""
        return round((time.perf_counter() - self._start) * 1000, 3)
