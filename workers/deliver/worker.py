"""The deliver worker: its share of the endpoints, the events, and what API and CLI change.

Endpoints are divided into PARTITIONS with a lease each, and the leases are shared fairly among the
workers. Events are sent while the lease is valid by our own clock, and settled only if it is still
ours; so two workers never send for one endpoint at a time, except for the request that was in
flight when one of them was stopped or cut off.
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
from service.storage.leases import Lease
from service.storage.store import Store
from workers import runtime
from workers.deliver.ack_writer import AckWriter
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.endpoint import LEASES, PARTITIONS, DeliveryContext, Partition
from workers.deliver.hub.registry import PREFIX, SubscriptionRegistry
from workers.deliver.webhooks.registry import WebhookRegistry
from workers.http_client import open_client
from workers.runtime import Clock
from workers.schedule import ticking

logger = logging.getLogger(__name__)

LEASE_TTL_S = 5.0
SHARE_EVERY_S = 1.0
STUCK_EVERY_S = 0.25
# One partition a tick: one that is sent nothing has its cursors saved every PARTITIONS ticks.
SAVE_EVERY_S = 2.0
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
        self._acks = AckWriter(store.webhooks)
        self._changes = "$"
        self._partitions: dict[str, Partition] = {}
        self._sharing = asyncio.Lock()
        self._last_saved = 0
        """Index of the partition that was saved last."""
        self._dispatcher: Dispatcher
        self._webhooks: WebhookRegistry
        self._subscriptions: SubscriptionRegistry

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until stopped; requests in flight then have half of DRAIN_S to end."""
        ended = asyncio.Event()
        agent = f"{USER_AGENT} (+{self._settings.base_url})"
        every = {"share": SHARE_EVERY_S, "stuck": STUCK_EVERY_S, "save": SAVE_EVERY_S}
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
            await runtime.attempt(self._share, stop, what="deliver")
            group.create_task(runtime.repeat(self._apply_changes, stop, what="deliver changes"))
            self._webhooks.run(group, stop)
            for name, work in (
                ("share", self._share),
                ("stuck", self._free_stuck),
                ("save", self._save),
            ):
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

        if what == "share":
            # A worker that cannot renew its leases serves nobody.
            await runtime.repeat(unit, stop, what="deliver share")
        else:
            what = f"deliver {what}"
            await runtime.repeat_safely(unit, stop, what=what, faults=self._store.faults)

    async def _begin(self) -> None:
        """Read all webhooks, and note from where on to look for changes."""
        self._changes, _ = await self._store.webhooks.changes("$", block_ms=0)
        await self._webhooks.begin()

    async def _share(self) -> None:
        """Renew our leases, take free ones, and leave those that exceed our share."""
        async with self._sharing:
            await self._share_now()

    async def _share_now(self) -> None:
        requested_at = self._dispatcher.time
        leases_held = {name: partition.lease for name, partition in self._partitions.items()}
        fair, leases = await self._store.leases.share(
            LEASES, token=self._token, ttl_ms=int(LEASE_TTL_S * 1000), held=leases_held
        )
        for name, partition in list(self._partitions.items()):
            if leases.get(name) != partition.lease:
                logger.warning("a lease was lost", extra={"lease": name})
                self._drop(name)
        new = [name for name in leases if name not in self._partitions]
        for name, lease in leases.items():
            if name in new:
                await self._load(lease)
            self._partitions[name].valid_until = requested_at + LEASE_TTL_S
        if new:
            count = sum(len(self._partitions[name].endpoints) for name in new)
            logger.info("took endpoints", extra={"leases": len(new), "count": count})
            process.freeze_garbage_collector()
        for name in sorted(self._partitions)[fair:]:
            await self._leave(name)
        for name in sorted(self._partitions)[:fair]:
            self._stay(self._partitions[name])
        self._dispatcher.unpark()

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

    async def _apply_changes(self) -> None:
        """Refresh the endpoints that were added, changed or removed, or have an order."""
        changes, ids = await self._store.webhooks.changes(self._changes, block_ms=CHANGES_BLOCK_MS)
        await self._webhooks.look()
        if ids:
            await each_alone(list(dict.fromkeys(ids)), self._refresh, self._report)
        # Only now: changes that could not be applied are read again.
        self._changes = changes
        self._dispatcher.pump()

    async def _refresh(self, ids: Sequence[str]) -> None:
        for endpoint_id in ids:
            is_subscription = endpoint_id.startswith(PREFIX)
            registry = self._subscriptions if is_subscription else self._webhooks
            await registry.refresh(endpoint_id)

    async def _report(self, endpoint_id: str, exc: Exception) -> None:
        await self._store.faults.report("endpoint", endpoint_id, exc, now=self._now())

    async def _free_stuck(self) -> None:
        self._dispatcher.slots.free_stuck(self._dispatcher.time)
        self._dispatcher.pump()

    async def _save(self) -> None:
        self._last_saved = (self._last_saved + 1) % PARTITIONS
        partition = self._partitions.get(LEASES[self._last_saved])
        if partition:
            await self._webhooks.save(partition)
            await self._subscriptions.save(partition)

    async def _end(self, ended: asyncio.Event) -> None:
        """Wait for requests in flight, save all cursors, and leave the leases to other workers."""
        self._dispatcher.is_ending = True
        tasks = [task for partition in self._partitions.values() for task in partition.tasks]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.drain_s / 2)
            for task in late:
                task.cancel()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(self._settings.drain_s / 4), self._sharing:
                with redis_errors_as_unavailable():
                    for partition in self._partitions.values():
                        await self._webhooks.save(partition)
                    await self._store.leases.leave(LEASES, token=self._token)
        ended.set()
