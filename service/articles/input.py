"""Entries from JSON: what a client pushes, and what an export holds. Pure.

One shape for POST /api/v1/articles, NDJSON and JSON files, and `dateline export`. A field of the
wrong type or name is refused by name rather than dropped: its sender meant something by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from service.articles.article import Detail, Enclosure, Entry
from service.articles.text import paragraphs
from service.articles.times import from_rfc3339
from service.errors import InvalidInput

# Written by `export`; storage decides them anew.
_IGNORED = frozenset(
    {
        "id", "revision", "first_seen", "status", "content_hash", "duplicate_of", "hidden_in",
        "duplicate_revision",
        "marks",  # its name until November 2026
    }
)  # fmt: skip
MAX_LIST_ITEMS = 50


def entry_from_json(fields: Mapping[str, Any], *, detail: Detail = Detail.RECORD) -> Entry:
    """Check each field of a JSON object and build an entry.

    Raises:
        InvalidInput: naming the field and its value.
    """
    taken: dict[str, Any] = {}
    for name, value in fields.items():
        if name in _IGNORED:
            continue
        take = _TAKE.get(name)
        if take is None:
            known = ", ".join(sorted(_TAKE))
            raise InvalidInput(name, value, f"no such field; known: {known}")
        if value is not None:
            taken[name] = take(name, value)
    text = taken.pop("content_text", "")
    if text and not taken.get("content_html"):
        taken["content_html"] = paragraphs(text)
    if "published" in taken:
        taken.setdefault("raw_published", fields["published"])
    return Entry(**taken, base_url=taken.get("url", ""), detail=detail)


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    return value


def _moment(name: str, value: object) -> datetime:
    try:
        # RFC 3339 5.6: `t` and `z` may be lower case.
        return from_rfc3339(_string(name, value).upper())
    except (ValueError, OverflowError) as exc:  # The year 0 or 10000, once it is in UTC.
        raise InvalidInput(
            name, value, "must be RFC 3339 with a zone, such as 2017-12-22T16:41:07Z"
        ) from exc


def _list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS:
        raise InvalidInput(name, value, f"must be a list of at most {MAX_LIST_ITEMS}")
    return value


def _strings(name: str, value: object) -> tuple[str, ...]:
    return tuple(_string(f"{name}[{i}]", item) for i, item in enumerate(_list(name, value)))


def _names(name: str, value: object) -> tuple[str, ...]:
    """Strings, or objects with a `name` as in JSON Feed."""
    items = [item.get("name") if isinstance(item, dict) else item for item in _list(name, value)]
    return _strings(name, items)


def _enclosures(name: str, value: object) -> tuple[Enclosure, ...]:
    enclosures = []
    for i, item in enumerate(_list(name, value)):
        if not isinstance(item, dict) or item.keys() - {"url", "type", "length"}:
            raise InvalidInput(f"{name}[{i}]", item, "must be an object with url, type, length")
        length = item.get("length", 0)
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            raise InvalidInput(f"{name}[{i}].length", length, "must be a number of bytes")
        enclosures.append(
            Enclosure(
                url=_string(f"{name}[{i}].url", item.get("url")),
                type=_string(f"{name}[{i}].type", item.get("type", "")),
                length=length,
            )
        )
    return tuple(enclosures)


_TAKE: dict[str, Callable[[str, object], Any]] = {
    "source": _string,
    "guid": _string,
    "url": _string,
    "title": _string,
    "summary": _string,
    "content_html": _string,
    "content_text": _string,
    "authors": _names,
    "categories": _strings,
    "tags": _strings,
    "language": _string,
    "image": _string,
    "enclosures": _enclosures,
    "attribution": _string,
    "published": _moment,
    "raw_published": _string,
    "updated": _moment,
}
