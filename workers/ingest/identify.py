"""Identify: which source an entry belongs to, and its identity there. Pure.

An id is made of (source, guid), so both must be the same for all forms of one article, and never
the same for two. The rule is that of a browser's same origin: a guid that is a URL on the
document's own host is unique on that host, and the host is its source; the site's feeds, lists and
pages then agree on it. Any other guid is only unique within its feed, and the feed's URL is its
source; so no feed can speak for another host.
"""

from __future__ import annotations

import hashlib
import re

from service.articles import Entry
from workers.ingest.parse import Document

# RFC 3986 3.2, without a user name; what is in brackets must look like an IPv6 address.
_ORIGIN = re.compile(r"https?://((?:[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?)(?=[/?#]|$)", re.I)
# Where a document says nothing of its origin: a file that somebody saved.
FILE_SOURCE = "urn:dateline:file"


def identify(
    document: Document,
    entry: Entry,
    *,
    name: str,
    also: str = "",
    ambiguous: frozenset[str] = frozenset(),
) -> tuple[str, str]:
    """(source, guid) of an entry; an empty guid leaves it to the text.

    Args:
        name: of the file or URL that the document came from; identity of pages without a link.
        also: another URL that the document speaks for: where its source has moved to.
        ambiguous: guids that say nothing, see `ambiguous_guids`.
    """
    if entry.source and not document.url:
        # A record from a file, such as an export; what comes over the network cannot choose.
        return entry.source, entry.guid
    url = entry.guid or entry.url
    host = _origin(url)
    if entry.guid in ambiguous:
        url = f"{entry.guid} {entry.url}"
    if host and host in (_origin(document.url), _origin(also)):
        return host, url
    if document.url:
        return document.url, url
    if entry.guid or entry.url:
        return FILE_SOURCE, url
    return FILE_SOURCE, _guid_of_file(document, entry, name)


def ambiguous_guids(document: Document) -> frozenset[str]:
    """Guids that entries with different links share: some feeds give all their items one."""
    links: dict[str, str] = {}
    found = set()
    for entry in document.entries:
        if entry.guid and links.setdefault(entry.guid, entry.url) != entry.url:
            found.add(entry.guid)
    return frozenset(found)


def _origin(url: str) -> str:
    found = _ORIGIN.match(url)
    # http and https of one host are one site: ids must survive the change.
    return found.group(1).lower().removesuffix(":443").removesuffix(":80") if found else ""


def _guid_of_file(document: Document, entry: Entry, name: str) -> str:
    """A page that somebody saved as text has no link: it is known by its file, category and day, so
    that an edited file is an update. Of several articles of one day on a page, the last is 1: new
    ones are added on top.
    """
    same_day = [
        e
        for e in document.entries
        if (e.categories, e.published) == (entry.categories, entry.published)
    ]
    number = len(same_day) - same_day.index(entry)
    day = f"{entry.published:%Y-%m-%d}" if entry.published else ""
    known_by = "\0".join([name, *entry.categories, day, str(number)])
    return "urn:sha256:" + hashlib.sha256(known_by.encode()).hexdigest()[:40]
