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
# Other documents have these types, too: such a link must call itself a feed.
_OTHER_TYPES = frozenset({"application/json", "application/xml", "text/xml"})
# Themes omit one or the other of these.
_K2_MARK = (
    "//*[@id='k2Container' or starts-with(@class, 'itemListView') or "
    + " or ".join(f"contains(@class, '{kind}View')" for kind in LIST_KINDS)
    + "]"
)


def alternates_of(root: Any, *, base: str, url: str) -> tuple[FeedLink, ...]:
    """Feeds of a page in their order, feeds of comments last, then the feed and JSON of a K2 list.

    Args:
        base: URL that links on the page are relative to.
        url: URL of the page; empty if it is not known.
    """
    named = [
        FeedLink(url=target, title=(link.get("title") or "").strip())
        for link in root.xpath("//link[@rel and @href]")
        if _is_feed(link) and (target := web_url(base, link.get("href")))
    ]
    named.sort(key=lambda link: "comment" in f"{link.title} {link.url}".lower())
    feeds: dict[str, FeedLink] = {}
    for feed in (*named, *(FeedLink(url=k2_url) for k2_url in _of_k2(root, url))):
        feeds.setdefault(feed.url, feed)
    return tuple(feeds.values())


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
    """URLs of a K2 list as RSS and as JSON; none if the page is not K2's."""
    if not url.startswith(("http://", "https://")) or not root.xpath(_K2_MARK):
        return
    parts = urlsplit(url)
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in ("start", "page", "format", "limitstart")
    ]
    for name in ("feed", "json"):
        with_format = urlencode([*query, ("format", name)], safe=":,")
        yield urlunsplit((parts.scheme, parts.netloc, parts.path, with_format, ""))


def hints_of_page(root: Any, *, base: str) -> Hints:
    """The hub and topic of a page (WebSub section 4: link elements of HTML pages)."""
    links: dict[str, str] = {}
    for link in root.xpath("//link[@rel and @href]"):
        for name in link.get("rel").lower().split():
            links.setdefault(name, web_url(base, link.get("href")))
    return Hints(hub=links.get("hub", ""), topic=links.get("self", ""))
