"""`dateline up`: run all parts of the service, each in a separate process.

The first start of a part is a fork of this process (forked_parts.py), later ones are new programs.
Order: embedded Redis (unless DATELINE_REDIS_URL is set), workers, servers; backwards at the end. A
part that dies is restarted, at once the first time and then after growing delays, for as long as
`up` runs; no data is lost, because every part can be killed at any moment. Faults that prevent any
start (settings, port, data dir, Redis) are reported before the first part starts. On Linux the
parts end with this process even if it is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from subprocess import SubprocessError

from service.cli.data_dir import locked
from service.cli.forked_parts import ForkedPart, Part
from service.cli.redis_process import embedded
from service.cli.supervision import ChildProcess, delay_s, ended
from service.process import die_with_parent, sleep
from service.settings import Settings
from service.storage.faults import Faults
from service.storage.store import open_store
from service.web.api_token import first_api_token
from service.web.server import check_free

logger = logging.getLogger(__name__)

# A part that lived this long is healthy: its next death is a first one again.
HEALTHY_AFTER_S = 30.0
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
REPORT_TIMEOUT_S = 2.0
# What the commands of parts import, as text: `service` starts workers, and imports none of them.
_WORKERS, _SERVER = "workers.commands", "service.web.server"


def all_parts(*, servers: int, demo: bool) -> list[Part]:
    """The processes besides Redis, in the order of their start."""
    python = sys.executable
    processes = [
        Part(name=role, command=(python, "-m", "workers", "work", role), preload=_WORKERS)
        for role in ("aggregate", "deliver", "ingest")
    ]
    processes += [
        Part(name=f"server-{number}", command=(python, "-m", "service", "serve"), preload=_SERVER)
        for number in range(servers)
    ]
    if demo:
        command = (python, "-m", "workers", "demo")
        processes.append(Part(name="demo", command=command, preload=_WORKERS))
    return processes


async def up(
    settings: Settings,
    parts: Sequence[Part],
    forked: Mapping[str, ForkedPart],
    *,
    redis_port: int,
    ready: asyncio.Event,
) -> None:
    """Run everything until SIGTERM or SIGINT; sets `ready` when a server accepts connections.

    Args:
        forked: by name, parts that were forked and wait for their start.

    Raises:
        StartFailed, InvalidSettings: something cannot start; the rest is stopped again.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        for child in forked.values():
            stack.callback(child.discard)
        check_free(settings)
        stack.enter_context(locked(settings.data_dir))
        # A fault that would end every server is reported before the first one starts.
        first_api_token(settings)
        if not settings.redis_url:
            settings = await stack.enter_async_context(embedded(settings, redis_port, stop))
        store = await stack.enter_async_context(open_store(settings, stop=stop))
        environ = {**os.environ, **settings.to_env()}
        async with asyncio.TaskGroup() as group:
            for part in parts:
                first = forked.get(part.name)
                group.create_task(_keep_running(part, environ, stop, store.faults, first))
            group.create_task(_notify_when_ready(settings, ready, stop))
            await stop.wait()
            logger.info("stopping")
    logger.info("stopped")


async def _keep_running(
    part: Part,
    environ: dict[str, str],
    stop: asyncio.Event,
    faults: Faults,
    first: ForkedPart | None = None,
) -> None:
    deaths = 0
    async with asyncio.TaskGroup() as reports:
        while not stop.is_set():
            started = time.monotonic()
            healthy = asyncio.get_running_loop().call_later(
                HEALTHY_AFTER_S, lambda: reports.create_task(faults.clear("part", part.name))
            )
            try:
                why = await _end_of(part, environ, stop, first)
            finally:
                healthy.cancel()
            first = None
            if not why:
                return
            deaths = 1 if time.monotonic() - started > HEALTHY_AFTER_S else deaths + 1
            in_s = delay_s(deaths - 1)
            shown = {"part": part.name, "reason": why, "in_s": in_s}
            logger.error("a part ended, starting it again", extra={**shown, "in_a_row": deaths})
            # Redis may be what it died of: the next start does not wait for the report.
            reports.create_task(_report(part, why, deaths, faults))
            await sleep(stop, in_s)


async def _end_of(
    part: Part, environ: dict[str, str], stop: asyncio.Event, first: ForkedPart | None
) -> str:
    """Start a part and wait for its end; return why it ended, empty if it was to stop."""
    process: ChildProcess
    try:
        if first is not None:
            first.start(environ)
            process = first
        else:
            process = await asyncio.create_subprocess_exec(
                *part.command, env=environ, preexec_fn=die_with_parent, start_new_session=True
            )
    except (OSError, SubprocessError) as exc:
        # No process, memory or file is left now: the other parts live on.
        return f"cannot be started: {exc}"
    if await ended(process, stop):
        await _terminate(part, process)
        return ""
    return f"ended with status {process.returncode}"


async def _report(part: Part, why: str, deaths: int, faults: Faults) -> None:
    reason = ChildProcessError(f"{why}, {deaths} times in a row")
    with suppress(TimeoutError):
        async with asyncio.timeout(REPORT_TIMEOUT_S):
            await faults.report("part", part.name, reason, now=datetime.now(UTC))


async def _terminate(part: Part, process: ChildProcess) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        logger.warning("a part did not stop in time", extra={"part": part.name})
        process.kill()
        await process.wait()


async def _notify_when_ready(settings: Settings, ready: asyncio.Event, stop: asyncio.Event) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not stop.is_set() and time.monotonic() < deadline:
        if await _answers(settings):
            ready.set()
            return
        await sleep(stop, 0.05)


async def _answers(settings: Settings) -> bool:
    """Whether a server accepts connections."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else settings.host  # noqa: S104 -- compared, not bound
    try:
        _, writer = await asyncio.open_connection(host, settings.port)
    except OSError:
        return False
    writer.close()
    return True
