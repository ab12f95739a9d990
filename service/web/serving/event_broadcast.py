"""New events, to all open connections of a server process.

One reader a shard and process feeds them. An event is decoded and framed once for all listeners,
and written to each connection as it is: no task wakes for it. A connection that does not read is
cut off, comes back where it was, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property

import orjson

from service.articles.categories import is_within
from service.articles.event import Event, position
from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.event_stream import EventStream

logger = logging.getLogger(__name__)

# Unsent bytes of a connection before it is cut off: 1,000 events of 4 kB. Of one event all that
# wait for it share the bytes.
MAX_BEHIND_BYTES = 4_000_000
# Events that wait while a connection is still sent older ones.
MAX_BEHIND = 1_000
BATCH = 200
# Connections that are written to before others of the process have their turn.
AT_ONCE = 100
RECONNECT_S = 1.0
START_TIMEOUT_S = 5.0


class Frame:
    """An event as it is sent."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.position = event.position

    @cached_property
    def paths(self) -> Sequence[str]:
        """Category paths of its article; none of an event that is not ours."""
        try:
            paths: Sequence[str] = orjson.loads(self.event.data)["categories"]
        except (ValueError, KeyError, TypeError):
            return ()
        return paths

    @cached_property
    def _lines(self) -> bytes:
        event = self.event
        # A line break in foreign data would end the field.
        if not event.type or b"\n" in event.data:
            return b""
        body = orjson.dumps({**event.envelope(), "data": orjson.Fragment(event.data)})
        return f"\nevent: {event.type}\ndata: ".encode() + body + b"\n\n"

    def text(self, event_id: str) -> bytes:
        """With the id to resume from; empty for what is no event."""
        return b"id: " + event_id.encode() + self._lines if self._lines else b""

    @cached_property
    def alone(self) -> bytes:
        """The chunk of it (RFC 9112 7.1) where there is one shard, which is the same for all."""
        return chunk(self.text(self.event.entry_id))


def chunk(data: bytes) -> bytes:
    """Data as a chunk; nothing for nothing, because an empty chunk is the end."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class Listener:
    """One open connection.

    Args:
        transport: of the connection, whose head was sent; HTTP/1.1, chunked.
        entry_ids: id of the last event that it has, one a shard.
        wanted: category paths; all if there are none.
    """

    def __init__(
        self, transport: asyncio.Transport, entry_ids: list[str], wanted: Sequence[str]
    ) -> None:
        self.ended = asyncio.Event()
        self.entry_ids = entry_ids
        self._positions = list(map(position, entry_ids))
        self._transport = transport
        self._wanted = wanted
        self._waiting: list[Frame] | None = []
        self._was_written_to = False

    def give(self, frame: Frame) -> None:
        """Send it, or keep it until `catch_up` is over; end the connection if that is too much."""
        if self._waiting is None:
            self._send(frame)
        elif len(self._waiting) < MAX_BEHIND:
            self._waiting.append(frame)
        else:
            self._cut_off()

    def send_old(self, frame: Frame) -> bool:
        """Send one from before; whether there is room for more at once."""
        self._send(frame)
        return self._transport.get_write_buffer_size() < MAX_BEHIND_BYTES // 2

    def send(self, data: bytes) -> None:
        """Write bytes that are not an event."""
        if not self._transport.is_closing():
            self._transport.write(chunk(data))

    def go_live(self) -> None:
        """What came meanwhile, and from now on each as it comes."""
        waiting, self._waiting = self._waiting or [], None
        for frame in waiting:
            self._send(frame)

    def was_written_to(self) -> bool:
        """Whether anything was sent since the last call."""
        was, self._was_written_to = self._was_written_to, False
        return was

    def _send(self, frame: Frame) -> None:
        event = frame.event
        if frame.position <= self._positions[event.shard] or self.ended.is_set():
            return
        self._positions[event.shard] = frame.position
        self.entry_ids[event.shard] = event.entry_id
        if self._wanted and not any(is_within(path, frame.paths) for path in self._wanted):
            return
        transport = self._transport
        if transport.is_closing():
            self.ended.set()
        elif transport.get_write_buffer_size() > MAX_BEHIND_BYTES:
            self._cut_off()
        else:
            whole = len(self.entry_ids) == 1
            data = frame.alone if whole else chunk(frame.text(",".join(self.entry_ids)))
            if data:
                transport.write(data)
                self._was_written_to = True

    def _cut_off(self) -> None:
        if not self.ended.is_set():
            logger.warning("cut off a reader of /events")
            self.ended.set()
            # What it has not read by now is not kept for it.
            self._transport.abort()


class Broadcast:
    """New events, to every open connection of this process."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._listeners: set[Listener] = set()
        self._is_closed = False
        self._anybody = asyncio.Event()
        self._following: set[int] = set()
        """Shards that are read, from before anybody who listens now began to."""
        self._followed = asyncio.Event()

    @asynccontextmanager
    async def listening(self, listener: Listener) -> AsyncIterator[Listener]:
        """It is given what comes from now on. Raises Unavailable if nothing can be read."""
        if self._is_closed:
            raise Unavailable("the server is ending")
        self._listeners.add(listener)
        self._anybody.set()
        try:
            await self._started()
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _started(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while len(self._following) < self._stream.shards:
                    if self._is_closed:
                        raise Unavailable("the server is ending")
                    self._followed.clear()
                    await self._followed.wait()
        except TimeoutError as exc:
            raise Unavailable("the stream cannot be read now") from exc

    @property
    def listeners(self) -> int:
        """Number of open connections."""
        return len(self._listeners)

    def close(self) -> None:
        """End every connection, at the end of the process."""
        for listener in self._listeners:
            listener.ended.set()
        self._is_closed = True
        self._anybody.set()
        self._followed.set()

    async def run(self, shard: int, stop: asyncio.Event) -> None:
        """Read one shard while anybody listens, until `stop` is set; wait while Redis is away."""
        last: str | None = None
        while not stop.is_set():
            if not self._listeners:
                if self._is_closed:
                    return
                last = None
                self._following.discard(shard)
                self._anybody.clear()
                await self._anybody.wait()
                continue
            try:
                with redis_errors_as_unavailable():
                    last = last or await self._stream.last_id(shard)
                    self._following.add(shard)
                    self._followed.set()
                    events = await self._stream.read(shard, last, count=BATCH)
            except Unavailable:
                await asyncio.sleep(RECONNECT_S)
                continue
            for event in events:
                last = event.entry_id
                await self._give(Frame(event))

    async def _give(self, frame: Frame) -> None:
        for number, listener in enumerate(list(self._listeners), 1):
            listener.give(frame)
            if not number % AT_ONCE:
                await asyncio.sleep(0)
