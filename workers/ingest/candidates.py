"""Discover: where the feed of a site may be. Pure.

Somebody adds the address of a site; its feed is what the page names (link rel=alternate, or K2's
machine forms of a list), else where feeds usually are.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from workers.ingest.parse import FeedLink

MAX_CANDIDATES = 12
# WordPress, Jekyll and Hugo, Ghost, Blogger, K2 and Joomla, the rest.
_USUAL_PATHS = (
    "feed", "/feed", "/feed.xml", "/rss.xml", "/atom.xml", "/index.xml", "/rss", "/feed.json",
    "/feeds/posts/default", "?format=feed",
)  # fmt: skip


def candidates(page_url: str, alternates: Sequence[FeedLink]) -> list[str]:
    """URLs to try in this order; those of the page's own naming first."""
    named = [link.url for link in alternates if link.url.startswith(("http://", "https://"))]
    base = page_url.partition("?")[0]
    directory = base if base.endswith("/") else f"{base}/"
    usual = [
        base + path if path.startswith("?") else urljoin(directory, path) for path in _USUAL_PATHS
    ]
    host = urlsplit(page_url).netloc
    found = [url for url in dict.fromkeys([*named, *usual]) if url != page_url]
    return [url for url in found if host or url in named][:MAX_CANDIDATES]
