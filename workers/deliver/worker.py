"""The deliver worker: its share of the endpoints, the events, and what API and CLI change.

Endpoints are divided into partitions with a lease each, and the leases of each shard are shared
fairly among the workers. Events are sent while the lease is valid by our own clock, and settled
only if it is still ours; so two workers never send for one endpoint at a time, except for the
request that was in flight when one of them was stopped or cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Sequence
from functools import partial

from service import process
from service.errors import Unavailable
from service.process import stopping_group
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.faults import each_alone
from service.storage.leases import Lease, SharedLeases
from service.storage.partitions import HUB_PREFIXES
from service.storage.store import Store
from workers import runtime
from workers.deliver.ack_writer import AckWriter
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.endpoint import (
    DeliveryContext,
    Partition,
    shared_leases,
)
from workers.deliver.hub.registry import SubscriptionRegistry
from workers.deliver.webhooks.registry import WebhookRegistry
from workers.http_client import open_client
from workers.runtime import Clock
from workers.schedule import ticking

logger = logging.getLogger(__name__)

LEASE_TTL_S = 5.0
SHARE_EVERY_S = 1.0
STUCK_EVERY_S = 0.25
# A few partitions a tick: one that is sent nothing has its cursors saved every SAVE_TICKS ticks.
SAVE_EVERY_S = 2.0
SAVE_TICKS = 16
# Partitions that are loaded before the leases of all are renewed.
LOADED_AT_ONCE = 16
# How long requests in flight may delay the handover of a partition to another worker.
LEAVE_AFTER_S = 1.0
CHANGES_BLOCK_MS = 1_000
USER_AGENT = "dateline (webhooks)"


class DeliverWorker:
    """The loops of one deliver worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._token = uuid.uuid4().hex
        shards = store.event_stream.shards
        # What is of the hub is in shard 0.
        self._shards = tuple(dict.fromkeys([0, *shards]))
        self._acks = AckWriter(store.webhooks, shards=self._shards)
        self._changes: dict[int, str] = {}
        """Shard → position up to which changes were applied."""
        self._partitions: dict[str, Partition] = {}
        self._shared = shared_leases(shards)
        self._sharing = {shared.members: asyncio.Lock() for shared in self._shared}
        self._saves = 0
        self._dispatcher: Dispatcher
        self._webhooks: WebhookRegistry
        self._subscriptions: SubscriptionRegistry

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until stopped; requests in flight then have half of DRAIN_S to end."""
        ended = asyncio.Event()
        agent = f"{USER_AGENT} (+{self._settings.base_url})"
        every = {"stuck": STUCK_EVERY_S, "save": SAVE_EVERY_S}
        every |= {shared.members: SHARE_EVERY_S for shared in self._shared}
        async with (
            # A hub's challenge is for one request.
            open_client(
                self._settings, user_agent=agent, max_connections=0, repeats=False
            ) as client,
            ticking(every) as ticks,
            contextlib.AsyncExitStack() as after_group,
            stopping_group(stop) as group,
        ):
            self._dispatcher = Dispatcher(
                self._settings,
                client,
                group,
                self._acks,
                self._partitions,
                self._report,
                partial(self._store.faults.clear, "endpoint"),
            )
            context = DeliveryContext(
                self._store, self._settings, self._dispatcher, self._now, self._report
            )
            self._webhooks = WebhookRegistry(context, self._dispatcher, self._acks)
            self._subscriptions = SubscriptionRegistry(context, self._dispatcher, group, client)
            # Tasks of the group may be rendering a topic until they end.
            after_group.callback(self._subscriptions.close)
            group.create_task(self._acks.run(ended))
            group.create_task(self._subscriptions.run(stop))
            await runtime.attempt(self._begin, stop, what="deliver")
            for shared in self._shared:
                share = partial(self._share, shared, ticks[shared.members], stop)
                # A worker that cannot renew its leases serves nobody.
                group.create_task(runtime.repeat(share, stop, what="deliver share"))
            for shard in self._changes:
                apply = partial(self._apply_changes, shard)
                group.create_task(runtime.repeat(apply, stop, what="deliver changes"))
            self._webhooks.run(group, stop)
            for name, work in (("stuck", self._free_stuck), ("save", self._save)):
                group.create_task(self._tick(ticks[name], work, stop, what=name))
            await stop.wait()
            await self._end(ended)

    async def _tick(
        self, tick: asyncio.Event, work: runtime.Unit, stop: asyncio.Event, *, what: str
    ) -> None:
        async def unit() -> None:
            await runtime.woken(tick, stop, timeout_s=2 * SAVE_EVERY_S)
            if not stop.is_set():
                await work()

        what = f"deliver {what}"
        await runtime.repeat_safely(unit, stop, what=what, faults=self._store.faults)

    async def _begin(self) -> None:
        """Note from where on to look for changes, and read what all webhooks share."""
        for shard in self._shards:
            self._changes[shard], _ = await self._store.webhooks.changes(shard, "$", block_ms=0)
        await self._webhooks.begin()

    async def _share(self, shared: SharedLeases, tick: asyncio.Event, stop: asyncio.Event) -> None:
        """Renew our leases, take free ones, and leave those that exceed our share; then wait for
        the next tick."""
        async with self._sharing[shared.members]:
            count = await self._share_now(shared)
        if count:
            logger.info("took endpoints", extra={"leases": count, "of": shared.members})
            process.freeze_garbage_collector()
        await runtime.woken(tick, stop, timeout_s=2 * SHARE_EVERY_S)

    async def _share_now(self, shared: SharedLeases) -> int:
        """Returns how many leases are new."""
        fair, count = await self._renew(shared)
        new = count
        while new and not self._dispatcher.is_ending:
            fair, new = await self._renew(shared)
            count += new
        held = sorted(name for name in shared.names if name in self._partitions)
        for name in held[fair:]:
            await self._leave(name)
        for name in held[:fair]:
            if name in self._partitions:
                self._stay(self._partitions[name])
        self._dispatcher.unpark()
        return count

    async def _renew(self, shared: SharedLeases) -> tuple[int, int]:
        """Renew our leases and load a few that are free; (fair share, number of new ones)."""
        requested_at = self._dispatcher.time
        ours = {n: self._partitions[n].lease for n in shared.names if n in self._partitions}
        fair, leases = await self._store.leases.share(
            shared, token=self._token, ttl_ms=int(LEASE_TTL_S * 1000), held=ours,
            most_new=LOADED_AT_ONCE,
        )  # fmt: skip
        for name, lease in ours.items():
            if leases.get(name) != lease:
                logger.warning("a lease was lost", extra={"lease": name})
                self._drop(name)
        new = [name for name in leases if name not in self._partitions]
        for name, lease in leases.items():
            if name in new:
                await self._load(lease)
            self._partitions[name].valid_until = requested_at + LEASE_TTL_S
        return fair, len(new)

    async def _load(self, lease: Lease) -> None:
        partition = self._partitions[lease.name] = Partition(lease)
        try:
            for registry in (self._webhooks, self._subscriptions):
                await registry.load(partition)
        except BaseException:
            # Otherwise the partition would count as loaded.
            self._drop(lease.name)
            raise

    def _stay(self, partition: Partition) -> None:
        """Keep the partition: the worker that wanted it has left."""
        if partition.leaves_since:
            partition.leaves_since = 0.0
            for endpoint in partition.endpoints.values():
                self._dispatcher.wake(endpoint)

    async def _leave(self, name: str) -> None:
        """Leave a partition to another worker, once nothing of it is in flight."""
        partition, now = self._partitions[name], self._dispatcher.time
        partition.leaves_since = partition.leaves_since or now
        if partition.tasks and now - partition.leaves_since > LEAVE_AFTER_S:
            for task in partition.tasks:
                task.cancel()
        elif not partition.tasks:
            await self._webhooks.save(partition)
            self._drop(name)
            await self._store.leases.give_up(partition.lease)
            logger.info("left endpoints", extra={"lease": name, "count": len(partition.endpoints)})

    def _drop(self, name: str) -> None:
        for endpoint in self._partitions.pop(name).endpoints.values():
            self._dispatcher.drop(endpoint)
            self._webhooks.forget(endpoint)
            self._subscriptions.forget(endpoint)

    async def _apply_changes(self, shard: int) -> None:
        """Refresh the endpoints that were added, changed or removed, or have an order."""
        changes, ids = await self._store.webhooks.changes(
            shard, self._changes[shard], block_ms=CHANGES_BLOCK_MS
        )
        if shard == 0:
            # Views are there.
            await self._webhooks.look()
        if ids:
            await each_alone(list(dict.fromkeys(ids)), self._refresh, self._report)
        # Only now: changes that could not be applied are read again.
        self._changes[shard] = changes
        self._dispatcher.pump()

    async def _refresh(self, ids: Sequence[str]) -> None:
        for endpoint_id in ids:
            is_subscription = endpoint_id.startswith(HUB_PREFIXES)
            registry = self._subscriptions if is_subscription else self._webhooks
            await registry.refresh(endpoint_id)

    async def _report(self, endpoint_id: str, exc: Exception) -> None:
        await self._store.faults.report("endpoint", endpoint_id, exc, now=self._now())

    async def _free_stuck(self) -> None:
        self._dispatcher.slots.free_stuck(self._dispatcher.time)
        self._dispatcher.pump()

    async def _save(self) -> None:
        names = [name for shared in self._shared for name in shared.names]
        for name in names[self._saves % SAVE_TICKS :: SAVE_TICKS]:
            partition = self._partitions.get(name)
            if partition:
                await self._webhooks.save(partition)
                await self._subscriptions.save(partition)
        self._saves += 1
        for shared in self._shared:
            # One worker alone.
            if shared.names[0] in self._partitions:
                await self._store.operations.collect(shared.shard)

    async def _end(self, ended: asyncio.Event) -> None:
        """Wait for requests in flight, save all cursors, and leave the leases to other workers."""
        self._dispatcher.is_ending = True
        tasks = [task for partition in self._partitions.values() for task in partition.tasks]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.drain_s / 2)
            for task in late:
                task.cancel()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(self._settings.drain_s / 4):
                with redis_errors_as_unavailable():
                    for partition in list(self._partitions.values()):
                        await self._webhooks.save(partition)
                    for shared in self._shared:
                        async with self._sharing[shared.members]:
                            await self._store.leases.leave(shared, token=self._token)
        ended.set()
