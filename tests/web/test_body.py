"""Request bodies: those of unauthorized clients are neither decompressed nor waited for."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import brotli
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from service.decoding import Decoder
from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from service.web.routes import ROUTES
from tests.conftest import AUTH, TOKEN, Clock
from tests.running import Serving, serving
from tests.waiting import within

Client = TestClient[Any, Any]
ONE = {"title": "One", "guid": "1", "content_html": "<p>Text.</p>"}
BOMB_BYTES = 1_000_000_000
BOMB = brotli.compress(b"\0" * BOMB_BYTES, quality=1)
JSON = orjson.dumps(ONE)
PATHS = sorted({(route.method, route.path) for route in ROUTES})


def filled(path: str) -> str:
    """The path of a route with its parameters replaced by a value."""
    return path.replace("{path:.+}", "x.rss").replace("{id}", "x").replace("{name}", "x")


async def test_no_body_is_unpacked_for_anybody(client: Client) -> None:
    """Brotli, at every route and method, with a token and without: all of them together cost less
    than half of unpacking it once, beside what the same requests cost with a body of a byte."""

    async def ask_everywhere(body: bytes) -> None:
        for headers in ({}, AUTH):
            for method, path in [*PATHS, ("POST", "/nothing"), ("GET", "/nothing")]:
                if path == "/events":
                    continue  # It never ends.
                async with client.request(
                    method, filled(path), data=body, headers={**headers, "Content-Encoding": "br"}
                ) as response:
                    assert response.status < 500, path
                    assert response.status not in (200, 201) or method in ("GET", "DELETE"), path

    start = time.process_time()
    brotli.decompress(BOMB)
    once_s = time.process_time() - start
    costs = []
    for body in (b"x", b"x", BOMB):
        start = time.process_time()
        await ask_everywhere(body)
        costs.append(time.process_time() - start)
    assert costs[2] < costs[1] + once_s / 2


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "gzip, br", "odd", "x"])
async def test_other_codings_are_refused_by_name(client: Client, coding: str) -> None:
    """Another coding is answered with 415 and the accepted one (RFC 9110 15.5.16)."""
    headers = AUTH | {"Content-Encoding": coding}
    async with client.post("/api/v1/articles", data=BOMB[:100], headers=headers) as response:
        problem = await response.json(content_type=None)
    assert 415 == response.status
    assert "gzip" == response.headers["Accept-Encoding"]
    assert coding in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/sources"), ("POST", "/api/v1/webhooks"), ("PUT", "/api/v1/views/x"),
     ("POST", "/hub")],
)  # fmt: skip
async def test_only_publishing_takes_gzip(client: Client, method: str, path: str) -> None:
    """No other path accepts a compressed body."""
    headers = AUTH | {"Content-Encoding": "gzip"}
    async with client.request(method, path, data=gzip.compress(JSON), headers=headers) as response:
        assert (415, "identity") == (response.status, response.headers["Accept-Encoding"])


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "identity", ""])
async def test_gzip_is_taken_where_articles_are_published(client: Client, coding: str) -> None:
    """gzip is accepted under each of its names, also with several members (RFC 1952 2.2)."""
    is_coded = "gzip" in coding.lower()
    half = len(JSON) // 2
    body = gzip.compress(JSON[:half]) + gzip.compress(JSON[half:]) if is_coded else JSON
    headers = AUTH | ({"Content-Encoding": coding} if coding else {})
    async with client.post("/api/v1/articles", data=body, headers=headers) as response:
        assert 201 == response.status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(b" " * 20_000_000), 413),
        (gzip.compress(orjson.dumps([{"title": "x" * 400} for _ in range(60_000)])), 413),
        (gzip.compress(JSON)[:-9], 400),
        (gzip.compress(JSON)[:20], 400),
        (b"no gzip", 400),
        (b"", 400),
        (gzip.compress(b"") * 500_000, 413),
    ],
    ids=["bomb", "over the limit", "cut", "cut early", "none", "empty", "empty members"],
)
async def test_gzip_is_bounded_and_whole(client: Client, body: bytes, status: int) -> None:
    """A body that decompresses to too much, or is incomplete, is refused as a whole."""
    headers = AUTH | {"Content-Encoding": "gzip"}
    async with client.post("/api/v1/articles", data=io.BytesIO(body), headers=headers) as response:
        assert status == response.status, await response.text()


@pytest.fixture
async def server(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[TestServer]:
    """A test server with the application."""
    async with TestServer(create_app(settings, token=TOKEN, now=clock)) as opened:
        yield opened


async def answer_to(server: TestServer | Serving, head: str, body: bytes = b"") -> bytes:
    """The bytes received up to the head of the first response that is not 100 Continue."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{head}\r\nHost: x\r\n\r\n".encode() + body)
    found = b""
    async with within(10):
        while found.count(b"HTTP/1.1 ") == found.count(b" 100 Continue"):
            found += await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return found


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/", "/api/v1/articles", "/hub", "/nothing", "/feeds/all.rss", "/websub/x", "/livez"]
)
async def test_a_gigabyte_is_not_waited_for(server: TestServer, method: str, path: str) -> None:
    """Too large a Content-Length is answered with 413 at every path, and the connection closed."""
    head = f"{method} {path} HTTP/1.1\r\nContent-Length: 1000000000"
    found = await answer_to(server, head, b"x" * 1_000)
    assert found.startswith(b"HTTP/1.1 413 "), found[:100]
    assert b"connection: close" in found.lower()


async def test_who_asks_before_sending_is_told_at_once(server: TestServer) -> None:
    """`Expect: 100-continue` of too large a body is not answered 100 (RFC 9110 10.1.1)."""
    head = "POST /api/v1/articles HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: "
    found = await answer_to(server, head + "1000000000")
    assert found.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in found
    body = f"{head}{len(JSON)}\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}"
    found = await answer_to(server, body, JSON)
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")
    found = await answer_to(
        server, "POST /api/v1/articles HTTP/1.1\r\nExpect: tea\r\nContent-Length: 1"
    )
    assert found.startswith(b"HTTP/1.1 417 ")


HEAD = "HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5"
UNINVITED = [
    ("POST", "/api/v1/articles", "", 401),
    ("POST", "/api/v1/articles", "Authorization: Bearer not-a-token-of-this-site", 401),
    ("POST", "/api/v1/articles", f"Authorization: Bearer {TOKEN}\r\nContent-Encoding: br", 415),
    ("POST", "/api/v1/articles", f"Authorization: Bearer {TOKEN}\r\nContent-Type: a/b", 415),
    ("POST", "/api/v1/sources", "", 401),
    ("PATCH", "/api/v1/webhooks/x", "", 401),
    ("PUT", "/api/v1/views/x", "", 401),
    ("DELETE", "/api/v1/tokens/x", "", 401),
    ("POST", "/websub/x", "", 410),
    ("GET", "/robots.txt", "", 200),
    ("POST", "/nothing", "", 404),
    ("PUT", "/feeds.opml", "", 405),
    ("POST", "/api/nothing", "", 404),
]


async def test_a_body_is_invited_by_the_handler_that_wants_it(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """`Expect: 100-continue` is answered 100 after all that the head can be refused for, by a final
    answer else, which closes the connection: the body may follow (RFC 9110 10.1.1)."""
    known = settings.model_copy(update={"api_token": TOKEN})
    async with serving(known, tmp_path) as process:
        for method, path, header, status in UNINVITED:
            head = f"{method} {path} {HEAD}" + (f"\r\n{header}" if header else "")
            found = await answer_to(process, head)
            assert found.startswith(f"HTTP/1.1 {status} ".encode()), (head, found)
            assert b"\r\nconnection: close\r\n" in found.lower(), (head, found)
            assert b"\r\nx-content-type-options: nosniff\r\n" in found.lower() or status < 400
        form = b"hub.mode=publish&hub.topic=http://news.example/feeds/all.rss"
        head = f"POST /hub {HEAD.replace(': 5', f': {len(form)}')}"
        found = await answer_to(process, head, form)
        assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")
        assert b"connection: close" not in found.lower()


async def test_the_hub_takes_small_forms_alone(server: TestServer) -> None:
    """The hub needs no token, so a form over 64 KiB is refused with 413."""
    head = "POST /hub HTTP/1.1\r\nContent-Length: 70000"
    assert (await answer_to(server, head)).startswith(b"HTTP/1.1 413 ")


async def test_a_body_without_a_length_is_bounded_as_it_comes(server: TestServer) -> None:
    """A chunked body is refused when it exceeds the limit, not when it ends."""
    head = (
        "POST /api/v1/articles HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {TOKEN}"
    )
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    found = await answer_to(server, head, chunk * 17)
    assert found.startswith(b"HTTP/1.1 413 ")


ENDLESS = [
    ("GET", "/robots.txt", "", 200),
    ("GET", "/nothing", "", 404),
    ("POST", "/nothing", "", 404),
    ("POST", "/api/v1/articles", "", 401),
    ("POST", "/api/v1/articles", f"Authorization: Bearer {TOKEN}", 413),
    ("POST", "/hub", "", 413),
    ("POST", "/websub/x", "", 410),
]


async def pour(port: int, method: str, path: str, header: str) -> int:
    """Send chunks until the connection ends, for 100 MB at most; the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", header]
    writer.write("\r\n".join(filter(None, lines)).encode() + b"\r\n\r\n")
    sent, head = 0, b""
    with contextlib.suppress(ConnectionError):
        while sent < 100_000_000:
            writer.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
            await writer.drain()
            sent += 0x100000
            # The answer comes while the body is still being sent.
            head = head or bytes(reader._buffer)  # type: ignore[attr-defined]  # nothing else is read
    writer.transport.abort()
    return int(head[9:12])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_an_endless_body_is_never_held(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Whatever is done with it: answered while it comes, and 100 MB at each path leave the server
    as large as it was."""
    known = settings.model_copy(update={"api_token": TOKEN})
    async with serving(known, tmp_path) as server:

        def peak_kb() -> int:
            lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
            (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
            return int(peak)

        before = peak_kb()
        async with within(25):
            for method, path, header, status in ENDLESS:
                assert status == await pour(server.port, method, path, header), path
        # What is read for a push that is refused: API_MAX_BYTES, twice while it is joined.
        assert peak_kb() - before < 3 * known.api_max_bytes // 1_000


def test_members_of_gzip_are_one_body_wherever_they_are_cut() -> None:
    """Also within the two bytes that a member begins with (RFC 1952 2.2, 2.3.1)."""
    coded = gzip.compress(b"one ") + gzip.compress(b"two")
    for at in range(len(coded) + 1):
        decoder = Decoder("gzip")
        steps = [step for part in (coded[:at], coded[at:]) for step in decoder.decode(part)]
        assert b"one two" == b"".join(steps), at
        assert decoder.is_whole
