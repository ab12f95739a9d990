"""CDF, the Channel Definition Format (Microsoft, 1997): items have their link and date in
attributes. Pure.

Names are written in capitals or not. No program makes such feeds any more, but archives have them.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from service.articles.article import Entry
from service.errors import ParseFailed
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, collected
from workers.ingest.parse.links import absolute
from workers.ingest.parse.xml.fields import BASE, fields_of, text


def parse_cdf(root: Any, url: str, zone: tzinfo) -> Document:
    """The items of a channel. Raises ParseFailed if it has neither items nor a title."""
    fields = fields_of(root)
    items, title = fields.get("item", []), text(fields, "title")
    if not items and not title:
        raise ParseFailed("XML with the root <channel> and no items is not a feed of a known kind")
    own = absolute(url, _attribute(root, "base") or root.get(BASE, ""))
    return collected("rss", items, lambda item: _item(item, own, zone), url=own, title=title)


def _item(item: Any, base: str, zone: tzinfo) -> Entry:
    fields = fields_of(item)
    raw = _attribute(item, "lastmod")
    moment = parse_date(raw, zone=zone)
    return Entry(
        url=_attribute(item, "href"),
        title=text(fields, "title"),
        content_html=text(fields, "abstract"),
        published=moment,
        raw_published=raw,
        updated=moment,
        base_url=absolute(base, item.get(BASE, "")),
    )


def _attribute(element: Any, name: str) -> str:
    return str(element.get(name) or element.get(name.upper()) or "").strip()
