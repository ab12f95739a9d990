"""feedparser: the last resort for XML that one repair does not make well-formed. Pure.

feedparser's own sanitizer and date guesses are not used: dateline's own are applied to its results.
"""

from __future__ import annotations

import io
from datetime import tzinfo
from typing import Any

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
    # Imported here: every parser process would start a tenth later, and few documents need it.
    import feedparser

    try:
        result = feedparser.parse(
            io.BytesIO(body), response_headers=headers, sanitize_html=False,
            resolve_relative_uris=False,
        )  # fmt: skip
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        # feedparser's own faults: elements that end without a beginning, odd charsets.
        raise ParseFailed(f"is not well-formed XML, and cannot be repaired: {exc!r}") from exc
    if not result.entries:
        raise ParseFailed(
            f"is neither well-formed XML nor a feed: {result.get('bozo_exception', 'no reason')}"
        )
    feed = result.feed
    entries, rejects = bounded([_entry(e, feed, url, zone) for e in result.entries], [])
    return Document(
        kind=_kind(result.version),
        url=url or _string(feed, "link"),
        title=text.line(_string(feed, "title")),
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
    contents = entry.get("content") or [{}]
    content, summary = _string(contents[0], "value"), _string(entry, "summary")
    # `get("updated")` would return `published` where there is none, and warn.
    updated = _string(entry, "updated") if "updated" in entry else ""
    raw = _string(entry, "published") or updated
    return Entry(
        guid=_string(entry, "id"),
        url=_string(entry, "link"),
        title=_string(entry, "title"),
        summary=summary if content else "",
        content_html=content or summary,
        authors=tuple(filter(None, (_string(a, "name") for a in entry.get("authors", [])))),
        categories=tuple(
            name
            for tag in entry.get("tags", [])
            if (name := _string(tag, "label") or _string(tag, "term"))
        ),
        language=_string(feed, "language"),
        enclosures=tuple(
            Enclosure(url=address, type=_string(file, "type"))
            for file in entry.get("enclosures", [])
            if (address := _string(file, "href"))
        ),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(updated, zone=zone),
        base_url=_string(feed, "link") or url,
        podcast=_podcast(entry) if entry.get("itunes_duration") else None,
    )


def _string(fields: Any, name: str) -> str:
    """A string of feedparser's results, which may also be None or bytes in broken documents."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _podcast(entry: Any) -> Podcast:
    return Podcast(
        duration_s=seconds_of(_string(entry, "itunes_duration")),
        episode=number(_string(entry, "itunes_episode")),
        season=number(_string(entry, "itunes_season")),
        explicit=entry.get("itunes_explicit") or None,
    )
