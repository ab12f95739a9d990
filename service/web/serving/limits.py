"""How many connections and streams of events a server process may have.

What is not set follows from the limit on open files, which an operator knows how to raise: one
address may have a quarter of all connections, and half of all, as of one's own, may be streams, so
that streams never leave a server without connections for others.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from service.settings import Settings
from service.storage import client
from service.web.serving.connections import LOOPBACK_RESERVE

logger = logging.getLogger(__name__)

# For files, threads and what libraries open, besides connections of clients and to Redis.
RESERVED_FILES = 64
# A process that serves that many has no time left for more; at 10 kB each they take 0.3 GB.
MOST_CONNECTIONS = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Numbers of a server process, each at least 1."""

    connections: int
    connections_per_address: int
    streams: int
    """Readers of /events."""
    streams_per_address: int


def limits_of(settings: Settings, *, open_files: int) -> Limits:
    """The limits that are set, and for those that are 0 what `open_files` allows."""
    reserved = RESERVED_FILES + LOOPBACK_RESERVE + client.connections(shards=settings.shards)
    room = max(open_files - reserved, open_files // 2, 1)
    if settings.max_connections > room:
        extra = {"max_connections": settings.max_connections, "open_files": open_files}
        logger.warning("open files allow fewer connections than are set", extra=extra)
    connections = min(settings.max_connections or MOST_CONNECTIONS, room)
    per_address = settings.max_connections_per_address or max(connections // 4, 1)
    return Limits(
        connections=connections,
        connections_per_address=per_address,
        streams=settings.events_max_streams or max(connections // 2, 1),
        streams_per_address=settings.events_max_per_address
        or max(min(per_address, connections) // 2, 1),
    )
