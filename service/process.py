"""Process: what a long-lived process does to itself.

Its end, its open files, its garbage collector, and that it ends with its parent.

A task that fails must end its process, so that its supervisor starts it again. A plain task
group cancels the others and waits for them, and a cancellation can get lost on its way (inside a
client that connects, in code that cleans up): the process then lives on without working. So a
`stopping_group` orders its process to stop at the first failure, or when its body is cancelled.
From that order on `end_within` counts the time in a thread of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)

DRAIN_SHARE = 0.8
"""Of DRAIN_S: what work in flight gets to end by itself. Then it is cancelled, and has the rest."""
REPORT_S = 1.0
"""For the log line and the traceback of a process that is ended hard."""
MAX_OPEN_FILES = 1_048_576
"""The largest number that Linux allows without further settings (fs.nr_open)."""
COLLECTOR_THRESHOLDS = (1_000, 5, 200)
"""Of Python's 700, 10, 10: a thousand requests in flight are 200,000 objects, and the whole of them
was looked through each time they had grown by a quarter."""
_PR_SET_PDEATHSIG = 1


def stopping_group(stop: asyncio.Event) -> asyncio.TaskGroup:
    """A task group whose first failure sets `stop`, whatever becomes of its cancellations."""
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
            # What is raised in its body is a failure, too.
            task = asyncio.current_task()
            stop_for(exc, self._stop, what=_name_of(task) if task else "")
        await super().__aexit__(kind, exc, traceback)


def stop_for(failure: BaseException, stop: asyncio.Event, *, what: str) -> None:
    """Order the process to stop and say why, unless it is stopping already."""
    if not stop.is_set() and isinstance(failure, Exception):
        logger.critical(
            "a task failed, so the process ends", extra={"task": what}, exc_info=failure
        )
    stop.set()


def _name_of(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


def end_within(seconds: float) -> threading.Timer:
    """End this process with status 1, unless it has ended by itself in time.

    Returns:
        The timer, which may be cancelled.
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
    # Whatever hangs may hold a lock of logging, or fill the pipe that is written to.
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
    """`_watched > Event.wait:213`: the outermost coroutine, and where it waits."""
    inner: Any = task.get_coro()
    outermost = getattr(inner, "__qualname__", "?")
    while getattr(getattr(inner, "cr_await", None), "cr_frame", None) is not None:
        inner = inner.cr_await
    frame = getattr(inner, "cr_frame", None)
    line = f":{frame.f_lineno}" if frame else ""
    return f"{outermost} > {getattr(inner, '__qualname__', '?')}{line}"


def raise_file_limit() -> int:
    """Raise the soft limit on open files to the hard one: a connection is a file, and the soft
    limit of most systems, 1,024, is meant for programs that use `select`.

    Returns:
        The limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as exc:
            # macOS names a hard limit that its kernel does not grant.
            logger.warning("the limit on open files stays", extra={"files": soft, "reason": exc})
            return soft
        return wanted
    return soft


def freeze_garbage_collector() -> None:
    """Exempt everything that is alive now from garbage collection.

    What is there once a process has begun stays to its end, and looking through it stops the
    process: 40 ms for what is imported, over 100 ms with ten thousand endpoints.
    """
    # First, or garbage would stay, too.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def die_with_parent() -> None:
    """Run in a child before exec: Linux ends it when its parent dies, however the parent died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
