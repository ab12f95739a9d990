"""Parse: bytes in, a Document out. Pure.

What a document is, is seen from its first characters; what its sender calls it is wrong too often
(RSS as text/html, JSON as text/plain) and only helps with the charset.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from datetime import UTC, tzinfo

from service.errors import ParseFailed
from workers.ingest.parse.document import Document, FeedLink, Hints, Reject
from workers.ingest.parse.html import parse_html
from workers.ingest.parse.jsons import parse_json
from workers.ingest.parse.text import parse_text
from workers.ingest.parse.xml import parse_xml

__all__ = ["Document", "FeedLink", "Hints", "Reject", "parse"]

# The first tag after declaration, comments and DOCTYPE.
_ROOT = re.compile(rb"<\s*([A-Za-z][\w:.-]*)")
_PROLOGUE = re.compile(
    rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE
)
_SNIFFED = 8_192
_XML_ROOTS = frozenset(
    {b"rss", b"feed", b"rdf", b"channel", b"opml", b"xml", b"urlset", b"sitemapindex"}
)
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
    return _parser(body)(body, url=url, content_type=content_type, zone=zone)


def _parser(body: bytes) -> Parser:
    head = body[:_SNIFFED].lstrip()
    if head.startswith((b"{", b"[")):
        return parse_json
    if not head.startswith(b"<") and b"\x00" not in head[:4]:
        return parse_text
    root = _ROOT.search(_PROLOGUE.sub(b"", head))
    name = root.group(1).lower().rsplit(b":", 1)[-1] if root else b"xml"
    return parse_xml if name in _XML_ROOTS else parse_html
