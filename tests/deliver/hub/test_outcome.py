"""What an answer to a push leaves, as values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.articles.times import to_ms
from service.storage.webhooks import Ack
from service.webhooks.retry import Answer
from workers.deliver.hub import outcome
from workers.deliver.hub.outcome import PushState

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW_MS = to_ms(NOW)


def judge(state: PushState, status: int) -> Ack:
    """The ack after this answer to a push of content "new"."""
    answer = Answer(status=status)
    return outcome.judge("sub_1", state, "new", answer, schedule_s=(10, 100), chance=0.5, now=NOW)


def test_what_was_pushed_is_remembered_and_failures_are_forgotten() -> None:
    """By its ETag; a subscription that never failed is written the same."""
    failing = PushState(sent="old", failures=2, next_ms=1, first_failure_ms=1)
    for state in (PushState(), failing):
        assert PushState(sent="new") == state.after(judge(state, 202))


@pytest.mark.parametrize("status", [0, 300, 404, 500])
def test_a_push_that_fails_is_tried_again(status: int) -> None:
    """With the content of that time, so nothing counts as sent; by the schedule, then its end."""
    state = PushState(sent="old")
    for failures, delay_ms in ((1, 10_000), (2, 100_000), (3, 100_000)):
        state = state.after(judge(state, status))
        assert PushState(
            sent="old", failures=failures, next_ms=NOW_MS + delay_ms, first_failure_ms=NOW_MS
        ) == state  # fmt: skip


def test_an_ack_of_a_verification_changes_no_push() -> None:
    """It has an attempt and no fields."""
    state = PushState(sent="old", failures=1)
    attempt = outcome.attempt("subscribe", "challenge", Answer(status=200), number=2)
    assert state is state.after(Ack(registry="asked", endpoint_id="sub_1", attempt=attempt))
    assert ("websub.subscribe", 2) == (attempt["type"], attempt["attempt"])


def test_what_is_stored_may_be_missing() -> None:
    """As it is before the first push, and in a hash of texts."""
    assert PushState() == PushState.of({})
    assert PushState(sent="x", failures=2) == PushState.of({"sent": "x", "failures": "2"})
