"""What is written of a webhook after an answer, an order, or a gap. Decides, and does nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from service.articles.event import JSON
from service.articles.times import from_ms, to_ms, to_rfc3339
from service.settings import Settings
from service.storage.webhooks import Ack, cursor_field
from service.webhooks import retry
from service.webhooks.payloads import Payload
from service.webhooks.retry import Answer, Verdict
from service.webhooks.webhook import SKIP
from workers.deliver.webhooks.cursor import Cursor

if TYPE_CHECKING:
    from workers.deliver.webhooks.endpoint import WebhookEndpoint

# So many failures in a row are told to operators.
FAILING_AT = 3
DISABLED, FAILING, RECOVERED, GAP = (
    f"dateline.webhook.{what}.v1" for what in ("disabled", "failing", "recovered", "gap")
)


def resumed(hook: WebhookEndpoint) -> Ack:
    """It goes on from where the order says, whatever was before."""
    fields: dict[str, str | int] = {"failures": 0, "next_ms": 0, "first_failure_ms": 0}
    cursors: Mapping[str, str] = orjson.loads(hook.resume)
    places = {cursor_field(int(s)): cursor for s, cursor in cursors.items() if s.isdigit()}
    return hook.ack(
        fields={**fields, "until": "", "disabled": "", **places},
        orders={"resume": hook.resume},
    )


def missed(hook: WebhookEndpoint, line: Cursor, trimmed: str, *, now: datetime) -> Ack:
    """Events were dropped from the stream before they were sent: noted, told, and passed."""
    data = {"after": line.cursor, "until": trimmed, "shard": line.shard}
    error = "STREAM_MAX_ENTRIES dropped events before they were sent"
    return hook.ack(
        fields={line.name: trimmed, "gaps": hook.gaps + 1, "until": ""},
        attempt={
            "type": GAP, "message_id": f"{line.cursor}..{trimmed}", "status": 0, "error": error,
            "events": 0, "attempt": 0, "duration_ms": 0, "answer": "",
        },
        event=operation(GAP, hook, data, now=now),
    )  # fmt: skip


def judged(
    hook: WebhookEndpoint,
    parcel: Payload,
    line: Cursor | None,
    answer: Answer,
    *,
    settings: Settings,
    now: datetime,
) -> Ack:
    """What is to be written after an answer. Without a line it was a test."""
    attempt: dict[str, str | int] = {
        "message_id": parcel.id, "type": parcel.type, "events": len(parcel.events),
        "attempt": hook.failures + 1, "status": answer.status, "error": answer.error,
        "duration_ms": answer.duration_ms, "answer": answer.text,
    }  # fmt: skip
    if line is None:
        return hook.ack(orders={"test": parcel.id}, attempt=attempt)
    if answer.verdict is Verdict.DELIVERED:
        moved = {line.name: parcel.events[-1].entry_id}
        return _delivered(hook, moved, attempt, now=now)
    return _failed(hook, line, parcel, answer, attempt, settings=settings, now=now)


def _delivered(
    hook: WebhookEndpoint, moved: dict[str, str], attempt: Mapping[str, str | int], *, now: datetime
) -> Ack:
    if not hook.is_suspect:
        return hook.ack(fields=moved, attempt=attempt)
    event: Mapping[str, str | bytes] = {}
    if hook.failures >= FAILING_AT:
        since = to_rfc3339(from_ms(hook.first_failure_ms))
        event = operation(RECOVERED, hook, {"failing_since": since}, now=now)
    calm = {"failures": 0, "next_ms": 0, "first_failure_ms": 0, "until": ""}
    return hook.ack(fields={**moved, **calm}, attempt=attempt, event=event)


def _failed(
    hook: WebhookEndpoint,
    line: Cursor,
    parcel: Payload,
    answer: Answer,
    attempt: Mapping[str, str | int],
    *,
    settings: Settings,
    now: datetime,
) -> Ack:
    now_ms = to_ms(now)
    failures = hook.failures + 1
    first_ms = hook.first_failure_ms or now_ms
    schedule = settings.webhook_retry_schedule_s
    delay_s = retry.retry_delay_s(
        failures, schedule_s=schedule, retry_after=answer.retry_after, now=now,
        chance=random.random(),  # noqa: S311 -- jitter
    )  # fmt: skip
    last = parcel.events[-1].entry_id
    disabled = _why_disabled(answer, first_ms, now_ms, settings)
    fields: dict[str, str | int] = {
        "failures": failures, "next_ms": now_ms + int(delay_s * 1000),
        "first_failure_ms": first_ms, "until": f"{line.name} {last}", "disabled": disabled,
    }  # fmt: skip
    dead_letter: dict[str, str | int] = {}
    if hook.webhook.on_failure == SKIP and failures > len(schedule) and not disabled:
        # The next one is tried at once and has the whole schedule; only time disables now.
        fields |= {line.name: last, "failures": 0, "next_ms": 0, "until": ""}
        dead_letter = {
            "shard": line.shard, "first": parcel.events[0].entry_id, "last": last,
            "events": len(parcel.events), "message_id": parcel.id,
            "status": answer.status, "error": answer.error,
        }  # fmt: skip
    event: Mapping[str, str | bytes] = {}
    told = {"failures": failures, "failing_since": to_rfc3339(from_ms(first_ms)),
            "status": answer.status, "error": answer.error}  # fmt: skip
    if disabled:
        event = operation(DISABLED, hook, {**told, "reason": disabled}, now=now)
    elif failures == FAILING_AT:
        event = operation(FAILING, hook, told, now=now)
    return hook.ack(fields=fields, attempt=attempt, dead_letter=dead_letter, event=event)


def _why_disabled(answer: Answer, first_ms: int, now_ms: int, settings: Settings) -> str:
    if answer.verdict is Verdict.GONE:
        return "the receiver answered 410 Gone"
    if now_ms - first_ms > settings.webhook_disable_after_s * 1000:
        return f"every attempt failed since {from_ms(first_ms):%Y-%m-%d %H:%M}"
    return ""


def operation(
    type: str, hook: WebhookEndpoint, data: Mapping[str, object], *, now: datetime
) -> dict[str, str | bytes]:
    """A CloudEvent for operators, as fields of a stream entry."""
    ms = to_ms(now)
    return {
        "specversion": "1.0",
        "id": f"{hook.id}_{type.split('.')[-2]}_{ms}",
        "source": "/webhooks",
        "type": type,
        "subject": hook.id,
        "time": to_rfc3339(now),
        "datacontenttype": JSON,
        "data": orjson.dumps({"webhook": hook.id, **data}),
    }
