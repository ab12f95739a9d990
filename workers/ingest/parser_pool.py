"""Readers: the pool of reader processes (reader.py), as the poller sees it.

A reader that does not answer in FRAME_TIMEOUT_S is killed; one that died, by its own limits or by
ours, costs the document that it held and is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from subprocess import PIPE

import msgpack
import orjson

from service.articles.encoded import EncodedArticle
from service.errors import ParseFailed
from workers.ingest.documents import ParseJob, ParseReport
from workers.ingest.parser_process import CPU_S, HEADER

logger = logging.getLogger(__name__)

# Twice what the kernel leaves it, for machines that are busy with something else.
FRAME_TIMEOUT_S = 2.0 * CPU_S
MAX_FRAME_BYTES = 64_000_000
# Batches of a document that wait for `take`; more, and the reader waits, too.
HELD = 4
Take = Callable[[list[EncodedArticle]], Awaitable[None]]


class ParserPool:
    """Reader processes, started when they are first needed."""

    def __init__(self, count: int) -> None:
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        for _ in range(count):
            self._idle.put_nowait(None)

    async def read(
        self, job: ParseJob, body: bytes, *, take: Take
    ) -> tuple[ParseReport, list[str]]:
        """Have a document read.

        Args:
            take: is handed the articles, some at a time; the next ones wait for it.

        Returns:
            What it is, and why parts of it were rejected.

        Raises:
            ParseFailed: nothing can be made of it, or no more than `take` has got.
        """
        process = await self._idle.get()
        try:
            process = process or await _start()
            report, reasons, held = await _converse(process, job, body, take)
        except BaseException as exc:
            if process is not None and not isinstance(exc, _Told):
                await _end(process)
                process = None
            raise
        finally:
            if process is not None and process.returncode is not None:
                process = None
            self._idle.put_nowait(process)
        # The reader has its next document while these are appended.
        for articles in held:
            await take(articles)
        return report, reasons

    async def close(self) -> None:
        """End those that are idle; those that read are ended by their caller's cancellation."""
        while not self._idle.empty():
            process = self._idle.get_nowait()
            if process is not None:
                await _end(process)


class _Told(ParseFailed):
    """The reader said why, and lives."""


@asynccontextmanager
async def open_parser_pool(count: int) -> AsyncIterator[ParserPool]:
    """A pool, ended at the end."""
    readers = ParserPool(count)
    try:
        yield readers
    finally:
        await readers.close()


async def _start() -> Process:
    # A bare environment: documents are read where no secret is.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C.UTF-8"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.ingest.parser_process",
        stdin=PIPE, stdout=PIPE, env=environment, limit=1 << 20,
    )  # fmt: skip


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _converse(
    process: Process, job: ParseJob, body: bytes, take: Take
) -> tuple[ParseReport, list[str], list[list[EncodedArticle]]]:
    """(report, why parts were rejected, what `take` has not got yet)."""
    try:
        await _send(process, job.to_wire(), body)
        return await _listen(process, take)
    except TimeoutError as exc:
        raise ParseFailed(f"takes more than {FRAME_TIMEOUT_S:g} s to be read") from exc
    except (asyncio.IncompleteReadError, ConnectionError) as exc:
        await process.wait()
        logger.warning("a reader died", extra={"status": process.returncode, "url": job.url})
        raise ParseFailed(
            f"takes more than {CPU_S} s of CPU or too much memory to be read"
        ) from exc


async def _listen(
    process: Process, take: Take
) -> tuple[ParseReport, list[str], list[list[EncodedArticle]]]:
    report, reasons, failure = ParseReport(), [], ""
    held: list[list[EncodedArticle]] = []
    while True:
        kind, data = await _frame(process)
        if kind == b"r":
            report = ParseReport.from_wire(data)
        elif kind == b"a":
            if len(held) == HELD:
                await take(held.pop(0))
            found = msgpack.unpackb(data, use_list=False)
            held.append([EncodedArticle.from_wire(values) for values in found])
        elif kind == b"z":
            reasons = orjson.loads(data)
        elif kind == b"e":
            failure = data.decode("utf-8", "replace")
        else:
            break
    if kind == b"!":
        # It ends by itself: what it read made it too large for the next document.
        await process.wait()
    if failure:
        raise _Told(failure)
    return report, reasons, held


async def _send(process: Process, job: bytes, body: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 -- it is a pipe
    for part in (job, body):
        process.stdin.write(HEADER.pack(len(part)))
        process.stdin.write(part)
    async with asyncio.timeout(FRAME_TIMEOUT_S):
        await process.stdin.drain()


async def _frame(process: Process) -> tuple[bytes, bytes]:
    """(kind, content)."""
    assert process.stdout is not None  # noqa: S101 -- it is a pipe
    async with asyncio.timeout(FRAME_TIMEOUT_S):
        (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        if not 0 < size <= MAX_FRAME_BYTES:
            raise ParseFailed(f"its reader answers with {size} bytes")
        frame = await process.stdout.readexactly(size)
    return frame[:1], frame[1:]
