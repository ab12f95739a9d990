"""When the next poll is due: pure rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.times import to_ms
from service.settings import Settings
from service.sources import freshness, schedule
from service.sources.schedule import Poll
from service.sources.source import make_source

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)  # A Monday.
SOURCE = make_source({"url": "http://x.example/f"}, created=NOW)
DEFAULTS = Settings()
HOUR = 3_600


def due_s(poll: Poll) -> float:
    """Seconds from NOW."""
    return (poll.due_ms - to_ms(NOW)) / 1000


def after_success(poll: Poll, *, chance: float = 0.0, **given: object) -> Poll:
    """As `succeeded` says, with the defaults."""
    arguments = {"fresh_s": 0.0, "is_live": False, "source": SOURCE, **given}
    return schedule.succeeded(poll, now=NOW, chance=chance, settings=DEFAULTS, **arguments)  # type: ignore[arg-type]


def after_failure(poll: Poll, *, chance: float = 0.0, **given: object) -> Poll:
    """As `failed` says, with the defaults."""
    arguments = {"is_lasting": False, "retry_after_s": 0.0, **given}
    return schedule.failed(poll, SOURCE, now=NOW, chance=chance, settings=DEFAULTS, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("poll", "fresh_s", "expected_s"),
    [
        (Poll(), 0, 1_800),
        (Poll(), 7_200, 7_200),
        (Poll(), 9e9, 86_400),
        (Poll(hint_s=10_800), 60, 10_800),
        (Poll(gap_s=1_000, news_ms=to_ms(NOW)), 0, 500),
        (Poll(gap_s=1, news_ms=to_ms(NOW)), 0, 300),
        (Poll(gap_s=90_000, news_ms=to_ms(NOW)), 0, 1_800),
        (Poll(gap_s=90_000, news_ms=to_ms(NOW - timedelta(days=10))), 0, 8_640),
        (Poll(gap_s=90_000, news_ms=to_ms(NOW - timedelta(days=999))), 0, 86_400),
    ],
    ids=["default", "fresh", "most", "ttl", "busy", "least", "daily", "quiet", "dead"],
)
def test_after_a_success(poll: Poll, fresh_s: float, expected_s: float) -> None:
    """The longest of rhythm, hints and freshness; within POLL_MIN_S and POLL_MAX_S."""
    assert expected_s == due_s(after_success(poll, fresh_s=fresh_s))


def test_jitter_is_never_early() -> None:
    """Up to a tenth later; failures up to a quarter."""
    assert [1_800, 1_980] == [due_s(after_success(Poll(), chance=c)) for c in (0, 1)]
    assert [1_800, 2_250] == [due_s(after_failure(Poll(), chance=c)) for c in (0, 1)]


def test_an_operators_interval_counts_for_the_rhythm() -> None:
    """But not against what the server asks for."""
    source = replace(SOURCE, interval_s=600)
    busy = Poll(gap_s=1, news_ms=1)
    assert 600 == due_s(after_success(busy, source=source))
    assert 900 == due_s(after_success(busy, source=source, fresh_s=900))


def test_a_live_hub_makes_polls_rare() -> None:
    """Twelve times POLL_DEFAULT_S."""
    assert 12 * 1_800 == due_s(after_success(Poll(), is_live=True))


@pytest.mark.parametrize(
    ("failures", "given", "expected_s"),
    [
        (0, {}, 1_800),
        (1, {}, 3_600),
        (3, {}, 14_400),
        (999, {}, 86_400),
        (0, {"is_lasting": True}, 3_600),
        (0, {"retry_after_s": 50_000.0}, 50_000),
        (0, {"retry_after_s": 1.0}, 1_800),
        (1, {"retry_after_s": 9e9}, 86_400),
    ],
)
def test_after_a_failure(failures: int, given: dict[str, object], expected_s: float) -> None:
    """Doubled at each, capped, never given up; no sooner than a Retry-After."""
    poll = after_failure(Poll(failures=failures), **given)
    assert expected_s == due_s(poll)
    assert poll.failures > failures
    assert 0 == after_success(poll).failures


@pytest.mark.parametrize(
    ("poll", "expected"),
    [
        (Poll(skip_hours=(12, 13)), "14:00"),
        (Poll(skip_hours=(11, 14)), "12:30"),
        (Poll(skip_days=(0,)), "Tue 00:00"),
        (Poll(skip_hours=(0,), skip_days=(0, 1)), "Wed 01:00"),
        (Poll(skip_hours=tuple(range(24))), "12:30"),
        (Poll(skip_days=tuple(range(7))), "12:30"),
    ],
)
def test_skipped_hours_and_days(poll: Poll, expected: str) -> None:
    """The poll waits for the first open one; a feed that closes all of them is not believed."""
    due = NOW + timedelta(seconds=due_s(after_success(poll)))
    assert f"{due:%a %H:%M}".endswith(expected)


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, 0),
        ({"Cache-Control": "max-age=600"}, 600),
        ({"Cache-Control": 'public, Max-Age="600"', "Age": "100"}, 500),
        ({"Cache-Control": "max-age=60", "Age": "100"}, 0),
        ({"Cache-Control": "max-age=600, no-cache"}, 0),
        ({"Cache-Control": "no-store", "Expires": "Mon, 05 Jan 2026 13:00:00 GMT"}, 0),
        ({"Cache-Control": "max-age=x"}, 0),
        ({"Expires": "Mon, 05 Jan 2026 13:00:00 GMT"}, HOUR),
        ({"Expires": "Mon, 05 Jan 2026 13:00:00 GMT", "Date": "Mon, 05 Jan 2026 12:59:00 GMT"}, 60),
        ({"Expires": "Mon, 05 Jan 2026 13:00:00 GMT", "Cache-Control": "max-age=5"}, 5),
        ({"Expires": "0"}, 0),
        ({"Expires": "Mon, 05 Jan 2026 11:00:00 GMT"}, 0),
    ],
)
def test_freshness(headers: dict[str, str], expected_s: float) -> None:
    """RFC 9111 4.2.1: max-age less Age, else Expires less Date."""
    assert expected_s == freshness.freshness_s(headers, now=NOW)


def test_the_rhythm_is_learnt() -> None:
    """The first poll finds the archive and says nothing; later ones move the mean gap."""
    first = schedule.with_news(Poll(), 50, now=NOW)
    assert (to_ms(NOW), 0) == (first.news_ms, first.gap_s)
    quiet = schedule.with_news(first, 0, now=NOW + timedelta(hours=1))
    assert first == quiet
    second = schedule.with_news(quiet, 2, now=NOW + timedelta(hours=2))
    assert HOUR == second.gap_s
    third = schedule.with_news(second, 1, now=NOW + timedelta(hours=2, seconds=600))
    assert HOUR - 0.3 * 3_000 == pytest.approx(third.gap_s)


def test_redirects_must_agree() -> None:
    """The count begins anew at another target, and at an answer without a redirect."""
    poll = Poll()
    for target, agreed in (("a", 1), ("a", 2), ("b", 1), ("b", 2), ("", 0), ("b", 1)):
        poll = schedule.with_redirect(poll, target)
        assert (target, agreed) == (poll.moved_to, poll.moved_polls)
