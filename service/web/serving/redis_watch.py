"""Requests that wait for a Redis that does not answer: each is answered within a few seconds.

A Redis that is stopped, or cut off without a reset, leaves every command waiting for the timeouts
of its connection, again at each retry. A limit on each request would refuse large ones while Redis
is only slow. So what is limited is the silence of Redis: if a heartbeat is not answered within
SILENCE_S, requests that have waited for GRACE_S get a 503, until Redis answers again. Responses
that have begun, such as streams of events, go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from service.errors import Unavailable
from service.process import sleep
from service.storage.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

SILENCE_S = 4.0
"""A disk that is slow to sync holds a Redis that works for a second or two."""
BEAT_EVERY_S = 0.5
LOOK_EVERY_S = 0.25
GRACE_S = 2.0
"""What a request may take while Redis is silent: cached pages and `/readyz` have their own limits
(RECHECK_BUDGET_S, BUDGET_S), which are shorter."""
AGAIN_S = 0.75
"""Until a request that was cancelled without an effect is cancelled again. In the meantime
redis-py puts its connection back, which nothing must interrupt."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """A request that is handled."""

    due: float
    """When it may be ended (monotonic)."""
    task: asyncio.Task[Any]
    has_begun: Callable[[], bool]
    """Whether a part of its response was sent."""
    cancels: int = 0
    """How often it was cancelled here: a cancellation that hits redis-py while it connects can be
    lost."""


class RedisWatch:
    """Notices that Redis is silent, and ends the requests that wait for it."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._waiting: set[_Waiting] = set()
        self.is_silent = False

    @asynccontextmanager
    async def bounded(self, has_begun: Callable[[], bool]) -> AsyncIterator[None]:
        """Handle a request inside this context.

        Args:
            has_begun: whether a part of its response was sent.

        Raises:
            Unavailable: Redis is silent; what the request wrote may be stored.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a handler is a task
        waiting = _Waiting(due=time.monotonic() + GRACE_S, task=task, has_begun=has_begun)
        self._waiting.add(waiting)
        try:
            yield
        except asyncio.CancelledError as exc:
            if task.cancelling() != waiting.cancels:
                raise  # Somebody else has cancelled it, too.
            raise Unavailable("Redis does not answer") from exc
        finally:
            self._waiting.discard(waiting)
            for _ in range(waiting.cancels):
                task.uncancel()

    async def run(self, stop: asyncio.Event) -> None:
        """Ask Redis for a sign of life again and again, until `stop` is set."""
        while not stop.is_set():
            is_silent = await self._heartbeat.is_silent(within_s=SILENCE_S)
            if is_silent != self.is_silent:
                self.is_silent = is_silent
                if is_silent:
                    logger.warning("Redis does not answer", extra={"for_s": SILENCE_S})
                else:
                    logger.info("Redis answers again")
            await sleep(stop, BEAT_EVERY_S)

    async def end_waiting(self, stop: asyncio.Event) -> None:
        """End requests that waited long enough for a silent Redis, until `stop` is set."""
        while not stop.is_set():
            if self.is_silent:
                now = time.monotonic()
                for waiting in list(self._waiting):
                    if now >= waiting.due and not waiting.has_begun():
                        waiting.due = now + AGAIN_S
                        waiting.cancels += 1
                        waiting.task.cancel()
            await sleep(stop, LOOK_EVERY_S)
