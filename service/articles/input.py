"""Entries from JSON: what a client pushes, and what an export holds. Pure.

One shape for POST /api/v1/articles, NDJSON and JSON files, and `dateline export`. A field of the
wrong type or name is refused by name rather than dropped: its sender meant something by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias

import orjson

from service.articles import categories
from service.articles.article import (
    LIVE,
    WITHDRAWN,
    Article,
    Detail,
    Enclosure,
    Entry,
)
from service.articles.podcast import (
    EPISODE_TYPES,
    MAX_DURATION_S,
    MAX_ITEMS,
    MAX_NUMBER,
    Person,
    Podcast,
    Transcript,
    apple_category,
)
from service.articles.text import Plain, paragraphs
from service.articles.times import from_rfc3339, to_rfc3339
from service.errors import InvalidInput

# Written by `export`; storage decides them anew, but for the first import into an archive
# (`_history`).
_IGNORED = frozenset(
    {
        "id", "revision", "first_seen", "status", "content_hash", "duplicate_of", "hidden_in",
        "duplicate_revision", "corrections",
        "marks",  # its name until November 2026
    }
)  # fmt: skip
MAX_LIST_ITEMS = 50
Taking: TypeAlias = Callable[[str, object], Any]
"""(name, value) → the value, checked."""
MAX_REVISION = 2**31 - 1


def entry_from_json(fields: Mapping[str, Any]) -> Entry:
    """Check each field of a JSON object and build an entry.

    Raises:
        InvalidInput: naming the field and its value.
    """
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        if name in _IGNORED:
            continue
        take = _TAKE.get(name)
        if take is None:
            known = ", ".join(sorted(_TAKE))
            raise InvalidInput(name, value, f"no such field; known: {known}")
        if value is not None:
            checked[name] = take(name, value)
    text = checked.pop("content_text", "")
    if text and not checked.get("content_html"):
        checked["content_html"] = paragraphs(text)
    # Exports of before November 2026 had no `accepted`, but then it is equal to `first_seen`.
    accepted = checked.pop("accepted", None) or _moment_or_none(fields.get("first_seen"))
    if "published" in checked and accepted == checked["published"] and "raw_published" in checked:
        checked["accepted"] = accepted
        checked["published"] = _date_of_source(accepted, checked["raw_published"])
    elif "published" in checked and not checked.get("raw_published"):
        checked["raw_published"] = fields["published"]
    return Entry(
        **checked, **_history(fields), base_url=checked.get("url", ""), detail=Detail.RECORD
    )


def export_fields(article: Article, titles: Mapping[str, str]) -> dict[str, Any]:
    """Return an article as `entry_from_json` takes it back: with the same id and content hash.

    `accepted` is added where `published` is not what the source says, so that the import knows it.

    Args:
        titles: category path → title. Categories are exported with their spelling.
    """
    fields: dict[str, Any] = orjson.loads(article.to_json())
    fields["categories"] = [categories.title_path(path, titles) for path in article.categories]
    if article.published == article.first_seen:
        fields["accepted"] = fields["published"]
    return fields


def _date_of_source(accepted: datetime, raw: str) -> datetime | None:
    """What the source said of an article that the archive dated: a date in the future, or nothing
    readable."""
    said = _moment_or_none(raw)
    return said if said is not None and to_rfc3339(said) >= to_rfc3339(accepted) else None


def _moment_or_none(value: object) -> datetime | None:
    """A date as RFC 3339 or RFC 5322 has it, with its zone; None for all else: without a zone it
    could be another moment."""
    if not isinstance(value, str):
        return None
    for parse in (from_rfc3339, parsedate_to_datetime):
        with suppress(ValueError, TypeError, OverflowError):
            moment = parse(value.upper())
            return moment if moment.tzinfo else None
    return None


def refuse_withdrawn(entry: Entry) -> Entry:
    """The entry, if it may be published.

    Raises:
        InvalidInput: it was withdrawn in the archive that exported it.
    """
    if entry.status == WITHDRAWN:
        raise InvalidInput("status", WITHDRAWN, "only `dateline import` takes a withdrawn article")
    return entry


def _history(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the archive of an export decided; what is not from one is ignored."""
    revision, status = fields.get("revision"), fields.get("status")
    if not isinstance(revision, int) or isinstance(revision, bool):
        revision = 0
    return {
        "first_seen": _moment_or_none(fields.get("first_seen")),
        "revision": revision if 1 <= revision <= MAX_REVISION else 0,
        "status": status if status in (LIVE, WITHDRAWN) else "",
    }


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    return value


def _plain(name: str, value: object) -> Plain:
    return Plain(_string(name, value))


def _moment(name: str, value: object) -> datetime:
    try:
        # RFC 3339 5.6: `t` and `z` may be lower case.
        return from_rfc3339(_string(name, value).upper())
    except (ValueError, OverflowError) as exc:  # The year 0 or 10000, once it is in UTC.
        raise InvalidInput(
            name, value, "must be RFC 3339 with a zone, such as 2017-12-22T16:41:07Z"
        ) from exc


def _list(name: str, value: object, *, most: int = MAX_LIST_ITEMS) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InvalidInput(name, value, f"must be a list of at most {most}")
    return value


def _strings(name: str, value: object) -> tuple[str, ...]:
    return tuple(_plain(f"{name}[{i}]", item) for i, item in enumerate(_list(name, value)))


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


def _whole(most: int) -> Taking:
    def take(name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise InvalidInput(name, value, f"must be a whole number of at most {most}")
        return value

    return take


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(name, value, "must be true or false")
    return value


def _episode_type(name: str, value: object) -> str:
    if value not in ("", *EPISODE_TYPES):
        raise InvalidInput(name, value, f"must be one of {', '.join(EPISODE_TYPES)}")
    return str(value)


def _category_of_show(name: str, value: object) -> str:
    text = _string(name, value)
    if text and not apple_category(text):
        raise InvalidInput(name, value, "must be a category of Apple's list, such as News/Politics")
    return text


def _object(name: str, value: object, take: Mapping[str, Taking]) -> dict[str, Any]:
    """The checked fields of an object, without those that are null."""
    if not isinstance(value, dict):
        raise InvalidInput(name, value, f"must be an object with {', '.join(take)}")
    for key, item in value.items():
        if key not in take:
            known = ", ".join(take)
            raise InvalidInput(f"{name}.{key}", item, f"no such field; known: {known}")
    return {
        key: take[key](f"{name}.{key}", item) for key, item in value.items() if item is not None
    }


def _objects(
    name: str, value: object, take: Mapping[str, Taking], *, needed: str
) -> list[dict[str, Any]]:
    """The checked objects of a list, each with a value in the field that is needed."""
    objects = []
    for i, item in enumerate(_list(name, value, most=MAX_ITEMS)):
        fields = _object(f"{name}[{i}]", item, take)
        if not fields.get(needed, "").strip():
            raise InvalidInput(f"{name}[{i}].{needed}", fields.get(needed), "must not be empty")
        objects.append(fields)
    return objects


def _transcripts(name: str, value: object) -> tuple[Transcript, ...]:
    take = dict.fromkeys(("url", "type", "language", "rel"), _string)
    return tuple(Transcript(**fields) for fields in _objects(name, value, take, needed="url"))


def _persons(name: str, value: object) -> tuple[Person, ...]:
    take = dict.fromkeys(("name", "role", "group", "image", "url"), _plain)
    return tuple(Person(**fields) for fields in _objects(name, value, take, needed="name"))


def _podcast(name: str, value: object) -> Podcast:
    return Podcast(**_object(name, value, _PODCAST))


_PODCAST: Mapping[str, Taking] = {
    "duration_s": _whole(MAX_DURATION_S),
    "episode": _whole(MAX_NUMBER),
    "season": _whole(MAX_NUMBER),
    "episode_type": _episode_type,
    "explicit": _boolean,
    "author": _plain,
    "image": _string,
    "category": _category_of_show,
    "chapters": _string,
    "transcripts": _transcripts,
    "persons": _persons,
}
_TAKE: dict[str, Taking] = {
    "source": _string,
    "guid": _string,
    "url": _string,
    "title": _plain,
    "summary": _plain,
    "content_html": _string,
    "content_text": _string,
    "authors": _names,
    "categories": _strings,
    "tags": _strings,
    "language": _string,
    "image": _string,
    "enclosures": _enclosures,
    "attribution": _plain,
    "published": _moment,
    "raw_published": _string,
    "updated": _moment,
    "accepted": _moment,
    "podcast": _podcast,
}
