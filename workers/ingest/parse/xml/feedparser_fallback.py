"""feedparser: the last resort for XML that one repair does not make well-formed. Pure.

feedparser's own sanitizer and date guesses are not used: dateline's own are applied to its results.
"""

from __future__ import annotations

import io
from datetime import tzinfo
from typing import Any

import feedparser

from service.articles import sanitize, text
from service.articles.article import Enclosure, Entry
from service.articles.podcast import Podcast
from service.errors import ParseFailed
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, bounded
from workers.ingest.parse.xml.fields import number
from workers.ingest.parse.xml.podcast import seconds_of

# Its time grows with the square of some broken input: it only gets small documents.
MAX_BYTES = 2_000_000
MAX_TAGS = 100_000
"""They take 2.5 s if they are nested."""


def parse(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """The entries that feedparser finds. Raises ParseFailed if there are none."""
    if reason := refusal(body):
        raise ParseFailed(f"is not well-formed XML, and {reason}")
    headers = {"content-location": url} if url else {}
    if content_type:
        headers["content-type"] = content_type
    result = feedparser.parse(
        io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
    )
    if not result.entries:
        raise ParseFailed(
            f"is neither well-formed XML nor a feed: {result.get('bozo_exception', 'no reason')}"
        )
    feed = result.feed
    entries, rejects = bounded([_entry(e, feed, url, zone) for e in result.entries], [])
    return Document(
        kind=_kind(result.version),
        url=url or _text(feed, "link"),
        title=text.line(_text(feed, "title")),
        language=_text(feed, "language"),
        entries=entries,
        rejects=rejects,
        is_whole=False,
    )


def refusal(body: bytes) -> str:
    """Why feedparser must not parse a document; empty if it may."""
    if len(body) > MAX_BYTES:
        return f"{len(body)} bytes are too many to repair"
    if body.count(b"<") > MAX_TAGS:
        return f"over {MAX_TAGS} tags are too many to repair"
    if sanitize.has_huge_tag(body.decode("latin-1")):
        return f"a tag has over {sanitize.MAX_ATTRIBUTES} attributes"
    return ""


def _kind(version: str) -> str:
    """The value of `Document.kind`."""
    if version in ("rss090", "rss10"):
        return "rdf"
    return "atom" if version.startswith("atom") else "rss"


def _entry(entry: Any, feed: Any, url: str, zone: tzinfo) -> Entry:
    contents = entry.get("content") or []
    content = _text(contents[0], "value") if contents else ""
    # `get("updated")` would return `published` where there is none, and warn.
    updated = entry["updated"] or "" if "updated" in entry else ""
    raw = _text(entry, "published") or updated
    summary = _text(entry, "summary")
    return Entry(
        guid=_text(entry, "id"),
        url=_text(entry, "link"),
        title=_text(entry, "title"),
        summary=summary if content else "",
        content_html=content or summary,
        authors=tuple(a["name"] for a in entry.get("authors", []) if a.get("name")),
        categories=tuple(
            name for t in entry.get("tags", []) if (name := t.get("label") or t.get("term"))
        ),
        language=_text(feed, "language"),
        enclosures=tuple(
            Enclosure(url=e["href"], type=e.get("type", ""))
            for e in entry.get("enclosures", [])
            if e.get("href")
        ),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(updated, zone=zone),
        base_url=_text(feed, "link") or url,
        podcast=_podcast(entry) if entry.get("itunes_duration") else None,
    )


def _podcast(entry: Any) -> Podcast:
    return Podcast(
        duration_s=seconds_of(_text(entry, "itunes_duration")),
        episode=number(_text(entry, "itunes_episode")),
        season=number(_text(entry, "itunes_season")),
        explicit=entry.get("itunes_explicit"),
    )


def _text(fields: Any, name: str) -> str:
    """A field of feedparser's; empty if it is missing, or None, as some broken ones are."""
    return fields.get(name) or ""
