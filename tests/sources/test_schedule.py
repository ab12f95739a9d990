"""When the next poll is due: pure rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.times import to_ms
from service.settings import Settings
from service.sources import freshness
from service.sources.outcome import (
    Answer,
    DocumentOutcome,
    Failure,
    PollOutcome,
    SubscriptionOutcome,
)
from service.sources.schedule import NextPoll, Poll, next_poll
from service.sources.source import Source, make_source

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)  # A Monday.
SOURCE = make_source({"url": "http://x.example/f"}, created=NOW)
DEFAULTS = Settings()
HOUR = 3_600


def due_s(poll: Poll) -> float:
    """Seconds from NOW until the next poll is due."""
    return (poll.due_ms - to_ms(NOW)) / 1000


def answer(status: int = 200, **given: object) -> Answer:
    """An answer that was fetched at NOW."""
    return Answer(status=status, received=NOW, **given)  # type: ignore[arg-type]


def decide(
    poll: Poll, outcome: PollOutcome, *, chance: float = 0.0, source: Source = SOURCE,
    now: datetime = NOW,
) -> NextPoll:  # fmt: skip
    """As `next_poll` says, with the defaults."""
    return next_poll(source, poll, outcome, now=now, chance=chance, settings=DEFAULTS)


def after_success(
    poll: Poll, *, chance: float = 0.0, fresh_s: float = 0, is_live: bool = False,
    source: Source = SOURCE,
) -> Poll:  # fmt: skip
    """The poll after a 304, which says nothing but how long it is fresh."""
    result = answer(304, headers={"Cache-Control": f"max-age={fresh_s:.0f}"})
    live = SubscriptionOutcome(id="s", is_live=True, renew_ms=10**15) if is_live else None
    outcome = PollOutcome(result=result, subscription=live)
    return decide(poll, outcome, chance=chance, source=source).poll


def after_failure(poll: Poll, *, chance: float = 0.0, **given: object) -> Poll:
    """The poll after a failure."""
    failure = Failure(reason="why", **given)  # type: ignore[arg-type]
    return decide(poll, PollOutcome(result=failure), chance=chance).poll


def after_document(poll: Poll, *, created: int = 0, now: datetime = NOW) -> Poll:
    """The poll after a document with so many new articles."""
    document = DocumentOutcome(kind="rss", counts={"created": created})
    return decide(poll, PollOutcome(result=answer(), document=document), now=now).poll


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
    """While a hub pushes, polls are twelve times POLL_DEFAULT_S apart."""
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
    first = after_document(Poll(), created=50)
    assert (to_ms(NOW), 0) == (first.news_ms, first.gap_s)
    quiet = after_document(first, now=NOW + timedelta(hours=1))
    assert (first.news_ms, first.gap_s) == (quiet.news_ms, quiet.gap_s)
    second = after_document(quiet, created=2, now=NOW + timedelta(hours=2))
    assert HOUR == second.gap_s
    third = after_document(second, created=1, now=NOW + timedelta(hours=2, seconds=600))
    assert HOUR - 0.3 * 3_000 == pytest.approx(third.gap_s)


def test_redirects_must_agree() -> None:
    """The count begins anew at another target, and at an answer without a redirect."""
    poll = Poll()
    for target, agreed in (("a", 1), ("a", 2), ("b", 1), ("b", 2), ("", 0), ("b", 1)):
        poll = decide(poll, PollOutcome(result=answer(304, moved_to=target))).poll
        assert (target, agreed) == (poll.moved_to, poll.moved_polls)


BEFORE = Poll(
    etag="e", last_modified="l", body_hash="b", kind="rss", news_ms=to_ms(NOW), polled="p"
)
MOVED = replace(BEFORE, moved_to="http://y.example/f", moved_polls=2)
WHOLE = DocumentOutcome(kind="atom", body_hash="n", title="T", counts={"created": 1})


@pytest.mark.parametrize(
    ("poll", "outcome", "expected"),
    [
        (BEFORE, PollOutcome(result=answer(304)), ("e", "l", "b", "not modified")),
        (BEFORE, PollOutcome(result=answer(304, etag="f")), ("f", "l", "b", "not modified")),
        (BEFORE, PollOutcome(result=answer(etag="f")), ("f", "", "b", "the same bytes")),
        (
            BEFORE, PollOutcome(result=answer(etag="f"), document=WHOLE),
            ("f", "", "n", "1 articles, 1 new or updated, 0 rejected"),
        ),
        (
            BEFORE,
            PollOutcome(result=answer(etag="f"), document=replace(WHOLE, is_whole=False)),
            ("", "", "", "1 articles, 1 new or updated, 0 rejected"),
        ),
        (BEFORE, PollOutcome(result=Failure(reason="why")), ("e", "l", "b", "why")),
    ],
    ids=["304", "304 with etag", "same bytes", "document", "cut", "failure"],
)  # fmt: skip
def test_validators(poll: Poll, outcome: PollOutcome, expected: tuple[str, ...]) -> None:
    """Those of a whole document are kept, and stay until another whole one comes."""
    after = decide(poll, outcome).poll
    assert expected == (after.etag, after.last_modified, after.body_hash, after.result)


def test_a_confirmed_redirect_moves_the_source() -> None:
    """At the third poll that agrees; the count begins anew at the new URL."""
    result = answer(304, moved_to=MOVED.moved_to)
    source, poll, _, _ = decide(MOVED, PollOutcome(result=result))
    assert ("http://y.example/f", f"moved from {SOURCE.url}") == (source.url, source.note)
    assert ("", 0) == (poll.moved_to, poll.moved_polls)


def test_a_discovered_feed_becomes_the_source() -> None:
    """Redirects of the page do not count for the feed."""
    outcome = PollOutcome(
        result=answer(moved_to="http://z.example/"), document=WHOLE,
        discovered_url="http://x.example/rss",
    )  # fmt: skip
    source, poll, _, _ = decide(Poll(), outcome)
    assert ("http://x.example/rss", "T", "") == (source.url, source.title, poll.moved_to)
    assert f"found on {SOURCE.url}" == source.note


def test_410_pauses_and_429_spares_the_host() -> None:
    """Other failures neither pause the source nor spare the host."""
    gone = decide(BEFORE, PollOutcome(result=Failure(reason="r", status=410)))
    assert (True, None, 0) == (gone.source.paused, gone.due_ms, gone.spare_ms)
    busy = decide(BEFORE, PollOutcome(result=Failure(reason="r", status=429)))
    assert (SOURCE, busy.poll.due_ms) == (busy.source, busy.due_ms)
    assert busy.due_ms == busy.spare_ms
    missing = decide(BEFORE, PollOutcome(result=Failure(reason="r", status=404)))
    assert (SOURCE, 0) == (missing.source, missing.spare_ms)


def test_a_subscription_that_is_due_first_decides_the_claim() -> None:
    """The poll itself stays due when it was."""
    soon = SubscriptionOutcome(id="s", is_live=False, renew_ms=to_ms(NOW) + 5_000)
    _, poll, due_ms, _ = decide(BEFORE, PollOutcome(result=answer(304), subscription=soon))
    assert ("s", soon.renew_ms, 1_800) == (poll.subscription, due_ms, due_s(poll))
