"""What it takes to keep a process running: wait for its end, and the delay of the next start."""

from __future__ import annotations

import asyncio
from typing import Protocol

FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 10.0


class ChildProcess(Protocol):
    """A child process that can be waited for and ended, however it was started."""

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""

    async def wait(self) -> int:
        """Wait for its end; return the exit status."""

    def terminate(self) -> None:
        """Ask it to stop in order (SIGTERM); what is at work is finished."""

    def kill(self) -> None:
        """End it at once (SIGKILL), without a chance to finish anything."""


def delay_s(failures: int) -> float:
    """Seconds before the next start after so many failures in a row."""
    return min(FIRST_DELAY_S * 2.0 ** min(failures, 10), LONGEST_DELAY_S)


async def ended(process: ChildProcess, stop: asyncio.Event) -> bool:
    """Wait for the process to end or for the order to stop; True for the latter."""
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(process.wait()), group.create_task(stop.wait())]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
    return stop.is_set()
