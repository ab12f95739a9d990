"""The end of a server process whose port others share: no client loses a request.

1. Every answer says `Connection: close` (`app.serve_hot`), and no request is answered from its
   bytes any more. New connections are still accepted: until the socket is closed, the kernel gives
   this process its share of them.
2. Connections that are between two requests end with their next answer. A client that has been
   quiet for a while is not about to send one, so its connection is closed: if it were, it could not
   know whether its request was done.
3. The socket is closed (`CachingSite.close_listener`), and streams of events are ended.
4. What was accepted last is answered. The caller ends what is still under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from aiohttp import web

from service.web.serving.connections import Connection, Connections
from service.web.serving.request_cache import CachingSite

QUIET_S, QUIET_SHARE = 1.0, 0.25
"""How long a client must have been quiet for its connection to be closed; less where that is more
than this share of DRAIN_S."""
IDLE_SHARE, HANDSHAKE_SHARE, LAST_SHARE = 0.3, 0.02, 0.18
"""Largest shares of DRAIN_S: for step 2, for handshakes in step 3, and for step 4."""
SHARE = IDLE_SHARE + HANDSHAKE_SHARE + LAST_SHARE
LOOK_S = 0.02
"""Time between two looks at the connections that are left."""


async def drain(
    site: web.BaseSite,
    connections: Connections,
    *,
    drain_s: float,
    end_streams: Callable[[], object],
) -> None:
    """Do all of it but step 1, within SHARE of `drain_s`."""
    quiet_s, now = min(QUIET_S, QUIET_SHARE * drain_s), time.monotonic()
    idle = [connection for connection in connections if connection.idle_s(now) is not None]
    await _let_go(idle, connections, quiet_s=quiet_s, within_s=IDLE_SHARE * drain_s)
    if isinstance(site, CachingSite):
        await site.close_listener(handshakes_s=HANDSHAKE_SHARE * drain_s)
    # Not before: their readers come back within seconds, and would be refused here.
    end_streams()
    await _let_go(connections, connections, quiet_s=quiet_s, within_s=LAST_SHARE * drain_s)


async def _let_go(
    leaving: Iterable[Connection], connections: Connections, *, quiet_s: float, within_s: float
) -> None:
    """Wait until these have ended, and close those that were idle for `quiet_s`."""
    remaining, end = list(leaving), time.monotonic() + within_s
    while remaining and (now := time.monotonic()) < end:
        for connection in remaining:
            idle_s = connection.idle_s(now)
            if idle_s is not None and idle_s >= quiet_s:
                connection.close_idle()
        await asyncio.sleep(LOOK_S)
        remaining = [connection for connection in remaining if connection in connections]
