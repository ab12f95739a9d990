"""Broadcast of new events to all open `/events` connections of a server process.

Each process reads each shard of the stream once. An event is decoded and framed once for all
listeners, and the same bytes are written to each connection: no task wakes for it. A client that
does not read is disconnected and can resume from its last event; other clients never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import cached_property

import orjson

from service.articles.categories import is_within
from service.articles.event import Event, is_of_types, position
from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.event_stream import EventStream

logger = logging.getLogger(__name__)

# Unsent bytes at which a connection is closed: 1,000 events of 4 kB. All connections that wait to
# send an event share its bytes.
MAX_BEHIND_BYTES = 4_000_000
# Events that wait while older ones are still being sent to a connection.
MAX_BEHIND = 1_000
BATCH = 200
# Connections that are written to before the other tasks of the process run.
AT_ONCE = 100
RECONNECT_S = 1.0
START_TIMEOUT_S = 5.0


class Frame:
    """An event, decoded and formatted as a server-sent event once for all listeners."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.position = event.position

    @cached_property
    def paths(self) -> Sequence[str]:
        """Category paths of its article; empty if its data is not that of an article."""
        article = self.event.article
        return article.categories if article else ()

    @cached_property
    def _lines(self) -> bytes:
        event = self.event
        # A line break in the data would end the field.
        if not event.type or b"\n" in event.data:
            return b""
        body = orjson.dumps({**event.envelope(), "data": orjson.Fragment(event.data)})
        return f"\nevent: {event.type}\ndata: ".encode() + body + b"\n\n"

    def text(self, event_id: str) -> bytes:
        """The server-sent event with the id to resume from; empty if it cannot be sent as one."""
        return b"id: " + event_id.encode() + self._lines if self._lines else b""

    @cached_property
    def alone(self) -> bytes:
        """Its chunk (RFC 9112 7.1) if the stream has one shard: then it is the same for all."""
        return chunk(self.text(self.event.entry_id))


def chunk(data: bytes) -> bytes:
    """Data as an HTTP chunk; no data gives no chunk, because an empty chunk ends the response."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class Listener:
    """One open connection.

    Args:
        transport: transport of a chunked HTTP/1.1 response whose head was sent.
        entry_ids: shard → the last stream entry id that the client has, in the order of shards.
        paths: category paths whose events are sent, with those below them; empty for all events.
        types: of the events that are sent, see `is_of_types`.
    """

    def __init__(
        self, transport: asyncio.Transport, entry_ids: dict[int, str], paths: Sequence[str],
        types: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.ended = asyncio.Event()
        self.entry_ids = entry_ids
        self._positions = {shard: position(last) for shard, last in entry_ids.items()}
        self._transport = transport
        self._paths = paths
        self._types = types
        self._waiting: list[Frame] | None = []
        self._was_written_to = False

    def give(self, frame: Frame) -> None:
        """Send an event, or hold it until `go_live`; close the connection if too many wait."""
        if self._waiting is None:
            self._send(frame)
        elif len(self._waiting) < MAX_BEHIND:
            self._waiting.append(frame)
        else:
            self._cut_off()

    def send_old(self, frame: Frame) -> bool:
        """Send a missed event; False if the caller must wait before it sends the next one."""
        self._send(frame)
        return self._transport.get_write_buffer_size() < MAX_BEHIND_BYTES // 2

    def send(self, data: bytes) -> None:
        """Write bytes that are not an event, such as a comment or `retry`."""
        if not self._transport.is_closing():
            self._transport.write(chunk(data))

    def go_live(self) -> None:
        """Send the events that arrived meanwhile; later ones are sent as they arrive."""
        waiting, self._waiting = self._waiting or [], None
        for frame in waiting:
            self._send(frame)

    def was_written_to(self) -> bool:
        """Whether an event was sent since the last call."""
        was, self._was_written_to = self._was_written_to, False
        return was

    def _send(self, frame: Frame) -> None:
        event = frame.event
        if frame.position <= self._positions[event.shard] or self.ended.is_set():
            return
        self._positions[event.shard] = frame.position
        self.entry_ids[event.shard] = event.entry_id
        if not is_of_types(event.type, self._types):
            return
        if self._paths and not any(is_within(path, frame.paths) for path in self._paths):
            return
        transport = self._transport
        if transport.is_closing():
            self.ended.set()
        elif transport.get_write_buffer_size() > MAX_BEHIND_BYTES:
            self._cut_off()
        else:
            has_one_shard = len(self.entry_ids) == 1
            ids = ",".join(self.entry_ids.values())
            data = frame.alone if has_one_shard else chunk(frame.text(ids))
            if data:
                transport.write(data)
                self._was_written_to = True

    def _cut_off(self) -> None:
        if not self.ended.is_set():
            logger.warning("disconnected a client of /events that does not read")
            self.ended.set()
            # Discard what it has not read: it resumes from its last event.
            self._transport.abort()


class Broadcast:
    """Sends new events to every listener of this process.

    Args:
        report: takes what our code or the data makes fail; reading goes on after it.
    """

    def __init__(
        self, stream: EventStream, *, report: Callable[[Exception], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._report = report
        self._listeners: set[Listener] = set()
        self._is_closed = False
        self._has_listeners = asyncio.Event()
        self._following: set[int] = set()
        """Shards that are being read, since before the first present listener was added."""
        self._followed = asyncio.Event()

    @asynccontextmanager
    async def listening(self, listener: Listener) -> AsyncIterator[Listener]:
        """Give new events to the listener inside the context.

        Raises:
            Unavailable: the stream cannot be read, or the server is ending.
        """
        if self._is_closed:
            raise Unavailable("the server is ending")
        self._listeners.add(listener)
        self._has_listeners.set()
        try:
            await self._started()
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _started(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while len(self._following) < len(self._stream.shards):
                    if self._is_closed:
                        raise Unavailable("the server is ending")
                    self._followed.clear()
                    await self._followed.wait()
        except TimeoutError as exc:
            raise Unavailable("the stream cannot be read now") from exc

    def close(self) -> None:
        """End every connection, and `run`, when the process ends."""
        for listener in self._listeners:
            listener.ended.set()
        self._is_closed = True
        self._has_listeners.set()
        self._followed.set()

    async def run(self, shard: int, stop: asyncio.Event) -> None:
        """Read one shard while there are listeners, until `stop` is set; retry after a pause if it
        fails, from the event after the one that made it fail."""
        last: str | None = None
        while not stop.is_set():
            if not self._listeners:
                if self._is_closed:
                    return
                last = None
                self._following.discard(shard)
                self._has_listeners.clear()
                await self._has_listeners.wait()
                continue
            try:
                with redis_errors_as_unavailable():
                    last = last or await self._stream.last_id(shard)
                    self._following.add(shard)
                    self._followed.set()
                    for event in await self._stream.read(shard, last, count=BATCH):
                        last = event.entry_id
                        await self._give(Frame(event))
            except Unavailable:
                await asyncio.sleep(RECONNECT_S)
            except Exception as exc:  # noqa: BLE001 -- reported
                await self._report(exc)
                await asyncio.sleep(RECONNECT_S)

    async def _give(self, frame: Frame) -> None:
        for number, listener in enumerate(list(self._listeners), 1):
            listener.give(frame)
            if not number % AT_ONCE:
                await asyncio.sleep(0)
