"""Sitemaps (sitemaps.org 0.9) and Google's news extension, and robots.txt (RFC 9309). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lxml import etree

from service.articles.article import Article
from service.articles.times import to_rfc3339
from service.feeds.page import Period

MAX_URLS = 50_000
"""The limit of the protocol for one document."""
MAX_NEWS = 1_000
_NS = "http://www.sitemaps.org/schemas/sitemap/0.9"
# The type stubs of lxml do not allow a default namespace.
_NSMAP: Any = {None: _NS}
_NEWS = "http://www.google.com/schemas/sitemap-news/0.9"


def index(entries: Iterable[tuple[str, str]]) -> bytes:
    """A sitemap index of (URL, RFC 3339 time of its last change; empty if unknown)."""
    root = etree.Element(f"{{{_NS}}}sitemapindex", nsmap=_NSMAP)
    for url, changed in entries:
        _add(root, "sitemap", url, changed)
    return _xml(root)


def urls(locations: Sequence[str]) -> bytes:
    """A sitemap of the first MAX_URLS of these, without dates: a wrong date is worse than none."""
    root = etree.Element(f"{{{_NS}}}urlset", nsmap=_NSMAP)
    for url in locations[:MAX_URLS]:
        _add(root, "url", url)
    return _xml(root)


def news(articles: Sequence[Article], *, site_title: str, language: str, base_url: str) -> bytes:
    """A news sitemap of the first MAX_NEWS articles.

    Args:
        language: for articles that state none.
    """
    root = etree.Element(f"{{{_NS}}}urlset", nsmap={**_NSMAP, "news": _NEWS})
    for article in articles[:MAX_NEWS]:
        url = _add(root, "url", f"{base_url}/articles/{article.id}")
        element = etree.SubElement(url, f"{{{_NEWS}}}news")
        publication = etree.SubElement(element, f"{{{_NEWS}}}publication")
        etree.SubElement(publication, f"{{{_NEWS}}}name").text = site_title
        # ISO 639, without a region.
        code = _news_language(article.language or language)
        etree.SubElement(publication, f"{{{_NEWS}}}language").text = code
        date = etree.SubElement(element, f"{{{_NEWS}}}publication_date")
        date.text = to_rfc3339(article.published)
        etree.SubElement(element, f"{{{_NEWS}}}title").text = article.title
    return _xml(root)


def robots(base_url: str) -> bytes:
    """The text of robots.txt: API, event stream, hub and private feeds are disallowed."""
    lines = [
        "User-agent: *", "Disallow: /api/", "Disallow: /events", "Disallow: /hub",
        "Disallow: /private/", "", f"Sitemap: {base_url}/sitemap.xml",
        f"Sitemap: {base_url}/news-sitemap.xml", "",
    ]  # fmt: skip
    return "\n".join(lines).encode()


def parts(months: Sequence[tuple[Period, int]], days: Sequence[Period]) -> list[Period]:
    """The periods with one sitemap each: months, or the days of a month that is too large.

    Args:
        months: (month, number of its articles).
        days: every day that ever had an article.
    """
    periods = []
    for month, count in months:
        if count <= MAX_URLS:
            periods.append(month)
        else:
            periods += [day for day in days if (day.year, day.month) == (month.year, month.month)]
    return periods


def _add(root: etree._Element, name: str, url: str, changed: str = "") -> etree._Element:
    element = etree.SubElement(root, f"{{{_NS}}}{name}")
    etree.SubElement(element, f"{{{_NS}}}loc").text = url
    if changed:
        etree.SubElement(element, f"{{{_NS}}}lastmod").text = changed
    return element


def _xml(root: etree._Element) -> bytes:
    document: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


def _news_language(tag: str) -> str:
    """The code of a language in a news sitemap: ISO 639, and two codes for Chinese (Google)."""
    subtags = tag.lower().split("-")
    if subtags[0] != "zh":
        return subtags[0]
    return "zh-tw" if {"tw", "hk", "mo", "hant"} & set(subtags) else "zh-cn"
