"""A day of polling every ten minutes: bytes that come over the wire, by what the client can do.

A live feed of 50 articles; 60 new ones come in the course of the day, at times of chance. The same
144 polls are made by clients that know nothing, that decompress, that send validators, and that
take deltas (A-IM: feed). Bytes are those of whole responses, heads included.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from contextlib import AsyncExitStack

import uvloop

from bench.arrivals import PATH, sides
from bench.machine import header

POLLS, ARTICLES = 144, 60
CLIENTS = {
    "plain": ("", False, False),
    "gzip": ("gzip", False, False),
    "br": ("br", False, False),
    "validators": ("", True, False),
    "validators, gzip": ("gzip", True, False),
    "validators, br": ("br", True, False),
    "validators, br, delta": ("br", True, True),
}
_TAG = re.compile(rb'\r\nETag: ("[^"]*")')


class Client:
    """One that polls, on one connection."""

    def __init__(self, coding: str, validates: bool, takes_deltas: bool) -> None:
        self._coding = coding
        self._validates = validates
        self._takes_deltas = takes_deltas
        self._tag = ""
        self.bytes = 0
        self.statuses: dict[str, int] = {}

    async def open(self, port: int) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)

    async def poll(self) -> bytes:
        """One poll; the body, coded."""
        lines = [f"GET {PATH} HTTP/1.1", "Host: x"]
        lines += [f"Accept-Encoding: {self._coding}"] if self._coding else []
        lines += [f"If-None-Match: {self._tag}"] if self._validates and self._tag else []
        lines += ["A-IM: feed"] if self._takes_deltas else []
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = head[9:12].decode()
        length = re.search(rb"\r\nContent-Length: (\d+)", head)
        body = b""
        if status != "304" and length:
            body = await self._reader.readexactly(int(length[1]))
        if match := _TAG.search(head):
            self._tag = match[1].decode()
        self.bytes += len(head) + len(body)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return body

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


async def visible(port: int, titles: list[str]) -> None:
    """Wait until these are in the feed."""
    watch = Client("", False, False)
    await watch.open(port)
    body = b""
    while not all(title.encode() in body for title in titles):
        body = await watch.poll()
        await asyncio.sleep(0.01)
    watch.close()


async def run() -> dict[str, Client]:
    """All clients, after their day."""
    chance = random.Random(1)
    arrivals = sorted(chance.randrange(POLLS) for _ in range(ARTICLES))
    clients = {name: Client(*what) for name, what in CLIENTS.items()}
    async with AsyncExitStack() as stack, sides(stack) as both:
        ours = both["ours"]
        for client in clients.values():
            await client.open(ours.port)
        for number in range(POLLS):
            new = [f"poll {number} {k}" for k in range(arrivals.count(number))]
            for title in new:
                await ours.append(title)
            await visible(ours.port, new)
            for client in clients.values():
                await client.poll()
        for client in clients.values():
            client.close()
    return clients


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.parse_args()
    print(header(f"day       {POLLS} polls, {ARTICLES} new articles, a page of 50"))
    clients = uvloop.run(run())
    plain = clients["plain"].bytes
    print(f"{'client':24}{'kB':>9}{'of plain':>10}   answers")
    for name, client in clients.items():
        answers = ", ".join(f"{count} x {status}" for status, count in client.statuses.items())
        print(f"{name:24}{client.bytes / 1000:9.0f}{client.bytes / plain:10.1%}   {answers}")


if __name__ == "__main__":
    main()
