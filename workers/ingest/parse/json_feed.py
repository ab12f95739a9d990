"""JSON Feed 1.0 and 1.1 (jsonfeed.org). Pure."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from service.articles import text
from service.articles.article import Enclosure, Entry
from service.articles.podcast import Podcast, podcast_of
from service.sources.outcome import Hints
from workers.ingest.parse.category_labels import labelled
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, without_repeated_title
from workers.ingest.parse.json_values import (
    collect,
    identifier_of,
    list_of,
    object_of,
    objects_of,
    size_of,
    string_of,
)
from workers.ingest.parse.links import absolute, web_url

_JSON_FEED = "https://jsonfeed.org/version/1"


def is_json_feed(document: dict[str, Any]) -> bool:
    """Whether a document names a version of JSON Feed."""
    return str(document.get("version", "")).startswith(_JSON_FEED)


def parse_json_feed(feed: dict[str, Any], url: str, zone: tzinfo) -> Document:
    """The document of a decoded JSON Feed, of whatever version."""
    own = absolute(url or string_of(feed, "home_page_url"), string_of(feed, "feed_url"))
    # The author of one of our own feeds is the site, not the author of its articles.
    is_ours = any("_dateline" in item for item in feed["items"] if isinstance(item, dict))
    by = () if is_ours else _authors(feed)
    language = string_of(feed, "language")

    def take(item: dict[str, Any]) -> Entry:
        entry = _json_item(item, base=own, language=language, by=by, zone=zone)
        return without_repeated_title(entry) if is_ours else entry

    return collect(
        "json-feed",
        feed["items"],
        take,
        url=own,
        title=text.line(string_of(feed, "title")),
        hints=Hints(
            hub=_hub(feed, own),
            topic=web_url(own, string_of(feed, "feed_url")),
            older=web_url(own, string_of(feed, "next_url")),
        ),
    )


def _hub(feed: dict[str, Any], base: str) -> str:
    """JSON Feed 1.1, "hubs": [{"type": "WebSub", "url": …}]."""
    hubs = feed.get("hubs")
    for hub in hubs if isinstance(hubs, list) else ():
        if isinstance(hub, dict) and string_of(hub, "type").lower() in ("websub", "pubsubhubbub"):
            return web_url(base, string_of(hub, "url"))
    return ""


def _json_item(
    item: dict[str, Any], *, base: str, language: str, by: tuple[str, ...], zone: tzinfo
) -> Entry:
    raw = identifier_of(item, "date_published")
    categories, tags = _tags(item)
    return Entry(
        guid=identifier_of(item, "id"),
        url=string_of(item, "url") or string_of(item, "external_url"),
        title=identifier_of(item, "title"),
        summary=string_of(item, "summary"),
        content_html=string_of(item, "content_html")
        or text.paragraphs(string_of(item, "content_text")),
        authors=_authors(item) or by,
        categories=categories,
        tags=tags,
        language=string_of(item, "language") or language,
        image=string_of(item, "image") or string_of(item, "banner_image"),
        enclosures=tuple(
            Enclosure(
                url=string_of(attachment, "url"),
                type=string_of(attachment, "mime_type"),
                length=size_of(attachment.get("size_in_bytes")),
            )
            for attachment in objects_of(item, "attachments")
        ),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(identifier_of(item, "date_modified"), zone=zone),
        base_url=absolute(base, string_of(item, "url")),
        podcast=_podcast(item),
    )


def _podcast(item: dict[str, Any]) -> Podcast | None:
    """What our own items say of an episode, else its duration alone."""
    try:
        podcast = podcast_of(object_of(item, "_dateline").get("podcast"))
    except TypeError:
        podcast = None
    sizes = (size_of(each.get("duration_in_seconds")) for each in objects_of(item, "attachments"))
    duration_s = next(filter(None, sizes), 0)
    return podcast or (Podcast(duration_s=duration_s) if duration_s else None)


def _authors(fields: dict[str, Any]) -> tuple[str, ...]:
    """Names; JSON Feed 1.0 has `author`, 1.1 `authors`."""
    authors = list_of(fields, "authors") or list_of(fields, "author")
    names = (string_of(one, "name") if isinstance(one, dict) else one for one in authors)
    return tuple(name for name in names if isinstance(name, str) and name)


def _tags(item: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(categories, tags): tags are read as categories, except in our own items, which mark both."""
    tags = tuple(tag for tag in list_of(item, "tags") if isinstance(tag, str))
    ours = object_of(item, "_dateline")
    paths = [path for path in list_of(ours, "categories") if isinstance(path, str)]
    if not ours or len(paths) > len(tags):
        return tags, ()
    titled = (labelled(path, title) or path for path, title in zip(paths, tags, strict=False))
    return tuple(titled), tags[len(paths) :]
