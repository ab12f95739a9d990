"""Identify: which source an entry belongs to, and its identity there. Pure.

An id is made of (source, guid), so both must be the same in all documents that contain one
article, and never the same for two. The rule is that of a browser's same origin: a guid that is a
URL on the document's own host is unique on that host, and the host is its source; the site's feeds,
lists and pages then agree on it. Any other guid is only unique within its feed, and the feed's URL
is its source; so no feed can speak for another host.

A value that several entries of one document share identifies none of them (Shared): "N/A" as the
guid of all, one link for every line of a changelog. Then the next value is added: the link, and
after it title and date.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TypeVar

from service.articles import text
from service.articles.aliases import canonical, is_poor
from service.articles.article import Entry
from service.http import without_default_port
from workers.ingest.parse import Document

T = TypeVar("T")

# RFC 3986 3.2, without a user name; what is in brackets must look like an IPv6 address.
_ORIGIN = re.compile(r"https?://((?:[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?)(?=[/?#]|$)", re.I)
# The source of a document that does not name its origin: a file that somebody saved.
FILE_SOURCE = "urn:dateline:file"


@dataclass(frozen=True, slots=True)
class Shared:
    """What several entries of one document have in common, so that it identifies none of them."""

    guids: frozenset[str] = frozenset()
    """Guids of entries with different links; the guid and the link together identify."""
    links: frozenset[tuple[str, str]] = frozenset()
    """(guid or empty, link) of entries with different titles or dates, which are then added."""
    words: frozenset[tuple[str, str]] = frozenset()
    """(guid or empty, link_title_date) of entries with different texts, which are then added."""


NOTHING_SHARED = Shared()


def shared_in(document: Document) -> Shared:
    """The values that entries of a document share. An entry that appears twice does not share with
    itself; nor does one of an Atom document that contains several of its versions (RFC 4287 4.1.1).
    """
    links: dict[str, set[str]] = defaultdict(set)
    alike: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    texts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in document.entries:
        has_poor_guid = is_poor(entry.guid)
        if entry.guid:
            links[entry.guid].add(entry.url)
        if document.kind != "atom" or has_poor_guid:
            alike[entry.guid, entry.url].append(entry)
        if has_poor_guid:
            texts[entry.guid, link_title_date(entry)].add(_text(entry))
    words = {
        key: set(map(link_title_date, entries))
        for key, entries in alike.items()
        if len(entries) > 1
    }
    return Shared(_several(links), _several(words), _several(texts))


def _several(values_by_key: dict[T, set[str]]) -> frozenset[T]:
    return frozenset(key for key, values in values_by_key.items() if len(values) > 1)


def link_title_date(entry: Entry) -> str:
    """Canonical link, title and date in one string; of an entry without a title, the start of its
    text in place of it."""
    date = entry.published.isoformat() if entry.published else entry.raw_published
    title = text.line(entry.title) or text.line((entry.summary or entry.content_html)[:1_000])
    return f"{canonical(entry.url)}\0{title}\0{date}"


def _text(entry: Entry) -> str:
    return _hashed(entry.summary, entry.content_html, *(file.url for file in entry.enclosures))


def identify(
    document: Document,
    entry: Entry,
    *,
    name: str,
    also: str = "",
    shared: Shared = NOTHING_SHARED,
) -> tuple[str, str]:
    """(source, guid) of an entry; with an empty guid, its text identifies it.

    Args:
        name: name of the file or URL that the document came from; identifies pages without a link.
        also: another URL that the document speaks for: where its source has moved to.
        shared: see `shared_in`.
    """
    if entry.source and not document.url:
        # A record from a file, such as an export. Documents from the network cannot name a source.
        return entry.source, entry.guid
    host = _origin(entry.guid or entry.url)
    guid = _guid(entry, shared)
    if host and host in (_origin(document.url), _origin(also)):
        return host, guid
    if document.url:
        return document.url, guid
    if entry.guid or entry.url:
        return FILE_SOURCE, guid
    return FILE_SOURCE, _guid_of_file(document, entry, name)


def _guid(entry: Entry, shared: Shared) -> str:
    words = link_title_date(entry) if shared.links or shared.words else ""
    if (entry.guid, words) in shared.words:
        return _hashed(entry.guid, words, _text(entry))
    if (entry.guid, entry.url) in shared.links:
        return _hashed(entry.guid, words)
    if entry.guid in shared.guids:
        return f"{entry.guid} {entry.url}"
    return entry.guid or entry.url


def _hashed(*parts: str) -> str:
    what = "\0".join(parts).encode("utf-8", "surrogatepass")
    return "urn:sha256:" + hashlib.sha256(what).hexdigest()[:40]


def _origin(url: str) -> str:
    match = _ORIGIN.match(url)
    # Ids must survive a change from http to https.
    return without_default_port(match.group(1)) if match else ""


def _guid_of_file(document: Document, entry: Entry, name: str) -> str:
    """The guid of a page that somebody saved as text and that has no link: a hash of its file,
    category and day, so that an edited file is an update. Of several articles of one day on a page,
    the last is number 1, because new ones are added on top.
    """
    same_day = [
        e
        for e in document.entries
        if (e.categories, e.published) == (entry.categories, entry.published)
    ]
    number = len(same_day) - same_day.index(entry)
    day = f"{entry.published:%Y-%m-%d}" if entry.published else ""
    return _hashed(name, *entry.categories, day, str(number))
