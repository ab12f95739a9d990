"""What a parser process says of a document besides its articles. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from service.sources.outcome import Hints
from workers.ingest.parse import FeedLink


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseReport:
    """What a document is; everything that a parser finds except its articles."""

    kind: str = ""
    title: str = ""
    is_whole: bool = True
    hints: Hints = field(default_factory=Hints)
    alternates: tuple[FeedLink, ...] = ()
    error: str = ""
    """Why the document cannot be used; empty if it can."""
    ids: tuple[str, ...] = ()
    """Ids of the articles of its entries, unless they are known under other guids; without entries
    that only their text identifies, and without those that were passed over."""
    passed_over: tuple[int, ...] = ()
    """The numbers of those records of `ParseJob.known` whose entries come again."""
    next_url: str = ""
    """The page with the articles before these; empty if there is none."""
    teasers: tuple[str, ...] = ()
    """Those of articles whose texts are cut, and whose pages are wanted."""
    page_text: str = ""
    """Markup of the article on a page, see `ParseJob.page_selector`."""

    def to_wire(self) -> bytes:
        """Encode it as JSON for the pipe to or from a parser process."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> ParseReport:
        """Decode what `to_wire` returned."""
        fields: dict[str, Any] = orjson.loads(data)
        hints = fields["hints"]
        days = {name: tuple(hints[name]) for name in ("skip_hours", "skip_days")}
        fields["hints"] = Hints(**{**hints, **days})
        fields["alternates"] = tuple(FeedLink(**link) for link in fields["alternates"])
        fields |= {name: tuple(fields[name]) for name in ("ids", "passed_over", "teasers")}
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The entries of a document that did not become articles."""

    rejects: tuple[str, ...] = ()
    """Why feed entries were rejected, one line each."""
    dropped: tuple[str, ...] = ()
    """For each entry that a rule of its source dropped, the id that its article would have, unless
    it is known under another guid; empty if only its text identifies it."""

    def to_wire(self) -> bytes:
        """Encode it as JSON for the pipe from a parser process."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> LeftOut:
        """Decode what `to_wire` returned."""
        return cls(**{name: tuple(texts) for name, texts in orjson.loads(data).items()})
