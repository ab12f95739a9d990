"""Outcomes: all facts that one poll of a source collected, before any decision. Pure.

I/O fills in a `PollOutcome`; `schedule.next_poll` alone decides what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Polling hints and hub links of a feed (RSS ttl, skipHours, skipDays; RDF syndication)."""

    interval_s: int = 0
    """The longer of `ttl` and `sy:updatePeriod` / `sy:updateFrequency`; 0 if it names neither."""
    skip_hours: tuple[int, ...] = ()
    """Hours of the day in UTC, 0 to 23, sorted; 24 as written means 0."""
    skip_days: tuple[int, ...] = ()
    """Days of the week in UTC, 0 is Monday, sorted."""
    hub: str = ""
    """WebSub: the first link rel=hub, absolute."""
    topic: str = ""
    """WebSub: the link rel=self, absolute; the URL to subscribe to."""
    older: str = ""
    """RFC 5005: the document that goes on with older entries, absolute: `next`, else
    `prev-archive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The HTTP answer to a poll, after redirects; it was a document or a 304."""

    status: int
    """200, 226 (only new feed entries, RFC 3229) or 304."""
    url: str = ""
    """Where it came from after redirects."""
    received: datetime
    """When it arrived: its freshness and the next poll count from here, not from its parsing."""
    etag: str = ""
    """Validators, byte-exact; empty if the answer has none."""
    last_modified: str = ""
    moved_to: str = ""
    """Target of the leading permanent redirects; empty if the first redirect was not permanent."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Response headers; names are looked up case-insensitively."""
    links: tuple[str, ...] = ()
    """The values of all Link headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOutcome:
    """A document that was parsed, and whose articles were appended."""

    kind: str
    """`Document.kind` of the parser."""
    body_hash: str = ""
    """Hash of the body; empty for a 226, where equal bytes do not mean an unchanged feed."""
    title: str = ""
    is_whole: bool = True
    """False if its end may be missing: its validators must not be stored."""
    hints: Hints = field(default_factory=Hints)
    counts: Mapping[str, int] = field(default_factory=dict)
    """Status of the receipt (created, updated, unchanged …) → number of articles."""
    rejects: tuple[str, ...] = ()
    """Why feed entries were rejected, one line each."""
    dropped: int = 0
    """Number of feed entries that rules of the source dropped."""
    known: bytes = b""
    """What is remembered of its entries (`known_entries`); empty if that of before stays."""
    full_text: str = ""
    """What the pages of its articles came to, as a text for operators; empty if none was wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOutcome:
    """The subscription at the source's hub, after a renewal if that was due."""

    id: str
    is_live: bool
    """Whether the hub pushes new documents."""
    renew_ms: int
    """When the subscription must be requested again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a poll brought no document."""

    reason: str
    status: int = 0
    """HTTP status of the answer; 0 if it failed for another reason."""
    is_lasting: bool = False
    """Whether it is a status like 404, which rarely disappears by itself."""
    retry_after_s: float = 0.0
    """Seconds by the Retry-After header; 0 without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOutcome:
    """All facts that one poll collected: an answer, with or without a document, or a failure."""

    result: Answer | Failure
    document: DocumentOutcome | None = None
    """None for a 304, for the same bytes as in the last poll, and for a failure."""
    discovered_url: str = ""
    """The feed that was found on the page at the source's URL; empty if that URL is a feed."""
    subscription: SubscriptionOutcome | None = None
    """None if the source has no subscription at a hub, or none any more."""
