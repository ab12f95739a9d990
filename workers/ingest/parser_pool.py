"""The pool of parser processes (parser_process.py), as the poller sees it.

A parser process that does not answer in FRAME_TIMEOUT_S is killed; one that died, by its own limits
or by ours, costs the document that it was parsing and is replaced. One that had nothing to parse
for IDLE_S is ended: it takes 30 to 50 MB.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from subprocess import PIPE
from typing import Any

import msgpack
import orjson

from service.articles.encoded import EncodedArticle
from service.errors import ParseFailed
from workers.ingest.documents import ParseJob
from workers.ingest.parse_report import LeftOut, ParseReport
from workers.ingest.parser_process import CPU_S, HEADER

logger = logging.getLogger(__name__)

# Twice the CPU time that the kernel allows, for machines that are busy with something else.
FRAME_TIMEOUT_S = 2.0 * CPU_S
MAX_FRAME_BYTES = 64_000_000
# Long enough that an installation with a hundred sources starts none anew.
IDLE_S = 120.0
# Batches of a document that wait for `append`; with more, the parser process waits, too.
MAX_WAITING = 4
Append = Callable[[ParseReport, list[EncodedArticle]], Awaitable[None]]
"""Called with the report of the document and a batch of its articles."""


class ParserPool:
    """Parser processes, started when they are needed.

    Args:
        count: most processes at a time.
        idle_s: after so many seconds without a document, a process is ended.
    """

    def __init__(self, count: int, *, idle_s: float = IDLE_S) -> None:
        self._slots = asyncio.Semaphore(count)
        self._idle_s = idle_s
        # The process that was used last is the first to be used again, so that others can end.
        self._idle: dict[Process, asyncio.TimerHandle] = {}

    async def read_document(
        self, job: ParseJob, body: bytes, *, append: Append
    ) -> tuple[ParseReport, LeftOut]:
        """Run `documents.read_document` in a parser process.

        Args:
            append: awaited with each batch of articles, in their order, one at a time.

        Returns:
            The report, and what was left out.

        Raises:
            ParseFailed: the process broke off; `append` may have been called before that.
        """
        answer = await self._ask(job, body, append)
        # The process parses its next document while these are appended.
        for articles in answer.waiting:
            await append(answer.report, articles)
        return answer.report, answer.left_out

    async def preview(self, job: ParseJob, body: bytes) -> tuple[ParseReport, dict[str, Any]]:
        """Run `preview_document` in a parser process: (report, preview).

        Raises:
            ParseFailed: the process broke off.
        """
        answer = await self._ask(job, body, _never)
        return answer.report, answer.preview

    async def _ask(self, job: ParseJob, body: bytes, append: Append) -> _Answer:
        async with self._slots:
            process = self._take_idle() or await _start()
            try:
                answer = await _converse(process, job, body, append)
            except _Reported:
                self._put_idle(process)
                raise
            except BaseException:
                await _end(process)
                raise
            self._put_idle(process)
            return answer

    def _take_idle(self) -> Process | None:
        """The idle process that was used last; None if there is none that lives."""
        while self._idle:
            process, end = self._idle.popitem()
            end.cancel()
            if process.returncode is None:
                return process
        return None

    def _put_idle(self, process: Process) -> None:
        if process.returncode is None:
            loop = asyncio.get_running_loop()
            self._idle[process] = loop.call_later(self._idle_s, self._end_idle, process)

    def _end_idle(self, process: Process) -> None:
        del self._idle[process]
        # The loop waits for its end.
        with suppress(ProcessLookupError):
            process.kill()

    async def close(self) -> None:
        """End idle processes; the others are ended by the cancellation of their callers."""
        while (process := self._take_idle()) is not None:
            await _end(process)


class _Reported(ParseFailed):
    """The process reported the failure itself and can be used again."""


@asynccontextmanager
async def open_parser_pool(count: int, *, idle_s: float = IDLE_S) -> AsyncIterator[ParserPool]:
    """A pool whose processes are ended with the context."""
    parser_pool = ParserPool(count, idle_s=idle_s)
    try:
        yield parser_pool
    finally:
        await parser_pool.close()


async def _start() -> Process:
    # A bare environment: documents are parsed where no secret is.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C.UTF-8"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.ingest.parser_process",
        stdin=PIPE, stdout=PIPE, env=environment, limit=1 << 20,
    )  # fmt: skip


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@dataclass(slots=True, kw_only=True)
class _Answer:
    """All that a parser process says of a document."""

    report: ParseReport = field(default_factory=ParseReport)
    left_out: LeftOut = field(default_factory=LeftOut)
    waiting: list[list[EncodedArticle]] = field(default_factory=list)
    """Batches that are still to be appended."""
    preview: dict[str, Any] = field(default_factory=dict)


async def _never(_: ParseReport, articles: list[EncodedArticle]) -> None:
    raise AssertionError(f"a preview appends {len(articles)} articles")


async def _converse(process: Process, job: ParseJob, body: bytes, append: Append) -> _Answer:
    try:
        await _send(process, job.to_wire(), body)
        return await _listen(process, append)
    except TimeoutError as exc:
        raise ParseFailed(f"takes more than {FRAME_TIMEOUT_S:g} s to be parsed") from exc
    except (asyncio.IncompleteReadError, ConnectionError) as exc:
        await process.wait()
        logger.warning(
            "a parser process died", extra={"status": process.returncode, "url": job.url}
        )
        raise ParseFailed(
            f"takes more than {CPU_S} s of CPU or too much memory to be parsed"
        ) from exc


async def _listen(process: Process, append: Append) -> _Answer:
    answer, failure = _Answer(), ""
    while True:
        kind, data = await _frame(process)
        if kind == b"r":
            answer.report = ParseReport.from_wire(data)
        elif kind == b"a":
            if len(answer.waiting) == MAX_WAITING:
                await append(answer.report, answer.waiting.pop(0))
            batch = msgpack.unpackb(data, use_list=False)
            answer.waiting.append([EncodedArticle.from_wire(values) for values in batch])
        elif kind == b"z":
            answer.left_out = LeftOut.from_wire(data)
        elif kind == b"p":
            answer.preview = orjson.loads(data)
        elif kind == b"e":
            failure = data.decode("utf-8", "replace")
        else:
            break
    if kind == b"!":
        # The process ends by itself: after this document it is too large for the next one.
        await process.wait()
    if failure:
        raise _Reported(failure)
    return answer


async def _send(process: Process, job: bytes, body: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 -- it is a pipe
    for frame in (job, body):
        process.stdin.write(HEADER.pack(len(frame)))
        process.stdin.write(frame)
    async with asyncio.timeout(FRAME_TIMEOUT_S):
        await process.stdin.drain()


async def _frame(process: Process) -> tuple[bytes, bytes]:
    """The kind of an answer (parser_process.py) and its content."""
    assert process.stdout is not None  # noqa: S101 -- it is a pipe
    async with asyncio.timeout(FRAME_TIMEOUT_S):
        (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        if not 0 < size <= MAX_FRAME_BYTES:
            raise ParseFailed(f"its parser process answers with {size} bytes")
        frame = await process.stdout.readexactly(size)
    return frame[:1], frame[1:]
