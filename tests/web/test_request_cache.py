"""Requests answered from their bytes: on real sockets, and never with somebody else's answer."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from service.web.serving import request_cache
from service.web.serving.connections import Connections
from service.web.serving.request_cache import (
    CachingConnection,
    CachingSite,
    Hot,
    RequestCache,
    is_one_request,
)
from service.web.serving.response import PreparedPage, PreparedResponse
from tests.waiting import answer_late, within

ONE = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
TWO = b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ONE)


@dataclass
class Served:
    """A server with two hot pages, and a slow path that says what it saw."""

    port: int = 0
    repeated: RequestCache = field(default_factory=RequestCache)
    connections: Connections = field(
        default_factory=lambda: Connections(total=1_000, per_address=1_000)
    )
    pages: dict[str, Hot] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        """Open a connection to the server."""
        made = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(made)
        return made

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer from a hot page and have it remembered, as `app.serve_hot` does."""
        await answer_late(0.02)
        hot = self.pages.get(request.raw_path)
        if hot is None:
            self.slow.append(f"{request.method} {request.raw_path} {await request.read()!r}")
            return web.Response(text="slow")
        ready = hot.prepared.make_answer(request)
        if isinstance(ready, PreparedResponse):
            assert isinstance(request.protocol, CachingConnection)
            request.protocol.remember(hot, ready)
        return ready


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The server, listening; its clients are closed at the end."""
    served = Served()
    for name in ("1", "2"):
        prepared = PreparedPage(f"page {name}".encode(), headers={"Cache-Control": "max-age=60"})
        served.pages[f"/{name}"] = Hot(prepared, until=time.monotonic() + 60)
    app = web.Application()
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    runner.server.request_handler = served.handle
    site = CachingSite(
        runner, _socket(), repeated=served.repeated, connections=served.connections, backlog=8
    )
    await site.start()
    served.port = runner.addresses[0][1]
    yield served
    for client in served.clients:
        client.writer.close()
        await client.writer.wait_closed()
    await runner.cleanup()


def _socket() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *chunks: bytes, is_cut: bool = False, answers: int = 1) -> list[str]:
        """The bodies of so many answers to these writes; an answer too many would be read by the
        next call. `is_cut`: each write arrives alone.
        """
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()
            if is_cut:
                await asyncio.sleep(0.01)
        async with within(5):
            return [await self._answer() for _ in range(answers)]

    async def _answer(self) -> str:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return (await self.reader.readexactly(int(length[1]) if length else 0)).decode()


async def test_the_second_time_it_is_a_look_up(served: Served) -> None:
    """On the same connection and on another one; each request has its own answer."""
    client = await served.client()
    assert ["page 1"] == await client.ask(ONE)
    assert 0 == served.repeated.hits
    assert ["page 1"] == await client.ask(ONE)
    other = await served.client()
    assert ["page 1"] == await other.ask(ONE)
    assert ["page 2"] == await other.ask(TWO)
    assert ["page 1"] == await other.ask(ONE)
    assert 3 == served.repeated.hits


async def test_what_is_conditional_is_another_request(served: Served) -> None:
    """And has another answer, which is remembered like any."""
    client = await served.client()
    tag = served.pages["/1"].prepared.etag
    conditional = ONE[:-2] + f'If-None-Match: "{tag}"\r\n\r\n'.encode()
    for _ in range(2):
        assert ["page 1"] == await client.ask(ONE)
        assert [""] == await client.ask(conditional)
    assert 2 == served.repeated.hits


async def test_bytes_within_another_request_are_no_request(served: Served) -> None:
    """A body that looks like a hot request is a body, however it is cut."""
    warm = await served.client()
    await warm.ask(ONE)
    for chunks in ((POST, ONE), (POST + ONE,), (POST[:20], POST[20:], ONE)):
        client = await served.client()
        assert ["slow"] == await client.ask(*chunks, is_cut=True)
        assert f"POST /other {ONE!r}" == served.slow.pop()
    chunked = b"POST /other HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = await served.client()
    body = b"%x\r\n" % len(ONE)
    assert ["slow"] == await client.ask(chunked, body, ONE, b"\r\n0\r\n\r\n", is_cut=True)
    assert f"POST /other {ONE!r}" == served.slow.pop()
    get = ONE.replace(b"GET /1", b"GET /other")[:-2] + b"Content-Length: %d\r\n\r\n" % len(ONE)
    client = await served.client()
    assert ["slow"] == await client.ask(get, ONE, is_cut=True)
    assert f"GET /other {ONE!r}" == served.slow.pop()
    assert 0 == served.repeated.hits


@pytest.mark.parametrize(
    "chunks",
    [(ONE + TWO + ONE,), (ONE, TWO, ONE), (ONE[:9], ONE[9:] + TWO, ONE), (OTHER, ONE, TWO)],
)
async def test_pipelined_requests_poison_nothing(served: Served, chunks: tuple[bytes, ...]) -> None:
    """What is sent before the last answer came is answered in order, and not remembered wrongly."""
    client = await served.client()
    asked = b"".join(chunks)
    names = [part[5:6].decode() for part in asked.split(b"\r\n\r\n")[:-1]]
    expected = ["slow" if name == "o" else f"page {name}" for name in names]
    assert expected == await client.ask(*chunks, answers=len(expected))
    assert ["page 1"] == await client.ask(ONE)
    fresh = await served.client()
    for _ in range(2):
        assert ["page 1"] == await fresh.ask(ONE)
        assert ["page 2"] == await fresh.ask(TWO)


async def test_a_page_that_is_not_hot_any_more_goes_the_long_way(served: Served) -> None:
    """Whether its time ran out or it was forgotten."""
    client = await served.client()
    hot = served.pages["/1"]
    await client.ask(ONE)
    hot.until = 0
    assert (["page 1"], 0) == (await client.ask(ONE), served.repeated.hits)
    hot.until = time.monotonic() + 60
    assert (["page 1"], 1) == (await client.ask(ONE), served.repeated.hits)
    served.repeated.forget(hot)
    assert (["page 1"], 1) == (await client.ask(ONE), served.repeated.hits)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, and pages let go of what was forgotten."""
    monkeypatch.setattr(request_cache, "MAX_REQUESTS", 3)
    held, hot = RequestCache(), Hot(PreparedPage(b"x", headers={}), until=time.monotonic() + 60)
    hot.prepared.make("identity")
    ready = hot.prepared._answers["identity", False]
    for number in range(10):
        held.remember(b"%d" % number, hot, ready)
    assert [None, ready] == [held.get(b"6"), held.get(b"7")]
    assert 3 == len(hot.requests)
    held.forget(hot)
    assert (None, set()) == (held.get(b"7"), hot.requests)
    held.remember(b"8", hot, ready)
    # As after each lost connection to Redis; a page may be hot for days.
    held.forget_all()
    assert (None, set()) == (held.get(b"8"), hot.requests)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ONE, True), (b"HEAD" + ONE[3:], True), (POST, False), (ONE + b"x", False),
        (ONE[:-1], False), (ONE + ONE, False), (b"", False), (b"\r\n" + ONE, False),
        (ONE[:-2] + b"upgrade: websocket\r\n\r\n", False),
        (ONE[:-2] + b"Expect: 100-continue\r\n\r\n", False),
    ],
)  # fmt: skip
def test_one_request(data: bytes, expected: bool) -> None:
    """Whole, alone, and without a body."""
    assert expected == is_one_request(data)


async def test_a_client_that_does_not_read_is_not_written_to(served: Served) -> None:
    """Repeated requests wait for it as others do."""
    served.pages["/1"] = Hot(
        PreparedPage(b"x" * 4_000_000, headers={}), until=time.monotonic() + 60
    )
    client = await served.client()
    for _ in range(30):
        client.writer.write(ONE)
        await asyncio.sleep(0.01)
    assert served.repeated.hits < 5


async def test_the_check_at_the_start_passes() -> None:
    """With the aiohttp that is pinned, both ways give the same bytes."""
    assert await request_cache.is_usable()


@pytest.mark.parametrize("name", ["_waiter", "_keepalive_timeout", "_next_keepalive_close_time"])
async def test_without_the_insides_of_aiohttp_pages_are_served_plainly(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An attribute of aiohttp's protocol that is gone costs speed, and one line says so."""

    def gone(self: object) -> object:
        raise AttributeError(name)

    monkeypatch.setattr(CachingConnection, name, property(gone), raising=False)
    app = web.Application()
    app.router.add_get("/1", _plain)
    runner = web.AppRunner(app)
    await runner.setup()
    site = await request_cache.make_site(
        runner,
        _socket(),
        cache=RequestCache(),
        connections=Connections(total=9, per_address=9),
        backlog=8,
    )
    await site.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(ONE)
        async with within(5):
            assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        writer.close()
        await writer.wait_closed()
    finally:
        await runner.cleanup()
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert ["this version of aiohttp does not fit the request cache"] == [
        record.message.partition(":")[0] for record in warnings
    ]


async def _plain(_: web.Request) -> web.Response:
    return web.Response(text="plain")
