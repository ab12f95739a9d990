"""Who may send now. A place is held for each request in flight, so that many endpoints share few.

A request that is in flight for over STUCK_AFTER_S stops counting: receivers that hang would hold
all places otherwise, and the others wait for them. Senders that failed wait in a lane of their
own, which is small: a dead one costs the healthy ones nothing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.storage.webhooks import Ack
    from workers.deliver.endpoint import Request


HEALTHY_PLACES, SUSPECT_PLACES = 512, 64
STUCK_AFTER_S = 1.0
# Of all requests in flight, counted or not.
MAX_IN_FLIGHT = 4_096
MAX_SUSPECTS_IN_FLIGHT = 512


class Sender(ABC):
    """An endpoint as lanes and dispatcher know it."""

    def __init__(self, endpoint_id: str) -> None:
        self.id = endpoint_id
        self.first_failure_ms = 0
        """When the present row of failures began; 0 if there is none."""
        self.is_queued = self.is_gone = self.is_woken = False
        self.task: asyncio.Task[None] | None = None
        """Of the request in flight."""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def is_suspect(self) -> bool:
        """From a failure until the next success."""
        return self.first_failure_ms != 0

    @abstractmethod
    async def next(self) -> Request | Ack | None:
        """What is to be sent or noted; if nothing, it sleeps or has a timer."""

    @abstractmethod
    async def take(self, ack: Ack) -> None:
        """Be as an ack has it, now that it is written."""

    @abstractmethod
    def rest(self) -> None:
        """Be woken by nothing but the dispatcher."""


class SlotPool:
    """Senders that wait for a place, and those that have one."""

    def __init__(self, places: int, *, most: int) -> None:
        self._places = places
        self._most = most
        self._waiting: deque[Sender] = deque()
        # In the order of their beginning: the first has been under way for the longest.
        self._counted: dict[Sender, float] = {}
        self._stuck: set[Sender] = set()

    @property
    def in_flight(self) -> int:
        """Requests, counted or not."""
        return len(self._counted) + len(self._stuck)

    def join(self, endpoint: Sender) -> None:
        """Wait for a place."""
        self._waiting.append(endpoint)

    def next(self, now: float) -> Sender | None:
        """Who has a place from now on; None if nobody waits or none is free."""
        while self._waiting and len(self._counted) < self._places and self.in_flight < self._most:
            endpoint = self._waiting.popleft()
            endpoint.is_queued = False
            if not endpoint.is_gone:
                self._counted[endpoint] = now
                return endpoint
        return None

    def leave(self, endpoint: Sender) -> None:
        """The place is free again."""
        self._counted.pop(endpoint, None)
        self._stuck.discard(endpoint)

    def free_stuck(self, now: float) -> None:
        """Count no longer what takes long."""
        while self._counted:
            endpoint, since = next(iter(self._counted.items()))
            if now - since < STUCK_AFTER_S:
                return
            del self._counted[endpoint]
            self._stuck.add(endpoint)


class Slots:
    """The two lanes."""

    def __init__(self) -> None:
        self._healthy = SlotPool(HEALTHY_PLACES, most=MAX_IN_FLIGHT - MAX_SUSPECTS_IN_FLIGHT)
        self._suspect = SlotPool(SUSPECT_PLACES, most=MAX_SUSPECTS_IN_FLIGHT)
        self._lanes = (self._healthy, self._suspect)

    @property
    def in_flight(self) -> int:
        """Requests of both."""
        return self._healthy.in_flight + self._suspect.in_flight

    def join(self, endpoint: Sender) -> None:
        """Wait in the lane that is the endpoint's now."""
        endpoint.is_queued = True
        (self._suspect if endpoint.is_suspect else self._healthy).join(endpoint)

    def next(self, now: float) -> Sender | None:
        """Who may send now."""
        return self._healthy.next(now) or self._suspect.next(now)

    def leave(self, endpoint: Sender) -> None:
        """Done, whichever lane it was."""
        for lane in self._lanes:
            lane.leave(endpoint)

    def free_stuck(self, now: float) -> None:
        """Count no longer what takes long."""
        for lane in self._lanes:
            lane.free_stuck(now)
