"""One endpoint as the worker that holds it knows it: where it stands, and what answers mean.

Nothing here waits for anything. What changes is written to Redis first (`Ack`) and taken over when
it is written, so that this and Redis never differ by more than the one request in flight.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from service import messages, retries
from service.articles import from_ms, to_ms, to_rfc3339
from service.messages import Message, Parcel, position
from service.retries import Answer, Verdict
from service.settings import Settings
from service.storage import keys
from service.storage.deliveries import Ack, Range, State, cursor_field
from service.webhooks import SKIP, Webhook
from workers.deliver.following import Group

# So many failures in a row are told to operators.
FAILING_AT = 3
DISABLED, FAILING, RECOVERED, GAP = (
    f"dateline.webhook.{what}.v1" for what in ("disabled", "failing", "recovered", "gap")
)
REPLAY = "replay"


class Line:
    """A way through one shard's stream: the live one, or a replay's."""

    def __init__(self, name: str, shard: int, cursor: str, replays: Range | None = None) -> None:
        self.name = name
        """The state field that holds its cursor."""
        self.shard = shard
        self.cursor = cursor
        """Id of the last entry that was settled, or passed because nobody wants it."""
        self.saved = cursor
        """The same as Redis has it."""
        self.replays = replays
        self.buffer: deque[Message] = deque()
        """What it read for itself, being behind the log in memory."""
        self.read_to = cursor
        """How far it did."""

    def move(self, cursor: str) -> None:
        """Go on behind an entry; what was read ahead is read again."""
        self.cursor = self.read_to = cursor
        self.buffer.clear()

    def read(self, read_to: str, wanted: Sequence[Message]) -> None:
        """Keep what was read and is wanted; if nothing is, all of it is passed."""
        self.read_to = read_to
        self.buffer.extend(wanted)
        if not self.buffer:
            self.cursor = read_to

    def settle(self, cursor: str) -> None:
        """Be behind an entry that was sent."""
        self.cursor = self.saved = cursor
        while self.buffer and self.buffer[0].position <= position(cursor):
            self.buffer.popleft()
        if not self.buffer:
            # Nothing between this and what was read is wanted.
            self.cursor = self.read_to = max(cursor, self.read_to, key=position)

    @property
    def is_over(self) -> bool:
        """Whether a replay has come to its end."""
        return self.replays is not None and position(self.cursor) >= position(self.replays.until)


@dataclass(frozen=True, slots=True)
class Request:
    """What an endpoint is sent next."""

    parcel: Parcel
    line: Line | None = None
    """None for a test."""


class Endpoint:
    """A webhook at work."""

    def __init__(self, webhook: Webhook, state: State, group: Group) -> None:
        self.id = webhook.id
        self.webhook = webhook
        self.group = group
        self.lines = [
            Line(cursor_field(shard), shard, cursor) for shard, cursor in state.cursors.items()
        ]
        self.replay: Line | None = None
        self.failures = state.failures
        self.next_ms = state.next_ms
        self.first_failure_ms = state.first_failure_ms
        self.until = state.until
        self.disabled = state.disabled
        self.gaps = state.gaps
        self.test = self.resume = ""
        self.note_orders(state)
        self.turn = 0
        """Which line was last."""
        self.full_at = 0.0
        """Rate limit: when the bucket would be full of requests (GCRA), by the loop's clock."""
        self.lingers_until = 0.0
        self.is_queued = self.is_gone = self.is_woken = False
        self.task: asyncio.Task[None] | None = None
        """Of the request in flight."""
        self.timer: asyncio.TimerHandle | None = None

    def note_orders(self, state: State) -> None:
        """What API and CLI want of it."""
        self.test, self.resume = state.test, state.resume
        if not state.replays:
            self.replay = None
        elif self.replay is None:
            first = state.replays[0]
            self.replay = Line(REPLAY, first.shard, state.replay or first.after, first)

    @property
    def is_suspect(self) -> bool:
        """From a failure until the next success."""
        return self.first_failure_ms != 0

    @property
    def is_off(self) -> bool:
        """Whether it gets no events."""
        return bool(self.disabled) or self.webhook.paused

    def change(self, webhook: Webhook, group: Group) -> None:
        """Take over new settings; what failed is then packed anew."""
        shape = (webhook.batch, webhook.max_bytes, webhook.payload, webhook.format)
        before = self.webhook
        if shape != (before.batch, before.max_bytes, before.payload, before.format):
            self.until = ""
        self.webhook, self.group = webhook, group
        for line in self.lines:
            line.move(line.cursor)

    def turns(self) -> list[Line]:
        """Lines in the order in which they may be served; what failed comes first and alone."""
        lines = [*self.lines, *([self.replay] if self.replay else [])]
        if self.until:
            failed = [line for line in lines if line.name == self.until.partition(" ")[0]]
            if failed:
                return failed
        self.turn = (self.turn + 1) % len(lines) if lines else 0
        return lines[self.turn :] + lines[: self.turn]

    def limited(self, line: Line, waiting: list[Message]) -> list[Message]:
        """Of what waits on a line that which may go now: a retry is of the same events."""
        end = self._end(line)
        return [m for m in waiting if m.position <= position(end)] if end else waiting

    def has_read_all(self, line: Line) -> bool:
        """Whether a line needs nothing behind what it has read."""
        end = self._end(line)
        return bool(end) and position(line.read_to) >= position(end)

    def _end(self, line: Line) -> str:
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

    def take(self, ack: Ack) -> None:
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
            self.replay = None


def _move(line: Line, ack: Ack) -> None:
    cursor = str(ack.fields.get(line.name, ""))
    if "resume" in ack.orders:
        line.move(cursor or line.cursor)
    elif "until" in ack.fields:
        # It failed: what was read ahead would be kept for nothing.
        line.move(line.cursor)
    if cursor:
        line.settle(cursor)


def resumed(endpoint: Endpoint) -> Ack:
    """It goes on from where the order says, whatever was before."""
    fields: dict[str, str | int] = {"failures": 0, "next_ms": 0, "first_failure_ms": 0}
    cursors: Mapping[str, str] = orjson.loads(endpoint.resume)
    places = {cursor_field(int(s)): cursor for s, cursor in cursors.items() if s.isdigit()}
    return endpoint.ack(
        fields={**fields, "until": "", "disabled": "", **places},
        orders={"resume": endpoint.resume},
    )


def missed(endpoint: Endpoint, line: Line, trimmed: str, *, now: datetime) -> Ack:
    """Events were dropped from the stream before they were sent: noted, told, and passed."""
    data = {"after": line.cursor, "until": trimmed, "shard": line.shard}
    error = "STREAM_MAX_ENTRIES dropped events before they were sent"
    return endpoint.ack(
        fields={line.name: trimmed, "gaps": endpoint.gaps + 1, "until": ""},
        attempt={
            "type": GAP, "message_id": f"{line.cursor}..{trimmed}", "status": 0, "error": error,
            "events": 0, "attempt": 0, "duration_ms": 0, "answer": "",
        },
        event=operation(GAP, endpoint, data, now=now),
    )  # fmt: skip


def judged(
    endpoint: Endpoint, request: Request, answer: Answer, *, settings: Settings, now: datetime
) -> Ack:
    """What is to be written after an answer."""
    parcel, line = request.parcel, request.line
    attempt: dict[str, str | int] = {
        "message_id": parcel.id, "type": parcel.type, "events": len(parcel.messages),
        "attempt": endpoint.failures + 1, "status": answer.status, "error": answer.error,
        "duration_ms": answer.duration_ms, "answer": answer.text,
    }  # fmt: skip
    if line is None:
        return endpoint.ack(orders={"test": parcel.id}, attempt=attempt)
    if answer.verdict is Verdict.DELIVERED:
        moved = {line.name: parcel.messages[-1].entry_id}
        return _delivered(endpoint, moved, attempt, now=now)
    return _failed(endpoint, line, parcel, answer, attempt, settings=settings, now=now)


def _delivered(
    endpoint: Endpoint, moved: dict[str, str], attempt: Mapping[str, str | int], *, now: datetime
) -> Ack:
    if not endpoint.is_suspect:
        return endpoint.ack(fields=moved, attempt=attempt)
    event: Mapping[str, str | bytes] = {}
    if endpoint.failures >= FAILING_AT:
        since = to_rfc3339(from_ms(endpoint.first_failure_ms))
        event = operation(RECOVERED, endpoint, {"failing_since": since}, now=now)
    calm = {"failures": 0, "next_ms": 0, "first_failure_ms": 0, "until": ""}
    return endpoint.ack(fields={**moved, **calm}, attempt=attempt, event=event)


def _failed(
    endpoint: Endpoint,
    line: Line,
    parcel: Parcel,
    answer: Answer,
    attempt: Mapping[str, str | int],
    *,
    settings: Settings,
    now: datetime,
) -> Ack:
    now_ms = to_ms(now)
    failures = endpoint.failures + 1
    first_ms = endpoint.first_failure_ms or now_ms
    schedule = settings.webhook_retry_schedule_s
    delay_s = retries.retry_delay_s(
        failures, schedule_s=schedule, retry_after=answer.retry_after, now=now,
        chance=random.random(),  # noqa: S311 -- jitter
    )  # fmt: skip
    last = parcel.messages[-1].entry_id
    disabled = _why_disabled(answer, first_ms, now_ms, settings)
    fields: dict[str, str | int] = {
        "failures": failures, "next_ms": now_ms + int(delay_s * 1000),
        "first_failure_ms": first_ms, "until": f"{line.name} {last}", "disabled": disabled,
    }  # fmt: skip
    dead_letter: dict[str, str | int] = {}
    if endpoint.webhook.on_failure == SKIP and failures > len(schedule) and not disabled:
        # The next one is tried at once and has the whole schedule; only time disables now.
        fields |= {line.name: last, "failures": 0, "next_ms": 0, "until": ""}
        dead_letter = {
            "shard": line.shard, "first": parcel.messages[0].entry_id, "last": last,
            "events": len(parcel.messages), "message_id": parcel.id,
            "status": answer.status, "error": answer.error,
        }  # fmt: skip
    event: Mapping[str, str | bytes] = {}
    told = {"failures": failures, "failing_since": to_rfc3339(from_ms(first_ms)),
            "status": answer.status, "error": answer.error}  # fmt: skip
    if disabled:
        event = operation(DISABLED, endpoint, {**told, "reason": disabled}, now=now)
    elif failures == FAILING_AT:
        event = operation(FAILING, endpoint, told, now=now)
    return endpoint.ack(fields=fields, attempt=attempt, dead_letter=dead_letter, event=event)


def _why_disabled(answer: Answer, first_ms: int, now_ms: int, settings: Settings) -> str:
    if answer.verdict is Verdict.GONE:
        return "the receiver answered 410 Gone"
    if now_ms - first_ms > settings.webhook_disable_after_s * 1000:
        return f"every attempt failed since {from_ms(first_ms):%Y-%m-%d %H:%M}"
    return ""


def operation(
    type: str, endpoint: Endpoint, data: Mapping[str, object], *, now: datetime
) -> dict[str, str | bytes]:
    """A CloudEvent for operators, as fields of a stream entry."""
    ms = to_ms(now)
    return {
        "specversion": "1.0",
        "id": f"{endpoint.id}_{type.split('.')[-2]}_{ms}",
        "source": "/webhooks",
        "type": type,
        "subject": endpoint.id,
        "time": to_rfc3339(now),
        "datacontenttype": messages.JSON,
        "data": orjson.dumps({"webhook": endpoint.id, **data}),
    }
