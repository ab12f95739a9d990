"""A webhook as the worker that holds it knows it: where it stands, and what it is sent next.

What changes is written to Redis first (`Ack`) and taken over when it is written, so that this and
Redis never differ by more than the one request in flight.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from service.articles.event import Event, position
from service.articles.times import to_ms, to_rfc3339
from service.storage import keys
from service.storage.webhooks import Ack, State, cursor_field
from service.webhooks.payloads import Payload
from service.webhooks.retry import Answer
from service.webhooks.webhook import Webhook
from workers.deliver.endpoint import DeliveryContext, Request
from workers.deliver.send import target
from workers.deliver.slots import Sender
from workers.deliver.webhooks.cursor import Cursor
from workers.deliver.webhooks.event_log import Log
from workers.deliver.webhooks.outcome import judged, missed, resumed
from workers.deliver.webhooks.selection_groups import SelectionGroup

REPLAY = "replay"
# One that is behind the log in memory looks at so many events at once; at more, up to the second,
# while it wants none of them.
READ, MOST_READ = 32, 512
# A batch that waits for more looks so often whether it is full.
LINGER_STEPS = 4


class WebhookEndpoint(Sender):
    """A webhook at work."""

    def __init__(
        self,
        webhook: Webhook,
        state: State,
        group: SelectionGroup,
        logs: Mapping[int, Log],
        means: DeliveryContext,
    ) -> None:
        super().__init__(webhook.id)
        self.webhook = webhook
        self._target = target(webhook.url)
        self.group = group
        self._logs = logs
        self._means = means
        self.lines = [
            Cursor(cursor_field(shard), shard, cursor) for shard, cursor in state.cursors.items()
        ]
        self.replay: Cursor | None = None
        self.failures = state.failures
        self.next_ms = state.next_ms
        self.first_failure_ms = state.first_failure_ms
        self.until = state.until
        self.disabled = state.disabled
        self.gaps = state.gaps
        self.test = self.resume = ""
        self.note_orders(state)
        self._is_stale = False
        """Whether there may be orders that are not known here."""
        self.turn = 0
        """Which line was last."""
        self.full_at = 0.0
        """Rate limit: when the bucket would be full of requests (GCRA), by the loop's clock."""
        self.lingers_until = 0.0

    def note_orders(self, state: State) -> None:
        """What API and CLI want of it."""
        self.test, self.resume = state.test, state.resume
        if not state.replays:
            self.replay = None
        elif self.replay is None:
            first = state.replays[0]
            self.replay = Cursor(REPLAY, first.shard, state.replay or first.after, first)

    @property
    def is_off(self) -> bool:
        """Whether it gets no events."""
        return bool(self.disabled) or self.webhook.paused

    def change(self, webhook: Webhook, group: SelectionGroup) -> None:
        """Take over new settings; what failed is then packed anew."""
        shape = (webhook.batch, webhook.max_bytes, webhook.payload, webhook.format)
        before = self.webhook
        if shape != (before.batch, before.max_bytes, before.payload, before.format):
            self.until = ""
        self.webhook, self.group = webhook, group
        self._target = target(webhook.url)

    def turns(self) -> list[Cursor]:
        """Lines in the order in which they may be served; what failed comes first and alone."""
        lines = [*self.lines, *([self.replay] if self.replay else [])]
        if self.until:
            failed = [line for line in lines if line.name == self.until.partition(" ")[0]]
            if failed:
                return failed
        self.turn = (self.turn + 1) % len(lines) if lines else 0
        return lines[self.turn :] + lines[: self.turn]

    def _end(self, line: Cursor) -> str:
        """Id of the last entry that may go now; empty if there is none."""
        name, _, until = self.until.partition(" ")
        if name == line.name:
            return until
        return line.replays.until if line.replays else ""

    def passed(self) -> dict[str, str]:
        """Cursors that have moved though nothing was sent."""
        return {line.name: line.cursor for line in self.lines if line.cursor != line.saved}

    def saved(self, ack: Ack) -> None:
        """What it passed is written."""
        for line in self.lines:
            line.saved = str(ack.fields.get(line.name, line.saved))

    def ack(self, **parts: object) -> Ack:
        """For this endpoint."""
        return Ack(registry=keys.ENDPOINTS, endpoint_id=self.id, **parts)  # type: ignore[arg-type]

    async def next(self) -> Request | Ack | None:
        """What is to be sent or noted; if nothing, the endpoint sleeps or has a timer."""
        if self._is_stale:
            self.note_orders(await self._means.store.webhooks.state(self.id))
            self._is_stale = False
        if self.resume:
            return resumed(self)
        if self.test:
            time = to_rfc3339(self._means.now())
            return self._request(self.webhook.test(self.test, time=time), None)
        if self.is_off:
            return None
        wait_s = self._limit_s()
        if self.next_ms:
            wait_s = max(wait_s, (self.next_ms - to_ms(self._means.now())) / 1000)
        if wait_s > 0:
            self._means.dispatcher.later(self, wait_s)
            return None
        try:
            # Before the look: what comes during a read must wake it.
            self.group.sleepers.add(self)
            found = await self._look()
        except BaseException:
            # Who has not looked through everything does not sleep: cursors of sleepers move on.
            self.rest()
            raise
        if found or self.timer:
            self.rest()
        return found

    async def _look(self) -> Request | Ack | None:
        """What is next on a line."""
        while True:
            until = self.until
            for line in self.turns():
                found = await self._on(line)
                if found or self.timer:
                    return found
            if self.until == until:
                return None
            # What had failed is not wanted any more; only its line was looked at.

    def rest(self) -> None:
        """Be woken by no event."""
        self.group.sleepers.discard(self)

    def _limit_s(self) -> float:
        """Seconds until the endpoint's rate limit lets one more request through (GCRA)."""
        rate = self.webhook.rate_per_s
        if not rate:
            return 0
        burst_s = (max(rate, 1) - 1) / rate
        now = self._means.dispatcher.time
        if not self.full_at:
            # Whoever had it before may have sent all that it may.
            self.full_at = now + burst_s + 1 / rate
        return self.full_at - burst_s - now

    async def _on(self, line: Cursor) -> Request | Ack | None:
        """What is next on a line."""
        trimmed, waiting = await self._waiting(line)
        if trimmed:
            return missed(self, line, trimmed, now=self._means.now())
        if waiting:
            return self._filled(line, waiting)
        if line.replays and line.is_over:
            return self.ack(fields={line.name: ""}, replayed=line.replays)
        return None

    def _filled(self, line: Cursor, waiting: list[Event]) -> Request | None:
        webhook = self.webhook
        now = self._means.dispatcher.time
        is_full = len(waiting) >= webhook.batch or self.until or line.replays
        if webhook.linger_ms and not is_full:
            linger_s = webhook.linger_ms / 1000
            self.lingers_until = self.lingers_until or now + linger_s
            left_s = self.lingers_until - now
            if left_s > 0:
                self._means.dispatcher.later(self, min(left_s, linger_s / LINGER_STEPS))
                return None
        self.lingers_until = 0
        return self._request(webhook.payload_for(waiting), line)

    def _request(self, parcel: Payload, line: Cursor | None) -> Request:
        rate, now = self.webhook.rate_per_s, self._means.dispatcher.time
        if rate:
            self.full_at = max(self.full_at, now) + 1 / rate
        return Request(
            url=self._target,
            headers=self.webhook.request_headers(parcel, now=self._means.now()),
            body=parcel.body,
            judged=partial(self._judged, parcel, line),
            delivers=len(parcel.events),
        )

    def _judged(self, parcel: Payload, line: Cursor | None, answer: Answer) -> Ack:
        settings, now = self._means.settings, self._means.now()
        return judged(self, parcel, line, answer, settings=settings, now=now)

    async def _waiting(self, line: Cursor) -> tuple[str, list[Event]]:
        """What an endpoint wants next, at most a batch of it; or before that, the id of the newest
        entry that was dropped unsent."""
        group, end = self.group, self._end(line)
        trimmed, found, at = await self._found(line.cursor, end, line.shard)
        if self.group is not group:
            # It wants something else since.
            return await self._waiting(line)
        if not found:
            line.advance(min(at, end, key=position) if end else at)
        if found or trimmed or not self.until:
            return trimmed, found
        # In the range that failed nothing is wanted any more.
        self.until = ""
        return await self._waiting(line)

    async def _found(self, at: str, end: str, shard: int) -> tuple[str, list[Event], str]:
        """Of what comes after an entry, up to an end if there is one: the newest that was dropped
        before anything is found; what is found; how far everything was looked at."""
        log, group, limit = self._logs[shard], self.group, self.webhook.batch
        found: list[Event] = []
        count = READ
        while len(found) < limit and not (end and position(at) >= position(end)):
            place = log.place_after(at)
            if place is not None:
                found += group.waiting(log, place, limit=limit - len(found))
                at = log.last_id
                break
            older, trimmed = await log.past.after(at, count=count)
            if trimmed and not found:
                return trimmed, [], at
            if not older:
                break
            for event in older:
                at = event.entry_id
                if group.matches(event):
                    found.append(event)
                    if len(found) == limit:
                        break
            count = count if found else min(count * 4, MOST_READ)
        return "", [m for m in found if not end or m.position <= position(end)], at

    async def take(self, ack: Ack) -> None:
        """Be as an ack has it, now that it is written."""
        for name in ("failures", "next_ms", "first_failure_ms", "gaps"):
            if name in ack.fields:
                setattr(self, name, int(ack.fields[name]))
        for name in ("until", "disabled"):
            if name in ack.fields:
                setattr(self, name, str(ack.fields[name]))
        for line in (*self.lines, *([self.replay] if self.replay else [])):
            _move(line, ack)
        for name, value in ack.orders.items():
            if getattr(self, name) == value:
                setattr(self, name, "")
        if ack.replayed:
            # There may be another.
            self.replay = None
            self._is_stale = True


def _move(line: Cursor, ack: Ack) -> None:
    cursor = str(ack.fields.get(line.name, ""))
    if cursor:
        line.settle(cursor)
