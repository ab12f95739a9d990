"""JSON Feed 1.0 and 1.1, K2's JSON of a list, and records (articles as we write them). Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any

import orjson

from service.articles import text
from service.articles.article import Enclosure, Entry
from service.articles.input import entry_from_json
from service.errors import InvalidInput, ParseFailed
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, Hints, Reject, bounded
from workers.ingest.parse.labels import labelled
from workers.ingest.parse.links import absolute, resolved, web_url

_JSON_FEED = "https://jsonfeed.org/version/1"


def parse_json(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """Any of the three. Raises ParseFailed."""
    del content_type
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if b"\n" in body.strip():
            return _lines(body, url)
        raise ParseFailed(f"no JSON: {exc}") from exc
    if isinstance(found, dict) and isinstance(found.get("items"), list):
        if isinstance(found.get("site"), dict) and not _is_json_feed(found):
            return _k2(found, url)
        # Whatever version it names: an article of ours has no items.
        return _json_feed(found, url, zone)
    items = found if isinstance(found, list) else [found]
    return _collect("records", items, entry_from_json, url=url)


def _is_json_feed(found: dict[str, Any]) -> bool:
    return str(found.get("version", "")).startswith(_JSON_FEED)


def _lines(body: bytes, url: str) -> Document:
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
    return _collect("records", items, entry_from_json, "line", url=url)


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
        except (InvalidInput, ValueError) as exc:
            rejects.append(Reject(where=f"{where} {number}", reason=str(exc)))
    kept, refused = bounded(entries, rejects)
    return Document(kind=kind, entries=kept, rejects=refused, **fields)


def _json_feed(feed: dict[str, Any], url: str, zone: tzinfo) -> Document:
    own = absolute(url or _words(feed, "home_page_url"), _words(feed, "feed_url"))
    # What we say of our site is of no article.
    is_ours = any("_dateline" in item for item in feed["items"] if isinstance(item, dict))
    by = () if is_ours else _authors(feed)
    language = _words(feed, "language")
    return _collect(
        "json-feed",
        feed["items"],
        lambda item: _json_item(item, base=own, language=language, by=by, zone=zone),
        url=own,
        title=text.line(_words(feed, "title")),
        language=language,
        hints=Hints(hub=_hub(feed, own), topic=web_url(own, _words(feed, "feed_url"))),
    )


def _hub(feed: dict[str, Any], base: str) -> str:
    """JSON Feed 1.1, "hubs": [{"type": "WebSub", "url": …}]."""
    hubs = feed.get("hubs")
    for hub in hubs if isinstance(hubs, list) else ():
        if isinstance(hub, dict) and _words(hub, "type").lower() in ("websub", "pubsubhubbub"):
            return web_url(base, _words(hub, "url"))
    return ""


def _json_item(
    item: dict[str, Any], *, base: str, language: str, by: tuple[str, ...], zone: tzinfo
) -> Entry:
    raw = _words(item, "date_published")
    categories, tags = _tags(item)
    return Entry(
        guid=_written(item, "id"),
        url=_words(item, "url") or _words(item, "external_url"),
        title=_written(item, "title"),
        summary=_words(item, "summary"),
        content_html=_words(item, "content_html") or text.paragraphs(_words(item, "content_text")),
        authors=_authors(item) or by,
        categories=categories,
        tags=tags,
        language=_words(item, "language") or language,
        image=_words(item, "image") or _words(item, "banner_image"),
        enclosures=tuple(
            Enclosure(
                url=_words(attachment, "url"),
                type=_words(attachment, "mime_type"),
                length=_size(attachment.get("size_in_bytes")),
            )
            for attachment in _objects(item, "attachments")
        ),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(_words(item, "date_modified"), zone=zone),
        base_url=absolute(base, _words(item, "url")),
    )


def _authors(fields: dict[str, Any]) -> tuple[str, ...]:
    """Names; `author` is version 1.0."""
    given = _listed(fields, "authors") or _listed(fields, "author")
    found = (_words(one, "name") if isinstance(one, dict) else one for one in given)
    return tuple(name for name in found if isinstance(name, str) and name)


def _tags(item: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(categories, tags): tags are categories, but for items of ours, which say which are which."""
    tags = tuple(tag for tag in _listed(item, "tags") if isinstance(tag, str))
    ours = _object(item, "_dateline")
    paths = [path for path in _listed(ours, "categories") if isinstance(path, str)]
    if not ours or len(paths) > len(tags):
        return tags, ()
    titled = (labelled(path, title) or path for path, title in zip(paths, tags, strict=False))
    return tuple(titled), tags[len(paths) :]


def _k2(found: dict[str, Any], url: str) -> Document:
    """`?format=json` of a K2 list: times are UTC, links relative to the site."""
    site = (_words(found["site"], "url") or url).rstrip("/") + "/"
    return _collect(
        "k2-json",
        found["items"],
        lambda item: _k2_item(item, site),
        url=url or _words(found["site"], "url"),
        title=text.line(_words(found["site"], "name")),
    )


def _k2_item(item: dict[str, Any], site: str) -> Entry:
    link = resolved(site, _words(item, "link"))
    if not link:
        raise InvalidInput("link", item.get("link"), "must lead to the item: it is its identity")
    created = _words(item, "created")
    parts = (_words(item, "introtext"), _words(item, "fulltext"))
    return Entry(
        guid=link,
        url=link,
        title=_words(item, "title"),
        content_html="\n".join(part for part in parts if part),
        authors=tuple(filter(None, [_words(_object(item, "author"), "name")])),
        categories=tuple(filter(None, [_words(_object(item, "category"), "name")])),
        tags=tuple(_words(tag, "name") for tag in _objects(item, "tags")),
        # "*" is Joomla's word for all languages.
        language=_words(item, "language").strip("*"),
        image=_words(item, "image"),
        published=parse_date(created, zone=UTC),
        raw_published=created,
        # "0000-00-00 00:00:00" is no date, and read as none.
        updated=parse_date(_words(item, "modified"), zone=UTC),
        base_url=site,
    )


def _words(fields: dict[str, Any], name: str) -> str:
    """A string; empty for anything else: one wrong value is no reason to lose an article."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _written(fields: dict[str, Any], name: str) -> str:
    """JSON Feed 1.1, "id": "if an id is presented as a number, a JSON Feed reader should coerce it
    to a string"."""
    value = fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return _words(fields, name)


def _listed(fields: dict[str, Any], name: str) -> list[Any]:
    """A list; of one, where its writer forgot the brackets."""
    value = fields.get(name) or []
    return value if isinstance(value, list) else [value]


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [value for value in _listed(fields, name) if isinstance(value, dict)]


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    # PHP writes an empty object as [], and one that it does not have as false.
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _size(value: object) -> int:
    """Bytes; 0 for what is no size."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else 0
