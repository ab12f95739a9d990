"""A reader: the process that does what hostile documents can hurt, and nothing else.

It reads jobs from its standard input and writes frames to its standard output, one job at a time,
until its input ends. It has no secrets, no network and no store; each document gets CPU_S seconds
and the process MEMORY_BYTES. When it dies, its pool (readers.py) starts another.

Wire, both ways: frames of 4 bytes of length (big endian) and as many bytes. A job is two frames,
`ParseJob` and body. An answer is a `ParseReport` (`r` and JSON), then articles in batches (`a` and
msgpack of `Packed.to_wire`), then the reasons of rejects (`z` and JSON), or why it broke off (`e`);
and last `.`, or `!` from a reader that ends now.
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
from workers.ingest.documents import ParseJob, ParseReport, read_document

CPU_S = 10
MEMORY_BYTES = 1_000_000_000
# A leak in a library ends with its process; and what one document made it grow by must not be what
# the next one lacks.
MAX_DOCUMENTS = 5_000
MAX_RESIDENT_BYTES = 300_000_000
HEADER = struct.Struct(">I")


def main() -> None:
    """Read documents until there are no more."""
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
    """The frames that answer a job."""
    try:
        for part in read_document(ParseJob.from_wire(job), body):
            yield _wire(part)
    except MemoryError:
        yield b"e" + f"needs more than {MEMORY_BYTES} bytes of memory to be read".encode()
    except Exception as exc:  # noqa: BLE001 -- the border: one document, not the reader
        traceback.print_exc()
        yield b"e" + f"an error of ours: {exc!r}".encode("utf-8", "replace")


def _wire(part: ParseReport | list[EncodedArticle] | list[str]) -> bytes:
    if isinstance(part, ParseReport):
        return b"r" + part.to_wire()
    if part and isinstance(part[0], EncodedArticle):
        packed: bytes = msgpack.packb([p.to_wire() for p in part if isinstance(p, EncodedArticle)])
        return b"a" + packed
    return b"z" + orjson.dumps(part)


def _frame(stream: BinaryIO) -> bytes | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    found = stream.read(size)
    return found if len(found) == size else None


def _write(stream: BinaryIO, frame: bytes) -> None:
    stream.write(HEADER.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _resident_bytes() -> int:
    """What this process has in memory; 0 where there is no /proc. (ru_maxrss would also tell of the
    process that started this one.)"""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _bound_process() -> None:
    # The terminal's Ctrl-C is for the worker, which ends its readers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Behind the loops that others wait for.
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # No files are written, and no core of somebody's articles.
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _bound_cpu() -> None:
    """The limit counts from the start of the process: it is moved on with each document. What goes
    over it is ended by the kernel, in whatever C code it hangs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used_s = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + CPU_S, hard))


if __name__ == "__main__":
    main()
