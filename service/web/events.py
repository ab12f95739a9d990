"""/events: the stream as server-sent events (WHATWG HTML 9.2), for browsers and small consumers.

One reader a shard and process feeds all open connections. Each has a bounded queue: one that does
not read is cut off and comes back with Last-Event-ID, and nobody waits for it. An event's id is the
position in all shards, so that it resumes exactly; what was trimmed meanwhile is told by a `gap`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import orjson
from aiohttp import web

from service import categories, webhooks
from service.errors import InvalidInput, Unavailable
from service.storage.connecting import translated
from service.storage.store import Store
from service.storage.stream import FIRST, Event, Stream
from service.web.state import EVENTS, STORE

logger = logging.getLogger(__name__)

# Events that a connection may be behind before it is cut off; 1,000 are about 4 MB at 4 kB each,
# shared between all that wait for them.
MAX_BEHIND = 1_000
BATCH = 200
HEARTBEAT_S = 15.0
RECONNECT_S = 1.0
# What browsers wait before they come back.
RETRY_MS = 3_000
_POSITION = re.compile(r"\d{1,15}-\d{1,10}(?:,\d{1,15}-\d{1,10})*")


class Broadcast:
    """New events, to every open connection of this process."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._queues: set[asyncio.Queue[Event | None]] = set()

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[asyncio.Queue[Event | None]]:
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

    async def run(self, shard: int) -> None:
        """Read one shard for ever, waiting while Redis is away."""
        last: str | None = None
        while True:
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


async def show_events(request: web.Request) -> web.StreamResponse:
    """GET: `?category=` (repeated) for some only; `Last-Event-ID` resumes."""
    wanted = _wanted(request)
    store = request.app[STORE]
    resumed = _resumed(request, store.stream.shards)
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Access-Control-Allow-Origin": "*",
        }
    )
    async with request.app[EVENTS].subscribed() as queue:
        # Subscribed first: what comes while the old ones are read comes twice, and is told apart.
        position = resumed or [
            await store.stream.last_id(shard) for shard in range(store.stream.shards)
        ]
        await response.prepare(request)
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        with suppress(ConnectionResetError):
            if resumed:
                await _send_missed(response, store, position, wanted)
            await _send_new(response, queue, position, wanted)
    return response


async def _send_missed(
    response: web.StreamResponse, store: Store, position: list[str], wanted: Sequence[str]
) -> None:
    for shard in range(len(position)):
        first = await store.stream.first_id(shard)
        if first and _number(first) > _number(position[shard]) > (0, 0):
            await response.write(b"event: gap\ndata: events were trimmed since\n\n")
        while events := await store.stream.read(shard, position[shard], count=BATCH, wait=False):
            for event in events:
                await _send(response, event, position, wanted)


async def _send_new(
    response: web.StreamResponse,
    queue: asyncio.Queue[Event | None],
    position: list[str],
    wanted: Sequence[str],
) -> None:
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                event = await queue.get()
        except TimeoutError:
            # Proxies close what is silent, and we notice who is gone.
            await response.write(b": still here\n\n")
            continue
        if event is None:
            return
        if event.position > _number(position[event.shard]):
            await _send(response, event, position, wanted)


async def _send(
    response: web.StreamResponse, event: Event, position: list[str], wanted: Sequence[str]
) -> None:
    position[event.shard] = event.entry_id
    if not event.type or not _matches(event, wanted):
        return
    body = orjson.dumps({**event.envelope(), "data": orjson.Fragment(event.data)})
    await response.write(
        f"id: {','.join(position)}\nevent: {event.type}\ndata: ".encode() + body + b"\n\n"
    )


def _matches(event: Event, wanted: Sequence[str]) -> bool:
    if not wanted:
        return True
    try:
        paths = orjson.loads(event.data)["categories"]
    except (ValueError, KeyError, TypeError):
        return False
    return any(webhooks.is_within(path, paths) for path in wanted)


def _wanted(request: web.Request) -> list[str]:
    for name, value in request.query.items():
        if name not in ("category", "last-event-id"):
            raise InvalidInput(name, value, "no such parameter; known: category, last-event-id")
    return [categories.parse(spelling).path for spelling in request.query.getall("category", [])]


def _resumed(request: web.Request, shards: int) -> list[str] | None:
    """One entry id a shard. In the query, too: EventSource cannot set headers."""
    given = request.headers.get("Last-Event-ID") or request.query.get("last-event-id")
    if not given:
        return None
    ids = given.split(",")
    if not _POSITION.fullmatch(given) or len(ids) != shards:
        raise InvalidInput("Last-Event-ID", given, "is no id of an event from here")
    return ids


def _number(entry_id: str) -> tuple[int, int]:
    ms, _, sequence = (entry_id or FIRST).partition("-")
    return int(ms), int(sequence)
