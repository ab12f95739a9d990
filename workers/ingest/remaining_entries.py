"""Remaining entries: those of a document that are not known from the poll before. Pure.

An entry is never judged alone: a guid that two entries share identifies none of them, one title
shows how the others are to be read. So of each entry that is left out, its names are remembered
(sources/known_entries.py), and where one of them occurs in another entry, the whole document is
parsed. Entries whose names others share are not remembered at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

from service.articles.aliases import canonical
from service.articles.article import Entry
from service.articles.text import markup_balance
from service.errors import ParseFailed
from service.sources.known_entries import KnownEntry, names_of, to_bytes
from workers.ingest.parse import Document
from workers.ingest.parse.charsets import charset_of
from workers.ingest.parse.elements import digests_of, elements_of

_KINDS = frozenset({"rss", "rdf", "atom", "json-feed"})
"""Whose entries are in the order of their elements, one each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingEntries:
    """A document without the entries that are known."""

    document: Document
    positions: Sequence[int]
    """The position of each of its entries in the whole document, from 0."""
    records: Sequence[bytes]
    """What is to be remembered of each of its entries, still without its article; may be empty."""
    passed_over: tuple[int, ...] = ()
    """Which records of those that are known stand for the others."""


def remaining_entries(
    body: bytes,
    *,
    known: Sequence[KnownEntry],
    settings: bytes,
    content_type: str,
    parse: Callable[[bytes, int], Document],
    may_stand_alone: Callable[[Document], bool],
) -> RemainingEntries:
    """Parse what is not known of a document.

    Args:
        settings: all that decides what becomes of an entry, besides its document.
        parse: called with a document and with what the titles of other entries of it say; raises
            ParseFailed.
        may_stand_alone: whether such entries can be judged without the others.

    Raises:
        ParseFailed: the document cannot be parsed.
    """
    elements = elements_of(body, charset=charset_of(content_type))
    if elements is None:
        return all_entries(parse(body, 0))
    digests = digests_of(elements, settings)
    number_of = {record.digest: number for number, record in enumerate(known)}
    passed_over = {at: number_of[d] for at, d in enumerate(digests) if d in number_of}
    rest = [at for at in range(len(elements.elements)) if at not in passed_over]
    # Those that are known were looked at.
    if not elements.is_sure_of(rest):
        return all_entries(parse(body, 0))
    if passed_over:
        left_out = [known[number] for number in passed_over.values()]
        balance = sum(record.title_balance for record in left_out)
        with suppress(ParseFailed):
            document = parse(elements.without(passed_over), balance)
            records = _records(document, [digests[at : at + 1] for at in rest], left_out)
            if records is not None and may_stand_alone(document):
                return RemainingEntries(
                    document=document,
                    positions=rest,
                    records=records,
                    passed_over=tuple(passed_over.values()),
                )
    document = parse(body, 0)
    in_order = [digests[at : at + 1] for at in range(len(elements.elements))]
    records = _records(document, in_order, ())
    return all_entries(document, records)


def all_entries(document: Document, records: Sequence[bytes] | None = None) -> RemainingEntries:
    """A document of which nothing was left out."""
    count = len(document.entries)
    return RemainingEntries(
        document=document, positions=range(count), records=records or [b""] * count
    )


def _records(
    document: Document, digests: Sequence[Sequence[bytes]], left_out: Sequence[KnownEntry]
) -> list[bytes] | None:
    """What is to be remembered of each entry; None if the elements are not the entries, or one of
    them has a name of those that were left out.

    Args:
        digests: of each element its digest, or nothing.
    """
    if document.kind not in _KINDS or not document.is_whole or document.rejects:
        return None
    if len(document.entries) != len(digests):
        return None
    names = list(map(_names, document.entries))
    if any(map(_have_common, zip(*names, strict=True), zip(*map(names_of, left_out), strict=True))):
        return None
    counts = [Counter(filter(None, each)) for each in zip(*names, strict=True)]
    return [
        _record(entry, digest[0], own)
        if digest and all(count[name] < 2 for count, name in zip(counts, own, strict=True))
        else b""
        for entry, digest, own in zip(document.entries, digests, names, strict=True)
    ]


def _have_common(a: Iterable[int], b: Iterable[int]) -> bool:
    return not set(filter(None, a)).isdisjoint(b)


def _names(entry: Entry) -> tuple[int, int, int]:
    date = entry.published.isoformat() if entry.published else entry.raw_published
    return (
        _number(entry.guid),
        _number(canonical(entry.url)) if entry.url else 0,
        _number(f"{entry.title}\0{date}") if entry.title else 0,
    )


def _number(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"))


def _record(entry: Entry, digest: bytes, names: tuple[int, int, int]) -> bytes:
    guid, link, title_and_date = names
    record = KnownEntry(
        digest=digest,
        article_id=bytes(16),
        state=b"",
        guid=guid,
        link=link,
        title_and_date=title_and_date,
        title_balance=max(-127, min(127, markup_balance([str.__str__(entry.title)]))),
    )
    return to_bytes(record)
