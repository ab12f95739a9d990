"""Elements: the bytes of a feed's entries, found without parsing it. Pure.

So those that are known from the poll before can be left out before the rest is parsed. Where the
bounds of an element are not sure, or the charset is only known from the whole text, nothing is left
out: None.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from service.sources.known_entries import DIGEST_BYTES, MAX_KNOWN
from workers.ingest.parse.charsets import is_utf8
from workers.ingest.parse.xml.tree import declared_charset

# What an entry is called, by the root of its document.
_ROOT = re.compile(rb"<(?:(rss|rdf:RDF|channel)|(feed))[\s>]")
_START = {b"item": re.compile(rb"<item[\s>]"), b"entry": re.compile(rb"<entry[\s>]")}
_SNIFFED = 8_192
# Outside of entries, what changes with each document and says nothing of its entries.
_VOLATILE = re.compile(
    rb"<((?:[A-Za-z]+:)?(?:lastBuildDate|pubDate|updated|modified|date))>[^<]*</\1>"
    rb"|<items>\s*<rdf:Seq>(?:\s*<rdf:li [^<>]*>(?:</rdf:li>)?)*+\s*</rdf:Seq>\s*</items>"
)


class Elements(Protocol):
    """The entries of one document."""

    @property
    def elements(self) -> tuple[bytes, ...]:
        """The bytes of each entry, in their order."""

    @property
    def head(self) -> bytes:
        """What else the document says that could change what an entry is."""

    def is_sure_of(self, numbers: Iterable[int]) -> bool:
        """Whether all is an entry that looks like one, by the bytes of these entries and of what is
        outside of them."""

    def without(self, numbers: Collection[int]) -> bytes:
        """The document without these entries, numbered from 0."""


@dataclass(frozen=True, slots=True)
class _XmlElements:
    elements: tuple[bytes, ...]
    outside: tuple[bytes, ...]
    """What stands before, between and after them: one part more."""

    @property
    def head(self) -> bytes:
        """What is outside, without what changes with each document."""
        first, *commented = b"".join(self.outside).split(b"<!--")
        text = first + b"".join(part.partition(b"-->")[2] for part in commented)
        return b"".join(_VOLATILE.sub(b"", text).split())

    def is_sure_of(self, numbers: Iterable[int]) -> bool:
        """Whether no CDATA section and no comment goes on behind one of them, so that a tag in it
        would be none, and all are in UTF-8: of other charsets, it may take the whole document to
        tell which it is."""
        parts = [self.elements[number] for number in numbers]
        parts += [part for part in self.outside if not part.isspace()]
        return all(map(_is_closed, parts)) and _is_in_utf8(b"".join(parts))

    def without(self, numbers: Collection[int]) -> bytes:
        """What is outside, and the entries that are left."""
        parts = [self.outside[0]]
        for number, element in enumerate(self.elements):
            parts += [b"" if number in numbers else element, self.outside[number + 1]]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _JsonElements:
    elements: tuple[bytes, ...]
    rest: dict[str, Any]

    @property
    def head(self) -> bytes:
        """All fields of the feed but its items."""
        return orjson.dumps(self.rest)

    def is_sure_of(self, numbers: Iterable[int]) -> bool:
        """Always: the document was decoded as JSON."""
        return True

    def without(self, numbers: Collection[int]) -> bytes:
        """The object with the items that are left."""
        items = [
            orjson.Fragment(element)
            for number, element in enumerate(self.elements)
            if number not in numbers
        ]
        return orjson.dumps({**self.rest, "items": items})


def elements_of(body: bytes, *, charset: str = "") -> Elements | None:
    """The entries of an RSS, Atom or JSON feed in UTF-8; None if they cannot be told apart.

    Args:
        charset: that of the header.
    """
    if not all(map(is_utf8, (charset, declared_charset(body)))):
        return None
    return _json_elements(body) if body.lstrip()[:1] == b"{" else _xml_elements(body)


def digests_of(elements: Elements, settings: bytes) -> list[bytes]:
    """A digest of each entry, of all that the document says besides the entries, and of the
    settings; of the first MAX_KNOWN entries.

    Args:
        settings: all that decides what becomes of an entry, besides its document.
    """
    # SHA-256, because processors have it.
    start = hashlib.sha256(settings + elements.head).digest()
    return [
        hashlib.sha256(start + element).digest()[:DIGEST_BYTES]
        for element in elements.elements[:MAX_KNOWN]
    ]


def _is_in_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _xml_elements(body: bytes) -> _XmlElements | None:
    root = _ROOT.search(body[:_SNIFFED])
    if root is None:
        return None
    name = b"item" if root.group(1) else b"entry"
    start, end = _START[name], b"</%b>" % name
    elements, outside, at = [], [], 0
    while match := start.search(body, at):
        closing = body.find(end, match.end())
        if closing < 0:
            return None
        outside.append(body[at : match.start()])
        at = closing + len(end)
        elements.append(body[match.start() : at])
    outside.append(body[at:])
    return _XmlElements(tuple(elements), tuple(outside))


def _is_closed(part: bytes) -> bool:
    return part.count(b"<![CDATA[") == part.count(b"]]>") and (
        part.count(b"<!--") <= part.count(b"-->")
    )


def _json_elements(body: bytes) -> _JsonElements | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(items, list) or not items:
        return None
    rest = {name: each for name, each in value.items() if name != "items"}
    try:
        return _JsonElements(tuple(map(orjson.dumps, items)), rest)
    except orjson.JSONEncodeError:
        return None  # Nested deeper than it writes.
