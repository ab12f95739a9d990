"""Schedule: what polls of a source left behind, and when the next one is due. Pure.

`next_poll` decides all that follows from one poll: validators, redirects, hub, pauses, delays.

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
from typing import NamedTuple

from service import http
from service.articles.times import to_ms, to_rfc3339
from service.settings import Settings
from service.sources.freshness import freshness_s
from service.sources.outcome import Answer, DocumentOutcome, Failure, PollOutcome
from service.sources.source import Source

# How much later the next poll may be by chance; failures that began together should part.
JITTER, FAILURE_JITTER = 0.1, 0.25
JITTER_AFTER_SKIP_S = 300
# Weight of the newest gap between articles.
NEWEST = 0.3
IDLE_SHARE = 100
# While a hub pushes, polls only catch what it misses.
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
    """When the source is due again; its subscription may be due earlier."""
    news_ms: int = 0
    """When a new article was found last, or else the time of the first poll."""
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


class NextPoll(NamedTuple):
    """What follows from a poll."""

    source: Source
    """Equal to the one before unless the poll changed it (title, URL, paused)."""
    poll: Poll
    due_ms: int | None
    """When a worker should claim the source again; None if it is not polled any more."""
    spare_ms: int = 0
    """Until when its host is not asked at all; 0 if it may be asked."""


def next_poll(
    source: Source, poll: Poll, outcome: PollOutcome, *, now: datetime, chance: float,
    settings: Settings,
) -> NextPoll:  # fmt: skip
    """Decide everything that follows from one poll.

    Args:
        source, poll: as they were claimed.
        now: when the poll ended; an answer's delay counts from `Answer.received`.
        chance: from 0 to 1, evenly spread; for the jitter.
    """
    result, subscription = outcome.result, outcome.subscription
    if isinstance(result, Failure):
        return _after_failure(source, poll, result, now=now, chance=chance, settings=settings)
    source, poll = with_outcome(source, poll, outcome, now=now, settings=settings)
    if subscription:
        poll = replace(poll, subscription=subscription.id)
    is_live = subscription is not None and subscription.is_live
    poll = _succeeded(poll, source, result, is_live=is_live, chance=chance, settings=settings)
    due_ms = min(poll.due_ms, subscription.renew_ms) if subscription else poll.due_ms
    return NextPoll(source, poll, due_ms)


def with_outcome(
    source: Source, poll: Poll, outcome: PollOutcome, *, now: datetime, settings: Settings
) -> tuple[Source, Poll]:
    """The source and its poll with all that an answer says, but not yet due again.

    The step of `next_poll` that needs no subscription: which hub to ask follows from it.
    """
    answer, document = outcome.result, outcome.document
    if isinstance(answer, Failure):
        return source, poll
    if outcome.discovered_url:
        source = source.moved(outcome.discovered_url, f"found on {source.url}")
    if document is None:
        is_304 = answer.status == 304
        poll = _with_validators(poll, answer, result="not modified" if is_304 else "the same bytes")
    else:
        poll = _with_document(poll, answer, document, now=now)
        source = replace(source, title=document.title) if document.title else source
    # A redirect of the page says nothing of the feed that was found on it.
    poll = _with_redirect(poll, "" if outcome.discovered_url else answer.moved_to)
    if poll.moved_polls >= settings.redirect_confirmations:
        source = source.moved(poll.moved_to, f"moved from {source.url}")
        poll = _with_redirect(poll, "")
    return source, _with_hub(poll, source, answer, settings)


def _with_validators(poll: Poll, answer: Answer, *, result: str) -> Poll:
    etag, last_modified = answer.etag, answer.last_modified
    if answer.status == 304:
        # It may leave validators out; those we have still hold then (RFC 9110 15.4.5).
        etag, last_modified = etag or poll.etag, last_modified or poll.last_modified
    if (etag, last_modified, result) == (poll.etag, poll.last_modified, poll.result):
        return poll
    return replace(poll, etag=etag, last_modified=last_modified, result=result)


def _with_document(poll: Poll, answer: Answer, document: DocumentOutcome, *, now: datetime) -> Poll:
    poll = _with_news(poll, document.counts.get("created", 0), now=now)
    hints, is_whole = document.hints, document.is_whole
    return replace(
        poll,
        etag=answer.etag if is_whole else "",
        last_modified=answer.last_modified if is_whole else "",
        result=_in_words(document),
        kind=document.kind,
        body_hash=document.body_hash if is_whole else "",
        hint_s=hints.interval_s,
        skip_hours=hints.skip_hours,
        skip_days=hints.skip_days,
        hub=hints.hub,
        topic=hints.topic,
    )


def _in_words(document: DocumentOutcome) -> str:
    counts, rejects = document.counts, document.rejects
    news = counts.get("created", 0) + counts.get("updated", 0)
    text = f"{sum(counts.values())} articles, {news} new or updated, {len(rejects)} rejected"
    return f"{text} ({rejects[0][:200]})" if rejects else text


def _with_news(poll: Poll, count: int, *, now: datetime) -> Poll:
    """The poll after one that found `count` new articles. The first one says nothing of rhythm: it
    finds everything that there is."""
    now_ms = to_ms(now)
    if not poll.news_ms:
        return replace(poll, news_ms=now_ms)
    if not count:
        return poll
    gap_s = max(now_ms - poll.news_ms, 0) / 1000 / count
    mean_s = poll.gap_s + NEWEST * (gap_s - poll.gap_s) if poll.gap_s else gap_s
    return replace(poll, news_ms=now_ms, gap_s=round(mean_s, 3))


def _with_redirect(poll: Poll, target: str) -> Poll:
    """The poll after one whose permanent redirects led to `target`; empty if it had none."""
    if not target:
        return replace(poll, moved_to="", moved_polls=0) if poll.moved_to else poll
    agreed = poll.moved_polls + 1 if target == poll.moved_to else 1
    return replace(poll, moved_to=target, moved_polls=agreed)


def _with_hub(poll: Poll, source: Source, answer: Answer, settings: Settings) -> Poll:
    """The poll with the hub and topic that headers name, before those that the document names."""
    hub, topic = http.links(answer.links, base_url=source.url) if answer.links else ("", "")
    if not hub and not poll.hub:
        return poll
    # A 304 has no document, and often no Link.
    hub, topic = hub or poll.hub, topic or poll.topic
    if settings.public_url:
        topic = topic or source.url
    if (hub, topic) == (poll.hub, poll.topic):
        return poll
    return replace(poll, hub=hub, topic=topic)


def _succeeded(
    poll: Poll, source: Source, answer: Answer, *, is_live: bool, chance: float, settings: Settings
) -> Poll:
    now = answer.received
    fresh_s = freshness_s(answer.headers, now=now)
    delay_s = max(_interval_s(poll, source, now, settings), poll.hint_s, fresh_s)
    if is_live:
        delay_s = max(delay_s, settings.poll_default_s * LIVE_FACTOR)
    delay_s = _bounded(delay_s * (1 + JITTER * chance), settings)
    due = _outside_skipped(poll, now + timedelta(seconds=delay_s), chance)
    return replace(poll, failures=0, polled=to_rfc3339(now), due_ms=to_ms(due))


def _after_failure(
    source: Source, poll: Poll, failure: Failure, *, now: datetime, chance: float,
    settings: Settings,
) -> NextPoll:  # fmt: skip
    poll = _failed(poll, source, failure, now=now, chance=chance, settings=settings)
    if failure.status == 410:
        note = f"answered 410 Gone on {now:%Y-%m-%d}; resume it to try again"
        return NextPoll(source.with_paused(True, note), poll, None)
    # Too many requests are counted by host, not by feed.
    return NextPoll(source, poll, poll.due_ms, poll.due_ms if failure.status == 429 else 0)


def _failed(
    poll: Poll, source: Source, failure: Failure, *, now: datetime, chance: float,
    settings: Settings,
) -> Poll:  # fmt: skip
    """The wait doubles with each failure in a row, up to POLL_MAX_S."""
    failures = poll.failures + (LASTING_FAILURES if failure.is_lasting else 1)
    usual_s = max(source.interval_s, poll.hint_s, settings.poll_default_s)
    delay_s = usual_s * 2.0 ** min(failures - 1, 24) * (1 + FAILURE_JITTER * chance)
    asked_s = failure.retry_after_s * (1 + JITTER * chance)
    due = now + timedelta(seconds=_bounded(max(delay_s, asked_s), settings))
    due = _outside_skipped(poll, due, chance)
    return replace(
        poll,
        result=failure.reason[:500],
        failures=failures,
        polled=to_rfc3339(now),
        due_ms=to_ms(due),
    )


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
