"""What is written about a webhook after an answer, an order, or a gap: values in, acks out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from service.articles.event import JSON
from service.articles.times import from_ms, to_ms, to_rfc3339
from service.settings import Settings
from service.storage.webhooks import Ack, State, cursor_field
from service.webhooks import retry
from service.webhooks.payloads import Payload
from service.webhooks.retry import Answer, Verdict
from service.webhooks.webhook import SKIP, Webhook
from workers.deliver.webhooks.cursor import Cursor

# Operators are notified after this many failures in a row.
FAILING_AT = 3
DISABLED, FAILING, RECOVERED, GAP = (
    f"dateline.webhook.{what}.v1" for what in ("disabled", "failing", "recovered", "gap")
)
_NO_FAILURES: Mapping[str, str | int] = {
    "failures": 0, "next_ms": 0, "first_failure_ms": 0, "until": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """What past attempts left: the fields of the stored `State` that acks write."""

    failures: int = 0
    """Failed attempts since the last success."""
    next_ms: int = 0
    """Time before which nothing is sent."""
    first_failure_ms: int = 0
    """When the present row of failures began; 0 if the last attempt succeeded."""
    until: str = ""
    """The range that failed and is sent again unchanged: cursor name and last stream entry id."""
    disabled: str = ""
    """Why nothing is sent any more; empty while active."""
    gaps: int = 0
    """How often events were dropped from the stream before they were sent."""

    @classmethod
    def of(cls, stored: State) -> DeliveryState:
        """Take over what is stored."""
        return cls(**{name: getattr(stored, name) for name in _CONVERT})

    def after(self, ack: Ack) -> DeliveryState:
        """Return the state that a written ack leaves; itself if the ack changes nothing of it."""
        if _CONVERT.keys().isdisjoint(ack.fields):
            # All acks but those of and after failures: they move a cursor.
            return self
        changes: dict[str, Any] = {
            name: convert(ack.fields[name])
            for name, convert in _CONVERT.items()
            if name in ack.fields
        }
        return replace(self, **changes)

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self.first_failure_ms != 0


_CONVERT: Mapping[str, type[int] | type[str]] = {
    "failures": int, "next_ms": int, "first_failure_ms": int,
    "until": str, "disabled": str, "gaps": int,
}  # fmt: skip


def resume(webhook: Webhook, order: str) -> Ack:
    """Continue from where an order says, regardless of earlier failures.

    Args:
        order: JSON object, shard → entry id; shards that are not a number are ignored.
    """
    entry_ids: Mapping[str, str] = orjson.loads(order)
    cursors = {cursor_field(int(s)): entry_id for s, entry_id in entry_ids.items() if s.isdigit()}
    return Ack(
        endpoint_id=webhook.id,
        fields={**_NO_FAILURES, "disabled": "", **cursors},
        orders={"resume": order},
    )


def pass_gap(
    webhook: Webhook, state: DeliveryState, cursor: Cursor, trimmed: str, *, now: datetime
) -> Ack:
    """Note that events were dropped from the stream unsent, notify operators, and pass them.

    Args:
        trimmed: id of the newest stream entry that was dropped.
    """
    data = {"after": cursor.entry_id, "until": trimmed, "shard": cursor.shard}
    error = "STREAM_MAX_ENTRIES dropped events before they were sent"
    return Ack(
        endpoint_id=webhook.id,
        fields={cursor.name: trimmed, "gaps": state.gaps + 1, "until": ""},
        attempt={
            "type": GAP, "message_id": f"{cursor.entry_id}..{trimmed}", "status": 0,
            "error": error, "events": 0, "attempt": 0, "duration_ms": 0, "answer": "",
        },
        event=operation(GAP, webhook, data, now=now),
    )  # fmt: skip


def judge(
    webhook: Webhook,
    state: DeliveryState,
    payload: Payload,
    cursor: Cursor | None,
    answer: Answer,
    *,
    settings: Settings,
    chance: float,
    now: datetime,
) -> Ack:
    """Decide what is written after an answer.

    Args:
        cursor: where the events of the payload were read; None for a test message.
        chance: from 0 to 1, evenly spread; the jitter of the next attempt.
    """
    attempt: dict[str, str | int] = {
        "message_id": payload.id, "type": payload.type, "events": len(payload.events),
        "attempt": state.failures + 1, "status": answer.status, "error": answer.error,
        "duration_ms": answer.duration_ms, "answer": answer.text,
    }  # fmt: skip
    if cursor is None:
        return Ack(endpoint_id=webhook.id, orders={"test": payload.id}, attempt=attempt)
    if answer.verdict is Verdict.DELIVERED:
        return _delivered(webhook, state, payload, cursor, attempt, now=now)
    delay_s = retry.retry_delay_s(
        state.failures + 1, schedule_s=settings.webhook_retry_schedule_s,
        retry_after=answer.retry_after, now=now, chance=chance,
    )  # fmt: skip
    failed = _after_failure(state, answer, delay_s, settings=settings, now=now)
    return _failed(webhook, failed, payload, cursor, answer, attempt, settings=settings, now=now)


def _delivered(
    webhook: Webhook,
    state: DeliveryState,
    payload: Payload,
    cursor: Cursor,
    attempt: Mapping[str, str | int],
    *,
    now: datetime,
) -> Ack:
    moved = {cursor.name: payload.events[-1].entry_id}
    if not state.is_failing:
        return Ack(endpoint_id=webhook.id, fields=moved, attempt=attempt)
    event: Mapping[str, str | bytes] = {}
    if state.failures >= FAILING_AT:
        since = to_rfc3339(from_ms(state.first_failure_ms))
        event = operation(RECOVERED, webhook, {"failing_since": since}, now=now)
    fields = {**moved, **_NO_FAILURES}
    return Ack(endpoint_id=webhook.id, fields=fields, attempt=attempt, event=event)


def _after_failure(
    state: DeliveryState, answer: Answer, delay_s: float, *, settings: Settings, now: datetime
) -> DeliveryState:
    """Return the state after one more failure; `until` is unchanged."""
    now_ms = to_ms(now)
    first_ms = state.first_failure_ms or now_ms
    return replace(
        state,
        failures=state.failures + 1,
        next_ms=now_ms + int(delay_s * 1000),
        first_failure_ms=first_ms,
        disabled=_why_disabled(answer, first_ms, now_ms, settings),
    )


def _failed(
    webhook: Webhook,
    failed: DeliveryState,
    payload: Payload,
    cursor: Cursor,
    answer: Answer,
    attempt: Mapping[str, str | int],
    *,
    settings: Settings,
    now: datetime,
) -> Ack:
    """Write the state after a failure: sent again, or after the whole schedule a dead letter."""
    last_id = payload.events[-1].entry_id
    fields: dict[str, str | int] = {
        "failures": failed.failures, "next_ms": failed.next_ms,
        "first_failure_ms": failed.first_failure_ms, "until": f"{cursor.name} {last_id}",
        "disabled": failed.disabled,
    }  # fmt: skip
    dead_letter: dict[str, str | int] = {}
    is_given_up = failed.failures > len(settings.webhook_retry_schedule_s) and not failed.disabled
    if webhook.on_failure == SKIP and is_given_up:
        # The next batch is tried at once and has the whole schedule; only time disables now.
        fields |= {cursor.name: last_id, "failures": 0, "next_ms": 0, "until": ""}
        dead_letter = {
            "shard": cursor.shard, "first": payload.events[0].entry_id, "last": last_id,
            "events": len(payload.events), "message_id": payload.id,
            "status": answer.status, "error": answer.error,
        }  # fmt: skip
    return Ack(
        endpoint_id=webhook.id,
        fields=fields,
        attempt=attempt,
        dead_letter=dead_letter,
        event=_failure_event(webhook, failed, answer, now=now),
    )


def _failure_event(
    webhook: Webhook, failed: DeliveryState, answer: Answer, *, now: datetime
) -> Mapping[str, str | bytes]:
    """Return what operators are notified of; empty for most failures."""
    data = {
        "failures": failed.failures,
        "failing_since": to_rfc3339(from_ms(failed.first_failure_ms)),
        "status": answer.status,
        "error": answer.error,
    }
    if failed.disabled:
        return operation(DISABLED, webhook, {**data, "reason": failed.disabled}, now=now)
    if failed.failures == FAILING_AT:
        return operation(FAILING, webhook, data, now=now)
    return {}


def _why_disabled(answer: Answer, first_ms: int, now_ms: int, settings: Settings) -> str:
    if answer.verdict is Verdict.GONE:
        return "the receiver answered 410 Gone"
    if now_ms - first_ms > settings.webhook_disable_after_s * 1000:
        return f"every attempt failed since {from_ms(first_ms):%Y-%m-%d %H:%M}"
    return ""


def operation(
    type: str, webhook: Webhook, data: Mapping[str, object], *, now: datetime
) -> dict[str, str | bytes]:
    """Return a CloudEvent for operators, as fields of a stream entry."""
    return {
        "specversion": "1.0",
        "id": f"{webhook.id}_{type.split('.')[-2]}_{to_ms(now)}",
        "source": "/webhooks",
        "type": type,
        "subject": webhook.id,
        "time": to_rfc3339(now),
        "datacontenttype": JSON,
        "data": orjson.dumps({"webhook": webhook.id, **data}),
    }
