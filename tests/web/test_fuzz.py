"""No bytes that anybody sends are answered with 5xx, logged with a traceback, or answered by a page
that names versions of software: every route, over sockets, against a server process.

FUZZ_S is how many seconds of new requests are sent (`make fuzz`: 300), FUZZ_SEED which ones. What
fails is printed: paste it into REPLAYED in replayed_requests.py, whose requests are always sent.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import pytest
from lxml import etree

from service.settings import Settings
from service.storage.store import Store
from tests.conftest import AUTH, TOKEN, Publish
from tests.running import ROOT, command, environ, free_port
from tests.waiting import PATIENCE, wait_until, within
from tests.web.odd_requests import RequestMaker
from tests.web.replayed_requests import REPLAYED

FUZZ_S = float(os.environ.get("FUZZ_S", "12"))
AT_ONCE = 32
# A request that never ends, and a stream that never ends, are given up after this.
QUIET_S = 0.4
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A `dateline serve` in a process of its own."""

    port: int
    log: Path
    process: asyncio.subprocess.Process

    async def send(self, request: bytes) -> bytes:
        """Send bytes on a connection of their own; return all that comes back until it closes or
        is quiet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = bytearray()
        try:
            writer.write(request)
            while True:
                async with asyncio.timeout(QUIET_S if answer else QUIET_S * PATIENCE):
                    part = await reader.read(65_536)
                if not part:
                    return bytes(answer)
                answer += part
        except (TimeoutError, ConnectionError):
            return bytes(answer)
        finally:
            writer.transport.abort()

    def logged_faults(self) -> str:
        """What the log holds of tracebacks and errors; empty if there are none."""
        text = self.log.read_text("utf-8", "replace")
        return text if "Traceback" in text or '"level":"error"' in text.lower() else ""


@asynccontextmanager
async def serving(settings: Settings, folder: Path) -> AsyncIterator[ServerProcess]:
    """Start a server on the test's Redis; end it."""
    port, log = free_port(), folder / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command("serve"),
            cwd=folder,
            env={
                **environ(
                    REDIS_URL=settings.redis_url,
                    DATA_DIR=str(folder),
                    PORT=str(port),
                    API_TOKEN=TOKEN,
                    PUBLIC_URL="http://news.example",
                    LOG_LEVEL="warning",
                ),
                "PYTHONPATH": str(ROOT),
            },
            stdout=file,
            stderr=file,
        )
    server = ServerProcess(port=port, log=log, process=process)

    async def is_up() -> bool:
        assert process.returncode is None, log.read_text()
        try:
            return b"200 OK" in await server.send(
                b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
        except OSError:
            return False

    try:
        await wait_until(is_up)
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        async with within(10):
            await process.wait()


class _Bytes:
    """What `HTTPResponse` needs of a socket."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def makefile(self, _: str) -> io.BytesIO:
        """The bytes; not closed at the end of a response, as the next one follows."""
        return self._file


class _Open(io.BytesIO):
    def close(self) -> None:
        """Leave it open for the next response."""


def fault_of(request: bytes, answer: bytes) -> str:
    """What is wrong with the bytes that came back; empty if nothing is."""
    for name in (b"aiohttp", b"Python/"):
        if name in answer and name not in request:
            return f"names {name.decode()}"
    file = _Open(answer)
    method = request.split(b" ", 1)[0].decode("latin-1")
    while file.tell() < len(answer):
        response = http.client.HTTPResponse(cast("Any", _Bytes(file)), method=method)
        try:
            response.begin()
            if response.getheader("Content-Type") == "text/event-stream":
                return "has a second status line" if b"HTTP/1." in file.read() else ""
            body = response.read()
        except http.client.UnknownProtocol:
            # aiohttp repeats the version of a request of HTTP/2.0 that is not HTTP/2.
            return "is 5xx" if b" 5" in answer[8:10] else ""
        except (http.client.HTTPException, ValueError) as exc:
            return f"is not HTTP: {exc!r}"
        fault = _fault_of_response(response, body, is_head=method == "HEAD")
        if fault:
            return fault
    return ""


def _fault_of_response(response: http.client.HTTPResponse, body: bytes, *, is_head: bool) -> str:
    if response.status >= 500:
        return f"is {response.status}"
    if is_head or response.getheader("Content-Encoding") or not body:
        return ""
    media_type = (response.getheader("Content-Type") or "").partition(";")[0]
    try:
        if media_type.endswith("json"):
            text = _texts(orjson.loads(body))
        elif media_type.endswith("xml"):
            etree.fromstring(body)
            text = ""
        else:
            text = body.decode()
    except (ValueError, etree.XMLSyntaxError) as exc:
        return f"is not {media_type}: {exc}"
    if response.status >= 400 and _CONTROLS.search(text):
        return "repeats control characters"
    if "xml" in media_type and not response.getheader("Content-Security-Policy"):
        return "is XML without a Content-Security-Policy"
    if response.getheader("X-Content-Type-Options") != "nosniff" and response.status >= 400:
        return "is an error without nosniff"
    return ""


def _texts(value: object) -> str:
    match value:
        case dict():
            return "".join(f"{name}{_texts(item)}" for name, item in value.items())
        case list():
            return "".join(map(_texts, value))
        case _:
            return str(value)


async def send_all(server: ServerProcess, requests: Sequence[bytes]) -> list[str]:
    """Send requests, AT_ONCE at a time; return a line to paste for each that fails."""
    faults = []

    async def send(request: bytes) -> None:
        fault = fault_of(request, await server.send(request))
        if fault:
            faults.append(f"    {request!r},  # {fault}")

    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(send(request))
    if not faults and server.logged_faults():
        faults = [f"    {request!r},  # one of these is logged" for request in requests]
    return faults


@pytest.fixture
async def server(
    settings: Settings, store: Store, publish: Publish, tmp_path: Path
) -> AsyncIterator[tuple[ServerProcess, list[str]]]:
    """A server with something of everything, and the ids of it."""
    ids = [await publish("One"), "harbour"]
    async with serving(settings, tmp_path) as process:
        base = f"http://127.0.0.1:{process.port}/api/v1"
        async with aiohttp.ClientSession(headers=AUTH) as session:
            for path, fields in (
                ("webhooks", {"url": "http://h.example/1"}),
                ("sources", {"url": "http://h.example/1"}),
                ("views", {"name": "harbour", "query": "q=words"}),
                ("private-feeds", {"category": "all"}),
            ):
                async with session.post(f"{base}/{path}", json=fields) as response:
                    assert 201 == response.status
                    shown = await response.json()
                    ids += [shown[name] for name in ("id", "url") if name in shown]
        yield process, [name.rsplit("/", 1)[-1] for name in ids]


async def test_requests_that_failed_before_do_not_fail_again(
    server: tuple[ServerProcess, list[str]],
) -> None:
    """Each alone: never 5xx, no traceback, no version, no control character."""
    process, _ = server
    for request in REPLAYED:
        assert [] == await send_all(process, [request]), process.logged_faults()[-4_000:]


@pytest.mark.timeout(FUZZ_S + 60)
async def test_no_bytes_are_answered_with_an_error_of_ours(
    server: tuple[ServerProcess, list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Random requests around every route, for FUZZ_S seconds."""
    process, ids = server
    # The same requests in each `make test`: what it finds is of the change that is tested.
    seed = random.SystemRandom().randrange(2**32) if "FUZZ_S" in os.environ else 1
    seed = int(os.environ.get("FUZZ_SEED", str(seed)))
    maker, end, count = RequestMaker(seed, token=TOKEN, ids=ids), time.monotonic() + FUZZ_S, 0
    while time.monotonic() < end:
        requests = [maker.make() for _ in range(AT_ONCE)]
        faults = await send_all(process, requests)
        count += len(requests)
        printed = "\n".join(faults)
        assert not faults, (
            f"FUZZ_SEED={seed}, after {count} requests; add to replayed_requests.py:\n{printed}\n"
            f"{process.logged_faults()[-4_000:]}"
        )
    with capsys.disabled():
        sys.stdout.write(f"\nFUZZ_SEED={seed}: {count} requests\n")
    assert process.process.returncode is None
    assert count
