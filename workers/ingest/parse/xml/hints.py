"""Hints: how often a feed says it may be polled, and who its hub is. Pure.

RSS 2.0 (`ttl`, `skipHours`, `skipDays`), the syndication module of RSS 1.0 (`sy:`), WebSub links.
Nonsense is no hint.
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
    """Of a channel's or a feed's fields."""
    links = fields.get("atom:link", [])
    return Hints(
        interval_s=max(number(text(fields, "ttl")) * 60, _syndication_s(fields)),
        skip_hours=_skip_hours(fields),
        skip_days=_skip_days(fields),
        hub=web_url(base, linked(links, "hub")),
        topic=web_url(base, linked(links, "self")),
    )


def _syndication_s(fields: Fields) -> int:
    """So many times a period; once if it does not say."""
    period_s = _PERIODS_S.get(text(fields, "sy:updatePeriod").lower(), 0)
    frequency = number(text(fields, "sy:updateFrequency")) or 1
    return period_s // frequency


def _skip_hours(fields: Fields) -> tuple[int, ...]:
    found = set()
    for element in fields.get("skiphours", ()):
        for hour in element:
            # "7 GMT"; the first specification counted from 1 to 24.
            given = inner_text(hour).split(" ")[0]
            if given.isascii() and given.isdigit() and int(given[:3]) <= 24:
                found.add(int(given) % 24)
    return tuple(sorted(found))


def _skip_days(fields: Fields) -> tuple[int, ...]:
    names = {inner_text(day).lower() for element in fields.get("skipdays", ()) for day in element}
    return tuple(number for number, name in enumerate(_DAYS) if name in names)
