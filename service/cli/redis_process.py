"""The embedded Redis of `dateline up`: started, kept running, and helped over a full disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.cli.supervision import delay_s, ended
from service.errors import StartFailed
from service.process import sleep
from service.settings import Settings
from service.storage import embedded_redis
from service.storage.embedded_redis import DiskFull, Embedded
from service.storage.full_disk import rewrite_after_full_disk

logger = logging.getLogger(__name__)


@asynccontextmanager
async def embedded(settings: Settings, port: int, stop: asyncio.Event) -> AsyncIterator[Settings]:
    """Run an embedded Redis, restarted if it dies; yields the settings with its URL."""
    binary = embedded_redis.find_binary(settings.redis_server)
    server = Embedded(
        binary=binary,
        folder=settings.data_dir / "redis",
        appendfsync=settings.appendfsync,
        port=port,
    )
    logger.info("starting redis", extra={"server": str(binary)})
    stopping = asyncio.Event()
    process = await _first_start(server, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(_keep_redis(server, process, stopping))
        group.create_task(rewrite_after_full_disk(server.url, server.log, stopping))
        try:
            yield settings.model_copy(update={"redis_url": server.url})
        finally:
            stopping.set()


async def _keep_redis(
    server: Embedded, process: asyncio.subprocess.Process, stopping: asyncio.Event
) -> None:
    failures = 0
    while not await ended(process, stopping):
        logger.error("redis ended, starting it again", extra={"status": process.returncode})
        while not stopping.is_set():
            await sleep(stopping, delay_s(failures))
            try:
                process = await server.start(stopping)
            except StartFailed as exc:
                # The cause is outside (a full disk); the servers go on serving their caches.
                failures += 1
                logger.error("redis cannot start, trying again", extra={"reason": exc})
            else:
                failures = 0
                break
    await embedded_redis.end(process)


async def _first_start(server: Embedded, stop: asyncio.Event) -> asyncio.subprocess.Process:
    """Start the server; wait while the disk is full, for nothing is broken then."""
    failures = 0
    while True:
        try:
            return await server.start(stop)
        except DiskFull as exc:
            if stop.is_set():
                raise
            failures += 1
            logger.error("redis waits for space on its disk", extra={"reason": exc})
            await sleep(stop, delay_s(failures))
