"""Archive: which documents of a feed are complete and never change again (RFC 5005 4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from service.feeds.page import Period


@dataclass(frozen=True, slots=True)
class ArchiveLinks:
    """A feed's place among the archive documents, which are the days that are over (RFC 5005 4).

    The live feed leads to the newest of them, each of them to the day before that has articles. A
    day that goes on is none yet, but if it has more than the live feed shows, the live feed leads
    to it first, so that who follows the chain misses nothing.
    """

    older: Period | None = None
    newer: Period | None = None
    is_archive: bool = False

    def __str__(self) -> str:
        """Changes with it."""
        return f"{self.older or ''}<{self.newer or ''}{'.' if self.is_archive else ''}"

    def ends(self, zone: tzinfo) -> list[datetime]:
        """When the days that it names are over: before that, it was another."""
        return [day.bounds(zone)[1] for day in (self.older, self.newer) if day]


NO_ARCHIVE_LINKS = ArchiveLinks()
