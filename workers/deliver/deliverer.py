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
import resource
import uuid
import zlib
from functools import partial

from service.errors import Unavailable
from service.messages import before
from service.settings import Settings
from service.storage.connecting import translated
from service.storage.deliveries import Settled
from service.storage.leases import Lease
from service.storage.store import Store
from service.views import View
from service.webhooks import Webhook
from workers import runtime
from workers.deliver.acks import Acks
from workers.deliver.dispatch import Dispatcher, Part
from workers.deliver.endpoint import Endpoint
from workers.deliver.following import MAX_MESSAGES, Groups, Log
from workers.outbound import open_client
from workers.runtime import Clock
from workers.schedule import ticking

logger = logging.getLogger(__name__)

# Names are kept in Redis: with another count workers of two versions would share endpoints.
PARTS = 16
LEASES = [f"deliver:{number}" for number in range(PARTS)]
LEASE_TTL_S = 5.0
SHARE_EVERY_S = 1.0
STUCK_EVERY_S = 0.25
# Each part in turn; cursors of those who are sent nothing are saved once in PARTS ticks.
SAVE_EVERY_S = 2.0
# Requests in flight of a part that another worker is to have.
LEAVE_AFTER_S = 1.0
READ = 500
CHANGES_BLOCK_MS = 1_000
USER_AGENT = "dateline (webhooks)"


def lease_of(endpoint_id: str) -> str:
    """The lease that an endpoint belongs to."""
    return LEASES[zlib.crc32(endpoint_id.encode()) % PARTS]


class Deliverer:
    """The loops of one deliver worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._token = uuid.uuid4().hex
        self._acks = Acks(store.deliveries)
        self._views: dict[str, View] = {}
        self._views_changes = -1
        self._groups = Groups(self._views)
        self._logs: dict[int, Log] = {}
        self._webhooks: dict[str, Webhook] = {}
        self._changes = "$"
        self._parts: dict[str, Part] = {}
        self._saved = 0
        self._dispatcher: Dispatcher

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until stopped; what is in flight then has some time to end."""
        _allow_many_files()
        ended = asyncio.Event()
        agent = f"{USER_AGENT} (+{self._settings.base_url})"
        every = {"share": SHARE_EVERY_S, "stuck": STUCK_EVERY_S, "save": SAVE_EVERY_S}
        async with (
            open_client(self._settings, user_agent=agent, max_connections=0) as client,
            ticking(every) as ticks,
            asyncio.TaskGroup() as group,
        ):
            self._dispatcher = Dispatcher(
                self._store, self._settings, client, group, self._acks, self._logs, self._part_of,
                now=self._now,
            )  # fmt: skip
            group.create_task(self._acks.run(ended))
            await runtime.attempt(self._begin, stop, what="deliver")
            await runtime.attempt(self._share, stop, what="deliver")
            group.create_task(runtime.repeat(self._see_changes, stop, what="changes"))
            for shard in self._logs:
                follow = partial(self._follow, shard)
                group.create_task(runtime.repeat(follow, stop, what="follow"))
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
        """Know all webhooks and the newest events, and from where on to look for more."""
        self._changes, _ = await self._store.deliveries.changes("$", block_ms=0)
        self._webhooks = {webhook.id: webhook for webhook in await self._store.deliveries.all()}
        await self._load_views()
        for shard in range(self._store.stream.shards):
            newest = await self._store.stream.newest(shard, count=MAX_MESSAGES)
            start = before(newest[0].entry_id) if newest else "0-0"
            self._logs[shard] = Log(shard, newest, start=start)

    async def _load_views(self) -> None:
        changes = await self._store.views.changes()
        if changes != self._views_changes:
            views = await self._store.views.all()
            self._views.clear()
            self._views.update((view.name, view) for view in views)
            self._views_changes = changes
            self._groups.forget()

    # Who has which endpoints.

    def _part_of(self, endpoint_id: str) -> Part | None:
        return self._parts.get(lease_of(endpoint_id))

    async def _share(self) -> None:
        """Renew what is ours, take what is free, leave what is more than our share."""
        asked = asyncio.get_running_loop().time()
        held = {name: part.lease for name, part in self._parts.items()}
        fair, leases = await self._store.leases.share(
            LEASES, token=self._token, ttl_ms=int(LEASE_TTL_S * 1000), held=held
        )
        for name, part in list(self._parts.items()):
            if leases.get(name) != part.lease:
                logger.warning("a lease was lost", extra={"lease": name})
                self._drop(name)
        for name, lease in leases.items():
            if name not in self._parts:
                await self._load(lease)
            self._parts[name].valid_until = asked + LEASE_TTL_S
        for name in sorted(self._parts)[fair:]:
            await self._leave(name)
        self._dispatcher.unpark()

    async def _load(self, lease: Lease) -> None:
        ids = [webhook_id for webhook_id in self._webhooks if lease_of(webhook_id) == lease.name]
        states = await self._store.deliveries.states(ids)
        part = self._parts[lease.name] = Part(lease)
        for webhook_id, state in zip(ids, states, strict=True):
            webhook = self._webhooks.get(webhook_id)
            if webhook and webhook_id not in part.endpoints:
                group = self._groups.join(webhook.selection)
                endpoint = part.endpoints[webhook_id] = Endpoint(webhook, state, group)
                self._dispatcher.wake(endpoint)
        logger.info("took endpoints", extra={"lease": lease.name, "count": len(part.endpoints)})

    async def _leave(self, name: str) -> None:
        """Let another worker have a part, once nothing of it is in flight."""
        part, now = self._parts[name], asyncio.get_running_loop().time()
        part.leaves_since = part.leaves_since or now
        if part.tasks and now - part.leaves_since > LEAVE_AFTER_S:
            for task in part.tasks:
                task.cancel()
        elif not part.tasks:
            await self._save_part(part)
            self._drop(name)
            await self._store.leases.give_up(part.lease)
            logger.info("left endpoints", extra={"lease": name, "count": len(part.endpoints)})

    def _drop(self, name: str) -> None:
        for endpoint in self._parts.pop(name).endpoints.values():
            self._forget(endpoint)

    def _forget(self, endpoint: Endpoint) -> None:
        self._dispatcher.drop(endpoint)
        self._groups.leave(endpoint.group)

    # What happens.

    async def _follow(self, shard: int) -> None:
        log = self._logs[shard]
        events = await self._store.stream.read(shard, log.last_id, count=READ)
        place = log.end
        wanted = [
            (place + i, group)
            for i, message in enumerate(log.extend(events))
            for group in self._groups.wanting(message)
        ]
        # All are noted before anybody looks.
        for at, group in wanted:
            group.note(log, at)
        for _, group in wanted:
            for endpoint in list(group.sleepers):
                self._dispatcher.wake(endpoint)
        self._dispatcher.pump()

    async def _see_changes(self) -> None:
        """Webhooks that were added, changed, removed, or are ordered something."""
        self._changes, ids = await self._store.deliveries.changes(
            self._changes, block_ms=CHANGES_BLOCK_MS
        )
        await self._load_views()
        for webhook_id in dict.fromkeys(ids):
            await self._refresh(webhook_id)
        self._dispatcher.pump()

    async def _refresh(self, webhook_id: str) -> None:
        webhook = await self._store.deliveries.get(webhook_id)
        state = await self._store.deliveries.state(webhook_id)
        if webhook:
            self._webhooks[webhook_id] = webhook
        else:
            self._webhooks.pop(webhook_id, None)
        part = self._part_of(webhook_id)
        if part is None:
            return
        endpoint = part.endpoints.get(webhook_id)
        if webhook is None:
            if endpoint:
                self._forget(part.endpoints.pop(webhook_id))
            return
        if endpoint is None:
            group = self._groups.join(webhook.selection)
            endpoint = part.endpoints[webhook_id] = Endpoint(webhook, state, group)
        else:
            self._change(endpoint, webhook)
            endpoint.note_orders(state)
        self._dispatcher.wake(endpoint)

    def _change(self, endpoint: Endpoint, webhook: Webhook) -> None:
        if webhook == endpoint.webhook:
            return
        endpoint.group.sleepers.discard(endpoint)
        group = self._groups.join(webhook.selection)
        self._groups.leave(endpoint.group)
        endpoint.change(webhook, group)

    # What is done now and then.

    async def _stuck(self) -> None:
        self._dispatcher.lanes.free_stuck(asyncio.get_running_loop().time())
        self._dispatcher.pump()

    async def _save(self) -> None:
        self._saved = (self._saved + 1) % PARTS
        part = self._parts.get(LEASES[self._saved])
        if part:
            await self._save_part(part)

    async def _save_part(self, part: Part) -> None:
        """Save cursors of those who were sent nothing: others may begin there, and the stream is
        trimmed up to there."""
        written = []
        for endpoint in part.endpoints.values():
            if endpoint in endpoint.group.sleepers:
                for line in endpoint.lines:
                    line.move(self._logs[line.shard].last_id)
            if not endpoint.task and (passed := endpoint.passed()):
                ack = endpoint.ack(fields=passed)
                written.append((endpoint, ack, self._acks.write(part.lease, ack)))
        for endpoint, ack, settled in written:
            if await settled is Settled.WRITTEN:
                endpoint.saved(ack)

    async def _end(self, ended: asyncio.Event) -> None:
        """Let what is in flight end, save where everybody is, and leave all to others."""
        self._dispatcher.is_ending = True
        tasks = [task for part in self._parts.values() for task in part.tasks]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._settings.drain_s / 2)
            for task in late:
                task.cancel()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(self._settings.drain_s / 4):
                with translated():
                    for part in self._parts.values():
                        await self._save_part(part)
                    await self._store.leases.leave(LEASES, token=self._token)
        ended.set()


def _allow_many_files() -> None:
    """A connection is a file; the soft limit of most systems is for programs that use `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
