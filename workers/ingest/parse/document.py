"""Document: what every parser returns, and how its entries are bounded and collected. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from service.articles import text
from service.articles.article import Entry
from service.feeds.opml import FeedLink
from service.sources.outcome import Hints

# No honest feed is longer. The rest is reported as one reject.
MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """An item of a document that cannot become an entry."""

    where: str
    """`item 3`, `line 12`."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed document, with its entries in their original order."""

    kind: str
    """rss, atom, rdf, json-feed, k2-json, k2-list, k2-item, sitemap, selected (by the selectors
    of its source), h-feed and schema-list (pages that mark or list articles), html (a page that
    says that it is an article), html-guess (one that does not), text, records, opml."""
    url: str = ""
    """The URL that it names as its own, else where it came from; empty if neither is known."""
    title: str = ""
    entries: tuple[Entry, ...] = ()
    rejects: tuple[Reject, ...] = ()
    feeds: tuple[FeedLink, ...] = ()
    """The feeds that an OPML document lists."""
    alternates: tuple[FeedLink, ...] = ()
    """Feeds that a page names as its own (link rel=alternate), in its order."""
    hints: Hints = field(default_factory=Hints)
    next_url: str = ""
    """The page with the articles before these, of documents that are selected; may be empty."""
    is_whole: bool = True
    """False if it is so broken that its end may be missing: its validators must not be stored."""


class Html(str):
    """A title of which its document says that it is HTML."""

    __slots__ = ()


def with_decided_titles(document: Document, *, balance: int = 0) -> Document:
    """The document, with its titles marked as plain unless they show that they are markup: formats
    do not say what titles are, and one feed writes all of them in the same way.

    Args:
        balance: what the titles of its entries that are not here say (`text.markup_balance`).
    """
    unsure = [entry.title for entry in document.entries if type(entry.title) is str]
    if not any("&" in title or "<" in title for title in unsure):
        return document
    if balance + text.markup_balance(unsure) > 0:
        return document
    return replace(document, entries=tuple(map(_with_plain_title, document.entries)))


def _with_plain_title(entry: Entry) -> Entry:
    return replace(entry, title=text.Plain(entry.title)) if type(entry.title) is str else entry


def without_repeated_title(entry: Entry) -> Entry:
    """An entry of one of our own feeds; where there is no text, its text is the title
    (`head.short_text`)."""
    # Our titles are plain, which is decided later.
    is_repeated = text.plain_text(entry.content_html) == text.line(text.Plain(entry.title))
    return replace(entry, content_html="") if is_repeated else entry


def bounded(
    entries: list[Entry], rejects: list[Reject]
) -> tuple[tuple[Entry, ...], tuple[Reject, ...]]:
    """The first MAX_ENTRIES, and a reject for the rest."""
    if len(entries) > MAX_ENTRIES:
        over = len(entries) - MAX_ENTRIES
        rejects = [*rejects, Reject(where="the rest", reason=f"{over} entries over {MAX_ENTRIES}")]
    return tuple(entries[:MAX_ENTRIES]), tuple(rejects)


def collected(
    kind: str, items: list[Any], take: Callable[[Any], Entry], *, title: str = "", **fields: Any
) -> Document:
    """A document of the entries that `take` returns; an item for which it raises ValueError becomes
    a reject."""
    entries, rejects = [], []
    for number, item in enumerate(items, 1):
        try:
            entries.append(take(item))
        except ValueError as exc:
            rejects.append(Reject(where=f"item {number}", reason=str(exc)))
    bounded_entries, bounded_rejects = bounded(entries, rejects)
    return Document(
        kind=kind,
        title=text.line(title),
        entries=bounded_entries,
        rejects=bounded_rejects,
        **fields,
    )
