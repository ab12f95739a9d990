"""XML: a tree of it, whatever is wrong with it, and the dialect that reads the tree. Pure.

Three ways, in this order: lxml on the bytes as they are (193 of 200 real feeds), lxml once more
after one repair pass, feedparser. Entities of our own tables only, nothing from outside, no huge
trees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from functools import partial
from html.entities import html5
from typing import Any

from lxml import etree

from service import clean
from service.articles import Entry
from service.errors import ParseFailed
from workers.ingest.parse import feedparsed
from workers.ingest.parse.atom import parse_atom
from workers.ingest.parse.charsets import decode
from workers.ingest.parse.document import Document
from workers.ingest.parse.opml import parse_opml
from workers.ingest.parse.rss import is_cdf, parse_cdf, parse_rss
from workers.ingest.parse.sitemap import parse_sitemap, parse_sitemap_index

_DOCTYPE = re.compile(rb"<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE)
_MAX_PROLOGUE = 8_192
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>", re.IGNORECASE)
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["']""")
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_ENTITY = re.compile(r"&(#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,40};)?")
_DECLARED = re.compile(r"""<!ENTITY\s+([A-Za-z][\w.-]{0,40})\s+["']([^"'&<%]{0,200})["']\s*>""")
MAX_DECLARED = 50
_PREDEFINED = frozenset({"amp;", "lt;", "gt;", "quot;", "apos;"})


def parse_xml(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """A feed, whatever its dialect. Raises ParseFailed."""
    root = _tree(body, url)
    if root is None:
        root = _tree(_repair(body, content_type), url)
    if root is None:
        return feedparsed.parse(body, url=url, content_type=content_type, zone=zone)
    name = etree.QName(root).localname.lower()
    if name not in _DIALECTS:
        raise ParseFailed(f"XML with the root <{name}> is no feed that we know")
    dialect = parse_cdf if name == "channel" and is_cdf(root) else _DIALECTS[name]
    document = dialect(root, url, zone)
    if document.entries and not any(map(_says_something, document.entries)):
        # All of it is in a namespace that we do not know, or in none.
        return feedparsed.parse(body, url=url, content_type=content_type, zone=zone)
    return document


def _says_something(entry: Entry) -> bool:
    return bool(
        entry.guid or entry.url or entry.title or entry.content_html or entry.summary
        or entry.raw_published or entry.authors or entry.categories or entry.enclosures
    )  # fmt: skip


def _tree(body: bytes, url: str) -> Any:
    """The root, or None if the document is not well-formed."""
    # A DOCTYPE can only declare entities or point elsewhere; undeclared ones are for the repair.
    body = _without_doctype(body)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False,
        remove_comments=True, remove_pis=True, strip_cdata=True,
    )  # fmt: skip
    try:
        return etree.fromstring(body, parser, base_url=url)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _without_doctype(body: bytes) -> bytes:
    # Looked for in one place only: from each of many, the pattern would take quadratic time.
    start = body[:_MAX_PROLOGUE].upper().find(b"<!DOCTYPE")
    found = _DOCTYPE.match(body, start) if start >= 0 else None
    return body[: found.start()] + body[found.end() :] if found else body


def _repair(body: bytes, content_type: str) -> bytes:
    """Charset, named HTML entities, bare ampersands, control characters: the faults that occur."""
    declared, header = _ENCODING.match(body), _CHARSET.search(content_type)
    text = decode(
        _without_doctype(body),
        header.group(1) if header else "",
        declared.group(1).decode() if declared else "",
    )
    text = _DECLARATION.sub("", text).lstrip("\ufeff \t\r\n")
    replaced = partial(_entity, declared=_declared(body))
    pieces = (_with_entities(piece, replaced) for piece in text.split("]]>"))
    return clean.characters("]]>".join(pieces)).encode()


def _declared(body: bytes) -> dict[str, str]:
    """Entities that the document declares itself, if they are short and plain: nothing that could
    grow, and nothing from outside."""
    head = body[:_MAX_PROLOGUE].decode("utf-8", "replace")
    found = _DECLARED.findall(head)[:MAX_DECLARED]
    return {f"{name};": value for name, value in found}


def _with_entities(piece: str, replaced: Callable[[re.Match[str]], str]) -> str:
    """Markup, and the CDATA section that follows it: in there an ampersand is an ampersand."""
    outside, mark, inside = piece.partition("<![CDATA[")
    return _ENTITY.sub(replaced, outside) + mark + inside


def _entity(match: re.Match[str], *, declared: Mapping[str, str]) -> str:
    name = match.group(1)
    if name is None:
        return "&amp;"
    if name in _PREDEFINED:
        return f"&{name}"
    if name.startswith("#"):
        number = int(name[2:-1], 16) if name[1] in "xX" else int(name[1:-1])
        # A reference to a character that XML forbids ends the parse.
        return f"&{name}" if _is_allowed(number) else ""
    found = declared.get(name) or html5.get(name)
    return f"&amp;{name}" if found is None else found.replace("&", "&amp;").replace("<", "&lt;")


def _is_allowed(number: int) -> bool:
    """XML 1.0 2.2, Char."""
    return (
        number in (9, 10, 13)
        or 0x20 <= number < 0xD800
        or 0xE000 <= number < 0xFFFE
        or 0x10000 <= number < 0x110000
    )


def _opml(root: Any, url: str, zone: tzinfo) -> Document:
    del zone
    return parse_opml(root, url)


_DIALECTS: dict[str, Callable[[Any, str, tzinfo], Document]] = {
    "rss": parse_rss,
    "rdf": parse_rss,
    "channel": parse_rss,
    "feed": parse_atom,
    "opml": _opml,
    "urlset": parse_sitemap,
    "sitemapindex": parse_sitemap_index,
}
