"""Alternates: the feeds that a page names as its own, and its hub. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from service.feeds.opml import FeedLink
from service.sources.outcome import Hints
from workers.ingest.parse.html.k2 import LIST_KINDS
from workers.ingest.parse.links import web_url

_FEED_TYPES = frozenset(
    {"application/rss+xml", "application/atom+xml", "application/feed+json", "application/rdf+xml"}
)
# Also the type of anything else; these must say that they are feeds.
_OTHER_TYPES = frozenset({"application/json", "application/xml", "text/xml"})
# Themes leave one or the other out.
_K2_MARK = (
    "//*[@id='k2Container' or starts-with(@class, 'itemListView') or "
    + " or ".join(f"contains(@class, '{kind}View')" for kind in LIST_KINDS)
    + "]"
)


def alternates_of(root: Any, *, base: str, url: str) -> tuple[FeedLink, ...]:
    """Feeds of a page, in its order; feeds of comments last; of K2 its machine forms after them.

    Args:
        base: what links on the page are relative to.
        url: of the page; empty if it is not known.
    """
    named = [
        FeedLink(url=found, title=(link.get("title") or "").strip())
        for link in root.xpath("//link[@rel and @href]")
        if _is_feed(link) and (found := web_url(base, link.get("href")))
    ]
    named.sort(key=lambda link: "comment" in f"{link.title} {link.url}".lower())
    found_first: dict[str, FeedLink] = {}
    for feed in (*named, *(FeedLink(url=made) for made in _of_k2(root, url))):
        found_first.setdefault(feed.url, feed)
    return tuple(found_first.values())


def _is_feed(link: Any) -> bool:
    relations = link.get("rel").lower().split()
    kind = (link.get("type") or "").partition(";")[0].strip().lower()
    if "alternate" not in relations and "feed" not in relations:
        return False
    if kind in _FEED_TYPES:
        return True
    words = f"{link.get('title') or ''} {link.get('href')}".lower()
    return kind in _OTHER_TYPES and ("feed" in words or "rss" in words)


def _of_k2(root: Any, url: str) -> Iterator[str]:
    """Every K2 list can be had as JSON and as RSS."""
    if not url.startswith(("http://", "https://")) or not root.xpath(_K2_MARK):
        return
    parts = urlsplit(url)
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in ("start", "page", "format", "limitstart")
    ]
    for form in ("feed", "json"):
        made = urlencode([*query, ("format", form)], safe=":,")
        yield urlunsplit((parts.scheme, parts.netloc, parts.path, made, ""))


def hints_of_page(root: Any, *, base: str) -> Hints:
    """Its hub and topic (WebSub section 4: link elements of HTML pages)."""
    found: dict[str, str] = {}
    for link in root.xpath("//link[@rel and @href]"):
        for name in link.get("rel").lower().split():
            found.setdefault(name, web_url(base, link.get("href")))
    return Hints(hub=found.get("hub", ""), topic=found.get("self", ""))
