"""/events: the stream as server-sent events (WHATWG HTML 9.2), for browsers and small consumers.

The id of an event is a position in all shards, so that Last-Event-ID resumes exactly; an event
`gap` tells the client that events were trimmed meanwhile. event_broadcast.py sends new events.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import HttpVersion11, web

from service.articles import categories
from service.articles.event import position
from service.errors import InvalidInput
from service.storage.store import Store
from service.web.request.keys import EVENTS, STORE
from service.web.serving.event_broadcast import Frame, Listener

BATCH = 200
HEARTBEAT_S = 15.0
# How long a connection whose buffer is half full may read before the next missed event is sent.
ROOM_WAIT_S = 0.05
# How long browsers wait before they reconnect.
RETRY_MS = 3_000
_POSITION = re.compile(r"\d{1,15}-\d{1,10}(?:,\d{1,15}-\d{1,10})*")


async def show_events(request: web.Request) -> web.StreamResponse:
    """GET: events of each `?category=`, or all; `Last-Event-ID` resumes after that event."""
    wanted = _wanted(request)
    store, broadcast = request.app[STORE], request.app[EVENTS]
    resumed = _resumed(request, store.event_stream.shards)
    if request.version < HttpVersion11:
        raise InvalidInput("version", "HTTP/1.0", "has no chunked responses: use HTTP/1.1")
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Access-Control-Allow-Origin": "*",
        }
    )
    shards = range(store.event_stream.shards)
    entry_ids = resumed or [await store.event_stream.last_id(shard) for shard in shards]
    await response.prepare(request)
    transport = request.transport
    if request.method == "HEAD" or transport is None:
        return response
    async with broadcast.listening(Listener(transport, entry_ids, wanted)) as listener:
        # Listen first: events that arrive while the old ones are read wait, and repeats are
        # dropped.
        listener.send(f"retry: {RETRY_MS}\n\n".encode())
        await _send_missed(listener, store, resumed=resumed is not None)
        listener.go_live()
        await _beat(listener)
    return response


async def _send_missed(listener: Listener, store: Store, *, resumed: bool) -> None:
    """Send the events from the listener's position to the newest. For a client that does not
    resume, these are the events that arrived after its position was read."""
    for shard in range(len(listener.entry_ids)):
        first = await store.event_stream.first_id(shard)
        last = listener.entry_ids[shard]
        if resumed and first and position(first) > position(last) > (0, 0):
            listener.send(b"event: gap\ndata: events were trimmed since\n\n")
        while events := await store.event_stream.read(shard, last, count=BATCH, wait=False):
            for event in events:
                last = event.entry_id
                if not listener.send_old(Frame(event)):
                    await asyncio.sleep(ROOM_WAIT_S)
            if listener.ended.is_set():
                return


async def _beat(listener: Listener) -> None:
    """Send comments to a silent connection until it ends: proxies do not close it, and a client
    that has left is noticed."""
    while not listener.ended.is_set():
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await listener.ended.wait()
        except TimeoutError:
            if not listener.was_written_to():
                listener.send(b": still here\n\n")


def _wanted(request: web.Request) -> list[str]:
    for name, value in request.query.items():
        if name not in ("category", "last-event-id"):
            raise InvalidInput(name, value, "no such parameter; known: category, last-event-id")
    return [categories.parse(spelling).path for spelling in request.query.getall("category", [])]


def _resumed(request: web.Request, shards: int) -> list[str] | None:
    """The stream entry id of each shard after which to resume; None if the client does not resume.

    It can be in the query too, because EventSource cannot set headers.
    """
    last_event_id = request.headers.get("Last-Event-ID") or request.query.get("last-event-id")
    if not last_event_id:
        return None
    entry_ids = last_event_id.split(",")
    if not _POSITION.fullmatch(last_event_id) or len(entry_ids) != shards:
        raise InvalidInput("Last-Event-ID", last_event_id, "is not the id of an event of this site")
    return entry_ids
