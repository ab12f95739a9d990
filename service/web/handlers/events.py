"""/events: the stream as server-sent events (WHATWG HTML 9.2), for browsers and small consumers.

The id of an event is a position in all shards, so that Last-Event-ID resumes exactly; an event
`gap` tells the client that events were trimmed meanwhile. event_broadcast.py sends new events.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

from aiohttp import HttpVersion11, web

from service.articles import categories
from service.articles.event import EVENT_TYPES, position
from service.errors import InvalidInput
from service.logs import Throttle
from service.process import sleep
from service.storage.shards import Shards
from service.storage.store import Store
from service.web.request.client_address import client_network
from service.web.request.keys import EVENTS, STORE, STREAMS
from service.web.request.parameters import single_value
from service.web.serving.address_limit import AddressLimit, Full
from service.web.serving.event_broadcast import Frame, Listener
from service.web.serving.request_cache import CachingConnection

logger = logging.getLogger(__name__)

BATCH = 200
HEARTBEAT_S = 15.0
# How long a connection whose buffer is half full may read before the next missed event is sent.
ROOM_WAIT_S = 0.05
# How long browsers wait before they reconnect.
RETRY_MS = 3_000
# For clients that are refused: streams are long, so a slot becomes free now and then.
RETRY_AFTER_S = 60
_PARAMETERS = ("category", "types", "last-event-id")
_throttle = Throttle()
_POSITION = re.compile(r"[0-9]{1,15}-[0-9]{1,10}(?:,[0-9]{1,15}-[0-9]{1,10})*")


async def show_events(request: web.Request) -> web.StreamResponse:
    """GET: `?category=` and `?types=` (repeated) for some only; `Last-Event-ID` resumes. 429 for a
    client that has as many streams as one may have, 503 where the server has."""
    with _counted(request.app[STREAMS], client_network(request)):
        return await _stream(request)


@contextmanager
def _counted(streams: AddressLimit, network: str) -> Iterator[None]:
    full = streams.full(network)
    if full is not None:
        streams.refused[full] += 1
        if _throttle.is_due():
            extra = {"limit": full.value, "last_network": network, "streams": streams.count}
            logger.warning("readers of /events are refused", extra=extra)
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        if full is Full.ADDRESS:
            text = f"at most {streams.per_address} streams of events are open to one client"
            raise web.HTTPTooManyRequests(text=text, headers=headers)
        raise web.HTTPServiceUnavailable(
            text="no more streams of events are open to anybody now", headers=headers
        )
    streams.add(network)
    try:
        yield
    finally:
        streams.remove(network)


async def _stream(request: web.Request) -> web.StreamResponse:
    paths, types = _wanted(request)
    renames = request.app[STORE].category_renames
    paths += filter(None, [await renames.of(path) for path in paths])
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
    entry_ids = resumed or {
        shard: await store.event_stream.last_id(shard) for shard in store.event_stream.shards
    }
    await response.prepare(request)
    transport = request.transport
    if request.method == "HEAD" or transport is None:
        return response
    async with broadcast.listening(Listener(transport, entry_ids, paths, types)) as listener:
        if isinstance(request.protocol, CachingConnection):
            request.protocol.on_lost = listener.ended.set
        # Listen first: events that arrive while the old ones are read wait, and repeats are
        # dropped.
        listener.send(f"retry: {RETRY_MS}\n\n".encode())
        await _send_missed(listener, store, resumed=resumed is not None)
        listener.go_live()
        await _beat(listener, transport)
    return response


async def _send_missed(listener: Listener, store: Store, *, resumed: bool) -> None:
    """Send the events from the listener's position to the newest. For a client that does not
    resume, these are the events that arrived after its position was read."""
    for shard in store.event_stream.shards:
        last = listener.entry_ids[shard]
        is_behind = resumed and await store.event_stream.is_behind(shard, last)
        if is_behind and position(last) > (0, 0):
            listener.send(b"event: gap\ndata: events were trimmed since\n\n")
        while events := await store.event_stream.read(shard, last, count=BATCH, wait=False):
            for event in events:
                last = event.entry_id
                if not listener.send_old(Frame(event)):
                    await asyncio.sleep(ROOM_WAIT_S)
            if listener.ended.is_set():
                return


async def _beat(listener: Listener, transport: asyncio.Transport) -> None:
    """Until the connection ends. Proxies close what is silent, and we notice who is gone."""
    while not listener.ended.is_set():
        await sleep(listener.ended, HEARTBEAT_S)
        if transport.is_closing():
            # Nobody else says so where the connection is one of aiohttp's own.
            return
        if not listener.ended.is_set() and not listener.was_written_to():
            listener.send(b": still here\n\n")


def _wanted(request: web.Request) -> tuple[list[str], list[str]]:
    """(category paths, event types) that the client names."""
    for name, value in request.query.items():
        if name not in _PARAMETERS:
            raise InvalidInput(name, value, f"no such parameter; known: {', '.join(_PARAMETERS)}")
    types = request.query.getall("types", [])
    for kind in types:
        if kind not in EVENT_TYPES:
            raise InvalidInput("types", kind, f"must be one of {', '.join(EVENT_TYPES)}")
    spellings = request.query.getall("category", [])
    return [categories.parse(spelling).path for spelling in spellings], types


def _resumed(request: web.Request, shards: Shards) -> dict[int, str] | None:
    """Shard → the stream entry id after which to resume; None if the client does not resume.

    The id of a client that was connected before the shards became a multiple (placement.py) has
    fewer positions: each is that of all parts of its shard.
    It can be in the query too, because EventSource cannot set headers.
    """
    header = request.headers.get("Last-Event-ID")
    last_event_id = header or single_value(request.query, "last-event-id")
    if not last_event_id:
        return None
    entry_ids = last_event_id.split(",")
    if not _POSITION.fullmatch(last_event_id) or len(shards) % len(entry_ids):
        raise InvalidInput("Last-Event-ID", last_event_id, "is not the id of an event of this site")
    return dict(zip(shards, cycle(entry_ids), strict=False))
