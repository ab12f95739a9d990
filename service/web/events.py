"""/events: the stream as server-sent events (WHATWG HTML 9.2), for browsers and small consumers.

An event's id is the position in all shards, so that Last-Event-ID resumes exactly; what was trimmed
meanwhile is told by an event `gap`. See broadcast.py for how many can read at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

import orjson
from aiohttp import web

from service import categories, webhooks
from service.errors import InvalidInput
from service.storage.store import Store
from service.storage.stream import Event
from service.web.state import EVENTS, STORE

BATCH = 200
HEARTBEAT_S = 15.0
# What browsers wait before they come back.
RETRY_MS = 3_000
_POSITION = re.compile(r"\d{1,15}-\d{1,10}(?:,\d{1,15}-\d{1,10})*")


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
    with request.app[EVENTS].subscribed() as queue:
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
    # A line break in foreign data would end the field.
    if not event.type or b"\n" in event.data or not _matches(event, wanted):
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
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence)
