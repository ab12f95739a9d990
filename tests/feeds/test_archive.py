"""Archive links of live feeds and of days (RFC 5005 4)."""

from __future__ import annotations

from datetime import UTC

import pytest

from service.feeds.archive import ArchiveLinks, Neighbours, has_archive_links
from service.feeds.page import Page, Period

TODAY, BEFORE, LONG_BEFORE = Period(2026, 1, 9), Period(2026, 1, 7), Period(2026, 1, 2)
LIVE = Period()


@pytest.mark.parametrize(
    ("period", "neighbours", "links"),
    [
        (LIVE, Neighbours(), ArchiveLinks()),
        (LIVE, Neighbours(older=BEFORE, today_count=50), ArchiveLinks(older=BEFORE)),
        # More than it shows.
        (LIVE, Neighbours(older=BEFORE, today_count=51), ArchiveLinks(older=TODAY)),
        (BEFORE, Neighbours(older=LONG_BEFORE),
         ArchiveLinks(older=LONG_BEFORE, is_archive=True)),
        (LONG_BEFORE, Neighbours(newer=BEFORE), ArchiveLinks(newer=BEFORE, is_archive=True)),
        # A single day is not an archive, and today is not one yet.
        (BEFORE, Neighbours(), ArchiveLinks()),
        (BEFORE, Neighbours(newer=TODAY), ArchiveLinks()),
        (TODAY, Neighbours(older=BEFORE), ArchiveLinks(older=BEFORE)),
    ],
)  # fmt: skip
def test_links(period: Period, neighbours: Neighbours, links: ArchiveLinks) -> None:
    """Older days up to the newest, today only from a live feed that cannot show all of it."""
    page = Page("all", period)
    assert links == neighbours.links(page, today=TODAY, zone=UTC, page_size=50)


@pytest.mark.parametrize(
    ("period", "expected"),
    [(LIVE, True), (TODAY, True), (Period(2026, 1), False), (Period(2026), False)],
)
def test_pages_with_links(period: Period, expected: bool) -> None:
    """The live feed and days have archive links; months and years have none."""
    assert expected is has_archive_links(Page("all", period))
