"""An endpoint as dispatcher and slots know it, and what it is given to work with."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from service.settings import Settings
from service.storage.leases import Lease
from service.storage.store import Store
from service.storage.webhooks import Ack
from service.webhooks.retry import Answer
from workers.deliver.slots import Sender
from workers.runtime import Clock

if TYPE_CHECKING:
    from workers.deliver.dispatcher import Dispatcher

# Names are kept in Redis: with another count workers of two versions would share endpoints.
PARTITIONS = 16
LEASES = [f"deliver:{number}" for number in range(PARTITIONS)]


@dataclass(frozen=True, slots=True)
class Request:
    """What an endpoint is sent next."""

    url: URL | str
    headers: Mapping[str, str]
    body: bytes | None
    """None: a GET."""
    judged: Callable[[Answer], Ack | None]
    """What is to be written when the answer is there, if anything is."""
    delivers: int
    """Events, for the counters; 0 for what is none."""


def lease_of(endpoint_id: str) -> str:
    """The lease that an endpoint belongs to."""
    return LEASES[zlib.crc32(endpoint_id.encode()) % PARTITIONS]


class Partition:
    """The endpoints of one lease."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.valid_until = 0.0
        """By the loop's clock; after it another worker may have them."""
        self.endpoints: dict[str, Sender] = {}
        self.leaves_since = 0.0
        """When it began to be left to another worker; 0 if it is not."""

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Of those with something in flight."""
        return [endpoint.task for endpoint in self.endpoints.values() if endpoint.task]


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """What every endpoint needs."""

    store: Store
    settings: Settings
    dispatcher: Dispatcher
    now: Clock
