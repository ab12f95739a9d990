"""The last resort for XML that is beyond one repair: feedparser, which reads anything. Pure.

feedparser's own sanitizer and date guesses are not used: what it finds passes ours.
"""

from __future__ import annotations

import io
from datetime import tzinfo
from typing import Any

import feedparser

from service.articles import sanitize, text
from service.articles.article import Enclosure, Entry
from service.errors import ParseFailed
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, bounded

# Its time grows with the square of some broken input: a small document is all it gets.
MAX_BYTES = 2_000_000
MAX_TAGS = 100_000
"""2.5 s, if they are nested."""


def parse(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """What feedparser finds. Raises ParseFailed if that is nothing."""
    if reason := refusal(body):
        raise ParseFailed(f"no well-formed XML, and {reason}")
    headers = {"content-location": url} if url else {}
    if content_type:
        headers["content-type"] = content_type
    found = feedparser.parse(
        io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
    )
    if not found.entries:
        raise ParseFailed(
            f"no well-formed XML and no feed: {found.get('bozo_exception', 'no reason')}"
        )
    feed = found.feed
    entries, rejects = bounded([_entry(e, feed, url, zone) for e in found.entries], [])
    return Document(
        kind=_kind(found.version),
        url=url or feed.get("link", ""),
        title=text.line(feed.get("title", "")),
        language=feed.get("language", ""),
        entries=entries,
        rejects=rejects,
        is_whole=False,
    )


def refusal(body: bytes) -> str:
    """Why a document is not to be guessed at; empty if it may be."""
    if len(body) > MAX_BYTES:
        return f"with {len(body)} bytes too large to be guessed at"
    if body.count(b"<") > MAX_TAGS:
        return f"over {MAX_TAGS} tags are too many to guess at"
    if sanitize.has_huge_tag(body.decode("latin-1")):
        return f"a tag of over {sanitize.MAX_ATTRIBUTES} attributes"
    return ""


def _kind(version: str) -> str:
    """As `Document.kind` calls it."""
    if version in ("rss090", "rss10"):
        return "rdf"
    return "atom" if version.startswith("atom") else "rss"


def _entry(entry: Any, feed: Any, url: str, zone: tzinfo) -> Entry:
    contents = entry.get("content") or []
    content = contents[0].get("value", "") if contents else ""
    # `get("updated")` would answer with `published` where there is none, and warn.
    updated = entry["updated"] if "updated" in entry else ""  # noqa: SIM401 -- see above
    raw = entry.get("published") or updated
    return Entry(
        guid=entry.get("id", ""),
        url=entry.get("link", ""),
        title=entry.get("title", ""),
        summary=entry.get("summary", "") if content else "",
        content_html=content or entry.get("summary", ""),
        authors=tuple(a["name"] for a in entry.get("authors", []) if a.get("name")),
        categories=tuple(
            name for t in entry.get("tags", []) if (name := t.get("label") or t.get("term"))
        ),
        language=feed.get("language", ""),
        enclosures=tuple(
            Enclosure(url=e["href"], type=e.get("type", ""))
            for e in entry.get("enclosures", [])
            if e.get("href")
        ),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(updated, zone=zone),
        base_url=feed.get("link", "") or url,
    )
