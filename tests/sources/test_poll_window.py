"""Poll windows: which text means which hours, and where a poll outside of them goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from service.errors import InvalidInput
from service.settings import Settings
from service.sources.outcome import Answer, Failure, PollOutcome
from service.sources.poll_window import parse_window
from service.sources.schedule import Poll, next_poll
from service.sources.source import make_source
from tests.conftest import NOON


@pytest.mark.parametrize(
    ("text", "moments"),
    [
        ("8-18", {"05 07:59": False, "05 08:00": True, "05 17:59": True, "05 18:00": False}),
        ("22-6", {"05 21:00": False, "05 23:00": True, "06 05:59": True, "06 06:00": False}),
        ("mon-fri 8-18", {"05 12:00": True, "10 12:00": False, "09 12:00": True}),
        ("fri 22:00-6:00", {"09 23:00": True, "10 05:00": True, "10 23:00": False,
                            "09 05:00": False}),
        ("sat, sun", {"10 00:00": True, "11 23:59": True, "12 00:00": False}),
        ("SUN-TUE", {"05 12:00": True, "06 12:00": True, "07 12:00": False, "11 12:00": True}),
        ("0-24", {"05 00:00": True, "05 23:59": True}),
    ],
)  # fmt: skip
def test_windows(text: str, moments: dict[str, bool]) -> None:
    """5 January 2026 is a Monday."""
    window = parse_window(text)
    assert window
    for moment, expected in moments.items():
        when = datetime.strptime(f"2026-01-{moment}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        assert expected is window.contains(when, UTC), moment
        first = window.first_from(when, UTC)
        assert window.contains(first, UTC)
        assert expected is (first == when)


@pytest.mark.parametrize("text", ["8", "8-8", "24-3", "8-25", "noon", "mon 8-9 x", "mon,,tue", "-"])
def test_what_is_no_window(text: str) -> None:
    """It is refused with its name."""
    with pytest.raises(InvalidInput, match="window"):
        make_source({"url": "http://x.example/", "window": text}, created=NOON)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize("result", ["answer", "failure"])
def test_polls_are_due_inside_of_the_window(zone: str, result: str) -> None:
    """In the operator's zone; a feed's own hours are obeyed within it, if that is possible."""
    settings = Settings(timezone=ZoneInfo(zone))
    source = make_source({"url": "http://x.example/", "window": "wed 3-5"}, created=NOON)
    answer = Answer(status=304, received=NOON)
    outcome = PollOutcome(result=answer if result == "answer" else Failure(reason="x"))
    every = tuple(hour for hour in range(24) if hour != 4)
    for poll in (Poll(), Poll(skip_hours=(3,)), Poll(skip_hours=every), Poll(skip_days=(2,))):
        for chance in (0.0, 0.5, 1.0):
            due_ms = next_poll(
                source, poll, outcome, now=NOON, chance=chance, settings=settings
            ).due_ms
            assert due_ms
            due = datetime.fromtimestamp(due_ms / 1000, ZoneInfo(zone))
            assert (2, True) == (due.weekday(), due.hour in (3, 4)), due
    free = replace(source, window="")
    due_ms = next_poll(free, Poll(), outcome, now=NOON, chance=0, settings=settings).due_ms
    assert due_ms
    assert due_ms < (NOON + timedelta(hours=3)).timestamp() * 1000
