"""What answers, orders and gaps leave, as values: no worker, no Redis, no clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from service.articles.event import EVENT_TYPES, Event
from service.articles.times import to_ms
from service.settings import Settings
from service.storage.webhooks import Ack, Range, State
from service.webhooks.payloads import Payload
from service.webhooks.retry import Answer
from service.webhooks.webhook import Webhook, make_webhook
from workers.deliver.webhooks import outcome
from workers.deliver.webhooks.cursor import Cursor
from workers.deliver.webhooks.outcome import DeliveryState

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SETTINGS = Settings(webhook_retry_schedule_s=(10, 100), webhook_disable_after_s=1_000)
CALM = DeliveryState()


def webhook(**fields: object) -> Webhook:
    """A webhook with these settings."""
    return make_webhook({"url": "http://x.example/", **fields}, webhook_id="w", created=NOW)


def payload(*entry_ids: str) -> Payload:
    """A request with events of these stream entries."""
    events = [
        Event(entry_id=entry_id, shard=0, id=f"a_{entry_id}", type=EVENT_TYPES[0], subject="a",
              time="2026-01-05T12:00:00Z", data=b"{}")
        for entry_id in entry_ids
    ]  # fmt: skip
    return Payload("m", EVENT_TYPES[0], "application/json", b"{}", events)


def judge(
    state: DeliveryState, status: int, *, chance: float = 0.5, **fields: object
) -> tuple[Ack, DeliveryState]:
    """The ack after an answer to entries 5-0 and 6-0, and the state that it leaves."""
    ack = outcome.judge(
        webhook(**fields), state, payload("5-0", "6-0"), Cursor("cursor:0", 0, "4-0"),
        Answer(status=status), settings=SETTINGS, chance=chance, now=NOW,
    )  # fmt: skip
    return ack, state.after(ack)


def failing(failures: int, *, for_s: float = 1) -> DeliveryState:
    """The state after some failures, the first so many seconds ago."""
    first_ms = to_ms(NOW - timedelta(seconds=for_s))
    return DeliveryState(
        failures=failures, next_ms=to_ms(NOW), first_failure_ms=first_ms, until="cursor:0 6-0"
    )


def event_type(ack: Ack) -> str:
    """Which event operators get: disabled, failing, recovered, gap; empty for none."""
    return str(ack.event["type"]).split(".")[-2] if ack.event else ""


def test_a_delivery_moves_the_cursor_and_nothing_else() -> None:
    """To the last of its events; the state is the same object."""
    ack, state = judge(CALM, 204)
    assert {"cursor:0": "6-0"} == ack.fields
    assert CALM is state
    assert (1, 204, 2) == (ack.attempt["attempt"], ack.attempt["status"], ack.attempt["events"])


@pytest.mark.parametrize("status", [0, 199, 300, 302, 404, 500])
def test_a_failure_keeps_the_cursor_and_is_sent_again_unchanged(status: int) -> None:
    """Status 300 and 199 are failures like the others."""
    ack, state = judge(CALM, status)
    assert "cursor:0" not in ack.fields
    now_ms = to_ms(NOW)
    assert state == DeliveryState(
        failures=1, next_ms=now_ms + 10_000, first_failure_ms=now_ms, until="cursor:0 6-0"
    )
    assert state.is_failing


@pytest.mark.parametrize(("chance", "delay_ms"), [(0.0, 8_000), (0.5, 10_000), (1.0, 12_000)])
def test_the_jitter_is_given(chance: float, delay_ms: int) -> None:
    """A fifth less to a fifth more."""
    _, state = judge(CALM, 500, chance=chance)
    assert to_ms(NOW) + delay_ms == state.next_ms


@pytest.mark.parametrize(
    ("failures", "status", "expected"),
    [(0, 500, ""), (1, 500, ""), (2, 500, "failing"), (3, 500, ""),
     (2, 200, ""), (3, 200, "recovered"), (0, 410, "disabled")],
)  # fmt: skip
def test_operators_are_notified_of_changes_alone(failures: int, status: int, expected: str) -> None:
    """Of the third failure, of a success after it, of the end; of nothing twice."""
    ack, _ = judge(failing(failures) if failures else CALM, status)
    assert expected == event_type(ack)


def test_a_success_after_failures_forgets_them() -> None:
    """And what was to be sent again."""
    _, state = judge(failing(2), 200)
    assert CALM == state


@pytest.mark.parametrize(("for_s", "is_disabled"), [(1_000, False), (1_001, True)])
def test_failing_too_long_disables(for_s: float, is_disabled: bool) -> None:
    """After WEBHOOK_DISABLE_AFTER_S, not at it; the cursor stays."""
    ack, state = judge(failing(5, for_s=for_s), 500)
    assert is_disabled is bool(state.disabled)
    assert "cursor:0" not in ack.fields


@pytest.mark.parametrize(("failures", "is_given_up"), [(1, False), (2, True)])
def test_skip_gives_up_after_the_whole_schedule(failures: int, is_given_up: bool) -> None:
    """With as many retries as it has steps; the next event is tried at once."""
    ack, state = judge(failing(failures), 500, on_failure="skip")
    assert is_given_up is bool(ack.dead_letter)
    assert is_given_up is ("cursor:0" in ack.fields)
    if is_given_up:
        assert ("5-0", "6-0") == (ack.dead_letter["first"], ack.dead_letter["last"])
        assert (0, 0, "") == (state.failures, state.next_ms, state.until)
        assert state.is_failing


def test_one_that_is_disabled_gives_nothing_up() -> None:
    """410 on the last attempt of a webhook that skips: what was not delivered stays."""
    ack, state = judge(failing(9), 410, on_failure="skip")
    assert {} == ack.dead_letter
    assert "410" in state.disabled


def test_a_test_message_settles_its_order_alone() -> None:
    """Whatever is answered, cursor and failures stay."""
    for status in (200, 500, 410):
        ack = outcome.judge(
            webhook(), CALM, Payload("t", "test", "", b""), None, Answer(status=status),
            settings=SETTINGS, chance=0.5, now=NOW,
        )  # fmt: skip
        assert ({"test": "t"}, {}) == (ack.orders, ack.fields)
        assert status == ack.attempt["status"]


def test_a_resume_forgets_failures_and_moves_the_cursors() -> None:
    """Shards that are not a number are ignored."""
    order = orjson.dumps({"0": "9-0", "x": "8-0"}).decode()
    ack = outcome.resume(webhook(), order)
    assert CALM == replace(failing(3), disabled="x").after(ack)
    assert "9-0" == ack.fields["cursor:0"]
    assert "8-0" not in ack.fields.values()
    assert {"resume": order} == ack.orders


def test_a_gap_is_counted_and_passed() -> None:
    """Operators get the range; what failed is not sent again, because it is gone."""
    state = replace(failing(1), gaps=2)
    ack = outcome.pass_gap(webhook(), state, Cursor("cursor:0", 0, "4-0"), "7-3", now=NOW)
    assert "7-3" == ack.fields["cursor:0"]
    assert (3, "") == (state.after(ack).gaps, state.after(ack).until)
    assert "gap" == event_type(ack)
    assert "4-0..7-3" == ack.attempt["message_id"]


def test_what_is_stored_is_taken_over() -> None:
    """The six fields that acks write; cursors and orders are kept elsewhere."""
    stored = State(failures=1, next_ms=2, first_failure_ms=3, until="u", disabled="d", gaps=4)
    assert DeliveryState(
        failures=1, next_ms=2, first_failure_ms=3, until="u", disabled="d", gaps=4
    ) == DeliveryState.of(stored)


def test_cursors_only_rise_until_they_are_settled() -> None:
    """A resume may go back; a replay is over at its end, exactly."""
    cursor = Cursor("replay", 0, "5-0", Range(0, "4-0", "7-1"))
    cursor.advance("4-9")
    assert "5-0" == cursor.entry_id
    cursor.advance("7-0")
    assert not cursor.is_over
    cursor.advance("7-1")
    assert cursor.is_over
    assert "5-0" == cursor.saved_id
    cursor.settle("3-0")
    assert ("3-0", "3-0") == (cursor.entry_id, cursor.saved_id)
    assert not Cursor("cursor:0", 0, "9-9").is_over
