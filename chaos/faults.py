"""What each kind of fault does: it begins, lasts, and ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chaos.ledger import Ledger
from chaos.plan import EVERYBODY, REDIS, Strike
from chaos.processes import Fleet, Part
from chaos.redis_proxy import Way
from chaos.redis_server import RedisServer

RESET_EVERY_S = 0.25
FLUSH_EVERY_S = 0.1
LONGEST_DELAY_S = 0.3
LONGEST_RESTART_S = 2.0
START_S = 30.0
SERVING = ": serving "


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What can be struck."""

    fleet: Fleet
    redis: RedisServer
    ledger: Ledger

    def part(self, strike: Strike) -> Part:
        """The process that a strike is for: of two, one."""
        parts = self.fleet.of(strike.target)
        return parts[int(strike.amount * len(parts))]

    def ways(self, strike: Strike) -> list[Way]:
        """The ways to Redis that a strike is for."""
        if strike.target == EVERYBODY:
            return [part.way for part in self.fleet.parts]
        return [self.part(strike).way]


Fault = Callable[[Targets, Strike], AbstractAsyncContextManager[None]]


async def strike_with(targets: Targets, strike: Strike) -> float:
    """Begin a fault, let it last, and end it.

    Returns:
        `time.monotonic` of its end.
    """
    async with FAULTS[strike.kind](targets, strike):
        await asyncio.sleep(strike.hold_s)
    return time.monotonic()


@asynccontextmanager
async def _killed(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    if strike.target != REDIS:
        targets.part(strike).send(signal.SIGKILL)
        yield
        return
    await targets.redis.kill()
    yield
    await asyncio.sleep(strike.amount * LONGEST_RESTART_S)
    await targets.redis.start()


@asynccontextmanager
async def _stopped(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    if strike.target == REDIS:
        targets.redis.stop()
        yield
        targets.redis.go_on()
        return
    part = targets.part(strike)
    part.send(signal.SIGSTOP)
    yield
    part.send(signal.SIGCONT)


@asynccontextmanager
async def _rolling(targets: Targets, _: Strike) -> AsyncIterator[None]:
    """Each process in turn is ended and replaced; where a role has two, nobody loses a request."""
    ledger = targets.ledger
    # One may still start, after the fault before.
    for part in targets.fleet.of("server"):
        await _until_serving(part)
    before = ledger.row.lost_connections
    for part in list(targets.fleet.parts):
        await targets.fleet.replace(part)
        if part.role == "server":
            await _until_serving(part)
    lost = ledger.row.lost_connections - before
    if lost and len(targets.fleet.of("server")) > 1:
        ledger.violate("requests lost while servers were replaced", lost)
    yield


async def _until_serving(part: Part) -> None:
    async with asyncio.timeout(START_S):
        while SERVING not in part.log.read_bytes()[part.log_start :].decode("utf-8", "replace"):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _reset(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    ways = targets.ways(strike)

    async def reset() -> None:
        for way in ways:
            way.reset()

    async with _repeated(reset, every_s=RESET_EVERY_S):
        yield


@asynccontextmanager
async def _without_replies(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    ways = targets.ways(strike)
    for way in ways:
        way.drops_replies = True
    yield
    for way in ways:
        way.drops_replies = False


@asynccontextmanager
async def _black_hole(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    ways = targets.ways(strike)
    for way in ways:
        way.hold()
    yield
    for way in ways:
        way.release()


@asynccontextmanager
async def _delay(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    ways = targets.ways(strike)
    for way in ways:
        way.delay_s = strike.amount * LONGEST_DELAY_S
    yield
    for way in ways:
        way.delay_s = 0.0


@asynccontextmanager
async def _forgotten(targets: Targets, _: Strike) -> AsyncIterator[None]:
    async with _repeated(targets.redis.forget_scripts, every_s=FLUSH_EVERY_S):
        yield


@asynccontextmanager
async def _cut(targets: Targets, strike: Strike) -> AsyncIterator[None]:
    """The end of the append-only file is gone at a restart, in the middle of a command: what was
    acknowledged in that time is sent again by its publishers."""
    redis, since_s = targets.redis, time.monotonic()
    mark = await redis.mark()
    yield
    await redis.kill()
    redis.cut(mark, strike.amount)
    until_s = time.monotonic()
    targets.ledger.cut(since_s=since_s, until_s=until_s)
    await redis.start()


@asynccontextmanager
async def _repeated(
    work: Callable[[], Coroutine[Any, Any, None]], *, every_s: float
) -> AsyncIterator[None]:
    # Not by cancellation, which can get lost inside a client of Redis.
    ended = asyncio.Event()

    async def repeat() -> None:
        while not ended.is_set():
            await work()
            await asyncio.sleep(every_s)

    async with asyncio.TaskGroup() as group:
        group.create_task(repeat())
        try:
            yield
        finally:
            ended.set()


FAULTS: dict[str, Fault] = {
    "kill -9": _killed,
    "SIGSTOP": _stopped,
    "rolling SIGTERM": _rolling,
    "TCP reset": _reset,
    "dropped replies": _without_replies,
    "black hole": _black_hole,
    "delay": _delay,
    "demotion": lambda targets, _: targets.redis.demoted(),
    "OOM": lambda targets, _: targets.redis.without_memory(),
    "MISCONF": lambda targets, _: targets.redis.without_saves(),
    "SCRIPT FLUSH": _forgotten,
    "full disk": lambda targets, _: targets.redis.on_full_disk(),
    "cut file": _cut,
}
