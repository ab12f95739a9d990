"""Process: shutdown, pauses, the file limit, garbage collection, and death with the parent process.

A task that fails must end its process, so that its supervisor starts it again. A plain task
group cancels the other tasks and waits for them, and a cancellation can get lost (inside a client
that connects, in code that cleans up): the process then stays alive without working. So a
`stopping_group` sets the process's stop event at the first failure, or when its body is cancelled.
From then on `end_within` measures the time in a separate thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Coroutine, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)

DRAIN_SHARE = 0.8
"""Share of DRAIN_S in which work in flight may finish. Then it is cancelled, and has the rest."""
REPORT_S = 1.0
"""Seconds for the log line and the traceback of a process that is killed."""
MAX_OPEN_FILES = 1_048_576
"""The largest number that Linux allows without further settings (fs.nr_open)."""
COLLECTOR_THRESHOLDS = (1_000, 5, 200)
"""Python's own are 700, 10, 10: a thousand requests in flight are 200,000 objects, and all of them
were traversed each time they had grown by a quarter."""
RELEASE_EVERY_S = 300.0
_PR_SET_PDEATHSIG = 1
_ARG_FIELDS = (48, 49)
"""Numbers of the fields of /proc/self/stat that say where the words of the command are: proc(5)."""


def stopping_group(stop: asyncio.Event) -> asyncio.TaskGroup:
    """A task group whose first failure sets `stop`, even if a cancellation gets lost."""
    return _StoppingGroup(stop)


class _StoppingGroup(asyncio.TaskGroup):
    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__()
        self._stop = stop

    def create_task(
        self, coro: Generator[Any, None, Any] | Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        """Create a task whose failure also sets the process's stop event."""
        task = super().create_task(coro, **options)
        task.add_done_callback(self._stop_if_failed)
        return task

    def _stop_if_failed(self, task: asyncio.Task[Any]) -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            stop_for(failure, self._stop, what=_name_of(task))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            # An exception in the body of the group is a failure, too.
            task = asyncio.current_task()
            stop_for(exc, self._stop, what=_name_of(task) if task else "")
        await super().__aexit__(kind, exc, traceback)


def stop_for(failure: BaseException, stop: asyncio.Event, *, what: str) -> None:
    """Set the stop event, and log the failure unless the process is stopping already."""
    if not stop.is_set() and isinstance(failure, Exception):
        logger.critical(
            "a task failed, so the process ends", extra={"task": what}, exc_info=failure
        )
    stop.set()


async def sleep(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake at once when `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _name_of(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


def end_within(seconds: float) -> threading.Timer:
    """End this process with status 1 unless it ends by itself within `seconds`.

    Returns:
        The running timer; cancel it to let the process go on.
    """
    try:
        loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    timer = threading.Timer(seconds, _end_now, args=(seconds, loop))
    timer.daemon = True
    timer.start()
    return timer


def _end_now(seconds: float, loop: asyncio.AbstractEventLoop | None) -> None:
    # The code that hangs may hold a logging lock, or the pipe of the log may be full: this must not
    # delay the exit.
    reporter = threading.Thread(target=_report_why, args=(seconds, loop), daemon=True)
    reporter.start()
    reporter.join(REPORT_S)
    os._exit(1)


def _report_why(seconds: float, loop: asyncio.AbstractEventLoop | None) -> None:
    tasks = asyncio.all_tasks(loop) if loop else ()
    waits = "; ".join(sorted({_place_of(task) for task in tasks}))
    extra = {"after_s": seconds, "waits": waits[:2_000]}
    logger.critical("the process did not end in time and is ended", extra=extra)
    faulthandler.dump_traceback(sys.stderr)


def _place_of(task: asyncio.Task[Any]) -> str:
    """The outermost coroutine and where it waits: `_watched > Event.wait:213`."""
    inner: Any = task.get_coro()
    outermost = getattr(inner, "__qualname__", "?")
    while getattr(getattr(inner, "cr_await", None), "cr_frame", None) is not None:
        inner = inner.cr_await
    frame = getattr(inner, "cr_frame", None)
    line = f":{frame.f_lineno}" if frame else ""
    return f"{outermost} > {getattr(inner, '__qualname__', '?')}{line}"


def open_file_limit() -> int:
    """How many files this process may have open now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> int:
    """Raise the soft limit on open files to the hard limit, at most MAX_OPEN_FILES.

    A connection is a file, and the soft limit of most systems, 1,024, is meant for programs that
    use `select`.

    Returns:
        The soft limit after the call.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as exc:
            # macOS reports a hard limit that its kernel does not grant.
            logger.warning(
                "the limit on open files cannot be raised", extra={"files": soft, "reason": exc}
            )
            return soft
        return wanted
    return soft


def freeze_garbage_collector() -> None:
    """Exempt all objects that exist now from garbage collection.

    Objects that exist when a process has started mostly live until it ends, and each collection
    that traverses them stops the process: 40 ms for imported modules, over 100 ms with ten thousand
    endpoints.
    """
    # Collect first, or garbage would be kept, too.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


async def keep_memory_small(stop: asyncio.Event) -> None:
    """Return freed memory to the system from time to time, until stopped.

    The C library keeps what was freed between things that are still in use: after a large document
    or page that is a fifth of a process's memory.
    """
    while not stop.is_set():
        await sleep(stop, RELEASE_EVERY_S)
        if not stop.is_set():
            await asyncio.to_thread(release_memory)


def release_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc); 10 ms for 100 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def die_with_parent() -> None:
    """Run in a child, before exec if there is one: Linux sends it SIGTERM when its parent dies for
    any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def show_as(command: Sequence[str]) -> None:
    """Show this process under another command in /proc and `ps`, if its own has the room for it.

    The program's path is shortened to its name if need be, and lengthened by slashes, so that the
    words fill the room exactly.
    """
    path = Path("/proc/self/stat")
    if not path.exists():
        return
    fields = path.read_text().rpartition(")")[2].split()
    start, end = (int(fields[number - 3]) for number in _ARG_FIELDS)
    program, *rest = command
    for name in (program, os.path.basename(program)):  # noqa: PTH119 -- text, not a file
        room = end - start - len(_words([name, *rest]))
        if room >= 0:
            folder, _, own = name.rpartition("/")
            padded = f"{folder}/{'/' * room}{own}" if folder else f"{'/' * room}{own}"
            words = _words([padded, *rest])
            ctypes.memmove(start, words, len(words))
            return


def _words(command: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in command)
