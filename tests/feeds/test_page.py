"""Pages and periods: the grammar of paths, and days in time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles import times
from service.feeds.page import Page, Period, parse_page

moments = st.integers(10**8, 253 * 10**12).map(times.from_ms)


PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("all", Page("all")), ("a/b", Page("a/b")), ("a/2017", Page("a", Period(2017))),
        ("a/b/2017/12/22", Page("a/b", Period(2017, 12, 22))),
        ("a/2017/1/5", Page("a", Period(2017, 1, 5))),
        ("A/b", Page("a/b")), ("Lang/C++", Page("lang/c-plus-plus")),
        ("Media Center/2017", Page("media-center", Period(2017))), ("a/Q & A", Page("a/q-a")),
        ("all/2016/02/29", Page("all", Period(2016, 2, 29))),
        ("a/no-2017", Page("a/no-2017")), ("a/no-2017/2018", Page("a/no-2017", Period(2018))),
        ("2017", None), ("a/2017/13", None), ("a/2017/02/29", None), ("a/17", None), ("", None),
        ("a//b", None), ("a/2017/12/22/1", None), ("../etc/passwd", None), ("a/\r\nX: 1", None),
        ("a/\x00", None), ("a.b", None), ("a/1969", None), ("a/1970", Page("a", Period(1970))),
        ("a/9998", Page("a", Period(9998))), ("a/9999", None),
        ("/".join("abcdefgh"), Page("/".join("abcdefgh"))),
        ("/".join("abcdefghi"), None),
        ("a/2017/00", None),
    ],
)  # fmt: skip
def test_the_grammar_of_paths(path: str, page: Page | None) -> None:
    """Categories and dates that can be, in any spelling that is meant; nothing else."""
    assert page == parse_page(path)


@given(st.text(max_size=60))
def test_whatever_is_asked_for_is_a_page_or_nothing(path: str) -> None:
    """The path of a page leads to the same page."""
    page = parse_page(path)
    assert page is None or page == parse_page(str(page))


@given(moments, st.sampled_from([UTC, PARIS, ZoneInfo("Asia/Kathmandu")]))
def test_a_moment_is_within_its_day_month_and_year(moment: datetime, zone: Any) -> None:
    """Whatever the zone and its changes of clock."""
    for period in Period.of(moment, zone).enclosing()[1:]:
        start, end = period.bounds(zone)
        assert start <= moment < end
        assert period == Period.parse(str(period))


def test_days_of_clock_changes() -> None:
    """These days have 23 and 25 hours."""
    for day, hours in ((Period(2026, 3, 29), 23), (Period(2026, 10, 25), 25)):
        start, end = day.bounds(PARIS)
        assert timedelta(hours=hours) == end.astimezone(UTC) - start.astimezone(UTC)


@pytest.mark.parametrize(
    ("period", "text", "title"),
    [
        (Period(2017, 12, 22), "2017-12-22", "Friday, 22 December 2017"),
        (Period(2026, 1, 5), "2026-01-05", "Monday, 5 January 2026"),
        (Period(2017, 12), "2017-12", "December 2017"),
        (Period(2017), "2017", "2017"),
        (Period(), "live", ""),
    ],
)
def test_periods_as_text(period: Period, text: str, title: str) -> None:
    """In keys, and for people."""
    assert (text, title) == (str(period), period.title())
