"""Repeated requests are answered by a look-up of their bytes, before they are parsed.

A feed reader sends the same bytes each time it polls. Once aiohttp has parsed such a request and it
was answered from a hot page, its bytes are remembered with the response, as long as that page is
hot; the next one is a look-up and a write. Anything but exactly one whole request on an idle
connection is left to aiohttp, and so is everything after it on that connection, because the meaning
of those bytes depends on the bytes before them.

This is the only module that relies on internals of aiohttp's server. `is_usable` checks at the
start that they still work as this module expects; if not, `make_site` serves without the cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import aiohttp
from aiohttp import web

from service.web.serving.connections import Admission, Connections
from service.web.serving.error_connection import ErrorConnection
from service.web.serving.listening import accept_the_rest, bytes_acknowledged, drop_handshakes
from service.web.serving.response import PreparedPage, PreparedResponse

logger = logging.getLogger(__name__)

# Requests of feed readers are 200 to 400 bytes, those of browsers a thousand.
MAX_REQUESTS = 4_096
MAX_REQUEST_BYTES = 2_000
CHECK_S = 5.0
_END = b"\r\n\r\n"
# struct linger: closing resets the connection.
_RESET = struct.pack("ii", 1, 0)
_CHECK = b"GET /check HTTP/1.1\r\nHost: localhost\r\n\r\n"
# With these headers, a request is more than its head.
_MORE = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:", b"\r\nupgrade:", b"\r\nexpect:")


@dataclass(slots=True, eq=False)
class Hot:
    """A page while it may be served without asking Redis."""

    prepared: PreparedPage
    until: float = 0.0
    """End of that time, by the monotonic clock in seconds."""
    uses: int = 0
    """Requests since the page last changed."""
    requests: set[bytes] = field(default_factory=set)
    """Requests that RequestCache answers with it."""


class RequestCache:
    """Request bytes → hot page and response; the oldest are removed first."""

    def __init__(self) -> None:
        self._answers: dict[bytes, tuple[Hot, PreparedResponse]] = {}
        self._is_closed = False
        self.hits = 0

    def get(self, request: bytes) -> PreparedResponse | None:
        """The response to a known request; None if it is new or its page is not hot any more."""
        hot, answer = self._answers.get(request, (None, None))
        if hot is None or hot.until < time.monotonic():
            return None
        hot.uses += 1
        self.hits += 1
        return answer

    def remember(self, request: bytes, hot: Hot, answer: PreparedResponse) -> None:
        """Give this answer to the same request while its page is hot."""
        if self._is_closed:
            return
        self._drop(request)
        self._answers[request] = hot, answer
        hot.requests.add(request)
        if len(self._answers) > MAX_REQUESTS:
            self._drop(next(iter(self._answers)))

    def forget(self, hot: Hot) -> None:
        """Drop the responses of a page that is no longer hot."""
        for request in list(hot.requests):
            self._drop(request)

    def forget_all(self) -> None:
        """Drop all responses: no page is hot any more."""
        for hot, _ in self._answers.values():
            hot.requests.clear()
        self._answers.clear()

    def close(self) -> None:
        """Answer nothing from now on: the server ends, and says so in each answer."""
        self._is_closed = True
        self.forget_all()

    def _drop(self, request: bytes) -> None:
        hot, _ = self._answers.pop(request, (None, None))
        if hot is not None:
            hot.requests.discard(request)


class CachingConnection(ErrorConnection):
    """aiohttp's protocol of one connection, with a look-up before its parser."""

    __slots__ = (
        "_connections", "_is_heard", "_is_plain", "_repeated", "_request", "_wire", "head_since",
        "is_for_health", "on_lost",
    )  # fmt: skip

    def __init__(
        self, repeated: RequestCache, connections: Connections, server: web.Server, **options: Any
    ) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._repeated = repeated
        self._request = b""
        self._is_plain = True
        self._is_heard = False
        self._wire: asyncio.Transport | None = None
        self.head_since = 0.0
        self.is_for_health = False
        """Whether it is beyond the limits, so that health checks alone are answered."""
        self.on_lost: Callable[[], object] | None = None
        """Called when the connection has ended: a handler that only writes would not notice."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a new connection, or close it if it exceeds the limit."""
        super().connection_made(transport)
        self._wire = cast("asyncio.Transport", transport)
        self.head_since = time.monotonic()
        peer = transport.get_extra_info("peername")
        admission = self._connections.admit(self, peer[0] if isinstance(peer, tuple) else "")
        if admission is Admission.NONE:
            self.force_close()
        elif admission is Admission.HEALTH_ONLY:
            self.is_for_health, self._is_plain = True, False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the slot of the connection, and notify a handler that only writes."""
        self._connections.release(self)
        self._wire = None
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)

    def cut_off(self) -> None:
        """Close at once; what was not sent is lost."""
        if self._wire is not None:
            sock = self._wire.get_extra_info("socket")
            if sock is not None:
                # Or the kernel would go on for minutes to offer what its client does not take.
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._wire.abort()

    def close_idle(self) -> None:
        """Close in order, when nothing is under way."""
        self.force_close()

    def idle_s(self, now: float) -> float | None:
        """Seconds since the last answer, or since it was opened or began a request whose head is
        not whole; None while a request is handled."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            return None
        return now - max(self._next_keepalive_close_time - self._keepalive_timeout, self.head_since)

    def unsent_bytes(self) -> int:
        """What waits in this process; also while it is being closed."""
        return self._wire.get_write_buffer_size() if self._wire is not None else 0

    def acknowledged_bytes(self) -> int:
        """What the kernel says that the client has; 0 where it does not say."""
        sock = self._wire.get_extra_info("socket") if self._wire is not None else None
        return bytes_acknowledged(sock) if sock is not None else 0

    def data_received(self, data: bytes) -> None:
        """Answer a known request; pass anything else to aiohttp."""
        if self._is_plain:
            waiter = self._waiter
            is_idle = waiter is not None and not waiter.done() and not self._messages
            if is_idle and not self._paused and not self._close and not self._force_close:
                ready = self._repeated.get(data)
                if ready is not None and self.transport is not None:
                    self.transport.write(ready.whole())
                    self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                    if not self._is_heard:
                        self._hear()
                    return
            self._is_plain = (is_idle or not self._request) and is_one_request(data)
            self._request = data
        super().data_received(data)
        if self._messages:
            self._hear()
        elif self._waiter is not None and not self.head_since:
            self.head_since = time.monotonic()

    def _hear(self) -> None:
        """Note that the whole head of a request has arrived."""
        self.head_since = 0.0
        if not self._is_heard:
            self._is_heard = True
            self._connections.heard(self)

    def remember(self, hot: Hot, answer: PreparedResponse) -> None:
        """Remember the response to the request that is being handled, if it can be repeated."""
        if self._is_plain and len(self._request) <= MAX_REQUEST_BYTES:
            self._repeated.remember(self._request, hot, answer)


def is_one_request(data: bytes) -> bool:
    """Whether these bytes are exactly one whole GET or HEAD request without a body."""
    if not data.startswith((b"GET ", b"HEAD ")) or data.find(_END) != len(data) - len(_END):
        return False
    head = data.lower()
    return not any(name in head for name in _MORE)


class CachingSite(web.SockSite):
    """A listening socket whose connections use the request cache."""

    __slots__ = ("_connections", "_repeated")

    def __init__(
        self,
        runner: web.AppRunner,
        sock: socket.socket,
        *,
        repeated: RequestCache,
        connections: Connections,
        backlog: int,
    ) -> None:
        super().__init__(runner, sock, backlog=backlog)
        self._repeated = repeated
        self._connections = connections

    async def start(self) -> None:
        """Listen with connections that use the request cache."""
        await web.BaseSite.start(self)
        self._server = await asyncio.get_running_loop().create_server(
            self._protocols(), sock=self._sock, backlog=self._backlog
        )

    async def close_listener(self, *, handshakes_s: float) -> None:
        """Stop listening without losing a connection.

        Closing a socket resets the connections that wait to be accepted, and those whose handshake
        is under way. So no handshake is begun any more, those that were have time to end, and
        what waits is accepted. Clients whose handshake was not begun try again within a second or
        so, and reach another server on the port.
        """
        if drop_handshakes(self._sock):
            await asyncio.sleep(handshakes_s)
        if self._server is None:
            return
        with contextlib.ExitStack() as stack:
            try:
                listener = stack.enter_context(self._sock.dup())
            except OSError:
                listener = None  # No file is left for it, nor for connections.
            self._server.close()
            await asyncio.sleep(0)
            if listener is not None:
                await accept_the_rest(listener, self._protocols())

    def _protocols(self) -> Callable[[], CachingConnection]:
        server = self._runner.server
        assert server is not None  # noqa: S101 -- setup() made it
        return _protocols(self._repeated, self._connections, server)


def _protocols(
    cache: RequestCache, connections: Connections, server: web.Server
) -> Callable[[], CachingConnection]:
    loop, options = asyncio.get_running_loop(), server._kwargs
    return lambda: CachingConnection(cache, connections, server, loop=loop, **options)


async def make_site(
    runner: web.AppRunner,
    sock: socket.socket,
    *,
    cache: RequestCache,
    connections: Connections,
    backlog: int,
) -> web.BaseSite:
    """The site that serves a runner: with the request cache, or without it if it is not usable."""
    if await is_usable():
        return CachingSite(runner, sock, repeated=cache, connections=connections, backlog=backlog)
    logger.warning(
        "this version of aiohttp does not fit the request cache: pages are served without it, and "
        "connections are neither limited nor watched",
        extra={"aiohttp": aiohttp.__version__},
    )
    return web.SockSite(runner, sock, backlog=backlog)


async def is_usable() -> bool:
    """Whether aiohttp and the request cache each answer the same request once, with equal bytes."""
    handled: list[str] = []
    cache = RequestCache()
    page = PreparedPage(b"check", headers={"Content-Type": "text/plain"})
    hot = Hot(page, until=time.monotonic() + CHECK_S)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        handled.append(request.raw_path)
        response = page.make_answer(request)
        connection = cast("CachingConnection", request.protocol)
        connection.remember(hot, cast("PreparedResponse", response))
        return response

    try:
        async with asyncio.timeout(CHECK_S):
            by_aiohttp, by_cache = await _answers(cache, handle)
    except Exception as exc:  # noqa: BLE001 -- whatever fails, serving without the cache works
        logger.debug("the check of the request cache failed", extra={"reason": repr(exc)})
        return False
    return by_aiohttp == by_cache and (len(handled), cache.hits) == (1, 1)


async def _answers(
    cache: RequestCache, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
) -> list[bytes]:
    """The responses, without their dates, to a request sent twice over a socket pair."""
    ours, theirs = socket.socketpair()
    server = web.Server(handle, access_log=None)
    protocols = _protocols(cache, Connections(total=2, per_address=2), server)
    answers = []
    with ours, theirs:
        await asyncio.get_running_loop().connect_accepted_socket(protocols, ours)
        reader, writer = await asyncio.open_connection(sock=theirs)
        try:
            for _ in range(2):
                writer.write(_CHECK)
                head = await reader.readuntil(_END)
                lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]
                answers.append(b"\r\n".join(lines) + await reader.readexactly(len(b"check")))
        finally:
            writer.close()
            await server.shutdown()
            await asyncio.sleep(0)
    return answers
