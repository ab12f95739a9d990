"""One request and its answer, on real sockets that behave badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from service.settings import Settings
from service.webhooks.retry import Answer
from tests.conftest import LOOPBACK
from workers.deliver.send import send, target
from workers.http_client import open_client

LIMITS = aiohttp.ClientTimeout(total=0.5)


@asynccontextmanager
async def answering(*parts: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A URL where this is answered, after which nothing comes; and what was asked there."""
    heads: list[bytes] = []
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        for part in parts:
            writer.write(part)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        over.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook/SECRET", heads
        await over.wait()


async def sent(url: str, body: bytes | None = b"{}") -> Answer:
    """What came of a request."""
    opened = Settings(open_networks=LOOPBACK)
    async with open_client(opened, user_agent="t") as client:
        return await send(client, target(url), body, {}, limits=LIMITS)


async def test_the_status_counts_whatever_becomes_of_the_body() -> None:
    """A receiver that answered 2xx has the event; otherwise it would be sent forever."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    async with answering(head) as (url, _):
        answer = await sent(url)
        assert (200, "ok") == (answer.status, answer.text)


async def test_answers_are_asked_for_as_they_are() -> None:
    """Uncompressed: a callback's challenge is compared, and people read an attempt's answer."""
    async with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, heads):
        assert 204 == (await sent(url, None)).status
    assert b"accept-encoding: identity\r\n" in heads[0].lower()
    assert heads[0].startswith(b"GET ")


@pytest.mark.parametrize("reply", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n"])
async def test_errors_do_not_repeat_the_url(reply: bytes) -> None:
    """Many have a token in it, and errors are logged."""
    async with answering(reply) as (url, _):
        answer = await sent(url)
    assert 0 == answer.status
    assert answer.error
    assert "SECRET" not in answer.error


async def test_a_timeout_names_its_limit() -> None:
    """And a URL that cannot be used is an error without the URL."""
    async with answering() as (url, _):
        assert "no answer in 0.5 s" == (await sent(url)).error
    assert "cannot be used" in (await sent("http://[SECRET/")).error
