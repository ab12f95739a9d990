"""What is written about a subscription after a push. Pure: values in, acks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.articles.times import to_ms
from service.storage import keys
from service.storage.webhooks import Ack
from service.webhooks import retry
from service.webhooks.retry import Answer, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PushState:
    """What past pushes left: the stored fields of a subscription."""

    sent: str = ""
    """ETag of the content that was sent last; empty if none was."""
    failures: int = 0
    """Failed pushes since the last success."""
    next_ms: int = 0
    """Time before which nothing is pushed."""
    first_failure_ms: int = 0
    """When the present row of failures began; 0 if the last push succeeded."""

    @classmethod
    def of(cls, fields: Mapping[str, str | int]) -> PushState:
        """Read stored fields; those that are missing are empty or 0."""
        return cls(
            sent=str(fields.get("sent", "")),
            failures=int(fields.get("failures") or 0),
            next_ms=int(fields.get("next_ms") or 0),
            first_failure_ms=int(fields.get("first_failure_ms") or 0),
        )

    def after(self, ack: Ack) -> PushState:
        """Return the state that a written ack leaves."""
        return PushState.of({"sent": self.sent, **ack.fields}) if ack.fields else self


def judge(
    subscription_id: str,
    state: PushState,
    etag: str,
    answer: Answer,
    *,
    schedule_s: Sequence[float],
    chance: float,
    now: datetime,
) -> Ack:
    """Decide what is written after a push.

    Args:
        etag: of the content that was pushed.
        chance: from 0 to 1, evenly spread; the jitter of the next push.
    """
    fields: dict[str, str | int] = {
        "sent": etag, "failures": 0, "next_ms": 0, "first_failure_ms": 0,
    }  # fmt: skip
    if answer.verdict is Verdict.RETRY:
        delay_s = retry.retry_delay_s(
            state.failures + 1, schedule_s=schedule_s, retry_after=answer.retry_after, now=now,
            chance=chance,
        )  # fmt: skip
        fields = {
            "failures": state.failures + 1,
            "next_ms": to_ms(now) + int(delay_s * 1000),
            "first_failure_ms": state.first_failure_ms or to_ms(now),
        }
    return Ack(
        registry=keys.SUBSCRIBERS, endpoint_id=subscription_id, fields=fields,
        attempt=attempt("content", etag, answer, number=state.failures + 1),
    )  # fmt: skip


def attempt(what: str, message_id: str, answer: Answer, *, number: int) -> dict[str, str | int]:
    """Return an entry of the attempt log.

    Args:
        what: content | subscribe | unsubscribe | denied.
        number: how many attempts at the same thing there were, with this one.
    """
    return {
        "message_id": message_id, "type": f"websub.{what}", "events": 0, "attempt": number,
        "status": answer.status, "error": answer.error, "duration_ms": answer.duration_ms,
        "answer": answer.text,
    }  # fmt: skip
