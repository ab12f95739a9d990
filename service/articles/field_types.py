"""Types of the fields in an article's wire form, which hands and older versions wrote. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.articles.times import from_rfc3339

MIN_YEAR, MAX_YEAR = 2, 9998
"""Years that the dates of a stored article may have."""
_STRINGS = (
    "id", "source", "guid", "url", "title", "summary", "content_html", "language", "image",
    "attribution", "raw_published", "content_hash", "status",
)  # fmt: skip
_LISTS = ("authors", "categories", "tags")


def check_types(fields: dict[str, Any]) -> None:
    """Raise TypeError or KeyError if a value would make an article that cannot be shown."""
    lists = [fields[name] for name in _LISTS]
    lists.append(fields.get("hidden_in", []))
    if set(map(type, lists)) != {list}:
        raise TypeError("a list is expected")
    strings = [fields[name] for name in _STRINGS]
    for items in lists:
        strings += items
    for enclosure in fields["enclosures"]:
        strings += [enclosure["url"], enclosure["type"]]
    strings.append(fields.get("duplicate_of", ""))
    numbers = [fields["revision"], *(each["length"] for each in fields["enclosures"])]
    numbers += [fields.get("duplicate_revision", 0), fields.get("corrections", 0)]
    # Sets of types, because this is done for each event: several times faster than one by one.
    if set(map(type, strings)) != {str}:
        raise TypeError("a string is expected")
    if set(map(type, numbers)) != {int} or min(numbers) < 0:
        raise TypeError("a number is expected")


def moment_of(text: str) -> datetime:
    """Read a date; one that a time zone or a microsecond would carry out of range is an error."""
    moment = from_rfc3339(text)
    if not MIN_YEAR <= moment.year <= MAX_YEAR:
        raise ValueError(f"{text} is not in the years {MIN_YEAR} to {MAX_YEAR}")
    return moment
