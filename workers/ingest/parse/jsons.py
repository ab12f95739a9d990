"""JSON Feed 1.0 and 1.1, K2's JSON of a list, and records (articles as we write them). Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any
from urllib.parse import urljoin

import orjson

from service import clean
from service.articles import Enclosure, Entry
from service.entries import entry_from_json
from service.errors import InvalidInput, ParseFailed
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, Reject, bounded

_JSON_FEED = "https://jsonfeed.org/version/1"


def parse_json(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """Any of the three. Raises ParseFailed."""
    del content_type
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if b"\n" in body.strip():
            return _lines(body)
        raise ParseFailed(f"no JSON: {exc}") from exc
    if isinstance(found, dict) and isinstance(found.get("items"), list):
        if str(found.get("version", "")).startswith(_JSON_FEED):
            return _json_feed(found, url, zone)
        if isinstance(found.get("site"), dict):
            return _k2(found, url)
    items = found if isinstance(found, list) else [found]
    return _collect("records", items, _record)


def _lines(body: bytes) -> Document:
    """NDJSON: a line that is no JSON is one reject."""
    items: list[Any] = []
    for line in body.splitlines():
        if line.strip():
            try:
                items.append(orjson.loads(line))
            except orjson.JSONDecodeError as exc:
                items.append(ValueError(f"no JSON: {exc}"))
    if all(isinstance(item, ValueError) for item in items):
        raise ParseFailed(f"neither JSON nor lines of JSON: {items[0]}")
    return _collect("records", items, _record, "line")


def _collect(
    kind: str, items: list[Any], take: Callable[[dict[str, Any]], Entry], where: str = "item",
    **fields: Any,
) -> Document:  # fmt: skip
    entries, rejects = [], []
    for number, item in enumerate(items, 1):
        try:
            if isinstance(item, ValueError):
                raise item
            if not isinstance(item, dict):
                raise InvalidInput("article", item, "must be a JSON object")
            entries.append(take(item))
        except (InvalidInput, ValueError, TypeError, AttributeError) as exc:
            rejects.append(Reject(where=f"{where} {number}", reason=str(exc)))
    kept, refused = bounded(entries, rejects)
    return Document(kind=kind, entries=kept, rejects=refused, **fields)


def _record(item: dict[str, Any]) -> Entry:
    return entry_from_json(item)


def _json_feed(feed: dict[str, Any], url: str, zone: tzinfo) -> Document:
    own = _string(feed, "feed_url") or url or _string(feed, "home_page_url")
    language = _string(feed, "language")
    return _collect(
        "json-feed",
        feed["items"],
        lambda item: _json_item(item, base=own, language=language, zone=zone),
        url=own,
        title=clean.line(_string(feed, "title")),
        language=language,
    )


def _json_item(item: dict[str, Any], *, base: str, language: str, zone: tzinfo) -> Entry:
    authors = item.get("authors") or ([item["author"]] if item.get("author") else [])
    raw = _string(item, "date_published")
    guid = item.get("id", "")
    return Entry(
        guid=guid if isinstance(guid, str) else str(guid),
        url=_string(item, "url") or _string(item, "external_url"),
        title=_string(item, "title"),
        summary=_string(item, "summary"),
        content_html=_string(item, "content_html")
        or clean.paragraphs(_string(item, "content_text")),
        authors=tuple(author["name"] for author in authors if author.get("name")),
        categories=tuple(str(tag) for tag in item.get("tags") or ()),
        language=_string(item, "language") or language,
        image=_string(item, "image") or _string(item, "banner_image"),
        enclosures=tuple(
            Enclosure(
                url=_string(attachment, "url"),
                type=_string(attachment, "mime_type"),
                length=int(attachment.get("size_in_bytes") or 0),
            )
            for attachment in item.get("attachments") or ()
        ),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(_string(item, "date_modified"), zone=zone),
        base_url=urljoin(base, _string(item, "url")),
    )


def _k2(found: dict[str, Any], url: str) -> Document:
    """`?format=json` of a K2 list: times are UTC, links relative to the site."""
    site = _string(found["site"], "url").rstrip("/") + "/"
    return _collect(
        "k2-json",
        found["items"],
        lambda item: _k2_item(item, site),
        url=url or site,
        title=clean.line(_string(found["site"], "name")),
    )


def _k2_item(item: dict[str, Any], site: str) -> Entry:
    link = urljoin(site, _string(item, "link"))
    created = _string(item, "created")
    parts = (_string(item, "introtext"), _string(item, "fulltext"))
    return Entry(
        guid=link,
        url=link,
        title=_string(item, "title"),
        content_html="\n".join(part for part in parts if part),
        authors=tuple(filter(None, [_string(item.get("author") or {}, "name")])),
        categories=tuple(filter(None, [_string(item.get("category") or {}, "name")])),
        tags=tuple(_string(tag, "name") for tag in item.get("tags") or ()),
        # "*" is Joomla's word for all languages.
        language=_string(item, "language").strip("*"),
        image=_string(item, "image"),
        published=parse_date(created, zone=UTC),
        raw_published=created,
        # "0000-00-00 00:00:00" is no date, and read as none.
        updated=parse_date(_string(item, "modified"), zone=UTC),
        base_url=site,
    )


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    return value
