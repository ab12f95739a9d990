"""The deliver worker: its share of the endpoints, the events, and what API and CLI change.

Endpoints are dealt out over PARTS leases, and the leases fairly over the workers there are. Events
are sent while the lease is valid by our own clock, and settled only if it is still ours; so two
workers never send for one endpoint at a time, but for the request that was in flight when one of
them was stopped or cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid

from service import process
from service.errors import Unavailable
from service.process import stopping_group
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
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
# Each part in turn; cursors of those who are sent nothing are saved once in PARTS ticks.
SAVE_EVERY_S = 2.0
# Requests in flight of a part that another worker is to have.
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
        self._parts: dict[str, Partition] = {}
        self._sharing = asyncio.Lock()
        self._saved = 0
        self._dispatcher: Dispatcher
        self._hooks: WebhookRegistry
        self._subscribers: SubscriptionRegistry

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until stopped; what is in flight then has some time to end."""
        ended = asyncio.Event()
        agent = f"{USER_AGENT} (+{self._settings.base_url})"
        every = {"share": SHARE_EVERY_S, "stuck": STUCK_EVERY_S, "save": SAVE_EVERY_S}
        async with (
            open_client(self._settings, user_agent=agent, max_connections=0) as client,
            ticking(every) as ticks,
            stopping_group(stop) as group,
        ):
            # It would repeat a request of its own accord, and a challenge is for one.
            client._retry_connection = False
            self._dispatcher = Dispatcher(self._settings, client, group, self._acks, self._parts)
            means = DeliveryContext(self._store, self._settings, self._dispatcher, self._now)
            self._hooks = WebhookRegistry(means, self._acks)
            self._subscribers = SubscriptionRegistry(means, group)
            group.create_task(self._acks.run(ended))
            group.create_task(self._subscribers.run(stop))
            await runtime.attempt(self._begin, stop, what="deliver")
            await runtime.attempt(self._share, stop, what="deliver")
            group.create_task(runtime.repeat(self._see_changes, stop, what="changes"))
            self._hooks.run(group, stop)
            for name, work in (
                ("share", self._share),
                ("stuck", self._stuck),
                ("save", self._save),
            ):
                group.create_task(self._tick(ticks[name], work, stop))
            await stop.wait()
            await self._end(ended)

    async def _tick(self, tick: asyncio.Event, work: runtime.Unit, stop: asyncio.Event) -> None:
        async def unit() -> None:
            await runtime.woken(tick, stop, timeout_s=2 * SAVE_EVERY_S)
            if not stop.is_set():
                await work()

        await runtime.repeat(unit, stop, what="deliver")

    async def _begin(self) -> None:
        """Know what there is, and from where on to look for more."""
        self._changes, _ = await self._store.webhooks.changes("$", block_ms=0)
        await self._hooks.begin()

    async def _share(self) -> None:
        """Renew what is ours, take what is free, leave what is more than our share."""
        async with self._sharing:
            await self._share_now()

    async def _share_now(self) -> None:
        asked = self._dispatcher.time
        held = {name: part.lease for name, part in self._parts.items()}
        fair, leases = await self._store.leases.share(
            LEASES, token=self._token, ttl_ms=int(LEASE_TTL_S * 1000), held=held
        )
        for name, part in list(self._parts.items()):
            if leases.get(name) != part.lease:
                logger.warning("a lease was lost", extra={"lease": name})
                self._drop(name)
        new = [name for name in leases if name not in self._parts]
        for name, lease in leases.items():
            if name in new:
                await self._load(lease)
            self._parts[name].valid_until = asked + LEASE_TTL_S
        if new:
            count = sum(len(self._parts[name].endpoints) for name in new)
            logger.info("took endpoints", extra={"leases": len(new), "count": count})
            process.freeze_garbage_collector()
        for name in sorted(self._parts)[fair:]:
            await self._leave(name)
        for name in sorted(self._parts)[:fair]:
            self._stay(self._parts[name])
        self._dispatcher.unpark()

    async def _load(self, lease: Lease) -> None:
        part = self._parts[lease.name] = Partition(lease)
        try:
            for kind in (self._hooks, self._subscribers):
                await kind.load(part)
        except BaseException:
            # It would be taken for loaded.
            self._drop(lease.name)
            raise

    def _stay(self, part: Partition) -> None:
        """Whoever was to have it is gone again."""
        if part.leaves_since:
            part.leaves_since = 0.0
            for endpoint in part.endpoints.values():
                self._dispatcher.wake(endpoint)

    async def _leave(self, name: str) -> None:
        """Let another worker have a part, once nothing of it is in flight."""
        part, now = self._parts[name], self._dispatcher.time
        part.leaves_since = part.leaves_since or now
        if part.tasks and now - part.leaves_since > LEAVE_AFTER_S:
            for task in part.tasks:
                task.cancel()
        elif not part.tasks:
            await self._hooks.save(part)
            self._drop(name)
            await self._store.leases.give_up(part.lease)
            logger.info("left endpoints", extra={"lease": name, "count": len(part.endpoints)})

    def _drop(self, name: str) -> None:
        for endpoint in self._parts.pop(name).endpoints.values():
            self._dispatcher.drop(endpoint)
            self._hooks.forget(endpoint)
            self._subscribers.forget(endpoint)

    async def _see_changes(self) -> None:
        """Endpoints that were added, changed, removed, or are ordered something."""
        changes, ids = await self._store.webhooks.changes(self._changes, block_ms=CHANGES_BLOCK_MS)
        await self._hooks.look()
        for endpoint_id in dict.fromkeys(ids):
            kind = self._subscribers if endpoint_id.startswith(PREFIX) else self._hooks
            await kind.refresh(endpoint_id)
        # Only now: what could not be seen to is seen again.
        self._changes = changes
        self._dispatcher.pump()

    async def _stuck(self) -> None:
        self._dispatcher.lanes.free_stuck(self._dispatcher.time)
        self._dispatcher.pump()

    async def _save(self) -> None:
        self._saved = (self._saved + 1) % PARTITIONS
        part = self._parts.get(LEASES[self._saved])
        if part:
            await self._hooks.save(part)
            await self._subscribers.save(part)

    async def _end(self, ended: asyncio.Event) -> None:
        """Let what is in flight end, save where everybody is, and leave all to others."""
        self._dispatcher.is_ending = True
        tasks = [task for part in self._parts.values() for task in part.tasks]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.drain_s / 2)
            for task in late:
                task.cancel()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(self._settings.drain_s / 4), self._sharing:
                with redis_errors_as_unavailable():
                    for part in self._parts.values():
                        await self._hooks.save(part)
                    await self._store.leases.leave(LEASES, token=self._token)
        self._subscribers.close()
        ended.set()
