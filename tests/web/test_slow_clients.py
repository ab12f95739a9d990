"""Slow clients, on real sockets: they are cut off, and nobody else is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from service.settings import Settings
from service.web import server
from service.web.serving import slow_clients
from service.web.serving.connections import Connections, Refused
from service.web.serving.request_cache import CachingConnection, CachingSite, RequestCache
from service.web.serving.slow_clients import SlowClients
from tests.waiting import let_pass, wait_until, within

HEAD_TIMEOUT_S, SEND_TIMEOUT_S = 0.5, 0.6
BODY = b"x" * 12_000_000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A server whose clients are watched."""

    port: int
    connections: Connections

    async def connect(self, sent: bytes = b"", *, is_small: bool = False) -> socket.socket:
        """A connection on which something was sent; its client has little room if it is small."""
        client = socket.socket()
        if is_small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        client.send(sent)

        async def is_known() -> bool:
            names = [
                connection._wire.get_extra_info("peername")
                for connection in self.connections
                if isinstance(connection, CachingConnection) and connection._wire
            ]
            return client.getsockname() in names

        await wait_until(is_known)
        return client

    async def until_left(self, count: int) -> None:
        """Wait until so many connections are open."""

        async def are_left() -> bool:
            return count == len(self.connections)

        await wait_until(are_left)


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=BODY if request.path == "/large" else b"small")


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """Watch for slow clients with short time limits."""
    monkeypatch.setattr(slow_clients, "LOOK_S", 0.05)
    runner = web.ServerRunner(web.Server(_answer))
    await runner.setup()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    connections = Connections(total=100, per_address=100)
    site = CachingSite(runner, sock, repeated=RequestCache(), connections=connections, backlog=16)
    await site.start()
    slow = SlowClients(connections, head_timeout_s=HEAD_TIMEOUT_S, send_timeout_s=SEND_TIMEOUT_S)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(slow.run(stop))
        yield Watched(port=runner.addresses[0][1], connections=connections)
        stop.set()
    await runner.cleanup()


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost:"])
async def test_a_head_must_come_in_time(
    watched: Watched, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one, which may not have begun; one line is logged."""
    with await watched.connect(sent):
        await watched.until_left(0)
    assert [(1, 0)] == [(r.slow_heads, r.slow_readers) for r in caplog.records]  # type: ignore[attr-defined]
    assert {Refused.SLOW_HEAD: 1} == watched.connections.refused


async def test_a_later_head_must_come_in_time(watched: Watched) -> None:
    """The time runs from the first byte of the head."""
    with await watched.connect(GET) as client:
        async with within(5):
            assert await asyncio.get_running_loop().sock_recv(client, 65_536)
        client.send(GET[:-2])
        await watched.until_left(0)


async def test_a_head_that_drips_is_not_waited_for(watched: Watched) -> None:
    """Each byte in time is not the whole in time."""
    with await watched.connect(GET[:3]) as client:
        start = time.monotonic()
        async with within(10):
            for byte in GET[3:-1] * 20:
                await let_pass(HEAD_TIMEOUT_S / 10)
                try:
                    client.send(bytes([byte]))
                except OSError:
                    break
        assert time.monotonic() - start >= HEAD_TIMEOUT_S / 2
        await watched.until_left(0)


async def test_who_was_answered_may_be_silent(watched: Watched) -> None:
    """Between two requests the time of a keep-alive connection counts."""
    with await watched.connect(GET) as client:
        await let_pass(HEAD_TIMEOUT_S * 2)
        client.send(GET)
        async with within(5):
            loop, answers = asyncio.get_running_loop(), b""
            while answers.count(b"small") < 2:
                answers += await loop.sock_recv(client, 65_536)


@pytest.mark.parametrize("close", ["", "Connection: close\r\n"])
async def test_who_takes_nothing_of_an_answer_is_cut_off(
    watched: Watched, close: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether its connection stays open after it or is being closed."""
    request = f"GET /large HTTP/1.1\r\nHost: x\r\n{close}\r\n".encode()
    with await watched.connect(request, is_small=True):
        await watched.until_left(0)
    assert [(0, 1)] == [(r.slow_heads, r.slow_readers) for r in caplog.records]  # type: ignore[attr-defined]
    assert {Refused.SLOW_READER: 1} == watched.connections.refused


async def test_who_drips_is_cut_off(watched: Watched) -> None:
    """It takes a little now and then."""
    with await watched.connect(GET.replace(b"/", b"/large", 1), is_small=True) as client:
        await wait_until(lambda: _has_dripped(client, watched))


async def _has_dripped(client: socket.socket, watched: Watched) -> bool:
    try:
        client.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return not len(watched.connections)


async def test_who_reads_slowly_but_steadily_gets_all(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer may take many times as long as no progress may."""
    request = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    loop, count, start = asyncio.get_running_loop(), 0, time.monotonic()
    with await watched.connect(request) as client:
        async with within(20):
            while chunk := await loop.sock_recv(client, 200_000):
                count += len(chunk)
                await let_pass(0.03)
    assert count > len(BODY)
    assert time.monotonic() - start > 2 * SEND_TIMEOUT_S


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can be asked")
def test_the_kernel_takes_little_of_an_answer(settings: Settings) -> None:
    """What its client has no room for stays in the process, where it is seen and is shared."""
    free = settings.model_copy(update={"port": 0, "host": "127.0.0.1"})
    with server.listen(free) as listener, socket.socket() as client:
        listener.listen()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            accepted.setblocking(False)
            taken = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken += accepted.send(BODY)
    assert 0 < taken <= 2 * server.MAX_UNSENT_BYTES


async def test_a_process_without_files_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """The event loop drops connections then, and says nothing; one line a minute."""
    slow = SlowClients(Connections(total=1, per_address=1), head_timeout_s=1, send_timeout_s=1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.sep, os.O_RDONLY)
    os.close(lowest)
    slow._look_at_files()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        slow._look_at_files()
        slow._look_at_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert ["no file can be opened: new connections are dropped"] == [
        record.message for record in caplog.records
    ]
