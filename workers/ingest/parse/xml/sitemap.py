"""Sitemaps with the news extension (sitemaps.org; Google's sitemap-news 0.9). Pure.

A sitemap lists pages; a page becomes an article, without text, if it has the news extension.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from service.articles.article import Detail, Entry
from service.errors import ParseFailed
from service.feeds.opml import FeedLink
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, Reject, bounded
from workers.ingest.parse.links import resolved
from workers.ingest.parse.xml.fields import inner_text

MAX_NAMED = 3


def parse_sitemap(root: Any, url: str, zone: tzinfo) -> Document:
    """The pages with the news extension. Raises ParseFailed if there are none."""
    pages = root.findall("{*}url")
    pairs = [(page, page.find("{*}news")) for page in pages]
    entries = [_entry(page, news, url, zone) for page, news in pairs if news is not None]
    if not entries:
        raise ParseFailed(f"a sitemap of {len(pages)} pages, of which none is news (news:news)")
    others = len(pages) - len(entries)
    rejects = [Reject(where="others", reason=f"{others} pages without news:news")] if others else []
    bounded_entries, bounded_rejects = bounded(entries, rejects)
    return Document(kind="sitemap", url=url, entries=bounded_entries, rejects=bounded_rejects)


def parse_sitemap_index(root: Any, url: str, zone: tzinfo) -> Document:
    """A document without entries, whose alternates are the news sitemaps of an index.

    Raises:
        ParseFailed: the index names none.
    """
    del zone
    named = [resolved(url, _child(sitemap, "loc")) for sitemap in root.findall("{*}sitemap")]
    news = tuple(FeedLink(url=link) for link in named if "news" in link.lower())
    if not news:
        shown = ", ".join(named[:MAX_NAMED])
        raise ParseFailed(f"an index of {len(named)} sitemaps, none of news, first {shown}")
    return Document(kind="sitemap", url=url, alternates=news)


def _entry(page: Any, news: Any, url: str, zone: tzinfo) -> Entry:
    location = resolved(url, _child(page, "loc"))
    raw = _child(news, "publication_date")
    image = page.find("{*}image")
    keywords = _child(news, "keywords").split(",")
    return Entry(
        guid=location,
        url=location,
        title=_child(news, "title"),
        tags=tuple(filter(None, (keyword.strip() for keyword in keywords))),
        language=_child(news.find("{*}publication"), "language"),
        image=_child(image, "loc"),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        base_url=location,
        detail=Detail.TEASER,
    )


def _child(element: Any, name: str) -> str:
    child = None if element is None else element.find(f"{{*}}{name}")
    return "" if child is None else inner_text(child)
