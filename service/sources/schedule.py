"""Polling: what polls of a source left behind, and when the next one is due. Pure.

The next poll is the longest of what its operator asks for (or else its own rhythm), what its feed
asks for (ttl, sy:updatePeriod) and how long its answer stays fresh (RFC 9111 4.2); never under
POLL_MIN_S, never over POLL_MAX_S; and then outside of its skipHours and skipDays. Jitter only ever
makes it later: early is what publishers complain about.

The rhythm is seen, not believed: half the mean time between two new articles, but no longer than
POLL_DEFAULT_S, until nothing has come for a hundred times that long; then it slows down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.articles.times import to_ms, to_rfc3339
from service.settings import Settings
from service.sources.source import Source

# How far the next poll may be put off by chance; failures that began together should part.
JITTER, FAILURE_JITTER = 0.1, 0.25
JITTER_AFTER_SKIP_S = 300
# Weight of the newest gap between articles.
NEWEST = 0.3
IDLE_SHARE = 100
# While a hub tells us, polling is only the net under it.
LIVE_FACTOR = 12
# What a status such as 404 or 403 costs more than a timeout: it hardly ever goes by itself.
LASTING_FAILURES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What the polls of a source left behind."""

    etag: str = ""
    """Validators of the last document that was taken in whole, byte-exact."""
    last_modified: str = ""
    body_hash: str = ""
    """Of that document; servers without validators send the same bytes again and again."""
    kind: str = ""
    """Of the last document, see `Document.kind`; empty before the first."""
    failures: int = 0
    """In a row."""
    polled: str = ""
    """When, RFC 3339."""
    result: str = ""
    """In words."""
    due_ms: int = 0
    news_ms: int = 0
    """When something new was found last (or the first poll was)."""
    gap_s: float = 0
    """Mean time between two new articles; 0 if not known."""
    hint_s: int = 0
    """`Hints.interval_s` of the last document."""
    skip_hours: tuple[int, ...] = ()
    skip_days: tuple[int, ...] = ()
    moved_to: str = ""
    """Where the last poll was redirected to for good; empty if it was not."""
    moved_polls: int = 0
    """How many polls in a row agreed on that."""
    hub: str = ""
    """WebSub hub and topic that the last document or its headers named."""
    topic: str = ""
    subscription: str = ""
    """Id of our subscription there; empty if there is none."""


def succeeded(
    poll: Poll, source: Source, *, now: datetime, fresh_s: float, is_live: bool, chance: float,
    settings: Settings,
) -> Poll:  # fmt: skip
    """The poll with its time and the next one's.

    Args:
        fresh_s: how long the answer is fresh, see `freshness_s`.
        is_live: whether a hub tells us of news.
        chance: from 0 to 1, evenly spread.
    """
    delay_s = max(_interval_s(poll, source, now, settings), poll.hint_s, fresh_s)
    if is_live:
        delay_s = max(delay_s, settings.poll_default_s * LIVE_FACTOR)
    delay_s = _bounded(delay_s * (1 + JITTER * chance), settings)
    due = _outside_skipped(poll, now + timedelta(seconds=delay_s), chance)
    return replace(poll, failures=0, polled=to_rfc3339(now), due_ms=to_ms(due))


def failed(
    poll: Poll, source: Source, *, now: datetime, is_lasting: bool, retry_after_s: float,
    chance: float, settings: Settings,
) -> Poll:  # fmt: skip
    """The poll with one more failure: the wait doubles with each, and never becomes a never.

    Args:
        is_lasting: a status like 404, which is asked again more rarely.
        retry_after_s: what the server asks for; 0 if nothing.
    """
    failures = poll.failures + (LASTING_FAILURES if is_lasting else 1)
    usual_s = max(source.interval_s, poll.hint_s, settings.poll_default_s)
    delay_s = usual_s * 2.0 ** min(failures - 1, 24) * (1 + FAILURE_JITTER * chance)
    asked_s = retry_after_s * (1 + JITTER * chance)
    due = now + timedelta(seconds=_bounded(max(delay_s, asked_s), settings))
    due = _outside_skipped(poll, due, chance)
    return replace(poll, failures=failures, polled=to_rfc3339(now), due_ms=to_ms(due))


def _bounded(delay_s: float, settings: Settings) -> float:
    return min(max(delay_s, settings.poll_min_s), max(settings.poll_max_s, settings.poll_min_s))


def _interval_s(poll: Poll, source: Source, now: datetime, settings: Settings) -> float:
    if source.interval_s:
        return source.interval_s
    rhythm_s = settings.poll_default_s
    if poll.gap_s:
        rhythm_s = min(poll.gap_s / 2, rhythm_s)
    idle_s = (to_ms(now) - poll.news_ms) / 1000 if poll.news_ms else 0.0
    return max(rhythm_s, idle_s / IDLE_SHARE)


def with_news(poll: Poll, count: int, *, now: datetime) -> Poll:
    """The poll after one that found so many new articles. The first one says nothing of rhythm: it
    finds everything that there is."""
    now_ms = to_ms(now)
    if not poll.news_ms:
        return replace(poll, news_ms=now_ms)
    if not count:
        return poll
    gap_s = max(now_ms - poll.news_ms, 0) / 1000 / count
    mean_s = poll.gap_s + NEWEST * (gap_s - poll.gap_s) if poll.gap_s else gap_s
    return replace(poll, news_ms=now_ms, gap_s=round(mean_s, 3))


def with_redirect(poll: Poll, target: str) -> Poll:
    """The poll after one whose permanent redirects led to `target`; empty if it had none."""
    if not target:
        return replace(poll, moved_to="", moved_polls=0) if poll.moved_to else poll
    agreed = poll.moved_polls + 1 if target == poll.moved_to else 1
    return replace(poll, moved_to=target, moved_polls=agreed)


def _outside_skipped(poll: Poll, due: datetime, chance: float) -> datetime:
    """The first moment from `due` on that the feed's skipHours and skipDays leave open. A feed that
    leaves none open means something else."""
    if not (poll.skip_hours or poll.skip_days):
        return due
    hours, days = frozenset(poll.skip_hours), frozenset(poll.skip_days)
    if len(hours) >= 24 or len(days) >= 7:
        return due
    moved = due
    while moved.hour in hours or moved.weekday() in days:
        moved = moved.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return due if moved == due else moved + timedelta(seconds=JITTER_AFTER_SKIP_S * chance)
