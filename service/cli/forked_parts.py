"""Parts of `dateline up` that are forked from it, with all modules imported already.

Five processes that import the same modules have the same 45 MB five times. Forked from one process
that has imported them, they share what nobody writes to, and the imports are done once:

    import → freeze → fork each part → event loop … the environment of a part → it runs its command

A process may fork safely only while it has one thread and no event loop. So the parts are forked
first, and each waits for its environment, in which the address of the embedded Redis is. A part
that ended is started as a new program: the event loop runs then.

A forked part is what its command would have made: its own session, its words in the list of
processes, the end of its parent as its own end, and exit statuses.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import runpy
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service import process


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    """A program and its arguments; of a part that can be forked it is `python -m module …`."""
    preload: str = ""
    """The module that has what the command needs; without it, the part is never forked."""


class ForkedPart:
    """A child that waits for its environment before it runs its command."""

    def __init__(self, pid: int, environment: int) -> None:
        self.pid = pid
        self.environment = environment
        """File descriptor from which the child reads it; -1 once it was sent."""
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)

    def start(self, environ: Mapping[str, str]) -> None:
        """Have the child run its command, with this environment."""
        # A child that was killed meanwhile is noticed by `wait`.
        with suppress(BrokenPipeError), os.fdopen(self.environment, "wb") as pipe:
            pipe.write(b"\0".join(os.fsencode(f"{name}={environ[name]}") for name in environ))
        self.environment = -1

    async def wait(self) -> int:
        """Wait for its end; one caller at a time. Return the exit status."""
        loop, has_ended = asyncio.get_running_loop(), asyncio.Event()
        if self.returncode is None:
            loop.add_reader(self._pidfd, has_ended.set)
            try:
                await has_ended.wait()
            finally:
                loop.remove_reader(self._pidfd)
            self._reap()
        assert self.returncode is not None  # noqa: S101 -- _reap sets it
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM; without effect once it has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL; without effect once it has ended."""
        self._send(signal.SIGKILL)

    def discard(self) -> None:
        """End a child that was never started."""
        if self.environment >= 0:
            self.kill()
            self._reap()
            os.close(self.environment)
            self.environment = -1

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def _reap(self) -> None:
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._pidfd)


def fork_parts(parts: Iterable[Part]) -> dict[str, ForkedPart]:
    """Name → child, of the parts that can be forked from this process; none where that is not safe
    or the system lacks what it takes.

    In the children, this function does not return: it raises SystemExit when their command ends.
    """
    forked: dict[str, ForkedPart] = {}
    if not _can_fork():
        return forked
    preloaded = [part for part in parts if part.preload]
    for part in preloaded:
        importlib.import_module(part.preload)
    # What exists now is not collected in any child: a collection writes to each object.
    process.freeze_garbage_collector()
    for part in preloaded:
        # A part that cannot be forked is started as a new program, and reported if that fails.
        with suppress(OSError):
            forked[part.name] = _fork(part, forked.values())
    return forked


def _can_fork() -> bool:
    """Whether this process has one thread, and a system that tells when a child has ended."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def _fork(part: Part, others: Iterable[ForkedPart]) -> ForkedPart:
    parent = os.getpid()
    reading, writing = os.pipe()
    # What is buffered would be written by both.
    sys.stdout.flush()
    sys.stderr.flush()
    # Python calls functions of libraries at a fork, and ignores what a signal raises in them: a
    # Ctrl-C would be lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(reading)
        os.close(writing)
        raise
    if not pid:
        # Until it has its own session, Ctrl-C is for its parent.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for descriptor in (writing, *(other.environment for other in others)):
            os.close(descriptor)
        _run(part.command, reading, parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(reading)
    return ForkedPart(pid, writing)


def _run(command: Sequence[str], environment: int, parent: int) -> None:
    """Be the process of a command `python -m module …`, as soon as its environment is there.

    Raises:
        SystemExit: it has ended.
    """
    process.die_with_parent()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process.show_as(command)
    with os.fdopen(environment, "rb") as pipe:
        environ = pipe.read()
    # The parent may have ended before its end was ours.
    if not environ or os.getppid() != parent:
        sys.exit()
    os.environ.clear()
    for pair in environ.split(b"\0"):
        name, _, value = pair.partition(b"=")
        os.environb[name] = value
    _, _, module, *arguments = command
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()
