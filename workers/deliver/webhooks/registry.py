"""All webhooks, the events, and what API and CLI change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from service.articles.event import Event, before, is_behind
from service.feeds.view import View
from service.storage.webhooks import Settled, State
from service.webhooks.webhook import Webhook
from workers import runtime
from workers.deliver.ack_writer import AckWriter
from workers.deliver.endpoint import DeliveryContext, Partition, lease_of
from workers.deliver.slots import Sender
from workers.deliver.webhooks.endpoint import WebhookEndpoint
from workers.deliver.webhooks.event_log import MAX_EVENTS, Backlog, Log
from workers.deliver.webhooks.selection_groups import SelectionGroups

READ = 500
# Groups, about an event each.
ASKED_AT_ONCE = 2_000
# Cursors that have moved though nothing was sent.
SAVED_AT_ONCE = 32


class WebhookRegistry:
    """The webhooks of one worker; it knows the settings of all, and has at work what is its."""

    def __init__(self, means: DeliveryContext, acks: AckWriter) -> None:
        self._means = means
        self._acks = acks
        self._views: dict[str, View] = {}
        self._views_changes = -1
        self._groups = SelectionGroups(self._views)
        self._logs: dict[int, Log] = {}
        self._webhooks: dict[str, Webhook] = {}

    async def begin(self) -> None:
        """Know all webhooks, the views and the newest events."""
        store = self._means.store
        self._webhooks = {webhook.id: webhook for webhook in await store.webhooks.all()}
        await self.look()
        for shard in range(store.event_stream.shards):
            newest = await store.event_stream.newest(shard, count=MAX_EVENTS)
            last_id = await store.event_stream.last_id(shard)
            start = before(newest[0].entry_id) if newest else last_id
            self._logs[shard] = Log(Backlog(shard, store.event_stream), shard, newest, start=start)

    def run(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Follow the events until stopped."""
        for shard in self._logs:
            follow = partial(self._follow, shard)
            group.create_task(runtime.repeat(follow, stop, what="follow"))

    async def look(self) -> None:
        """See whether views have changed; one round trip if they have not."""
        changes = await self._means.store.views.changes()
        if changes != self._views_changes:
            views = await self._means.store.views.all()
            self._views.clear()
            self._views.update((view.name, view) for view in views)
            self._views_changes = changes
            self._groups.forget()

    async def load(self, part: Partition) -> None:
        """Set those of a part to work."""
        mine = [each for each in self._webhooks if lease_of(each) == part.lease.name]
        states = await self._means.store.webhooks.states(mine)
        for webhook_id, state in zip(mine, states, strict=True):
            webhook = self._webhooks.get(webhook_id)
            if webhook and webhook_id not in part.endpoints:
                self._means.dispatcher.wake(self._hook(part, webhook, state))

    def _hook(self, part: Partition, webhook: Webhook, state: State) -> WebhookEndpoint:
        group = self._groups.join(webhook.selection)
        hook = part.endpoints[webhook.id] = WebhookEndpoint(
            webhook, state, group, self._logs, self._means
        )
        return hook

    async def refresh(self, webhook_id: str) -> None:
        """One was added, changed, removed, or is ordered something."""
        webhook = await self._means.store.webhooks.get(webhook_id)
        state = await self._means.store.webhooks.state(webhook_id)
        if webhook:
            self._webhooks[webhook_id] = webhook
        else:
            self._webhooks.pop(webhook_id, None)
        # Only now: it may have changed hands meanwhile.
        part = self._means.dispatcher.part_of(webhook_id)
        if part is None:
            return
        hook = part.endpoints.get(webhook_id)
        if webhook is None:
            if hook:
                self._means.dispatcher.drop(part.endpoints.pop(webhook_id))
                self.forget(hook)
            return
        if isinstance(hook, WebhookEndpoint):
            self._change(hook, webhook)
            hook.note_orders(state)
        else:
            hook = self._hook(part, webhook, state)
        self._means.dispatcher.wake(hook)

    def _change(self, hook: WebhookEndpoint, webhook: Webhook) -> None:
        if webhook == hook.webhook:
            return
        hook.rest()
        group = self._groups.join(webhook.selection)
        self._groups.leave(hook.group)
        hook.change(webhook, group)

    def forget(self, sender: Sender) -> None:
        """It is not ours any more."""
        if isinstance(sender, WebhookEndpoint):
            self._groups.leave(sender.group)

    async def _follow(self, shard: int) -> None:
        log, stream = self._logs[shard], self._means.store.event_stream
        events = await stream.read(shard, log.last_id, count=READ)
        trimmed = await stream.trimmed(shard) if events else ""
        if is_behind(log.last_id, trimmed):
            # They find the gap for themselves.
            log.restart(trimmed)
            for hook in self._groups.sleeping():
                self._means.dispatcher.wake(hook)
        # Many groups take long to ask: others have a turn after some events.
        step = max(1, ASKED_AT_ONCE // (len(self._groups) + 1))
        for at in range(0, len(events), step):
            self._tell(log, events[at : at + step])
            await asyncio.sleep(0)

    def _tell(self, log: Log, events: Sequence[Event]) -> None:
        """Add events to the log, and wake those who want them."""
        place = log.end
        wanted = [
            (place + i, group)
            for i, event in enumerate(log.extend(events))
            for group in self._groups.wanting(event)
        ]
        # All are noted before anybody looks.
        for at, group in wanted:
            group.note(log, at)
        for _, group in wanted:
            for hook in list(group.sleepers):
                self._means.dispatcher.wake(hook)
        self._means.dispatcher.pump()

    async def save(self, part: Partition) -> None:
        """Save cursors of those who were sent nothing: others may begin there, and the stream is
        trimmed up to there."""
        hooks = [hook for hook in part.endpoints.values() if isinstance(hook, WebhookEndpoint)]
        for at in range(0, len(hooks), SAVED_AT_ONCE):
            # In between others have a turn.
            await self._save(part, hooks[at : at + SAVED_AT_ONCE])

    async def _save(self, part: Partition, hooks: Sequence[WebhookEndpoint]) -> None:
        written = []
        for hook in hooks:
            if hook.task or hook.is_gone:
                continue
            if hook in hook.group.sleepers:
                for line in hook.lines:
                    line.advance(self._logs[line.shard].last_id)
                if hook.replay:
                    # Whose end may be behind what was known when it was looked at.
                    self._means.dispatcher.wake(hook)
            passed = hook.passed()
            if passed:
                ack = hook.ack(fields=passed)
                written.append((hook, ack, self._acks.write(part.lease, ack)))
        for hook, ack, settled in written:
            if await settled is Settled.WRITTEN:
                hook.saved(ack)
