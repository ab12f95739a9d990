"""A proxy on a real socket, for HTTP and SOCKS5, that resolves every name to 127.0.0.1."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class FakeProxy:
    """Remembers what it was asked for: (`http`, `connect` or `socks`, host, port)."""

    def __init__(self, *, login: str = "") -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.port = 0
        self._login = login
        """`name:password` that it wants; empty for none."""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()

    def url(self, scheme: str) -> str:
        """Its URL, with the name and password that it wants."""
        login = f"{self._login}@" if self._login else ""
        return f"{scheme}://{login}127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            first = await reader.readexactly(1)
            if first == b"\x05":
                await self._socks(reader, writer)
            else:
                await self._http(first, reader, writer)
        writer.close()

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = first + await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        expected = base64.b64encode(self._login.encode())
        if self._login and b"Proxy-Authorization: Basic " + expected not in head:
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await self._connect("connect", host, int(port), reader, writer)
        else:
            parts = urlsplit(target)
            await self._connect(
                "http", parts.hostname or "", parts.port or 80, reader, writer, sent=head
            )

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(1))[0])
        if self._login:
            writer.write(b"\x05\x02")
            name = await self._text(reader, skip=1)
            is_known = f"{name}:{await self._text(reader)}" == self._login
            writer.write(b"\x01\x00" if is_known else b"\x01\x01")
            if not is_known:
                return
        else:
            writer.write(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            host = await self._text(reader)
        else:
            host = ".".join(map(str, await reader.readexactly(4)))
        port = int.from_bytes(await reader.readexactly(2))
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        await self._connect("socks", host, port, reader, writer)

    async def _text(self, reader: asyncio.StreamReader, *, skip: int = 0) -> str:
        size = (await reader.readexactly(skip + 1))[-1]
        return (await reader.readexactly(size)).decode()

    async def _connect(
        self, how: str, host: str, port: int, reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter, *, sent: bytes = b"",
    ) -> None:  # fmt: skip
        self.asked.append((how, host, port))
        there, back = await asyncio.open_connection("127.0.0.1", port)
        back.write(sent)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, back))
            group.create_task(_copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
