"""What an embedded server needs after its disk was full."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from pathlib import Path

from redis.exceptions import RedisError

from service.process import sleep
from service.storage.client import connect
from service.storage.commands import Client

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
MAX_READ_BYTES = 1_000_000
_FAILED_WRITE = re.compile(rb"(Error|Short write while) writing to the AOF file")


async def rewrite_after_full_disk(url: str, log: Path, stopping: asyncio.Event) -> None:
    """Have the append-only file rewritten once writes work again after a full disk.

    A write that was cut short stays in the file, and Redis 7.0 would refuse the file at its next
    start.

    Args:
        log: of the server. It tells of a disk that was full only for a moment, too.
    """
    client = connect(url, retries=0)
    offset, was_full = _length(log), False
    try:
        while not stopping.is_set():
            with contextlib.suppress(RedisError, OSError):
                offset, is_new = _failed_since(log, offset)
                was_full = await _look_at_disk(client, was_full=was_full or is_new)
            await sleep(stopping, LOOK_EVERY_S)
    finally:
        await client.aclose()


def _length(log: Path) -> int:
    return log.stat().st_size


def _failed_since(log: Path, offset: int) -> tuple[int, bool]:
    """(length of the log now, whether it tells of a failed write after this offset)."""
    with log.open("rb") as file:
        file.seek(offset)
        text = file.read(MAX_READ_BYTES)
    return offset + len(text), bool(_FAILED_WRITE.search(text))


async def _look_at_disk(client: Client, *, was_full: bool) -> bool:
    """Order the rewrite if a write failed before and the last one did not; return whether one
    failed and the rewrite is still to be ordered."""
    info = await client.info("persistence")
    if info.get("aof_last_write_status", "ok") != "ok":
        if not was_full:
            logger.error("redis cannot write to its disk: free some space there")
        return True
    if was_full:
        await client.execute_command("BGREWRITEAOF")
        logger.info("redis can write again, and rewrites its append-only file")
    return False
