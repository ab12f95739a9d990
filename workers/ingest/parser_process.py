"""A parser process: it parses documents, which may be hostile, and does nothing else.

It reads jobs from its standard input and writes frames to its standard output, one job at a time,
until its input ends. It has no secrets, no network and no store. Each document may use CPU_S
seconds of CPU time and the process MEMORY_BYTES. When it dies, its pool
(parser_pool.py) starts another.

Wire, both ways: frames of 4 bytes of length (big endian) and as many bytes. A job is two frames,
`ParseJob` and body. An answer is a `ParseReport` (`r` and JSON), then articles in batches (`a` and
msgpack of `EncodedArticle.to_wire`), then what was left out (`z` and `LeftOut`), or why the process
broke off (`e`). Of a job that is a preview it is a report and the preview (`p` and JSON). Its last
frame is `.`, or `!` from a process that ends now.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgpack
import orjson

from service.articles.encoded import EncodedArticle
from workers.ingest.documents import ParseJob, read_document
from workers.ingest.parse_report import LeftOut, ParseReport
from workers.ingest.preview_document import preview_document

CPU_S = 10
MEMORY_BYTES = 1_000_000_000
# A leak in a library ends with its process, and memory that one document used must not be missing
# for the next one.
MAX_DOCUMENTS = 5_000
MAX_RESIDENT_BYTES = 300_000_000
HEADER = struct.Struct(">I")


def main() -> None:
    """Parse documents from standard input until it ends, or until the process is used up."""
    _bound_process()
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    for number in range(1, MAX_DOCUMENTS + 1):
        job, body = _frame(jobs), _frame(jobs)
        if job is None or body is None:
            return
        _bound_cpu()
        for frame in answer(job, body):
            _write(answers, frame)
        is_spent = number == MAX_DOCUMENTS or _resident_bytes() > MAX_RESIDENT_BYTES
        _write(answers, b"!" if is_spent else b".")
        if is_spent:
            return


def answer(job: bytes, body: bytes) -> Iterator[bytes]:
    """The frames that answer a job, without their lengths and without the last frame.

    Args:
        job: `ParseJob.to_wire`.
        body: the document.
    """
    try:
        parse_job = ParseJob.from_wire(job)
        if parse_job.preview:
            report, preview = preview_document(parse_job, body)
            yield _wire(report)
            yield b"p" + orjson.dumps(preview)
            return
        for result in read_document(parse_job, body):
            yield _wire(result)
    except MemoryError:
        yield b"e" + f"needs more than {MEMORY_BYTES} bytes of memory to be parsed".encode()
    except Exception as exc:  # noqa: BLE001 -- the border: one document, not the process
        traceback.print_exc()
        yield b"e" + f"an error of ours: {exc!r}".encode("utf-8", "replace")


def _wire(result: ParseReport | list[EncodedArticle] | LeftOut) -> bytes:
    if isinstance(result, ParseReport):
        return b"r" + result.to_wire()
    if isinstance(result, LeftOut):
        return b"z" + result.to_wire()
    return b"a" + bytes(msgpack.packb([article.to_wire() for article in result]))


def _frame(stream: BinaryIO) -> bytes | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    content = stream.read(size)
    return content if len(content) == size else None


def _write(stream: BinaryIO, frame: bytes) -> None:
    stream.write(HEADER.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _resident_bytes() -> int:
    """Resident memory of this process; 0 where there is no /proc. (ru_maxrss would include the
    process that started this one.)"""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _bound_process() -> None:
    # The terminal's Ctrl-C is for the worker, which ends its parser processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A lower priority than the event loops, which others wait for.
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # The process writes no files, and no core dump that would contain articles.
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _bound_cpu() -> None:
    """Move the CPU limit on: it counts from the start of the process. The kernel ends a process
    that goes over it, even one that hangs in C code."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + CPU_S, hard))


if __name__ == "__main__":
    main()
