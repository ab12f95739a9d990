"""Load for one server where wrk is not installed: `python -m bench.load PORT SECONDS [TAG]`.

One thread, 32 connections, one request on each at a time, raw bytes over loopback. It is slower
than what it loads: rates come out nearly equal then, and the CPU a request is what tells.
Prints how many responses came, in wrk's words.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import time

import uvloop

CONNECTIONS = 32
PATH = "/feeds/all.rss"
MAX_READ_BYTES = 256 * 1024
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)


async def ask(port: int, question: bytes, *, status: bytes, until: float) -> int:
    """Whole responses on one connection until then."""
    loop, done = asyncio.get_running_loop(), 0
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        while time.monotonic() < until:
            await loop.sock_sendall(sock, question)
            answer = await received(sock)
            while b"\r\n\r\n" not in answer:
                answer += await received(sock)
            head, _, body = answer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 " + status):
                raise SystemExit(f"unexpected: {head[:60]!r}")
            # A 304 has no body, whatever length it states.
            length = None if status == b"304" else _LENGTH.search(head + b"\r\n")
            missing = (int(length[1]) if length else 0) - len(body)
            while missing:
                missing -= len(await received(sock))
            done += 1
    return done


async def received(sock: socket.socket) -> bytes:
    """What comes next; the end of the connection is none here."""
    data = await asyncio.get_running_loop().sock_recv(sock, MAX_READ_BYTES)
    if not data:
        raise SystemExit("the server closed the connection")
    return data


async def run(port: int, seconds: float, tag: str) -> tuple[int, float]:
    """(responses, seconds)."""
    lines = [f"GET {PATH} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept-Encoding: gzip"]
    lines += [f"If-None-Match: {tag}"] if tag else []
    question = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    status = b"304" if tag else b"200"
    start = time.monotonic()
    async with asyncio.timeout(seconds + 10), asyncio.TaskGroup() as group:
        asking = [
            group.create_task(ask(port, question, status=status, until=start + seconds))
            for _ in range(CONNECTIONS)
        ]
    return sum(one.result() for one in asking), time.monotonic() - start


def main() -> None:
    """Load, and say what came."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("tag", nargs="?", default="")
    options = parser.parse_args()
    done, took = uvloop.run(run(options.port, options.seconds, options.tag))
    print(f"{done} requests in {took:.2f}s\nRequests/sec: {done / took:.2f}")


if __name__ == "__main__":
    main()
