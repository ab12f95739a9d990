"""Pages: which documents exist, and how their paths are spelled.

A page is a category (or everything) at a period (or live), in one format:

    /feeds/{category}.{rss|atom|json}                    live: the newest PAGE_SIZE articles
    /feeds/{category}/{yyyy}[/{mm}[/{dd}]].{rss|atom|json}   a year, month or day; days are whole,
                                                         years and months in pages (`next`)
    /news/{category}[/{yyyy}[/{mm}[/{dd}]]]              the same as HTML, for people

A period is written `2017`, `2017-12` or `2017-12-22`, and `live` if the page has none. Days begin
and end in the TIMEZONE setting. Every requested path is parsed by this module first.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, tzinfo
from urllib.parse import quote

from service.articles import categories

LIVE = "live"
VIEWS = "views/"
"""Prefix of the name of a view in `Page.category`."""
_NUMBER = re.compile(r"[0-9]{1,4}")
# Years outside these are typing errors or attacks; datetime itself ends at 9999.
MIN_YEAR, MAX_YEAR = 1970, 9998


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A year, a month or a day; `live` if all three fields are zero."""

    year: int = 0
    month: int = 0
    day: int = 0

    @classmethod
    def of(cls, moment: datetime, zone: tzinfo) -> Period:
        """The day on which the moment falls."""
        local = moment.astimezone(zone)
        return cls(local.year, local.month, local.day)

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read the inverse of `str()`. Raises ValueError."""
        return cls() if text == LIVE else cls(*(int(number) for number in text.split("-")))

    def __str__(self) -> str:
        if not self.year:
            return LIVE
        return "-".join([f"{self.year:04d}", *(f"{n:02d}" for n in (self.month, self.day) if n)])

    @property
    def is_live(self) -> bool:
        """Whether this is `live`: not a period of dates, but the newest articles."""
        return not self.year

    def enclosing(self) -> list[Period]:
        """The periods that contain this one: live, then year, month and day if they are set."""
        periods = [Period()]
        if self.year:
            periods.append(Period(self.year))
        if self.month:
            periods.append(Period(self.year, self.month))
        if self.day:
            periods.append(self)
        return periods

    def bounds(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """The first moment, and the first moment after the end. Not defined for live."""
        first = date(self.year, self.month or 1, self.day or 1)
        if self.day:
            after = first + timedelta(days=1)
        elif self.month:
            after = first + timedelta(days=calendar.monthrange(self.year, self.month)[1])
        else:
            after = date(self.year + 1, 1, 1)
        start, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (first, after))
        return start, end

    def days(self) -> list[Period]:
        """The days of a month, in order."""
        count = calendar.monthrange(self.year, self.month)[1]
        return [Period(self.year, self.month, day) for day in range(1, count + 1)]

    def title(self) -> str:
        """`Friday, 22 December 2017`, `December 2017`, `2017`; empty for live."""
        if self.day:
            return f"{date(self.year, self.month, self.day):%A, {self.day} %B %Y}"
        if self.month:
            return f"{date(self.year, self.month, 1):%B %Y}"
        return str(self.year) if self.year else ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, whatever its format: category, period, and query or token."""

    category: str
    """A category path, `all`, or `views/{name}`."""
    period: Period = Period()
    query: str = ""
    """Canonical query of a feed (`str` of a `query.Query`); empty if it selects nothing."""
    token: str = field(default="", repr=False)
    """Token of a private feed, else empty; it appears only in the path."""

    def __str__(self) -> str:
        """The path without prefix and extension: `media-center/news/2017/12/22`, then the query."""
        return f"{self._path()}?{self.query}" if self.query else self._path()

    def _path(self) -> str:
        return self.category if self.period.is_live else f"{self.category}/{self._date()}"

    def _date(self) -> str:
        return str(self.period).replace("-", "/")

    def feed_path(self, extension: str) -> str:
        """`/feeds/….{extension}`, percent-encoded, with the query."""
        path = f"/private/{self.token}" if self.token else f"/feeds/{quote(self._path())}"
        path = f"{path}.{extension}"
        return f"{path}?{self.query}" if self.query else path

    @property
    def is_shared(self) -> bool:
        """Whether rendered bytes are shared: not those of selections and private feeds."""
        return not (self.query or self.token)

    def news_path(self) -> str:
        """`/news/…`, percent-encoded, with the query."""
        path = f"/news/{quote(self._path())}"
        return f"{path}?{self.query}" if self.query else path

    @property
    def whole(self) -> Page:
        """The page without a query, of which this is a selection or a continuation."""
        return replace(self, query="")

    def continued(self, query: str) -> Page:
        """The page of which `query` selects another part."""
        return replace(self, query=query)


@dataclass(frozen=True, slots=True)
class ArticlePage:
    """The page of one article. Its category is empty: no change of a category concerns it."""

    id: str
    category: str = field(default="", init=False)
    is_shared: bool = field(default=False, init=False)

    def __str__(self) -> str:
        """The path of its page, by which logs name it."""
        return f"articles/{self.id}"


def etag_of(body: bytes) -> str:
    """The opaque value of an entity tag, without quotes: 128 bits of SHA-256, in hex."""
    return hashlib.sha256(body).hexdigest()[:32]


def parse_page(path: str) -> Page | None:
    """Read a page's path (decoded, without prefix and extension); None if there is no such page.

    Other spellings (a missing zero, other case) are accepted: compare `str(page)` to detect them.
    """
    steps = path.split("/")
    numbers: list[int] = []
    while steps and len(numbers) < 3 and _NUMBER.fullmatch(steps[-1]):
        numbers.insert(0, int(steps.pop()))
    category = "/".join(steps)
    if category != categories.ALL:
        category = _category(steps)
        if not category:
            return None
    if not numbers:
        return Page(category)
    period = _period(numbers)
    return Page(category, period) if period else None


def _category(steps: list[str]) -> str:
    """The path of a category or view, also if its steps are titles; one that only the rules of
    before know stays as it is, for storage to say what it is called now. Empty if there can be
    none."""
    folded = "/".join(categories.fold(step) for step in steps)
    if folded.startswith(VIEWS) and folded.count("/") == 1:
        return folded if categories.is_path(folded.removeprefix(VIEWS)) else ""
    if categories.is_path(folded):
        return folded
    present = "/".join(categories.slugify(step) for step in steps)
    # What follows a dot looks like an extension that no format has.
    if categories.is_path(present) and folded.isprintable() and "." not in folded:
        return present
    return folded if categories.was_path(folded) else ""


def _period(numbers: list[int]) -> Period | None:
    year, month, day = (*numbers, 1, 1)[:3]
    if not MIN_YEAR <= year <= MAX_YEAR:
        return None
    try:
        date(year, month, day)
    except ValueError:
        return None
    return Period(*numbers)


def days_among(periods: Iterable[str]) -> list[Period]:
    """The days among the texts of periods; years, months and `live` are left out."""
    return [period for period in map(Period.parse, periods) if period.day]
