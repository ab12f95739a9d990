"""Ticks: the only module that imports apscheduler.

apscheduler logs and swallows what a job raises, runs plain functions in a thread, and skips runs
after a stall; so a job here only sets an event, and the loop that waits for it does the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler


@asynccontextmanager
async def ticking(intervals_s: Mapping[str, float]) -> AsyncIterator[dict[str, asyncio.Event]]:
    """An event for each name, set at each interval; the loop that handles it clears it."""
    events = {name: asyncio.Event() for name in intervals_s}
    scheduler = AsyncIOScheduler(timezone=UTC)
    for name, seconds in intervals_s.items():
        scheduler.add_job(
            _set,
            "interval",
            args=[events[name]],
            seconds=seconds,
            id=name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
    scheduler.start()
    try:
        yield events
    finally:
        # A job that has been started and not run would be cancelled, and logged as an error.
        scheduler.pause()
        await asyncio.sleep(0)
        scheduler.shutdown(wait=False)


async def _set(event: asyncio.Event) -> None:
    event.set()
