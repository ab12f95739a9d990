"""Memory that a process does not need."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.running import ROOT
from tests.waiting import within

# Blocks that the C library does not map one by one, with one in use above them.
SCRIPT = """
import asyncio
from pathlib import Path
from service import process

process.RELEASE_EVERY_S = 0.1

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

async def main():
    stop = asyncio.Event()
    blocks = [bytes(range(250)) * 400 for _ in range(1_000)]
    last = bytes(range(250)) * 400
    full = resident_mb()
    del blocks
    async with asyncio.TaskGroup() as group:
        group.create_task(process.keep_memory_small(stop))
        while full - resident_mb() < 80:
            await asyncio.sleep(0.01)
        stop.set()
    print(len(last))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is measured is in /proc")
async def test_freed_memory_returns_to_the_system() -> None:
    """Also what lies below something that is still in use."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        async with within(10):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert b"100000" == out.strip()
