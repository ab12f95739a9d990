"""The processes of dateline, each with a separate way to Redis, and what keeps them running.

A process that ends is started again after RESTART_S, as a supervisor would. One that ends without
having been asked to is a violation: whatever Redis does, a process waits and resumes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from chaos.ledger import Ledger
from chaos.plan import ROLES
from chaos.redis_proxy import Way, open_way
from service.process import die_with_parent

ROOT = Path(__file__).parent.parent
RESTART_S = 0.1
STOP_S = 20.0
COMMANDS = {
    "server": ("service", "serve"),
    **{role: ("workers", "work", role) for role in ROLES if role != "server"},
}


@dataclass(slots=True, kw_only=True)
class Part:
    """One process, whatever is started in its place."""

    role: str
    number: int
    way: Way
    log: Path
    process: asyncio.subprocess.Process | None = None
    is_wanted: bool = True
    """Whether it is started again when it has ended."""
    is_ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was asked to end, or was killed."""
    is_stopped: bool = False
    """Whether it was stopped where it is (SIGSTOP)."""
    started_s: float = 0.0
    log_start: int = 0
    """Length of the log at the start of the process."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a process has ended that is not wanted any more."""

    @property
    def name(self) -> str:
        """Role and number."""
        return f"{self.role}-{self.number}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs; by its process id."""
        if self.process is None or self.process.returncode is not None:
            return
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.is_ending.set()
        self.is_stopped = number is signal.SIGSTOP
        self.process.send_signal(number)


class Fleet:
    """All processes; made by `open_fleet`."""

    def __init__(
        self, group: asyncio.TaskGroup, stack: AsyncExitStack, ledger: Ledger,
        *, folder: Path, redis_port: int, password: str, settings: Mapping[str, object],
    ) -> None:  # fmt: skip
        self.parts: list[Part] = []
        """Those that are wanted now."""
        self.logs: list[Path] = []
        self._group = group
        self._stack = stack
        self._ledger = ledger
        self._folder = folder
        self._redis_port = redis_port
        self._password = password
        self._settings = settings

    def of(self, role: str) -> list[Part]:
        """The processes of a role."""
        return [part for part in self.parts if part.role == role]

    async def add(self, role: str, number: int) -> Part:
        """Start one more process of a role."""
        way = await self._stack.enter_async_context(open_way(self._redis_port))
        part = Part(role=role, number=number, way=way, log=self._folder / f"{role}-{number}.log")
        self.parts.append(part)
        self.logs.append(part.log)
        self._group.create_task(self._keep(part))
        return part

    async def remove(self, part: Part) -> None:
        """Ask a process to end, and wait until it has."""
        part.is_wanted = False
        self.parts.remove(part)
        part.send(signal.SIGCONT)
        part.send(signal.SIGTERM)
        await part.ended.wait()

    async def replace(self, part: Part) -> None:
        """End a process in order (SIGTERM); the next one starts in its place."""
        before = part.process
        part.send(signal.SIGTERM)
        while part.process is before:
            await asyncio.sleep(0.02)

    async def remove_all(self) -> None:
        """End all of them."""
        async with asyncio.TaskGroup() as group:
            for part in list(self.parts):
                group.create_task(self.remove(part))

    async def _keep(self, part: Part) -> None:
        with part.log.open("ab") as log:
            while part.is_wanted:
                await self._run(part, log)
                await asyncio.sleep(RESTART_S)
        part.ended.set()

    async def _run(self, part: Part, log: IO[bytes]) -> None:
        part.is_ending.clear()
        part.started_s = time.monotonic()
        part.log_start = part.log.stat().st_size
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *COMMANDS[part.role], env=self._environ(part), cwd=ROOT,
            stdout=log, stderr=log, preexec_fn=die_with_parent, start_new_session=True,
        )  # fmt: skip
        part.process = process
        try:
            if not part.is_wanted:
                part.send(signal.SIGTERM)
            await self._ended(part, process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _ended(self, part: Part, process: asyncio.subprocess.Process) -> None:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._end_in_time(part, process))
            await process.wait()
            watch.cancel()
        if not part.is_ending.is_set():
            text = f"{part.name}, status {process.returncode}: {last_line(part.log)}"
            self._ledger.violate("a process ended by itself", text)

    async def _end_in_time(self, part: Part, process: asyncio.subprocess.Process) -> None:
        await part.is_ending.wait()
        await asyncio.sleep(STOP_S)
        self._ledger.violate("a process does not end", part.name)
        process.kill()

    def _environ(self, part: Part) -> dict[str, str]:
        settings = {
            **self._settings,
            "REDIS_URL": f"redis://:{self._password}@127.0.0.1:{part.way.port}",
            "DATA_DIR": self._folder,
            "WORKER_ORDINAL": part.number,
        }
        own = {f"DATELINE_{name}": str(value) for name, value in settings.items()}
        return {
            **{name: value for name, value in os.environ.items() if name[:9] != "DATELINE_"},
            **own,
            "PYTHONPATH": str(ROOT),
        }


def last_line(path: Path) -> str:
    """What a process said last."""
    lines = path.read_text("utf-8", "replace").splitlines()
    return lines[-1][:300] if lines else ""


@asynccontextmanager
async def open_fleet(
    ledger: Ledger, folder: Path, *, redis_port: int, password: str, settings: Mapping[str, object]
) -> AsyncIterator[Fleet]:
    """A fleet without processes; those that were added are ended with the block."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        fleet = Fleet(
            group, stack, ledger,
            folder=folder, redis_port=redis_port, password=password, settings=settings,
        )  # fmt: skip
        try:
            yield fleet
        finally:
            await fleet.remove_all()
