"""K2 for Joomla: the JSON of its lists. Pure."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from service.articles import text
from service.articles.article import Entry
from service.errors import InvalidInput
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document
from workers.ingest.parse.json_values import collect, object_of, objects_of, string_of
from workers.ingest.parse.links import resolved


def parse_k2_json(document: dict[str, Any], url: str) -> Document:
    """`?format=json` of a K2 list: times are UTC, links relative to the site."""
    site = (string_of(document["site"], "url") or url).rstrip("/") + "/"
    return collect(
        "k2-json",
        document["items"],
        lambda item: _k2_item(item, site),
        url=url or string_of(document["site"], "url"),
        title=text.line(string_of(document["site"], "name")),
    )


def _k2_item(item: dict[str, Any], site: str) -> Entry:
    link = resolved(site, string_of(item, "link"))
    if not link:
        raise InvalidInput("link", item.get("link"), "must be a URL: it identifies the item")
    created = string_of(item, "created")
    texts = (string_of(item, "introtext"), string_of(item, "fulltext"))
    return Entry(
        guid=link,
        url=link,
        title=string_of(item, "title"),
        content_html="\n".join(filter(None, texts)),
        authors=tuple(filter(None, [string_of(object_of(item, "author"), "name")])),
        categories=tuple(filter(None, [string_of(object_of(item, "category"), "name")])),
        tags=tuple(string_of(tag, "name") for tag in objects_of(item, "tags")),
        # Joomla writes "*" for all languages.
        language=string_of(item, "language").strip("*"),
        image=string_of(item, "image"),
        published=parse_date(created, zone=UTC),
        raw_published=created,
        # "0000-00-00 00:00:00" is not a date and becomes None.
        updated=parse_date(string_of(item, "modified"), zone=UTC),
        base_url=site,
    )
