"""Discover: where the feed of a site may be. Pure.

Users add the address of a site. Its feed is the one that the page names (link rel=alternate, or
K2's feed and JSON of a list), else it is looked for under the paths that feeds usually have.
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
    """URLs to try in this order, at most MAX_CANDIDATES; those that the page names come first."""
    named = [link.url for link in alternates if link.url.startswith(("http://", "https://"))]
    base = page_url.partition("?")[0]
    directory = base if base.endswith("/") else f"{base}/"
    usual = [
        base + path if path.startswith("?") else urljoin(directory, path) for path in _USUAL_PATHS
    ]
    host = urlsplit(page_url).netloc
    urls = [url for url in dict.fromkeys([*named, *usual]) if url != page_url]
    return [url for url in urls if host or url in named][:MAX_CANDIDATES]
