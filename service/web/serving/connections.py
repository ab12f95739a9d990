"""The open connections of a server process: how many there may be, and who gives way.

Each is an open file, and past the limit on open files the event loop drops new connections
silently. So the server refuses them itself, a little before, and says so. One address may have a
part of them, so that it cannot have all.

Where there is no room, the oldest connection that has not sent a request yet gives way to the new
one, and after these the connections that have been idle for long: connections that are opened and
left silent cost nobody else a place. Loopback has a few places beyond the limits, for health checks
alone.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum, StrEnum
from typing import Protocol

from service.addresses import Network, is_in, network_of, parse_address
from service.logs import Throttle
from service.web.serving.address_limit import AddressLimit, Full

logger = logging.getLogger(__name__)

LOOPBACK_RESERVE = 16
"""Connections beyond the limits that loopback may have."""
IDLE_S = 5.0
"""A connection that was idle for this long since its last answer may be closed for a new one."""
IDLE_LOOK_S = 1.0
"""Time between two searches for such connections. A search takes 0.5 us for each open connection,
so it makes room for many."""
IDLE_PART = 8
"""One in this many idle connections is closed: those that were idle for longest."""
_ADVICE = {
    Full.TOTAL: "raise the limit on open files (ulimit -n, LimitNOFILE) or "
    "DATELINE_MAX_CONNECTIONS, or start more servers",
    Full.ADDRESS: "DATELINE_MAX_CONNECTIONS_PER_ADDRESS is what one may have; name your proxies in "
    "DATELINE_TRUSTED_PROXIES",
}


class Connection(Protocol):
    """What must be known of an open connection."""

    head_since: float
    """When the head of a request began to be waited for (monotonic); 0 between two requests that
    were answered and while one is handled."""

    def cut_off(self) -> None:
        """Close it at once, whatever is under way."""
        ...

    def idle_s(self, now: float) -> float | None:
        """Seconds since it was last answered or sent something; None while a request is
        handled."""
        ...

    def unsent_bytes(self) -> int:
        """What was written to it and has not gone to the kernel."""
        ...

    def acknowledged_bytes(self) -> int:
        """What its client has confirmed to have; 0 where the platform does not say."""
        ...

    def close_idle(self) -> None:
        """Close it in order, when nothing is under way."""
        ...


class Admission(Enum):
    """What becomes of a new connection."""

    FULL = "served"
    HEALTH_ONLY = "served with the health checks alone"
    NONE = "closed"


class Refused(StrEnum):
    """Why a connection was refused or cut off; the values are labels of a metric."""

    TOTAL = "total"
    """New, and refused: there are as many as there may be."""
    ADDRESS = "address"
    """New, and refused: its address has as many as one may have."""
    REPLACED = "replaced"
    """It did nothing, and gave way to a new one."""
    SLOW_HEAD = "slow_head"
    """It did not send the head of a request in time."""
    SLOW_READER = "slow_reader"
    """It did not take what was sent to it in time."""


_REFUSED = {Full.TOTAL: Refused.TOTAL, Full.ADDRESS: Refused.ADDRESS}


class Connections:
    """Every open connection, by its address.

    Args:
        total: most connections.
        per_address: most of one address, unless it is that of a trusted proxy.
        trusted: networks of proxies, which carry the connections of many clients.
    """

    def __init__(self, *, total: int, per_address: int, trusted: Sequence[Network] = ()) -> None:
        self.total = total
        self._limit = AddressLimit(total=total, per_address=per_address)
        self._trusted = trusted
        self._network_of: dict[Connection, str] = {}
        self._silent: dict[Connection, None] = {}
        """Those that have not sent a request yet, the oldest first."""
        self._silent_of: dict[str, dict[Connection, None]] = {}
        self._reserved: set[Connection] = set()
        self._next_look = dict.fromkeys(Full, 0.0)
        """Limit → when the next search for it is allowed: an address that has reached its own limit
        must not keep others from finding room."""
        self.refused: Counter[Refused] = Counter()
        """How many were refused or cut off since the start, by reason."""
        self._refusals = {full: _Refusals() for full in Full}

    def __len__(self) -> int:
        return len(self._network_of) + len(self._reserved)

    def __iter__(self) -> Iterator[Connection]:
        """All, in no order; also those that are beyond the limits."""
        yield from list(self._network_of)
        yield from list(self._reserved)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._network_of or connection in self._reserved

    def admit(self, connection: Connection, peer: str) -> Admission:
        """Count a new connection of this IP address (empty for a unix socket), if there is room
        or one that does nothing gives way."""
        network = self._counted_as(peer)
        full = self._limit.full(network)
        if full is not None:
            has_room = self._make_room(full, network if full is Full.ADDRESS else None)
            self._refusals[full].log(full, peer, replaced=has_room, count=len(self))
            if not has_room:
                self.refused[_REFUSED[full]] += 1
                return self._admit_beyond(connection, peer)
        self._limit.add(network)
        self._network_of[connection] = network
        self._silent[connection] = None
        self._silent_of.setdefault(network, {})[connection] = None
        return Admission.FULL

    def heard(self, connection: Connection) -> None:
        """Note that the first request of a connection has arrived."""
        if connection in self._silent:
            del self._silent[connection]
            network = self._network_of[connection]
            del self._silent_of[network][connection]
            if not self._silent_of[network]:
                del self._silent_of[network]

    def release(self, connection: Connection) -> None:
        """Forget a connection that has ended; nothing if it was not admitted or is forgotten."""
        self._reserved.discard(connection)
        self.heard(connection)
        network = self._network_of.pop(connection, None)
        if network is not None:
            self._limit.remove(network)

    def _make_room(self, full: Full, network: str | None) -> bool:
        """Close what does nothing, of this network or of all; whether there was any."""
        silent = self._silent if network is None else self._silent_of.get(network, {})
        leaving = list(itertools.islice(silent, 1)) or self._idle_longest(full, network)
        for connection in leaving:
            self.release(connection)
            connection.cut_off()
            self.refused[Refused.REPLACED] += 1
        return bool(leaving)

    def _idle_longest(self, full: Full, network: str | None) -> list[Connection]:
        now = time.monotonic()
        if now < self._next_look[full]:
            return []
        self._next_look[full] = now + IDLE_LOOK_S
        idle = [
            (idle_s, number, connection)
            for number, (connection, its_network) in enumerate(self._network_of.items())
            if network is None or its_network == network
            if (idle_s := connection.idle_s(now)) is not None and idle_s >= IDLE_S
        ]
        count = -(-len(idle) // IDLE_PART)
        return [connection for _, _, connection in heapq.nlargest(count, idle)]

    def _counted_as(self, peer: str) -> str:
        address = parse_address(peer) if self._trusted else None
        if address is not None and is_in(address, self._trusted):
            return ""
        return network_of(peer)

    def _admit_beyond(self, connection: Connection, peer: str) -> Admission:
        address = parse_address(peer)
        if address is None or not address.is_loopback or len(self._reserved) >= LOOPBACK_RESERVE:
            return Admission.NONE
        self._reserved.add(connection)
        return Admission.HEALTH_ONLY


class _Refusals:
    """What one limit has cost since the last log line about it."""

    def __init__(self) -> None:
        self._refused = self._replaced = 0
        self._throttle = Throttle()

    def log(self, full: Full, peer: str, *, replaced: bool, count: int) -> None:
        """Count a connection that met the limit; log all of them once a minute at most."""
        self._replaced += replaced
        self._refused += not replaced
        if self._throttle.is_due():
            costs = {"refused": self._refused, "replaced": self._replaced}
            extra = {"limit": full.value, **costs, "last_address": peer, "connections": count}
            extra["advice"] = _ADVICE[full]
            logger.warning("a limit on connections is reached", extra=extra)
            self._refused = self._replaced = 0
