"""Sites to poll: one process on all of 127.0.0.0/8, answering as raw and as fast as it can.

`python -m bench.sites PORT [--close]`. Paths:

    /304…    304 with an ETag, whatever is asked
    /feed…   a feed of ten entries that changes every few seconds, with ETag and 304
    /bad/N   the N-th document of bench.attacks, as a 200

Every request is counted; GET /counts answers with the count as text. `--close` ends each connection
after one answer.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import cast

import uvloop

NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n%s\r\n'


class Site(asyncio.Protocol):
    """One connection; requests have no bodies, and fit one read or come in order."""

    counted = 0

    def __init__(self, bodies: dict[bytes, bytes], ending: bytes) -> None:
        self._bodies = bodies
        self._ending = ending
        self._not_modified = NOT_MODIFIED % ending
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            path = request.split(b" ", 2)[1]
            self._transport.write(self._answer(path))
            if self._ending:
                self._transport.close()

    def _answer(self, path: bytes) -> bytes:
        if path == b"/counts":
            text = b"%d" % Site.counted
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
        Site.counted += 1
        if path.startswith(b"/304"):
            return self._not_modified
        return self._bodies.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def whole(body: bytes, *headers: bytes) -> bytes:
    """A 200 with this body."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", b""]
    return b"\r\n".join(lines) + body


def bodies() -> dict[bytes, bytes]:
    """Path → answer."""
    from bench.attacks import attacks
    from bench.feeds import feeds

    answers = {b"/bad/%d" % n: whole(body, *headers) for n, (body, headers) in enumerate(attacks())}
    for number, body in enumerate(feeds(40, xml_only=True)):
        answers[b"/feed/%d" % number] = whole(body, b"Content-Type: application/xml")
    return answers


async def serve(port: int, *, close: bool, attacks: bool) -> None:
    """Until killed."""
    loop = asyncio.get_running_loop()
    ending = b"Connection: close\r\n" if close else b""
    known = bodies() if attacks else {}
    with socket.create_server(("0.0.0.0", port), backlog=4096) as sock:
        server = await loop.create_server(lambda: Site(known, ending), sock=sock)
        await server.serve_forever()


def main() -> None:
    """Serve."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("port", type=int)
    options.add_argument("--close", action="store_true")
    options.add_argument("--attacks", action="store_true", help="know /bad and /feed, too")
    arguments = options.parse_args()
    uvloop.run(serve(arguments.port, close=arguments.close, attacks=arguments.attacks))


if __name__ == "__main__":
    main()
