"""A way to Redis on which connections can be reset, held, slowed down, or lose replies.

Each process has a separate way, so that a fault can strike one of them alone. The way also knows
when its process last sent a command: a process that sends none does not work.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_READ_BYTES = 65_536
# With this, closing sends RST instead of FIN.
_LINGER_NOT = struct.pack("ii", 1, 0)
_ERRORS = (OSError, RuntimeError)


class Way:
    """A port that leads to Redis; made by `open_way`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.last_sent_s = time.monotonic()
        """`time.monotonic` of the last connection or bytes that came from the process."""
        self.delay_s = 0.0
        """Before each reply is passed on."""
        self.drops_replies = False
        """Commands are passed on; the connection is reset in place of the first reply."""
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def hold(self) -> None:
        """Pass nothing on, in either direction, until `release`: a black hole, whose bytes come
        late."""
        self._open.clear()

    def release(self) -> None:
        """Pass on what was held, and what comes."""
        self._open.set()

    def reset(self) -> None:
        """Reset all connections now."""
        for writer in list(self._writers):
            _reset(writer)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the process."""
        self.last_sent_s = time.monotonic()
        self._writers.add(writer)
        try:
            with contextlib.suppress(*_ERRORS):
                back_reader, back = await asyncio.open_connection("127.0.0.1", self._target)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._commands(reader, back))
                    group.create_task(self._replies(back_reader, writer))
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _commands(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*_ERRORS):
            while data := await reader.read(MAX_READ_BYTES):
                self.last_sent_s = time.monotonic()
                await self._open.wait()
                back.write(data)
                await back.drain()
        back.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(*_ERRORS):
            while data := await reader.read(MAX_READ_BYTES):
                await self._open.wait()
                if self.drops_replies:
                    _reset(writer)
                    return
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    # A connection that is closed already has no socket any more.
    with contextlib.suppress(AttributeError, OSError, ValueError, RuntimeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


@asynccontextmanager
async def open_way(target: int) -> AsyncIterator[Way]:
    """Listen on a free port of loopback and lead to another one, until the block ends."""
    way = Way(target)
    listener = await asyncio.start_server(way.handle, "127.0.0.1", 0)
    way.port = listener.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        listener.close()
        way.release()
        way.reset()
