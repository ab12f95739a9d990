"""Webhook receivers on many loopback addresses: `python -m bench.receivers PORT FILE`.

One process listens on HOSTS addresses of 127.0.0.0/8. What comes to `/ok/…` is written to the file
and answered with 200; `/hang/…` is never answered and `/fail/…` is with 500, unless `--well`. The
file is written before the answer, so that a receiver that is killed has what it said it has. A line
a request:

    ns path webhook-id run run …     a run: category:first:last:ns of the first:ns of the last

`judge` reads such a file: is everything there, once, in order, and when did it come?
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

HOSTS = 200
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: (\S+)\r\n", re.IGNORECASE)
# The title of an article says which one of its category it is, and when it was appended.
_TITLE = re.compile(rb'"title":"k(\d+) n(\d+) t(\d+)"')
_ANSWERS = {
    b"ok": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"fail": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    b"hang": b"",
}


def title(category: int, number: int) -> str:
    """Of the article that is the number-th of its category, appended now."""
    return f"k{category} n{number} t{time.time_ns()}"


def url(kind: str, number: int, port: int) -> str:
    """Of one receiver, on one of the hosts."""
    return f"http://127.0.9.{number % HOSTS + 1}:{port}/{kind}/{number}"


def runs(body: bytes) -> Iterator[bytes]:
    """Of the events in a body: those with numbers in a row are one."""
    first: tuple[bytes, bytes, bytes] | None = None
    last: tuple[bytes, bytes, bytes] | None = None
    for numbers in _TITLE.findall(body):
        if first and last and (numbers[0], int(numbers[1])) == (last[0], int(last[1]) + 1):
            last = numbers
            continue
        if first and last:
            yield b":".join((*first[:2], last[1], first[2], last[2]))
        first = last = numbers
    if first and last:
        yield b":".join((*first[:2], last[1], first[2], last[2]))


class Connection(asyncio.Protocol):
    """One connection of a worker."""

    def __init__(self, file: int, *, is_well: bool) -> None:
        self._file = file
        self._is_well = is_well
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it for the answers."""
        # Those of uvloop are no asyncio.Transport, but for what they can do.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Note and answer every request that is whole."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[: end + 2]
            length = _LENGTH.search(head)
            stop = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < stop:
                return
            body, self._data = self._data[end + 4 : stop], self._data[stop:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head[: head.index(b" HTTP/")].partition(b" ")[2]
        kind = b"ok" if self._is_well else path[1 : path.index(b"/", 1)]
        if kind == b"ok":
            match = _ID.search(head)
            line = [str(time.time_ns()).encode(), path, match[1] if match else b"-", *runs(body)]
            os.write(self._file, b" ".join(line) + b"\n")
        self._transport.write(_ANSWERS[kind])


async def serve(port: int, path: Path, *, is_well: bool) -> None:
    """Until killed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    loop = asyncio.get_running_loop()
    for host in range(HOSTS, 0, -1):
        # The first address is the last that is there: who can connect to it finds all.
        await loop.create_server(
            lambda: Connection(file, is_well=is_well), f"127.0.9.{host}", port, backlog=1024
        )
    await asyncio.Event().wait()


@dataclass
class Judgement:
    """What receivers got."""

    requests: int = 0
    events: int = 0
    doubled: int = 0
    """Requests with events of the one before them, to the same endpoint."""
    disordered: int = 0
    """Requests that do not go on where the one before them ended."""
    ended: dict[str, int] = field(default_factory=dict)
    """Path → number of the newest event."""
    doubled_by: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Path → its part of the doubled."""
    waits_s: list[float] = field(default_factory=list)
    """From the append to the receiver, of the oldest event in each request."""
    first_ns: int = 0
    last_ns: int = 0

    def take(self, lines: Iterable[str], *, only: str) -> Judgement:
        """Read what came to paths that begin so, in its order; itself. Each path is one endpoint,
        and gets one category."""
        began: dict[str, int] = {}
        for line in lines:
            at, path, _, *events = line.split()
            if not path.startswith(only):
                continue
            self.requests += 1
            self.first_ns = self.first_ns or int(at)
            self.last_ns = int(at)
            for run in events:
                _, first, last, first_ns, _ = map(int, run.split(":"))
                ended = self.ended.get(path, -1)
                if began.get(path, 0) <= first <= ended:
                    # Some of the request before, again.
                    self.doubled += 1
                    self.doubled_by[path] += 1
                elif first != ended + 1:
                    self.disordered += 1
                began[path] = first
                self.ended[path] = max(ended, last)
                self.events += max(0, last - max(first - 1, ended))
                self.waits_s.append((int(at) - first_ns) / 1e9)
        return self

    @property
    def seconds(self) -> float:
        """From the first request to the last."""
        return (self.last_ns - self.first_ns) / 1e9

    def wait_ms(self, share: float) -> float:
        """A quantile of the waits."""
        place = min(len(self.waits_s) - 1, int(len(self.waits_s) * share))
        return sorted(self.waits_s)[place] * 1000


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("--well", action="store_true", help="everybody answers 200")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.file, is_well=options.well))


if __name__ == "__main__":
    main()
