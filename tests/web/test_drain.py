"""The end of a server that shares its port: no client loses a request."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from service.settings import Settings
from service.web.serving import listening
from service.web.serving.listening import accept_the_rest, drop_handshakes
from tests.conftest import AUTH, TOKEN
from tests.running import Serving, free_port, serving
from tests.waiting import let_pass, wait_until, within

POSTING, CONNECTING, ROUNDS = 6, 2, 2
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


async def keep_posting(url: str, number: int, stop: asyncio.Event, seen: Counter[str]) -> None:
    """Post on one connection for as long as it is kept; each answer and each failure is counted."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector, headers=AUTH) as session:
        while not stop.is_set():
            body = {"guid": f"{number}-{seen.total() % 20}", "title": "x"}
            try:
                async with session.post(f"{url}/api/v1/articles", json=body) as response:
                    await response.read()
                    seen[f"post {response.status}"] += 1
            except aiohttp.ClientError as exc:
                seen[f"post {exc!r}"] += 1


async def keep_connecting(port: int, stop: asyncio.Event, seen: Counter[str]) -> None:
    """Open a connection for each request."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET + b"Connection: close\r\n\r\n")
            seen[f"get {(await reader.read())[9:12].decode()}"] += 1
            writer.close()
        except OSError as exc:
            seen[f"get {exc!r}"] += 1


async def end(server: Serving) -> None:
    """SIGTERM, and an end in time and in order."""
    server.process.terminate()
    async with within(10):
        assert 0 == await server.process.wait(), server.text()
    assert "did not end in time" not in server.text()


@pytest.mark.timeout(60)
async def test_servers_are_replaced_under_load_without_a_failure(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Two servers on one port, each ended and replaced in turn: requests on connections that are
    kept and on new ones are all answered."""
    shown = settings.model_copy(update={"api_token": TOKEN, "drain_s": 5.0})
    port, stop, seen = free_port(), asyncio.Event(), Counter[str]()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        servers = [
            await stack.enter_async_context(serving(shown, tmp_path, port=port)) for _ in range(2)
        ]
        for number in range(POSTING):
            group.create_task(keep_posting(f"http://127.0.0.1:{port}", number, stop, seen))
        for _ in range(CONNECTING):
            group.create_task(keep_connecting(port, stop, seen))
        for _ in range(ROUNDS):
            before = seen.total()

            async def is_loaded(before: int = before) -> bool:
                return seen.total() > before + 200

            await wait_until(is_loaded)
            await end(servers.pop(0))
            servers.append(await stack.enter_async_context(serving(shown, tmp_path, port=port)))
        stop.set()
    assert {"post 200", "post 201", "get 200"} == set(seen), seen


async def test_a_draining_server_says_so_in_every_answer(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """A connection that is in use is answered with `Connection: close` and closed, also for a page
    that was answered from its bytes and for a redirect; one that is quiet is closed."""
    paths = ("/livez", "/feeds/all.json", "/robots.txt", "/feeds/All/2017/1/5.rss")
    patient = settings.model_copy(update={"drain_s": 20.0})
    async with serving(patient, tmp_path) as server:
        quiet, quiet_writer = await asyncio.open_connection("127.0.0.1", server.port)
        used = []
        for path in paths:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            for _ in range(3):
                writer.write(request)
                head = await read_answer(reader)
                assert b"\r\nconnection: close" not in head.lower()
            used.append((request, reader, writer))
        server.process.terminate()
        for request, reader, writer in used:
            async with within(5):
                while True:
                    writer.write(request)
                    head = await read_answer(reader)
                    if b"\r\nconnection: close\r\n" in head.lower():
                        break
                assert b"" == await reader.read()
            writer.close()
        async with within(10):
            assert b"" == await quiet.read()
            assert 0 == await server.process.wait()
        quiet_writer.close()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The head of an answer, whose body is read, too."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    await reader.readexactly(int(length.partition(b":")[2]))
    return head


@pytest.mark.skipif(listening.sys.platform != "linux", reason="the filter is Linux's")
async def test_a_handshake_that_is_dropped_reaches_a_sibling() -> None:
    """No connection is begun at the socket that will close; each succeeds at the other one."""
    with socket.socket() as closing, socket.socket() as sibling:
        for sock in (closing, sibling):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", 0 if sock is closing else closing.getsockname()[1]))
            sock.listen(64)
            sock.setblocking(False)
        assert drop_handshakes(closing)
        async with within(10), asyncio.TaskGroup() as group:
            address = closing.getsockname()
            opened = [group.create_task(asyncio.open_connection(*address[:2])) for _ in range(32)]
            await let_pass(0.1)
            with pytest.raises(BlockingIOError):
                closing.accept()
            closing.close()
    for task in opened:
        task.result()[1].close()


async def test_what_waits_to_be_accepted_is_accepted() -> None:
    """Also in the moment in which the socket is closed."""
    made: list[Any] = []

    def protocol() -> asyncio.Protocol:
        made.append(asyncio.Protocol())
        return made[-1]

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        streams = [await asyncio.open_connection(*listener.getsockname()[:2]) for _ in range(20)]
        await accept_the_rest(listener, protocol)
        assert (20, -1) == (len(made), listener.fileno())
        for reader, writer in streams:
            assert not reader.at_eof()
            writer.close()
