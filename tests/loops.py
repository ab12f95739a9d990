"""The loops of workers, in the process of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def at_work(run: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a worker's loop, stop it by its event at the end, and wait until it has ended."""

    async def loop() -> None:
        await run(ended)

    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(loop())
        yield
        ended.set()
