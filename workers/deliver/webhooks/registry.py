"""The webhooks of a worker: load, refresh, follow the events, save cursors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from service.articles.event import Event, before, is_behind
from service.feeds.view import View
from service.storage.faults import each_alone
from service.storage.webhooks import Ack, Settled, State
from service.webhooks.webhook import Webhook
from workers import runtime
from workers.deliver.ack_writer import AckWriter
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.endpoint import DeliveryContext, Endpoint, Partition
from workers.deliver.webhooks.endpoint import WebhookEndpoint
from workers.deliver.webhooks.event_log import MAX_EVENTS, Backlog, EventLog
from workers.deliver.webhooks.selection_groups import SelectionGroups

READ = 500
# Groups that are matched with events before other tasks have a turn, summed over the events.
MATCHED_AT_ONCE = 2_000
# Webhooks whose moved cursors are written at once.
SAVED_AT_ONCE = 32


class WebhookRegistry:
    """The webhooks of the partitions that one worker holds."""

    def __init__(self, context: DeliveryContext, dispatcher: Dispatcher, acks: AckWriter) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._acks = acks
        self._views: dict[str, View] = {}
        self._views_changes = -1
        self._groups = SelectionGroups(self._views)
        self._logs: dict[int, EventLog] = {}
        self._loading: dict[str, Webhook] = {}
        """The settings of those that are being loaded."""

    async def begin(self) -> None:
        """Read the views and the newest events."""
        store = self._context.store
        await self.look()
        for shard in store.event_stream.shards:
            newest = await store.event_stream.newest(shard, count=MAX_EVENTS)
            last_id = await store.event_stream.last_id(shard)
            start = before(newest[0].entry_id) if newest else last_id
            backlog = Backlog(shard, store.event_stream)
            self._logs[shard] = EventLog(backlog, shard, newest, start=start)

    def run(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Start to follow the events of every shard; ends when stopped."""
        for shard in self._logs:
            follow = partial(self._follow, shard)
            group.create_task(runtime.repeat(follow, stop, what=f"deliver {shard}"))

    async def look(self) -> None:
        """Read the views again if they have changed; one round trip if they have not. Views that
        cannot be read leave the former ones, and stop nothing else."""
        faults, now = self._context.store.faults, self._context.now()
        await faults.isolate("loop", "deliver views", self._look, now=now)

    async def _look(self) -> None:
        changes = await self._context.store.views.changes()
        if changes != self._views_changes:
            views = await self._context.store.views.all()
            self._views.clear()
            self._views.update((view.name, view) for view in views)
            self._views_changes = changes
            self._groups.forget()

    async def load(self, partition: Partition) -> None:
        """Serve the webhooks of a partition; one that fails costs only itself."""
        if partition.of_webhooks is None:
            return
        webhooks = await self._context.store.webhooks.in_partition(partition.of_webhooks)
        if not webhooks:
            return
        mine = {webhook.id: webhook for webhook in webhooks}
        # What changes from now on is noted there, too (`refresh`).
        self._loading.update(mine)
        try:
            await each_alone(list(mine), partial(self._load, partition), self._context.report)
        finally:
            for webhook_id in mine:
                self._loading.pop(webhook_id, None)

    async def _load(self, partition: Partition, ids: Sequence[str]) -> None:
        states = await self._context.store.webhooks.states(ids)
        for webhook_id, state in zip(ids, states, strict=True):
            webhook = self._loading.get(webhook_id)
            if webhook and webhook_id not in partition.endpoints:
                self._dispatcher.wake(self._add(partition, webhook, state))

    def _add(self, partition: Partition, webhook: Webhook, state: State) -> WebhookEndpoint:
        group = self._groups.join(webhook.selection)
        endpoint = WebhookEndpoint(webhook, state, group, self._logs, self._context)
        partition.endpoints[webhook.id] = endpoint
        return endpoint

    async def refresh(self, webhook_id: str) -> None:
        """Read again one webhook that was added, changed or removed, or has an order; not if
        another worker has it."""
        if self._dispatcher.partition_of(webhook_id) is None:
            return
        webhook = await self._context.store.webhooks.get(webhook_id)
        if webhook is None and await self._context.store.webhooks.is_stored(webhook_id):
            # It is not gone, and must not be dropped as if it were: the fault is listed.
            raise ValueError("its settings cannot be read")
        state = await self._context.store.webhooks.state(webhook_id)
        if webhook_id in self._loading:
            if webhook:
                self._loading[webhook_id] = webhook
            else:
                del self._loading[webhook_id]
        # Only now: its partition may have changed hands meanwhile.
        partition = self._dispatcher.partition_of(webhook_id)
        if partition is None:
            return
        endpoint = partition.endpoints.get(webhook_id)
        if webhook is None:
            if endpoint:
                self._dispatcher.drop(partition.endpoints.pop(webhook_id))
                self.forget(endpoint)
            return
        if isinstance(endpoint, WebhookEndpoint):
            self._change(endpoint, webhook)
            endpoint.note_orders(state)
        else:
            endpoint = self._add(partition, webhook, state)
        self._dispatcher.wake(endpoint)

    def _change(self, endpoint: WebhookEndpoint, webhook: Webhook) -> None:
        if webhook == endpoint.webhook:
            return
        endpoint.stop_waiting()
        group = self._groups.join(webhook.selection)
        self._groups.leave(endpoint.group)
        endpoint.change(webhook, group)

    def forget(self, endpoint: Endpoint) -> None:
        """Take an endpoint that was dropped out of its group; other kinds are ignored."""
        if isinstance(endpoint, WebhookEndpoint):
            self._groups.leave(endpoint.group)

    async def _follow(self, shard: int) -> None:
        log, stream = self._logs[shard], self._context.store.event_stream
        events = await stream.read(shard, log.last_id, count=READ)
        trimmed = await stream.trimmed(shard) if events else ""
        if is_behind(log.last_id, trimmed):
            # Each webhook that was waiting notices the gap itself.
            log.restart(trimmed)
            self._groups.wake_all()
        self._erase(log, events)
        # Many groups take long to match: other tasks have a turn after some events.
        step = max(1, MATCHED_AT_ONCE // (len(self._groups) + 1))
        for at in range(0, len(events), step):
            self._announce(log, events[at : at + step])
            await asyncio.sleep(0)

    def _erase(self, log: EventLog, events: Sequence[Event]) -> None:
        """Drop from memory what webhooks were not sent yet of articles that were erased."""
        erased = {event.subject for event in events if event.is_erasure}
        if erased:
            for event in events:
                if event.subject in erased and not event.is_erasure:
                    event.erase()
            log.erase(erased)
            self._groups.forget()

    def _announce(self, log: EventLog, events: Sequence[Event]) -> None:
        """Add events to the log, and wake the webhooks that want them."""
        end = log.end
        wanted = [
            (end + i, group)
            for i, event in enumerate(log.extend(events))
            for group in self._groups.wanting(event)
        ]
        # All are noted before any webhook looks.
        for offset, group in wanted:
            group.note(log, offset)
        for _, group in wanted:
            for wake in list(group.waiting):
                wake()
        self._dispatcher.pump()

    async def save(self, partition: Partition) -> None:
        """Save cursors that moved though nothing was sent: the next worker begins there, and the
        stream is trimmed up to there."""
        if partition.of_webhooks is None or not partition.endpoints:
            return
        endpoints = [e for e in partition.endpoints.values() if isinstance(e, WebhookEndpoint)]
        for at in range(0, len(endpoints), SAVED_AT_ONCE):
            # In between other tasks have a turn.
            await self._save(partition, endpoints[at : at + SAVED_AT_ONCE])
        await self._context.store.webhooks.note_needed(partition.of_webhooks)

    async def _save(self, partition: Partition, endpoints: Sequence[WebhookEndpoint]) -> None:
        writing = []
        for endpoint in endpoints:
            if endpoint.turn.task or endpoint.turn.is_gone:
                continue
            if endpoint.is_waiting:
                for cursor in endpoint.cursors:
                    cursor.advance(self._logs[cursor.shard].last_id)
                if endpoint.replay:
                    # Its end may be after the events that were known at its last look.
                    self._dispatcher.wake(endpoint)
            passed = endpoint.passed()
            if passed:
                ack = Ack(endpoint_id=endpoint.id, fields=passed)
                writing.append((endpoint, ack, self._acks.write(partition.lease, ack)))
        for endpoint, ack, settled in writing:
            try:
                if await settled is Settled.WRITTEN:
                    endpoint.note_saved(ack)
            except Exception as exc:  # noqa: BLE001 -- the others are saved
                await self._context.report(endpoint.id, exc)
