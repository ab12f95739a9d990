"""Parse: bytes in, a Document out. Pure.

What a document is, is seen from its first characters; what its sender calls it is wrong too often
(RSS as text/html, JSON as text/plain) and only helps with the charset.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, tzinfo

import orjson

from service.errors import ParseFailed
from workers.ingest.parse.document import Document, FeedLink, Reject
from workers.ingest.parse.html.page import parse_html
from workers.ingest.parse.json_feed import is_json_feed, parse_json_feed
from workers.ingest.parse.k2_json import parse_k2_json
from workers.ingest.parse.records import parse_lines, parse_records
from workers.ingest.parse.text import parse_text
from workers.ingest.parse.xml.tree import parse_xml

__all__ = [
    "FEED_KINDS",
    "GUESSED_KINDS",
    "PAGE_KINDS",
    "Document",
    "FeedLink",
    "Hints",
    "Reject",
    "parse",
]

# The first tag after declaration, comments and DOCTYPE.
_ROOT = re.compile(rb"<\s*([A-Za-z][\w:.-]*)")
_PROLOGUE = re.compile(
    rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE
)
_SNIFFED = 8_192
_XML_ROOTS = frozenset(
    {b"rss", b"feed", b"entry", b"rdf", b"channel", b"opml", b"xml", b"urlset", b"sitemapindex"}
)
# A feed in a page that a tool wrapped around it, or behind the warnings of its own program.
_EMBEDDED = re.compile(rb"<(?:(rss|rdf:RDF)[\s>]|(feed)\s[^<>]*xmlns)")
FEED_KINDS = frozenset({"rss", "atom", "rdf", "cdf", "json-feed", "k2-json", "sitemap"})
GUESSED_KINDS = ("html-guess",)
PAGE_KINDS = ("html-guess", "html")
Parser = Callable[..., Document]


def parse(body: bytes, *, url: str = "", content_type: str = "", zone: tzinfo = UTC) -> Document:
    """The document, whatever kind it is.

    Args:
        url: where it came from; empty if it came from a file.
        content_type: the header, if there was one.
        zone: of times that name none.

    Raises:
        ParseFailed: it is empty, unknown, or broken beyond reading.
    """
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        body = body.decode("utf-16", "replace").encode()
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise ParseFailed("is empty")
    parser = _parser(body)
    embedded = _embedded(body) if parser in (parse_html, parse_text) else b""
    if embedded:
        with suppress(ParseFailed):
            return parse_xml(embedded, url=url, content_type=content_type, zone=zone)
    return parser(body, url=url, content_type=content_type, zone=zone)


def _embedded(body: bytes) -> bytes:
    """The feed in a document that is something else; empty if there is none."""
    found = _EMBEDDED.search(body[:_SNIFFED])
    if found is None:
        return b""
    end = b"</%b>" % (found.group(1) or found.group(2))
    return body[found.start() : body.rfind(end) + len(end)] if end in body else b""


def _parser(body: bytes) -> Parser:
    head = body[:_SNIFFED].lstrip()
    if head.startswith((b"{", b"[")):
        return _parse_json
    if not head.startswith(b"<") and b"\x00" not in head[:4]:
        return parse_text
    root = _ROOT.search(_PROLOGUE.sub(b"", head))
    name = root.group(1).lower().rsplit(b":", 1)[-1] if root else b"xml"
    return parse_xml if name in _XML_ROOTS else parse_html


def _parse_json(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """JSON Feed, K2's JSON of a list, or records. Raises ParseFailed."""
    del content_type
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if b"\n" in body.strip():
            return parse_lines(body, url)
        raise ParseFailed(f"no JSON: {exc}") from exc
    if isinstance(found, dict) and isinstance(found.get("items"), list):
        if isinstance(found.get("site"), dict) and not is_json_feed(found):
            return parse_k2_json(found, url)
        # Whatever version it names: an article of ours has no items.
        return parse_json_feed(found, url, zone)
    return parse_records(found, url)
