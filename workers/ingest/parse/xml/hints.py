"""Hints: how often a feed says it may be polled, and who its hub is. Pure.

RSS 2.0 (`ttl`, `skipHours`, `skipDays`), the syndication module of RSS 1.0 (`sy:`), WebSub links.
Values that make no sense are ignored.
"""

from __future__ import annotations

from service.sources.outcome import Hints
from workers.ingest.parse.links import web_url
from workers.ingest.parse.xml.fields import Fields, inner_text, linked, number, text

_PERIODS_S = {
    "hourly": 3_600, "daily": 86_400, "weekly": 604_800, "monthly": 2_592_000,
    "yearly": 31_536_000,
}  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def hints_of(fields: Fields, *, base: str) -> Hints:
    """The hints in the fields of a channel or feed.

    Args:
        base: URL that links are relative to.
    """
    links = fields.get("atom:link", [])
    return Hints(
        interval_s=max(number(text(fields, "ttl")) * 60, _syndication_s(fields)),
        skip_hours=_skip_hours(fields),
        skip_days=_skip_days(fields),
        hub=web_url(base, linked(links, "hub")),
        topic=web_url(base, linked(links, "self")),
        older=web_url(base, linked(links, "next") or linked(links, "prev-archive")),
    )


def _syndication_s(fields: Fields) -> int:
    """The period divided by the frequency, which is 1 if the feed does not name it."""
    period_s = _PERIODS_S.get(text(fields, "sy:updatePeriod").lower(), 0)
    frequency = number(text(fields, "sy:updateFrequency")) or 1
    return period_s // frequency


def _skip_hours(fields: Fields) -> tuple[int, ...]:
    hours = set()
    for element in fields.get("skiphours", ()):
        for hour in element:
            # "7 GMT"; the first specification counted from 1 to 24.
            digits = inner_text(hour).split(" ")[0]
            if digits.isascii() and digits.isdigit() and len(digits) < 4 and int(digits) <= 24:
                hours.add(int(digits) % 24)
    return tuple(sorted(hours))


def _skip_days(fields: Fields) -> tuple[int, ...]:
    names = {inner_text(day).lower() for element in fields.get("skipdays", ()) for day in element}
    return tuple(number for number, name in enumerate(_DAYS) if name in names)
