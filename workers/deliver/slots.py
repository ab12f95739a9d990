"""Slots: which endpoints may send now. Each request in flight takes one, so that many endpoints
share few connections.

A request that is in flight for over STUCK_AFTER_S stops counting: receivers that hang would hold
all slots otherwise, while the others wait for them. Endpoints whose last request failed share a
small pool: dead receivers take no slot from healthy ones. So do callbacks that have not confirmed:
strangers named them, and may name any number that hang.
"""

from __future__ import annotations

from collections import deque

from workers.deliver.endpoint import Endpoint

HEALTHY_SLOTS, SUSPECT_SLOTS, UNCONFIRMED_SLOTS = 512, 64, 32
STUCK_AFTER_S = 1.0
# Limit on all requests in flight, counted or not.
MAX_IN_FLIGHT = 4_096
MAX_SUSPECTS_IN_FLIGHT = 512
MAX_UNCONFIRMED_IN_FLIGHT = 256


class SlotPool:
    """A number of slots, the endpoints that have one, and those that wait."""

    def __init__(self, size: int, *, max_in_flight: int) -> None:
        self._size = size
        self._max_in_flight = max_in_flight
        self._waiting: deque[Endpoint] = deque()
        # In the order in which they began: the first has been in flight for the longest.
        self._counted: dict[Endpoint, float] = {}
        self._stuck: set[Endpoint] = set()

    @property
    def in_flight(self) -> int:
        """Number of requests, counted or not."""
        return len(self._counted) + len(self._stuck)

    def join(self, endpoint: Endpoint) -> None:
        """Let an endpoint wait for a slot."""
        self._waiting.append(endpoint)

    def next(self, now: float) -> Endpoint | None:
        """Give a slot to the first that waits; None if nobody waits or no slot is free."""
        while (
            self._waiting
            and len(self._counted) < self._size
            and self.in_flight < self._max_in_flight
        ):
            endpoint = self._waiting.popleft()
            endpoint.turn.is_queued = False
            if not endpoint.turn.is_gone:
                self._counted[endpoint] = now
                return endpoint
        return None

    def leave(self, endpoint: Endpoint) -> None:
        """Free the slot of an endpoint, if it has one."""
        self._counted.pop(endpoint, None)
        self._stuck.discard(endpoint)

    def free_stuck(self, now: float) -> None:
        """Stop counting requests that have been in flight for STUCK_AFTER_S."""
        while self._counted:
            endpoint, since = next(iter(self._counted.items()))
            if now - since < STUCK_AFTER_S:
                return
            del self._counted[endpoint]
            self._stuck.add(endpoint)


class Slots:
    """The pools of the healthy, the suspect and the unconfirmed endpoints."""

    def __init__(self) -> None:
        self._healthy = SlotPool(
            HEALTHY_SLOTS,
            max_in_flight=MAX_IN_FLIGHT - MAX_SUSPECTS_IN_FLIGHT - MAX_UNCONFIRMED_IN_FLIGHT,
        )
        self._suspect = SlotPool(SUSPECT_SLOTS, max_in_flight=MAX_SUSPECTS_IN_FLIGHT)
        self._unconfirmed = SlotPool(UNCONFIRMED_SLOTS, max_in_flight=MAX_UNCONFIRMED_IN_FLIGHT)
        self._pools = (self._healthy, self._suspect, self._unconfirmed)

    def join(self, endpoint: Endpoint) -> None:
        """Let an endpoint wait in the pool that its answers put it in."""
        endpoint.turn.is_queued = True
        if not endpoint.is_confirmed:
            self._unconfirmed.join(endpoint)
        elif endpoint.is_suspect:
            self._suspect.join(endpoint)
        else:
            self._healthy.join(endpoint)

    def next(self, now: float) -> Endpoint | None:
        """Give a slot to the next endpoint, healthy ones first; None if none can start."""
        return next(filter(None, (pool.next(now) for pool in self._pools)), None)

    def leave(self, endpoint: Endpoint) -> None:
        """Free the slot of an endpoint, in whichever pool it is."""
        for pool in self._pools:
            pool.leave(endpoint)

    def free_stuck(self, now: float) -> None:
        """Stop counting requests that have been in flight for STUCK_AFTER_S."""
        for pool in self._pools:
            pool.free_stuck(now)
