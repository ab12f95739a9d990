"""New events, to all open connections of a server process.

One reader a shard and process feeds them. Each connection has a bounded queue: one that does not
read is cut off and comes back where it was, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from service.errors import Unavailable
from service.storage.connecting import translated
from service.storage.stream import Event, Stream

logger = logging.getLogger(__name__)

# Events that a connection may be behind before it is cut off: about 4 MB at 4 kB each, shared
# between all that wait for the same.
MAX_BEHIND = 1_000
BATCH = 200
RECONNECT_S = 1.0


class Broadcast:
    """New events, to every open connection of this process."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._queues: set[asyncio.Queue[Event | None]] = set()

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[Event | None]]:
        """A queue of what comes from now on; None in it: too slow, cut off."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_BEHIND + 1)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """End every connection, at the end of the process."""
        for queue in list(self._queues):
            self._cut_off(queue)

    async def run(self, shard: int, stop: asyncio.Event) -> None:
        """Read one shard until told to stop, waiting while Redis is away."""
        last: str | None = None
        while not stop.is_set():
            try:
                with translated():
                    last = last or await self._stream.last_id(shard)
                    events = await self._stream.read(shard, last, count=BATCH)
            except Unavailable:
                await asyncio.sleep(RECONNECT_S)
                continue
            for event in events:
                last = event.entry_id
                self._give(event)

    def _give(self, event: Event) -> None:
        for queue in list(self._queues):
            if queue.qsize() < MAX_BEHIND:
                queue.put_nowait(event)
            else:
                logger.warning("cut off a reader of /events", extra={"behind": queue.qsize()})
                self._cut_off(queue)

    def _cut_off(self, queue: asyncio.Queue[Event | None]) -> None:
        self._queues.discard(queue)
        with suppress(asyncio.QueueFull):
            queue.put_nowait(None)
