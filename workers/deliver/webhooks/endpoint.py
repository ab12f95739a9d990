"""A webhook in the worker that holds its lease: its cursors, its state, and its next request.

A change is written to Redis first (`Ack`) and applied when it is written, so that this and
Redis never differ by more than the one request in flight.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from service.articles.event import Event, position
from service.articles.times import to_ms, to_rfc3339
from service.storage.webhooks import REPLAY, Ack, State, cursor_field
from service.webhooks.payloads import Payload
from service.webhooks.retry import Answer
from service.webhooks.webhook import Webhook
from workers.deliver.endpoint import DeliveryContext, Request, Turn
from workers.deliver.send import target
from workers.deliver.webhooks import outcome
from workers.deliver.webhooks.cursor import Cursor
from workers.deliver.webhooks.event_log import EventLog
from workers.deliver.webhooks.outcome import DeliveryState
from workers.deliver.webhooks.selection_groups import SelectionGroup
from workers.http_client import typed_by_operator

# A webhook that is behind the log in memory looks at READ events at once; at more, up to MOST_READ,
# while it wants none of them.
READ, MOST_READ = 32, 512
# Number of times that a batch checks whether it is full while it waits for more events.
LINGER_STEPS = 4


class WebhookEndpoint:
    """One webhook: `Endpoint` for the dispatcher, and its cursors for the registry."""

    def __init__(
        self,
        webhook: Webhook,
        stored: State,
        group: SelectionGroup,
        logs: Mapping[int, EventLog],
        context: DeliveryContext,
    ) -> None:
        self.id = webhook.id
        self.turn = Turn()
        self.webhook = webhook
        self._target = target(webhook.url)
        self._provenance = typed_by_operator(self._target)
        self.group = group
        self._logs = logs
        self._context = context
        self.cursors = [
            Cursor(cursor_field(shard), shard, entry_id)
            for shard, entry_id in stored.cursors.items()
        ]
        self.replay: Cursor | None = None
        self.state = DeliveryState.of(stored)
        self._orders: dict[str, str] = {}
        self.note_orders(stored)
        self._is_stale = False
        """Whether there may be orders that are not known here."""
        self._last_served = 0
        """Index of the cursor that was served last."""
        self._full_at = 0.0
        """Rate limit: when the bucket would be full of requests (GCRA), by the loop's clock."""
        self._lingers_until = 0.0

    @property
    def is_suspect(self) -> bool:
        """Whether its last request failed."""
        return self.state.is_failing

    @property
    def is_confirmed(self) -> bool:
        """Always true: the operator named it."""
        return True

    @property
    def is_off(self) -> bool:
        """Whether it is disabled or paused, and gets no events."""
        return bool(self.state.disabled) or self.webhook.paused

    @property
    def is_waiting(self) -> bool:
        """Whether it has sent everything and waits for an event that it wants."""
        return self.wake in self.group.waiting

    def wake(self) -> None:
        """Have the dispatcher look for something to send."""
        self._context.scheduler.wake(self)

    def stop_waiting(self) -> None:
        """Be woken by events no longer: a step is about to run, or the endpoint is dropped."""
        self.group.waiting.discard(self.wake)

    def note_orders(self, stored: State) -> None:
        """Take over the orders of API and CLI: a test, a resume, the first of the replays."""
        self._orders = {"test": stored.test, "resume": stored.resume}
        if not stored.replays:
            self.replay = None
        elif self.replay is None:
            first = stored.replays[0]
            self.replay = Cursor(REPLAY, first.shard, stored.replay or first.after, first)

    def change(self, webhook: Webhook, group: SelectionGroup) -> None:
        """Take over new settings; a batch that failed is composed again if they change it."""
        shape = (webhook.batch, webhook.max_bytes, webhook.payload, webhook.format)
        before = self.webhook
        if shape != (before.batch, before.max_bytes, before.payload, before.format):
            self.state = replace(self.state, until="")
        self.webhook, self.group = webhook, group
        self._target = target(webhook.url)
        self._provenance = typed_by_operator(self._target)

    def passed(self) -> dict[str, str]:
        """Return stored field → entry id of the cursors that moved though nothing was sent."""
        return {
            cursor.name: cursor.entry_id
            for cursor in self.cursors
            if cursor.entry_id != cursor.saved_id
        }

    def note_saved(self, ack: Ack) -> None:
        """Note that an ack with passed cursors was written."""
        for cursor in self.cursors:
            cursor.saved_id = str(ack.fields.get(cursor.name, cursor.saved_id))

    async def next(self) -> Request | Ack | None:
        """Return what to send or to write; None if it waits for events or has a timer."""
        if self._is_stale:
            self.note_orders(await self._context.store.webhooks.state(self.id))
            self._is_stale = False
        if self._orders["resume"]:
            return outcome.resume(self.webhook, self._orders["resume"])
        if self._orders["test"]:
            time = to_rfc3339(self._context.now())
            return self._request(self.webhook.test(self._orders["test"], time=time), None)
        if self.is_off:
            return None
        wait_s = self._wait_s()
        if wait_s > 0:
            self._context.scheduler.later(self, wait_s)
            return None
        try:
            # Before the look: an event that arrives during a read must wake it.
            self.group.waiting.add(self.wake)
            action = await self._look()
        except BaseException:
            # It has not looked at everything and must not wait: cursors of waiting ones move on.
            self.stop_waiting()
            raise
        if action or self.turn.timer:
            self.stop_waiting()
        return action

    async def apply_ack(self, ack: Ack) -> None:
        """Apply a written ack: replace the state, move cursors, forget orders that are done."""
        self.state = self.state.after(ack)
        for cursor in (*self.cursors, *([self.replay] if self.replay else [])):
            entry_id = str(ack.fields.get(cursor.name, ""))
            if entry_id:
                cursor.settle(entry_id)
        for name, order in ack.orders.items():
            if self._orders[name] == order:
                self._orders[name] = ""
        if ack.replayed:
            # There may be another replay.
            self.replay = None
            self._is_stale = True

    def _wait_s(self) -> float:
        """Return the seconds until the rate limit and the retry let a request through."""
        wait_s = self._rate_limit_s()
        if self.state.next_ms:
            wait_s = max(wait_s, (self.state.next_ms - to_ms(self._context.now())) / 1000)
        return wait_s

    def _rate_limit_s(self) -> float:
        """Return the seconds until the rate limit lets one more request through (GCRA)."""
        rate = self.webhook.rate_per_s
        if not rate:
            return 0
        burst_s = (max(rate, 1) - 1) / rate
        now = self._context.scheduler.time
        if not self._full_at:
            # The worker that held it before may have sent all that the limit allows.
            self._full_at = now + burst_s + 1 / rate
        return self._full_at - burst_s - now

    async def _look(self) -> Request | Ack | None:
        """Return what is next at any of its cursors."""
        while True:
            until = self.state.until
            for cursor in self._cursors_in_order():
                action = await self._next_at(cursor)
                if action or self.turn.timer:
                    return action
            if self.state.until == until:
                return None
            # The failed events are not wanted any more; only their cursor was looked at.

    def _cursors_in_order(self) -> list[Cursor]:
        """Return the cursors in turn; the one with a failed range comes alone."""
        cursors = [*self.cursors, *([self.replay] if self.replay else [])]
        if self.state.until:
            name = self.state.until.partition(" ")[0]
            failed = [cursor for cursor in cursors if cursor.name == name]
            if failed:
                return failed
        self._last_served = (self._last_served + 1) % len(cursors) if cursors else 0
        return cursors[self._last_served :] + cursors[: self._last_served]

    async def _next_at(self, cursor: Cursor) -> Request | Ack | None:
        """Return what is next at one cursor: a gap to pass, events, the end of a replay."""
        trimmed, events = await self._wanted(cursor)
        if trimmed:
            now = self._context.now()
            return outcome.pass_gap(self.webhook, self.state, cursor, trimmed, now=now)
        if events:
            return self._request_for(cursor, events)
        if cursor.replay_range and cursor.is_over:
            replayed = cursor.replay_range
            return Ack(endpoint_id=self.id, fields={cursor.name: ""}, replayed=replayed)
        return None

    def _request_for(self, cursor: Cursor, events: list[Event]) -> Request | None:
        """Return the request with events; None, with a timer, if a batch lingers for more."""
        webhook = self.webhook
        now = self._context.scheduler.time
        is_full = len(events) >= webhook.batch or self.state.until or cursor.replay_range
        if webhook.linger_ms and not is_full:
            linger_s = webhook.linger_ms / 1000
            self._lingers_until = self._lingers_until or now + linger_s
            left_s = self._lingers_until - now
            if left_s > 0:
                self._context.scheduler.later(self, min(left_s, linger_s / LINGER_STEPS))
                return None
        self._lingers_until = 0
        return self._request(webhook.payload_for(events), cursor)

    def _request(self, payload: Payload, cursor: Cursor | None) -> Request:
        rate, now = self.webhook.rate_per_s, self._context.scheduler.time
        if rate:
            self._full_at = max(self._full_at, now) + 1 / rate
        return Request(
            url=self._target,
            provenance=self._provenance,
            headers=self.webhook.request_headers(payload, now=self._context.now()),
            body=payload.body,
            judge=partial(self._judge, payload, cursor),
            events=len(payload.events),
        )

    def _judge(self, payload: Payload, cursor: Cursor | None, answer: Answer) -> Ack:
        return outcome.judge(
            self.webhook, self.state, payload, cursor, answer,
            settings=self._context.settings, now=self._context.now(),
            chance=random.random(),  # noqa: S311 -- jitter
        )  # fmt: skip

    async def _wanted(self, cursor: Cursor) -> tuple[str, list[Event]]:
        """Return what comes next at a cursor: ("", at most a batch of events), or (id of the
        newest entry that was dropped unsent, [])."""
        group, end = self.group, self._end(cursor)
        trimmed, events, looked_at = await self._search(cursor.entry_id, end, cursor.shard)
        if self.group is not group:
            # Its selection has changed meanwhile.
            return await self._wanted(cursor)
        if not events:
            cursor.advance(min(looked_at, end, key=position) if end else looked_at)
        if events or trimmed or not self.state.until:
            return trimmed, events
        # Nothing in the range that failed is wanted any more.
        self.state = replace(self.state, until="")
        return await self._wanted(cursor)

    def _end(self, cursor: Cursor) -> str:
        """Return the id of the last entry that may be sent now; empty if there is no end."""
        name, _, until = self.state.until.partition(" ")
        if name == cursor.name:
            return until
        return cursor.replay_range.until if cursor.replay_range else ""

    async def _search(self, at: str, end: str, shard: int) -> tuple[str, list[Event], str]:
        """Search a shard after the entry `at`, up to `end` if it is not empty, for a batch.

        Returns (id of the newest entry that was dropped before anything was found, events, id of
        the last entry that was looked at).
        """
        log, group, limit = self._logs[shard], self.group, self.webhook.batch
        events: list[Event] = []
        count = READ
        while len(events) < limit and not (end and position(at) >= position(end)):
            offset = log.offset_after(at)
            if offset is not None:
                events += group.wanted(log, offset, limit=limit - len(events))
                at = log.last_id
                break
            older, trimmed = await log.backlog.after(at, count=count)
            if trimmed and not events:
                return trimmed, [], at
            if not older:
                break
            for event in older:
                at = event.entry_id
                if group.matches(event):
                    events.append(event)
                    if len(events) == limit:
                        break
            count = count if events else min(count * 4, MOST_READ)
        return "", [e for e in events if not end or e.position <= position(end)], at
