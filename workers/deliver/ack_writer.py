"""What came of deliveries, written together: one call for all that ended meanwhile.

An endpoint waits for its ack before it sends the next: a worker that is killed has at most the one
request in flight sent again, of each endpoint.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from service.storage.leases import Lease
from service.storage.webhooks import Ack, Settled, Webhooks
from workers import runtime

# Between two calls: what ends within this time shares one.
EVERY_S = 0.005
MAX_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class _Entry:
    lease: Lease
    ack: Ack
    written: asyncio.Future[Settled]


class AckWriter:
    """The writer."""

    def __init__(self, deliveries: Webhooks) -> None:
        self._deliveries = deliveries
        self._waiting: list[_Entry] = []
        self._counters: Counter[str] = Counter()
        self._some = asyncio.Event()
        self._has_ended = False

    def count(self, name: str, amount: int) -> None:
        """Add to a counter, with the next ack."""
        self._counters[name] += amount

    def write(self, lease: Lease, ack: Ack) -> asyncio.Future[Settled]:
        """Have an ack written; what became of it."""
        written: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        if self._has_ended:
            written.set_result(Settled.LOST)
            return written
        self._waiting.append(_Entry(lease, ack, written))
        self._some.set()
        return written

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped, waiting while Redis is away."""
        while not stop.is_set():
            await runtime.woken(self._some, stop, timeout_s=1)
            await self.flush(stop)
            await asyncio.sleep(EVERY_S)
        await self.flush(stop)
        self._has_ended = True

    async def flush(self, stop: asyncio.Event) -> None:
        """Write what waits; if Redis is away, until it is back or we are to stop."""
        while self._waiting:
            batch = self._waiting[:MAX_AT_ONCE]
            del self._waiting[: len(batch)]
            counters, self._counters = self._counters, Counter()
            settled: list[Settled] = []

            async def unit(
                batch: list[_Entry] = batch,
                counters: Counter[str] = counters,
                settled: list[Settled] = settled,
            ) -> None:
                acks = [(entry.lease, entry.ack) for entry in batch]
                settled[:] = await self._deliveries.settle(acks, counters=counters)

            await runtime.attempt(unit, stop, what="acks")
            for entry, done in zip(batch, settled or [Settled.LOST] * len(batch), strict=True):
                if not entry.written.done():
                    entry.written.set_result(done)
