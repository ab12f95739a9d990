"""Archive: links to the documents of a feed that are complete (RFC 5005 4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from service.feeds.page import Page, Period


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


def has_archive_links(page: Page) -> bool:
    """Whether a page may have archive links: live feeds and days have them, selections have not."""
    return page.is_shared and (page.period.is_live or bool(page.period.day))


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """What a page's archive links are made of."""

    older: Period | None = None
    """The newest day before the page that has articles; before today for a live feed."""
    newer: Period | None = None
    """The oldest day after a day that has articles."""
    today_count: int = 0
    """Number of today's articles; only for a live feed."""

    def links(self, page: Page, *, today: Period, zone: tzinfo, page_size: int) -> ArchiveLinks:
        """Return the archive links of a page.

        Args:
            page_size: number of articles that a live feed shows.
        """
        if page.period.is_live:
            return ArchiveLinks(older=today if self.today_count > page_size else self.older)
        is_past = self.newer is not None and _is_over(self.newer, today, zone)
        newer = self.newer if is_past else None
        # A single day is not an archive yet (W3C: ArchiveIncomplete).
        is_archive = _is_over(page.period, today, zone) and bool(self.older or newer)
        return ArchiveLinks(older=self.older, newer=newer, is_archive=is_archive)


def _is_over(period: Period, today: Period, zone: tzinfo) -> bool:
    return period.bounds(zone)[1] <= today.bounds(zone)[0]
