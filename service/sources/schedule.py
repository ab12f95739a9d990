"""Schedule: the state that polls of a source leave, and when the next poll is due. Pure.

`next_poll` decides all that follows from one poll: validators, redirects, hub, pauses, delays.

The delay is the longest of three: the interval that the operator set (or else the source's measured
rhythm), the one that the feed asks for (ttl, sy:updatePeriod), and the freshness lifetime of the
answer (RFC 9111 4.2). It is at least POLL_MIN_S and at most POLL_MAX_S, and the poll is moved out
of skipHours and skipDays. Jitter only makes it later: publishers complain about early polls.

The rhythm is half the mean time between two new articles, but no longer than POLL_DEFAULT_S. When
no article has appeared for a hundred times that long, polls slow down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from service import http
from service.articles.times import to_ms, to_rfc3339
from service.settings import Settings
from service.sources.freshness import freshness_s
from service.sources.history import WANTED, History, begun
from service.sources.outcome import Answer, DocumentOutcome, Failure, PollOutcome
from service.sources.poll_window import parse_window
from service.sources.source import Source

# Share of the delay that chance may add; retries of failures that began together should spread.
JITTER, FAILURE_JITTER = 0.1, 0.25
JITTER_AFTER_SKIP_S = 300
# Weight of the newest gap between articles in the moving mean.
NEWEST = 0.3
IDLE_SHARE = 100
# While a hub pushes, polls only find what it missed.
LIVE_FACTOR = 12
# A status such as 404 or 403 counts as so many failures: it rarely disappears by itself.
LASTING_FAILURES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """State of a source that its polls update."""

    etag: str = ""
    """Validators of the last document that was read completely, byte-exact."""
    last_modified: str = ""
    body_hash: str = ""
    """Hash of that document: servers without validators send the same bytes with each answer."""
    kind: str = ""
    """`Document.kind` of the last document; empty before the first."""
    failures: int = 0
    """Failed polls in a row, lasting failures counted double."""
    polled: str = ""
    """Time of the last poll, RFC 3339."""
    result: str = ""
    """Result of the last poll, as a text for operators."""
    due_ms: int = 0
    """When the source is due again; its subscription may be due earlier."""
    news_ms: int = 0
    """When a poll last found a new article; before that, the time of the first poll."""
    gap_s: float = 0
    """Mean time between two new articles; 0 if not known."""
    hint_s: int = 0
    """`Hints.interval_s` of the last document."""
    skip_hours: tuple[int, ...] = ()
    skip_days: tuple[int, ...] = ()
    moved_to: str = ""
    """Target of the last poll's permanent redirects; empty if it had none."""
    moved_polls: int = 0
    """How many polls in a row were redirected to that target."""
    hub: str = ""
    """WebSub hub and topic that the last document or its headers named."""
    topic: str = ""
    subscription: str = ""
    """Id of our subscription at the hub; empty if we have none."""
    full_text: str = ""
    """What the pages of its newest articles came to, as a text for operators; may be empty."""
    history: History | None = None
    """How far the feed's older documents were followed; None before the first document, and of
    sources that had one before November 2026."""


class NextPoll(NamedTuple):
    """The decisions that follow from a poll."""

    source: Source
    """Equal to the one before unless the poll changed it (title, URL, paused)."""
    poll: Poll
    due_ms: int | None
    """When a worker should claim the source again; None if it is no longer polled."""
    spare_ms: int = 0
    """Until when no request goes to its host; 0 if requests are allowed."""


def next_poll(
    source: Source, poll: Poll, outcome: PollOutcome, *, now: datetime, chance: float,
    settings: Settings,
) -> NextPoll:  # fmt: skip
    """Decide everything that follows from one poll.

    Args:
        source, poll: as they were claimed.
        now: when the poll ended; an answer's delay counts from `Answer.received`.
        chance: a uniformly distributed random number from 0 to 1, for the jitter.
    """
    result, subscription = outcome.result, outcome.subscription
    if isinstance(result, Failure):
        return _after_failure(source, poll, result, now=now, chance=chance, settings=settings)
    source, poll = with_outcome(source, poll, outcome, now=now, settings=settings)
    poll = replace(poll, subscription=subscription.id if subscription else "")
    is_live = subscription is not None and subscription.is_live
    poll = _succeeded(poll, source, result, is_live=is_live, chance=chance, settings=settings)
    return NextPoll(source, poll, due_of(poll, subscription.renew_ms if subscription else None))


def due_of(poll: Poll, renew_ms: int | None) -> int:
    """When a worker should claim a source again: for its next poll, for an older document, or for
    the renewal of its subscription.

    Args:
        renew_ms: when the subscription must be renewed; None without one.
    """
    due_ms = poll.due_ms if renew_ms is None else min(poll.due_ms, renew_ms)
    if poll.history and poll.history.is_following:
        return min(due_ms, poll.history.due_ms)
    return due_ms


def with_outcome(
    source: Source, poll: Poll, outcome: PollOutcome, *, now: datetime, settings: Settings
) -> tuple[Source, Poll]:
    """Apply an outcome to a source and its poll, without the time of the next poll.

    This is the step of `next_poll` that needs no subscription: its result names the hub at which
    the caller subscribes before it calls `next_poll`.
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
        poll = _with_history(poll, source, answer, document, now=now, settings=settings)
        poll = _with_document(poll, answer, document, now=now)
        source = replace(source, title=document.title) if document.title else source
    # A redirect of the page does not move the feed that was found on it.
    poll = _with_redirect(poll, "" if outcome.discovered_url else answer.moved_to)
    if poll.moved_polls >= settings.redirect_confirmations:
        source = source.moved(poll.moved_to, f"moved from {source.url}")
        poll = _with_redirect(poll, "")
    return source, _with_hub(poll, source, answer, settings)


def _with_validators(poll: Poll, answer: Answer, *, result: str) -> Poll:
    etag, last_modified = answer.etag, answer.last_modified
    if answer.status == 304:
        # A 304 may omit validators; the stored ones remain valid then (RFC 9110 15.4.5).
        etag, last_modified = etag or poll.etag, last_modified or poll.last_modified
    if (etag, last_modified, result) == (poll.etag, poll.last_modified, poll.result):
        return poll
    return replace(poll, etag=etag, last_modified=last_modified, result=result)


def _with_history(
    poll: Poll, source: Source, answer: Answer, document: DocumentOutcome, *, now: datetime,
    settings: Settings,
) -> Poll:  # fmt: skip
    """Begin with the older documents of a feed when its first document was read."""
    is_wanted = poll.history.state == WANTED if poll.history else not poll.kind
    if not is_wanted or answer.status != 200:
        return poll
    url = answer.url or source.url
    older = document.hints.older or http.older_document(answer.links, base_url=url)
    history = begun(source, url=url, older=older, now=now, settings=settings)
    return replace(poll, history=history)


def _with_document(poll: Poll, answer: Answer, document: DocumentOutcome, *, now: datetime) -> Poll:
    poll = _with_news(poll, document.counts.get("created", 0), now=now)
    hints, is_whole = document.hints, document.is_whole
    return replace(
        poll,
        etag=answer.etag if is_whole else "",
        last_modified=answer.last_modified if is_whole else "",
        result=_in_words(document),
        kind=document.kind,
        full_text=document.full_text or poll.full_text,
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
    corrected = f", {counts['corrected']} corrected" if counts.get("corrected") else ""
    text = f"{sum(counts.values())} articles, {news} new or updated{corrected}"
    text += f", {document.dropped} dropped by rules" if document.dropped else ""
    text += f", {len(rejects)} rejected"
    return f"{text} ({rejects[0][:200]})" if rejects else text


def _with_news(poll: Poll, count: int, *, now: datetime) -> Poll:
    """Update the rhythm after a poll that found `count` new articles. The first poll is not used:
    it finds all articles of the feed at once."""
    now_ms = to_ms(now)
    if not poll.news_ms:
        return replace(poll, news_ms=now_ms)
    if not count:
        return poll
    gap_s = max(now_ms - poll.news_ms, 0) / 1000 / count
    mean_s = poll.gap_s + NEWEST * (gap_s - poll.gap_s) if poll.gap_s else gap_s
    return replace(poll, news_ms=now_ms, gap_s=round(mean_s, 3))


def _with_redirect(poll: Poll, target: str) -> Poll:
    """Count the polls in a row whose permanent redirects led to `target`; '' resets the count."""
    if not target:
        return replace(poll, moved_to="", moved_polls=0) if poll.moved_to else poll
    agreed = poll.moved_polls + 1 if target == poll.moved_to else 1
    return replace(poll, moved_to=target, moved_polls=agreed)


def _with_hub(poll: Poll, source: Source, answer: Answer, settings: Settings) -> Poll:
    """Set hub and topic from Link headers, which have precedence over those of the document."""
    hub, topic = http.links(answer.links, base_url=source.url) if answer.links else ("", "")
    if not hub and not poll.hub:
        return poll
    # A 304 has no document, and often no Link header.
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
    due = _allowed(poll, source, now + timedelta(seconds=delay_s), chance, settings)
    return replace(poll, failures=0, polled=to_rfc3339(now), due_ms=to_ms(due))


def _after_failure(
    source: Source, poll: Poll, failure: Failure, *, now: datetime, chance: float,
    settings: Settings,
) -> NextPoll:  # fmt: skip
    poll = _failed(poll, source, failure, now=now, chance=chance, settings=settings)
    if failure.status == 410:
        note = f"answered 410 Gone on {now:%Y-%m-%d}; resume it to try again"
        return NextPoll(source.with_paused(True, note), poll, None)
    # Servers count too many requests by client, not by feed: the whole host is spared.
    return NextPoll(source, poll, poll.due_ms, poll.due_ms if failure.status == 429 else 0)


def _failed(
    poll: Poll, source: Source, failure: Failure, *, now: datetime, chance: float,
    settings: Settings,
) -> Poll:  # fmt: skip
    """The delay doubles with each failure in a row, up to POLL_MAX_S."""
    failures = poll.failures + (LASTING_FAILURES if failure.is_lasting else 1)
    usual_s = max(source.interval_s, poll.hint_s, settings.poll_default_s)
    delay_s = usual_s * 2.0 ** min(failures - 1, 24) * (1 + FAILURE_JITTER * chance)
    retry_after_s = failure.retry_after_s * (1 + JITTER * chance)
    due = now + timedelta(seconds=_bounded(max(delay_s, retry_after_s), settings))
    due = _allowed(poll, source, due, chance, settings)
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


def outside_window(source: Source, now: datetime, settings: Settings) -> int:
    """When the poll window of a source opens, ms since the epoch; 0 if it is open now."""
    window = parse_window(source.window)
    if window is None or window.contains(now, settings.timezone):
        return 0
    return to_ms(window.first_from(now, settings.timezone))


def _allowed(
    poll: Poll, source: Source, due: datetime, chance: float, settings: Settings
) -> datetime:
    """The first moment from `due` on at which both the feed and the operator allow a poll; if there
    is no such hour, one at which the operator does."""
    window = parse_window(source.window)
    allowed = _outside_skipped(poll, due, chance)
    if window is None or window.contains(allowed, settings.timezone):
        return allowed
    opened = window.first_from(allowed, settings.timezone)
    again = _outside_skipped(poll, opened, chance)
    if window.contains(again, settings.timezone):
        opened = again
    late = opened + timedelta(seconds=JITTER_AFTER_SKIP_S * chance)
    return late if window.contains(late, settings.timezone) else opened


def _outside_skipped(poll: Poll, due: datetime, chance: float) -> datetime:
    """The first moment from `due` on that is outside of skipHours and skipDays. If a feed lists all
    hours or all days, its list is ignored."""
    if not (poll.skip_hours or poll.skip_days):
        return due
    hours, days = frozenset(poll.skip_hours), frozenset(poll.skip_days)
    if len(hours) >= 24 or len(days) >= 7:
        return due
    moved = due
    while moved.hour in hours or moved.weekday() in days:
        moved = moved.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return due if moved == due else moved + timedelta(seconds=JITTER_AFTER_SKIP_S * chance)
