"""What slots, dispatcher and the kinds of endpoints share: a leaf, which imports none of them.

An endpoint is a webhook, a subscription to our hub, or another hub that we ping. Endpoints belong
to partitions; a worker holds the lease of each partition whose endpoints it serves.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

from service.settings import Settings
from service.storage import keys
from service.storage.leases import Lease, SharedLeases
from service.storage.partitions import HUB_PREFIXES, PARTITIONS, partition_of, partitions_of
from service.storage.shards import Shards
from service.storage.store import Store
from service.storage.webhooks import Ack
from service.webhooks.retry import Answer
from workers.http_client import STRANGER, Provenance
from workers.runtime import Clock

# Names are kept in Redis: with another count workers of two versions would share endpoints.
HUB_LEASES = tuple(f"deliver:{number}" for number in range(16))
"""Of the subscriptions to our hub, and the hubs that we ping."""
WEBHOOK_LEASES = tuple(f"webhooks:{partition}" for partition in range(PARTITIONS))
"""By the number of the partition."""


@dataclass(frozen=True, slots=True)
class Request:
    """The next HTTP request to an endpoint."""

    url: URL | str
    headers: Mapping[str, str]
    body: bytes | None
    """The body of a POST; None makes the request a GET."""
    judge: Callable[[Answer], Ack | None]
    """Decides what is written after the answer; None if nothing is written."""
    events: int
    """Number of events that a success delivers, for the counters; 0 for requests without events."""
    provenance: Provenance = STRANGER
    """Provenance of the URL."""


@dataclass(slots=True, eq=False)
class Turn:
    """The notes of slots and dispatcher about one endpoint; only they change it."""

    is_queued: bool = False
    """It waits for a slot."""
    is_woken: bool = False
    """It was woken while its task ran."""
    is_gone: bool = False
    """It was removed, or another worker has it."""
    task: asyncio.Task[None] | None = None
    """The step in progress."""
    timer: asyncio.TimerHandle | None = None
    """When the dispatcher wakes it next; None if nothing but an event or an order does."""


class Endpoint(Protocol):
    """An endpoint as slots and dispatcher use it."""

    @property
    def id(self) -> str:
        """The name that decides its partition."""

    @property
    def turn(self) -> Turn:
        """The notes of slots and dispatcher; always the same object."""

    @property
    def is_suspect(self) -> bool:
        """Whether its last request failed."""

    @property
    def is_confirmed(self) -> bool:
        """Whether it wants to be sent to: a stranger may have named it who does not own it."""

    async def next(self) -> Request | Ack | None:
        """Return what to send, or to write without a request; None if there is nothing to do until
        it is woken or its timer rings."""

    async def apply_ack(self, ack: Ack) -> None:
        """Apply a written ack."""

    def stop_waiting(self) -> None:
        """Be woken by events no longer: a step is about to run, or the endpoint is dropped."""


class Scheduler(Protocol):
    """What endpoints may ask of the dispatcher."""

    @property
    def time(self) -> float:
        """The event loop's clock, in seconds."""

    def wake(self, endpoint: Endpoint) -> None:
        """Queue an endpoint for a slot; it starts at the next pump."""

    def ring(self, endpoint: Endpoint) -> None:
        """Wake an endpoint and start it at once if a slot is free."""

    def later(self, endpoint: Endpoint, delay_s: float) -> None:
        """Wake an endpoint after a delay, unless something wakes it before."""

    def drop(self, endpoint: Endpoint) -> None:
        """Serve an endpoint no longer."""


def lease_of(endpoint_id: str) -> str:
    """Return the name of the lease that an endpoint belongs to."""
    if endpoint_id.startswith(HUB_PREFIXES):
        return HUB_LEASES[zlib.crc32(endpoint_id.encode()) % len(HUB_LEASES)]
    return WEBHOOK_LEASES[partition_of(endpoint_id)]


def shared_leases(shards: Shards) -> tuple[SharedLeases, ...]:
    """All leases, in groups that are each in one shard: the hub's, and the webhooks of a shard."""
    hub = SharedLeases(names=HUB_LEASES, members=keys.DELIVERERS)
    webhooks = (
        SharedLeases(
            names=tuple(WEBHOOK_LEASES[partition] for partition in partitions),
            members=keys.webhook_deliverers(shard),
            shard=shard,
            number=number,
        )
        for number, shard in enumerate(shards)
        if (partitions := partitions_of(shard, shards))
    )
    return (hub, *webhooks)


class Partition:
    """The endpoints of one lease."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        kind, _, number = lease.name.partition(":")
        self.of_webhooks = int(number) if kind == "webhooks" else None
        """Number of the partition of webhooks; None for a part of the hub."""
        self.valid_until = 0.0
        """By the loop's clock; after it another worker may have the endpoints."""
        self.endpoints: dict[str, Endpoint] = {}
        self.leaves_since = 0.0
        """When its handover to another worker began; 0 while this worker keeps it."""

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Tasks of the endpoints that have a step in progress."""
        turns = (endpoint.turn for endpoint in self.endpoints.values())
        return [turn.task for turn in turns if turn.task]


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """What every endpoint works with."""

    store: Store
    settings: Settings
    scheduler: Scheduler
    now: Clock
    report: Callable[[str, Exception], Awaitable[None]]
    """Reports an endpoint (by its id) that makes our code fail."""
