"""Parse: bytes in, a Document out. Pure.

Two tables define which parser reads a document: by its first byte, and for XML by its root. The
Content-Type is wrong too often (RSS as text/html, JSON as text/plain) and is only used for the
charset. To add an input format, write a module beside the others and add its row, and its kind if
it is a feed.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, tzinfo
from typing import Any

import orjson

from service.errors import ParseFailed
from service.feeds.opml import FeedLink
from workers.ingest.parse.charsets import charset_of, decode
from workers.ingest.parse.document import Document, Reject, with_decided_titles
from workers.ingest.parse.html.microformats import H_FEED
from workers.ingest.parse.html.page import parse_html
from workers.ingest.parse.html.schema_lists import SCHEMA_LIST
from workers.ingest.parse.json_feed import is_json_feed, parse_json_feed
from workers.ingest.parse.json_values import decode_any
from workers.ingest.parse.k2_json import parse_k2_json
from workers.ingest.parse.records import parse_lines, parse_records
from workers.ingest.parse.selected import SELECTED, parse_selected, raw_items
from workers.ingest.parse.text import parse_text
from workers.ingest.parse.xml.atom import parse_atom
from workers.ingest.parse.xml.opml import parse_opml
from workers.ingest.parse.xml.rss import parse_rss
from workers.ingest.parse.xml.sitemap import parse_sitemap, parse_sitemap_index
from workers.ingest.parse.xml.tree import Dialect, parse_xml

__all__ = [
    "FEED_KINDS",
    "GUESSED_KINDS",
    "LIST_KINDS",
    "PAGE_KINDS",
    "Document",
    "FeedLink",
    "Reject",
    "parse",
    "raw_items",
]

# The first element after declaration, comments and DOCTYPE.
_ROOT = re.compile(rb"<\s*([A-Za-z][\w:.-]*)")
_PROLOGUE = re.compile(
    rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE
)
_SNIFFED = 8_192
# A feed in a page that a tool wrapped around it, or behind the warnings of its own program.
_EMBEDDED = re.compile(rb"<(?:(rss|rdf:RDF)[\s>]|(feed)\s[^<>]*xmlns)")
Parser = Callable[..., Document]
XML_ROOTS: dict[str, Dialect] = {
    "rss": parse_rss,
    "rdf": parse_rss,
    "channel": parse_rss,
    "feed": parse_atom,
    "entry": parse_atom,
    "opml": lambda root, url, _: parse_opml(root, url),
    "urlset": parse_sitemap,
    "sitemapindex": parse_sitemap_index,
}
"""Name of the root, in lower case and without namespace → the function that reads its tree."""
# Kinds of documents (`Document.kind`): feeds, and pages that may be served in place of a feed.
FEED_KINDS = frozenset({"rss", "atom", "rdf", "json-feed", "k2-json", "sitemap", SELECTED})
GUESSED_KINDS = ("html-guess",)
LIST_KINDS = (H_FEED, SCHEMA_LIST)
PAGE_KINDS = ("html-guess", "html", *LIST_KINDS)


def parse(
    body: bytes, *, url: str = "", content_type: str = "", zone: tzinfo = UTC,
    select: Mapping[str, str] | None = None, balance: int = 0,
) -> Document:  # fmt: skip
    """Parse a document of any supported kind.

    Args:
        select: selectors that name its articles; by default its format does.
        url: where it came from; empty if it came from a file.
        content_type: the header, if there was one.
        zone: for times that do not name their zone.
        balance: see `with_decided_titles`.

    Raises:
        ParseFailed: it is empty, of an unknown kind, or too broken to be parsed.
    """
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        body = body.decode("utf-16", "replace").encode()
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise ParseFailed("is empty")
    known: dict[str, Any] = {"url": url, "content_type": content_type, "zone": zone}
    document = parse_selected(body, select=select, **known) if select else _parsed(body, **known)
    return with_decided_titles(document, balance=balance)


def _parsed(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    parser = _parser(body)
    embedded = _embedded(body) if parser in (parse_html, parse_text) else b""
    if embedded:
        with suppress(ParseFailed):
            return _parse_xml(embedded, url=url, content_type=content_type, zone=zone)
    return parser(body, url=url, content_type=content_type, zone=zone)


def _embedded(body: bytes) -> bytes:
    """The feed inside a document of another kind; empty if there is none."""
    match = _EMBEDDED.search(body[:_SNIFFED])
    if match is None:
        return b""
    end = b"</%b>" % (match.group(1) or match.group(2))
    return body[match.start() : body.rfind(end) + len(end)] if end in body else b""


def _parser(body: bytes) -> Parser:
    head = body[:_SNIFFED].lstrip()
    if head[:1] in FIRST_BYTES:
        return FIRST_BYTES[head[:1]]
    # UTF-16 without a byte order mark has a NUL beside its bracket.
    if not head.startswith(b"<") and b"\x00" not in head[:4]:
        return parse_text
    root = _ROOT.search(_PROLOGUE.sub(b"", head))
    name = root.group(1).lower().rsplit(b":", 1)[-1].decode() if root else "xml"
    return _parse_xml if name == "xml" or name in XML_ROOTS else parse_html


def _parse_xml(body: bytes, **options: Any) -> Document:
    return parse_xml(body, dialects=XML_ROOTS, **options)


def _parse_json(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """JSON Feed, K2's JSON of a list, or records. Raises ParseFailed."""
    try:
        value = decode_any(body, content_type)
    except orjson.JSONDecodeError as exc:
        # RFC 8259 8.1 allows UTF-8 alone; some write their own charset.
        in_utf8 = decode(body, charset_of(content_type)).encode("utf-8", "replace")
        if in_utf8 != body:
            return _parse_json(in_utf8, url=url, content_type="", zone=zone)
        if b"\n" in body.strip():
            return parse_lines(body, url)
        raise ParseFailed(f"is not JSON: {exc}") from exc
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        if isinstance(value.get("site"), dict) and not is_json_feed(value):
            return parse_k2_json(value, url)
        # Its version does not matter: a record of an article has no items.
        return parse_json_feed(value, url, zone)
    return parse_records(value, url)


FIRST_BYTES: dict[bytes, Parser] = {b"{": _parse_json, b"[": _parse_json}
"""First byte that is not white space → parser. A document that begins with `<` is read by its root:
as XML if XML_ROOTS has it, else as a page; all other documents are read as text."""
