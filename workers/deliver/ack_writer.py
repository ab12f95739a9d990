"""Outcomes of deliveries, written together: one call for all that ended at about the same time.

An endpoint waits for its ack before it sends the next: a worker that is killed causes at most the
one request in flight of each endpoint to be sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from service.storage.faults import each_alone
from service.storage.leases import Lease
from service.storage.webhooks import Ack, Settled, Webhooks
from workers import runtime

# Pause between two calls: acks that come within it share one.
EVERY_S = 0.005
MAX_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class _PendingAck:
    lease: Lease
    ack: Ack
    written: asyncio.Future[Settled]


class _Queue:
    """The acks of one shard that wait."""

    def __init__(self) -> None:
        self.waiting: list[_PendingAck] = []
        self.has_acks = asyncio.Event()


class AckWriter:
    """Collects acks and counters, and writes them in batches, those of each shard by themselves: a
    shard that is away holds up no other."""

    def __init__(self, webhooks: Webhooks, *, shards: Iterable[int]) -> None:
        self._webhooks = webhooks
        self._queues = {shard: _Queue() for shard in shards}
        self._counters: Counter[str] = Counter()
        self._has_ended = False

    def count(self, name: str, amount: int) -> None:
        """Add to a counter, with the next ack."""
        self._counters[name] += amount

    def write(self, lease: Lease, ack: Ack) -> asyncio.Future[Settled]:
        """Queue an ack; the future has its result, LOST if the writer ends before."""
        written: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        if self._has_ended:
            written.set_result(Settled.LOST)
            return written
        queue = self._queues[lease.shard]
        queue.waiting.append(_PendingAck(lease, ack, written))
        queue.has_acks.set()
        return written

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped, waiting while Redis is away."""
        async with asyncio.TaskGroup() as group:
            for queue in self._queues.values():
                group.create_task(self._run(queue, stop))
        self._has_ended = True
        for queue in self._queues.values():
            # Queued after the last look of its task.
            await self._flush(queue, stop)

    async def _run(self, queue: _Queue, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await runtime.woken(queue.has_acks, stop, timeout_s=1)
            await self._flush(queue, stop)
            await asyncio.sleep(EVERY_S)
        await self._flush(queue, stop)

    async def _flush(self, queue: _Queue, stop: asyncio.Event) -> None:
        """Write all queued acks; while Redis is away, retry until it is back or `stop` is set."""
        while queue.waiting:
            batch = queue.waiting[:MAX_AT_ONCE]
            del queue.waiting[: len(batch)]
            counters, self._counters = self._counters, Counter()

            async def unit(
                batch: list[_PendingAck] = batch, counters: Counter[str] = counters
            ) -> None:
                await each_alone(batch, partial(self._settle, counters), _fail)

            await runtime.attempt(unit, stop, what="acks")
            for pending in batch:
                _resolve(pending, Settled.LOST)

    async def _settle(self, counters: Counter[str], batch: Sequence[_PendingAck]) -> None:
        acks = [(pending.lease, pending.ack) for pending in batch]
        results = await self._webhooks.settle(acks, counters=counters)
        # Once is enough, if each ack of a batch must be written alone.
        counters.clear()
        for pending, result in zip(batch, results, strict=True):
            _resolve(pending, result)


async def _fail(pending: _PendingAck, exc: Exception) -> None:
    """Raise the error to the one endpoint whose ack cannot be written."""
    if not pending.written.done():
        pending.written.set_exception(exc)


def _resolve(pending: _PendingAck, result: Settled) -> None:
    if not pending.written.done():
        pending.written.set_result(result)
