"""RSS 2.0 and Atom 1.0 by feedgen, its faults put right through its own extension hooks.

Faults of feedgen 1.0.0 that this module works round, each by the rule that it breaks:

    Atom entry links lose rel and type (python-feedgen #135, #143): rewritten by EntryLinks.
    RSS writes rel=self only (#122): FeedLinks adds alternate.
    RSS <link> is the last link() of any rel: the page for people is set last.
    names without e-mail vanish from RSS: dc:creator, and no <author>.
    updated and lastBuildDate default to now: always set.
    add_entry prepends: one entry at a time here, so order is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feedgen.ext.base import BaseEntryExtension, BaseExtension
from feedgen.feed import FeedGenerator
from lxml import etree

from service import categories
from service.articles import Article
from service.feeds import feed as feeds
from service.feeds.feed import MEDIA_TYPES, Feed

_ATOM = "http://www.w3.org/2005/Atom"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_DC = "http://purl.org/dc/elements/1.1/"
# The RSS Advisory Board's profile asks for the specification's address.
_RSS_DOCS = "https://www.rssboard.org/rss-specification"


class FeedLinks(BaseExtension):  # type: ignore[misc]  # feedgen has no types
    """Links of a feed besides self."""

    links: tuple[dict[str, str], ...] = ()

    def extend_ns(self) -> dict[str, str]:
        """Prefixes for the feed's root, where the fragments expect them."""
        return {"dc": _DC}

    def extend_rss(self, feed: Any) -> Any:
        """Add atom:link elements after the channel's own fields."""
        for link in self.links:
            etree.SubElement(feed[0], f"{{{_ATOM}}}link", link)
        return feed


class EntryLinks(BaseEntryExtension):  # type: ignore[misc]  # feedgen has no types
    """Links, names and language of an entry, as they should have been."""

    links: tuple[dict[str, str], ...] = ()
    creators: tuple[str, ...] = ()
    language: str = ""

    def extend_atom(self, entry: Any) -> Any:
        """Replace feedgen's links. Its tree has no namespace in memory, so neither have these."""
        for link in entry.findall("link"):
            entry.remove(link)
        for link in self.links:
            etree.SubElement(entry, "link", link)
        if self.language:
            entry.set(_LANG, self.language)
        return entry

    def extend_rss(self, entry: Any) -> Any:
        """Add names and language."""
        for name in self.creators:
            etree.SubElement(entry, f"{{{_DC}}}creator").text = name
        if self.language:
            etree.SubElement(entry, f"{{{_DC}}}language").text = self.language
        return entry


def shell(feed: Feed, extension: str) -> tuple[bytes, bytes]:
    """What stands before and after the entries of an `rss` or `atom` feed."""
    document = _document(_generator(feed, extension), extension)
    end = document.rindex(b"</channel>" if extension == "rss" else b"</feed>")
    return document[:end], document[end:]


def fragment(
    article: Article, extension: str, *, base_url: str, titles: Mapping[str, str]
) -> bytes:
    """The `<item>` or `<entry>` of an article, as it stands in a feed made by `shell`."""
    generator = FeedGenerator()
    generator.register_extension("links", FeedLinks, EntryLinks)
    generator.id("urn:x")
    generator.title("x")
    generator.description("x")
    generator.link(href="x")
    generator.updated(article.updated)
    add_entry(generator, article, base_url=base_url, titles=titles)
    document = _document(generator, extension)
    tag = b"item" if extension == "rss" else b"entry"
    # Text is escaped and CDATA is not used, so the tags stand only where they are markup.
    return document[document.index(b"<" + tag) : document.rindex(b"</%b>" % tag) + len(tag) + 3]


def whole(feed: Feed, articles: list[Article], extension: str) -> bytes:
    """The feed by feedgen alone; what `shell` and `fragment` are measured and tested against."""
    generator = _generator(feed, extension)
    for article in articles:
        add_entry(generator, article, base_url=feed.base_url, titles=feed.titles)
    return _document(generator, extension)


def _generator(feed: Feed, extension: str) -> FeedGenerator:
    generator = FeedGenerator()
    generator.register_extension("links", FeedLinks, EntryLinks)
    generator.id(feed.id)
    generator.title(feed.title)
    generator.description(feed.description)
    generator.author(name=feed.site_title, uri=feed.base_url)
    generator.generator(feeds.GENERATOR)
    generator.docs(_RSS_DOCS)
    generator.ttl(feeds.TTL_MIN)
    generator.updated(feed.updated)
    generator.lastBuildDate(feed.updated)
    generator.language(feed.language)
    page = {"href": feed.html_url, "rel": "alternate", "type": "text/html"}
    media_type = MEDIA_TYPES[extension]
    generator.link(href=feed.url(extension), rel="self", type=media_type)
    generator.link(page)
    generator.links.links = (page,)
    return generator


def add_entry(
    generator: FeedGenerator, article: Article, *, base_url: str, titles: Mapping[str, str]
) -> None:
    """Add an article at the end of a feedgen feed that has our extension."""
    entry = generator.add_entry(order="append")
    url = feeds.entry_url(article, base_url)
    entry.id(feeds.entry_id(article))
    entry.guid(feeds.entry_id(article), permalink=False)
    entry.title(article.title)
    entry.link(href=url)
    entry.published(article.published)
    entry.updated(article.updated)
    if article.content_html:
        entry.content(article.content_html, type="html")
    if article.summary:
        entry.description(article.summary, isSummary=True)
    for name in article.authors:
        entry.author(name=name)
    for path in article.categories:
        label = categories.title_path(path, titles)
        entry.category(term=label, label=label.rsplit("/", 1)[-1])
    for tag in article.tags:
        entry.category(term=tag)
    if article.enclosures:
        first = article.enclosures[0]
        entry.enclosure(first.url, str(first.length), first.type)
    entry.links.links = (
        {"href": url, "rel": "alternate", "type": "text/html"},
        *(
            {"href": e.url, "rel": "enclosure", "type": e.type, "length": str(e.length)}
            for e in article.enclosures
        ),
    )
    entry.links.creators = article.authors
    entry.links.language = article.language


def _document(generator: FeedGenerator, extension: str) -> bytes:
    made: bytes = generator.rss_str() if extension == "rss" else generator.atom_str()
    return made
