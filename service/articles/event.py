"""Events: announcements of articles, and positions in the event stream. Pure.

Each event is a CloudEvent 1.0; docs/stream.md is the contract. A position is the id of a stream
entry, `ms-seq`, which increases within a shard. It says where an event is, not which event
it is: the event's own id says that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from service.articles import categories
from service.articles.article import Article

EVENT_TYPES = (
    "dateline.article.published.v1",
    "dateline.article.updated.v1",
    "dateline.article.withdrawn.v1",
    "dateline.article.corrected.v1",
)
_CORRECTED = EVENT_TYPES[-1]
SOURCE = "/articles"
JSON = "application/json"
FIRST = "0-0"
"""The position before every stream entry."""
_LAST_OF_MS = 2**64 - 1


@dataclass(kw_only=True)
class Event:
    """A CloudEvent of the stream, decoded once for all its receivers."""

    entry_id: str
    """Redis stream id, `ms-seq`."""
    shard: int
    id: str
    """CloudEvent id: the same however often the event is read."""
    type: str
    """Empty for an entry that is not an event."""
    subject: str
    """Article id."""
    time: str
    """RFC 3339."""
    data: bytes
    """The article as JSON."""
    payloads: dict[object, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Its encodings for webhook payloads (`webhooks.payloads`), each made once."""

    @cached_property
    def position(self) -> tuple[int, int]:
        """The entry id as numbers, for ordering."""
        return position(self.entry_id)

    @cached_property
    def article(self) -> Article | None:
        """The decoded article; None if the event was written by another program and is invalid."""
        try:
            return Article.from_json(self.data) if self.type else None
        except ValueError:
            return None

    @cached_property
    def categories(self) -> frozenset[str]:
        """The article's category paths and all above them; empty if there is no article."""
        paths = self.article.categories if self.article else ()
        # What another program wrote may hold anything.
        texts = tuple(path for path in paths if isinstance(path, str))
        return frozenset(categories.with_ancestors(texts))

    @property
    def is_erasure(self) -> bool:
        """Whether it announces that the text of its article was erased."""
        return self.article is not None and self.article.erased

    def erase(self) -> None:
        """Drop the article: what remains is an entry that is not an event, for cursors to pass."""
        self.type, self.data = "", b""
        self.payloads.clear()
        for name in ("article", "categories"):
            self.__dict__.pop(name, None)

    def envelope(self) -> dict[str, Any]:
        """The CloudEvent's attributes, in the structured form's names, without data."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": SOURCE,
            "type": self.type,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": JSON,
        }


def is_of_types(kind: str, types: Collection[str]) -> bool:
    """Whether a consumer that named these types gets an event of this kind; without types it gets
    all but corrections, which are not news."""
    return kind in types if types else kind != _CORRECTED


def position(entry_id: str) -> tuple[int, int]:
    """A stream entry's id as numbers, for ordering; the sequence is 0 if it is left out."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)


def before(entry_id: str) -> str:
    """The greatest id that is smaller; FIRST if there is none."""
    ms, sequence = position(entry_id)
    if (ms, sequence) <= (0, 1):
        return FIRST
    return f"{ms}-{sequence - 1}" if sequence else f"{ms - 1}-{_LAST_OF_MS}"


def is_behind(cursor: str, trimmed: str) -> bool:
    """Whether events after a cursor were dropped from the stream.

    Args:
        trimmed: id of the newest entry that was dropped; empty if none was.
    """
    return bool(trimmed) and position(cursor) < position(trimmed)
