"""Outcomes: what one poll of a source learnt, collected before anything is decided from it. Pure.

I/O fills in a `PollOutcome`; `schedule.next_poll` alone decides what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """How often a feed says it may be polled (RSS ttl, skipHours, skipDays; RDF syndication)."""

    interval_s: int = 0
    """The longer of `ttl` and `sy:updatePeriod` / `sy:updateFrequency`; 0 if it names neither."""
    skip_hours: tuple[int, ...] = ()
    """Hours of the day in UTC, 0 to 23, sorted; 24 as written means 0."""
    skip_days: tuple[int, ...] = ()
    """Days of the week in UTC, 0 is Monday, sorted."""
    hub: str = ""
    """WebSub: the first link rel=hub, absolute."""
    topic: str = ""
    """WebSub: the link rel=self, absolute; what one subscribes to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The HTTP answer to a poll, after redirects; it was a document or a 304."""

    status: int
    """200, 226 (only what is new, RFC 3229) or 304."""
    received: datetime
    """Its freshness and the next poll count from here, however long it waited to be parsed."""
    etag: str = ""
    """Validators, byte-exact; empty if there are none."""
    last_modified: str = ""
    moved_to: str = ""
    """Where permanent redirects alone lead; empty if the first redirect was not permanent."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Looked up in any case."""
    links: tuple[str, ...] = ()
    """The values of all Link headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOutcome:
    """A document that was parsed, and its articles appended."""

    kind: str
    """See `Document.kind` of the parser."""
    body_hash: str = ""
    """Of its bytes; empty if the same bytes again would mean something else (a 226)."""
    title: str = ""
    is_whole: bool = True
    """False if its end may be missing: its validators must not be kept."""
    hints: Hints = field(default_factory=Hints)
    counts: Mapping[str, int] = field(default_factory=dict)
    """Status of the receipt (created, updated, unchanged …) → number of articles."""
    rejects: tuple[str, ...] = ()
    """Why feed entries were rejected, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOutcome:
    """The subscription at the source's hub, after it was renewed if that was due."""

    id: str
    is_live: bool
    """Whether the hub pushes what is new."""
    renew_ms: int
    """When the hub is to be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a poll came to nothing."""

    reason: str
    status: int = 0
    """HTTP status of the answer; 0 if the fault was another."""
    is_lasting: bool = False
    """A status like 404, which hardly ever goes away by itself."""
    retry_after_s: float = 0.0
    """What the server asks for; 0 if it asks for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOutcome:
    """All that one poll learnt: an answer, with or without a document, or a failure."""

    result: Answer | Failure
    document: DocumentOutcome | None = None
    """None for a 304, for the bytes of the last poll, and for a failure."""
    discovered_url: str = ""
    """The feed that was found in place of a page; empty if the source's own URL was read."""
    subscription: SubscriptionOutcome | None = None
    """None if the source has no subscription at a hub."""
