"""Prepared responses as raw bytes on real sockets, and the rules of conditional requests."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import brotli
import pytest
from aiohttp import web

from service.web.serving.codings import CODINGS, zstd
from service.web.serving.conditional import choose_coding, is_not_modified
from service.web.serving.response import PreparedPage
from tests.waiting import within

BODY = b"<rss>" + b"words " * 500 + b"</rss>"
CHANGED_S = 1_513_960_867  # Fri, 22 Dec 2017 16:41:07 GMT
DATE = "Fri, 22 Dec 2017 16:41:07 GMT"
CLOSING = "GET / HTTP/1.1\nHost: x\nConnection: close\n\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a server that answers every request with one page."""
    page = PreparedPage(
        BODY,
        headers={"Content-Type": "text/xml", "Cache-Control": "max-age=60"},
        changed_ms=CHANGED_S * 1000 + 999,
    )

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return page.make_answer(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def ask(port: int, request: str) -> bytes:
    """All bytes of the responses to these requests, of which the last closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode())
    async with within(5):
        answers = await reader.read()
    writer.close()
    return answers


def split(raw: bytes) -> tuple[str, dict[str, str], bytes]:
    """(status line, headers, body)."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


async def test_200(port: int) -> None:
    """A response has its status, headers, body, and exactly one Date."""
    raw = await ask(port, CLOSING)
    first, headers, body = split(raw)
    assert ("HTTP/1.1 200 OK", BODY) == (first, body)
    assert (str(len(BODY)), DATE, "text/xml", "Accept-Encoding") == (
        headers["Content-Length"],
        headers["Last-Modified"],
        headers["Content-Type"],
        headers["Vary"],
    )
    assert 1 == raw.count(b"\r\nDate: ")


async def test_pipelined_requests_have_their_answers_in_order(port: int) -> None:
    """Requests of all kinds on one connection are answered in their order."""
    raw = await ask(
        port,
        "GET / HTTP/1.1\nHost: x\n\nHEAD / HTTP/1.1\nHost: x\n\n"
        "GET / HTTP/1.1\nHost: x\nIf-None-Match: *\n\n" + CLOSING,
    )
    statuses = [line for line in raw.split(b"\r\n") if b"HTTP/1.1 " in line]
    assert ["200", "200", "304", "200"] == [
        s.rsplit(b"HTTP/1.1 ")[1][:3].decode() for s in statuses
    ]
    assert 2 == raw.count(BODY)


@pytest.mark.parametrize("request_text", ["GET / HTTP/1.0\n\n", CLOSING])
async def test_connections_that_close(port: int, request_text: str) -> None:
    """HTTP/1.0 and Connection: close get the same response, then the connection is closed."""
    first, headers, body = split(await ask(port, request_text))
    assert first.endswith("200 OK")
    assert (BODY, DATE) == (body, headers["Last-Modified"])
    assert headers.get("Connection", "close") == "close"


@pytest.mark.parametrize(
    ("coding", "decompress"),
    [("gzip", gzip.decompress), ("br", brotli.decompress), ("zstd", zstd.decompress)],
)
async def test_codings_on_the_wire(
    port: int, coding: str, decompress: Callable[[bytes], bytes]
) -> None:
    """Each coding decompresses to the same body, and has its own ETag."""
    head = f"GET / HTTP/1.1\nHost: x\nConnection: close\nAccept-Encoding: {coding}\n\n"
    _, headers, body = split(await ask(port, head))
    assert BODY == decompress(body)
    assert headers["ETag"].endswith(f'-{coding}"')
    assert coding == headers["Content-Encoding"]


def test_equal_bytes_make_equal_documents() -> None:
    """Equal bodies give equal ETags and codings, which do not depend on the time."""
    first, second = (PreparedPage(BODY, headers={}) for _ in range(2))
    assert first.etag == second.etag
    for coding in CODINGS:
        first.make(coding)
        second.make(coding)
        key = (coding, False)
        assert first._answers[key].coded == second._answers[key].coded
    assert CODINGS == first.prepared_codings
    assert () == PreparedPage(b"short", headers={}).codings


@pytest.mark.parametrize(
    ("if_none_match", "if_modified_since", "expected"),
    [
        (None, None, False), ('"t"', None, True), ('W/"t"', None, True), ('"x", "t"', None, True),
        ('"x"', None, False), ("*", None, True), ('"t-gzip"', None, True), ('"t;br"', None, True),
        ('"t-x"', None, False), ("t", None, True), ("", None, False),
        (None, DATE, True), (None, "Fri, 22 Dec 2017 16:41:08 GMT", True),
        (None, "Fri, 22 Dec 2017 16:41:06 GMT", False), (None, "garbage", False), (None, "", False),
        ('"x"', DATE, False), ('"t"', "Fri, 22 Dec 2000 16:41:06 GMT", True),
    ],
)  # fmt: skip
def test_not_modified(
    if_none_match: str | None, if_modified_since: str | None, expected: bool
) -> None:
    """RFC 9110 13: ETags precede dates, and are compared weakly and without proxies' suffixes."""
    assert expected == is_not_modified(
        if_none_match=if_none_match,
        if_modified_since=if_modified_since,
        etag="t",
        changed_s=CHANGED_S,
    )


@pytest.mark.parametrize(
    ("header", "coding"),
    [("", "identity"), ("gzip", "gzip"), ("br, gzip", "br"), ("gzip;q=0", "identity"), ("*", "br"),
     ("br;q=0, *", "gzip"), ("identity", "identity"), ("GZIP", "gzip"), ("gzip;q=x", "identity"),
     ("deflate", "identity"), ("gzip;foo=1", "gzip"), ("br;q=0.5, gzip", "gzip"),
     ("gzip;q=0.5, *;q=0.1", "gzip")],
)  # fmt: skip
def test_codings(header: str, coding: str) -> None:
    """RFC 9110 12.5.3: our preferred coding among those that the client prefers."""
    assert coding == choose_coding(header, ("br", "gzip"))
