"""Archive: links to the documents of a feed that are complete (RFC 5005 4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from service.feeds.page import Period


@dataclass(frozen=True, slots=True)
class ArchiveLinks:
    """A feed's neighbours among the archive documents, which are the past days (RFC 5005 4).

    The live feed links to the newest archive document, and each of these to the next older day
    that has articles. The present day is not an archive document yet, but if it has more articles
    than the live feed shows, the live feed links to it first, so that a client that follows the
    links misses nothing.
    """

    older: Period | None = None
    """The day that follows in the direction of older articles; None at the end."""
    newer: Period | None = None
    """The next newer archive document; None for the live feed and the newest document."""
    is_archive: bool = False
    """Whether this feed is itself an archive document."""

    def __str__(self) -> str:
        """A short text, equal for equal links only; part of a page's version."""
        return f"{self.older or ''}<{self.newer or ''}{'.' if self.is_archive else ''}"

    def ends(self, zone: tzinfo) -> list[datetime]:
        """Moments at which the linked days end; before each of them the links were different."""
        return [day.bounds(zone)[1] for day in (self.older, self.newer) if day]


NO_ARCHIVE_LINKS = ArchiveLinks()
