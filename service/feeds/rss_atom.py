"""RSS 2.0 and Atom 1.0 by feedgen, with its faults corrected through its extension hooks. Pure.

Faults of feedgen 1.0.0 that this module works around, and how:

    Atom entry links lose rel and type (python-feedgen #135, #143): rewritten by EntryLinks.
    RSS writes rel=self only (#122): FeedLinks adds the others.
    RSS <link> is the last link() of any rel: the page for people is set last.
    RSS leaves out names without e-mail: dc:creator is written, and no <author>.
    updated and lastBuildDate default to now: they are always set.
    add_entry prepends: fragments are made one at a time, and joined in our order.
    fh:archive, tombstones and xml-stylesheet are missing: they are added here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from html import escape
from html.entities import name2codepoint
from typing import Any

from feedgen.entry import FeedEntry
from feedgen.ext.base import BaseEntryExtension, BaseExtension
from feedgen.feed import FeedGenerator
from lxml import etree

from service.articles import categories
from service.articles.article import Article, Enclosure
from service.articles.text import line
from service.feeds import head
from service.feeds.head import Feed, Tombstone
from service.feeds.podcast_rss import PodcastChannel, PodcastItem, namespaces
from service.feeds.show import is_heard

MEDIA_TYPES = {"rss": "application/rss+xml", "atom": "application/atom+xml"}
_ATOM = "http://www.w3.org/2005/Atom"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_DC = "http://purl.org/dc/elements/1.1/"
_MEDIA = "http://search.yahoo.com/mrss/"
_HISTORY = "http://purl.org/syndication/history/1.0"
_TOMBSTONES = "http://purl.org/atompub/tombstones/1.0"
# Namespaces that the roots of feedgen's documents declare, in its order; the elements of its Atom
# tree have no namespace.
_NAMESPACES = {
    "rss": {
        "dc": _DC,
        "media": _MEDIA,
        **namespaces(has_more=True),
        "atom": _ATOM,
        "content": "http://purl.org/rss/1.0/modules/content/",
    },
    "atom": {"dc": _DC, "media": _MEDIA},
}
# The same declarations as lxml writes them on an element that is serialized alone.
_DECLARED = {
    extension: "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in namespaces.items()).encode()
    for extension, namespaces in _NAMESPACES.items()
}
# Elements of RSS whose text is plain, and the first description, which is the channel's.
_NAMES = re.compile(
    rb"<(?:title|category|dc:creator|itunes:author|itunes:name|podcast:person)(?:\s[^<>]*)?>[^<]*"
)
_DESCRIPTION = re.compile(rb"<description>[^<]*")
# What validators and readers take for HTML in a text that does not say what it is.
_END_TAG = re.compile(r"</\w+>")
_REFERENCE = re.compile(r"&(#?\w+)")
_STYLE = f'<?xml-stylesheet type="text/css" href="{head.STYLE_PATH}"?>\n'.encode()
# The RSS Advisory Board's profile asks for the specification's address.
_RSS_DOCS = "https://www.rssboard.org/rss-specification"


class FeedLinks(BaseExtension):  # type: ignore[misc]  # feedgen has no types
    """Links of a feed that feedgen cannot write, and the mark of an archive document."""

    links: tuple[dict[str, str], ...] = ()
    """For RSS: attributes of the links besides self."""
    history: tuple[dict[str, str], ...] = ()
    """For both formats: hub and archive links (WebSub 4, RFC 5005 4)."""
    is_archive: bool = False

    def extend_ns(self) -> dict[str, str]:
        """Namespace prefixes declared at the feed's root, which the fragments use."""
        namespaces = {"dc": _DC, "media": _MEDIA}
        return {**namespaces, "fh": _HISTORY} if self.is_archive else namespaces

    def extend_rss(self, feed: Any) -> Any:
        """Add atom:link elements after the channel's own fields."""
        for link in (*self.links, *self.history):
            etree.SubElement(feed[0], f"{{{_ATOM}}}link", link)
        return self._extend(feed, feed[0])

    def extend_atom(self, feed: Any) -> Any:
        """Add links, without a namespace, because feedgen's tree has none in memory."""
        for link in self.history:
            etree.SubElement(feed, "link", link)
        _state_types(feed, "title", "subtitle")
        return self._extend(feed, feed)

    def _extend(self, feed: Any, parent: Any) -> Any:
        if self.is_archive:
            etree.SubElement(parent, f"{{{_HISTORY}}}archive")
        return feed


class EntryLinks(BaseEntryExtension):  # type: ignore[misc]  # feedgen has no types
    """Links, names, language and media of an entry, which feedgen writes wrong or not at all."""

    links: tuple[dict[str, str], ...] = ()
    creators: tuple[str, ...] = ()
    language: str = ""
    image: str = ""
    files: tuple[Enclosure, ...] = ()
    """For RSS: the enclosures after the first, because an item can have only one."""

    def extend_atom(self, entry: Any) -> Any:
        """Replace feedgen's links, without a namespace, because its tree has none in memory."""
        for link in entry.findall("link"):
            entry.remove(link)
        for link in self.links:
            etree.SubElement(entry, "link", link)
        if self.language:
            entry.set(_LANG, self.language)
        _state_types(entry, "title", "summary")
        return self._extend(entry)

    def extend_rss(self, entry: Any) -> Any:
        """Add dc:creator, dc:language and media:content elements to the item."""
        for name in self.creators:
            etree.SubElement(entry, f"{{{_DC}}}creator").text = name
        if self.language:
            etree.SubElement(entry, f"{{{_DC}}}language").text = self.language
        for file in self.files:
            size = {"fileSize": str(file.length)} if file.length else {}
            etree.SubElement(
                entry, f"{{{_MEDIA}}}content", {"url": file.url, "type": file.type, **size}
            )
        return self._extend(entry)

    def _extend(self, entry: Any) -> Any:
        if self.image:
            etree.SubElement(entry, f"{{{_MEDIA}}}thumbnail", url=self.image)
        return entry


def _state_types(parent: Any, *names: str) -> None:
    """State the type of the plain texts in these elements that look like HTML: `&#1;`, `</b>`.

    As HTML they are shown by readers that take every text for HTML, too. One that would be changed
    by readers that resolve references twice, as ours does, is declared to be text.
    """
    for name in names:
        element = parent.find(name)
        text = "" if element is None else element.text or ""
        if _looks_like_html(text):
            markup = escape(text, quote=False)
            is_safe = line(markup) == text
            element.text = markup if is_safe else text
            element.set("type", "html" if is_safe else "text")


def _looks_like_html(text: str) -> bool:
    names = _REFERENCE.findall(text) if "&" in text else ()
    is_reference = any(name in name2codepoint or not name.isalpha() for name in names)
    return is_reference or ("</" in text and bool(_END_TAG.search(text)))


@dataclass(frozen=True, slots=True)
class Shell:
    """A feed without its entries and its date: the bytes that do not change with its articles."""

    before_date: bytes
    after_date: bytes
    tail: bytes

    def around(self, fragments: Sequence[bytes], *, updated: datetime, extension: str) -> bytes:
        """The bytes of the feed, equal to those that feedgen would write for all of it."""
        date = _dated(updated, extension)
        return b"".join([self.before_date, date, self.after_date, *fragments, self.tail])


def shell(feed: Feed, *, extension: str) -> Shell:
    """Render the shell of an `rss` or `atom` feed; it can be reused with other dates."""
    document = _document(_generator(feed, extension), extension)
    before, after = document.split(_dated(feed.updated, extension), 1)
    end = after.rindex(b"</channel>" if extension == "rss" else b"</feed>")
    return Shell(before, after[:end], after[end:])


def _dated(moment: datetime, extension: str) -> bytes:
    """Return the element with the feed's date; as it is markup, no title can equal it."""
    if extension == "rss":
        return b"<lastBuildDate>%b</lastBuildDate>" % format_datetime(moment).encode()
    return b"<updated>%b</updated>" % moment.isoformat().encode()


def fragment(
    article: Article, *, extension: str, base_url: str, titles: Mapping[str, str]
) -> bytes:
    """Render the `<item>` or `<entry>` of an article, to be joined with a shell.

    feedgen builds the element, which is serialized alone. The namespace declarations that this adds
    are removed, because the root of the feed has them.
    """
    entry = FeedEntry()
    entry.register_extension("links", EntryLinks)
    entry.register_extension("podcast", PodcastItem, atom=False)
    _fill(entry, article, extension, base_url=base_url, titles=titles)
    root = etree.Element("x", nsmap=_NAMESPACES[extension])
    root.append(entry.rss_entry() if extension == "rss" else entry.atom_entry())
    element: bytes = etree.tostring(root[0], encoding="UTF-8", xml_declaration=False)
    if extension == "rss":
        element = _NAMES.sub(_plain, element)
    return element.replace(_DECLARED[extension], b"", 1)


def join(feed: Feed, fragments: Sequence[bytes], cached: Shell | None, *, extension: str) -> bytes:
    """Join fragments with the cached shell, or a new one; Atom also gets tombstones at the end."""
    if extension == "atom":
        fragments = [*fragments, *map(tombstone, feed.deleted)]
    outer = cached or shell(feed, extension=extension)
    return outer.around(fragments, updated=feed.updated, extension=extension)


def tombstone(deleted: Tombstone) -> bytes:
    """Render an `<at:deleted-entry>` element, with its namespace declaration (RFC 6721 3)."""
    element = etree.Element(
        f"{{{_TOMBSTONES}}}deleted-entry",
        {"ref": deleted.id, "when": deleted.when.isoformat()},
        nsmap={"at": _TOMBSTONES},
    )
    xml: bytes = etree.tostring(element)
    return xml


def _generator(feed: Feed, extension: str) -> FeedGenerator:
    generator = FeedGenerator()
    generator.register_extension("links", FeedLinks, EntryLinks)
    generator.register_extension("podcast", PodcastChannel, PodcastItem, atom=False)
    generator.podcast.feed = feed
    generator.id(feed.id)
    generator.title(feed.title)
    generator.description(feed.description)
    generator.author(name=feed.site_title, uri=feed.base_url)
    generator.generator(head.GENERATOR)
    generator.docs(_RSS_DOCS)
    generator.ttl(head.TTL_MIN)
    generator.updated(feed.updated)
    generator.lastBuildDate(feed.updated)
    generator.language(feed.language)
    icon_url = feed.base_url + head.ICON_PATH
    if extension == "rss":
        generator.image(url=icon_url, title=feed.title, link=feed.html_url)
    else:
        generator.icon(icon_url)
        generator.logo(icon_url)
    page = {"href": feed.html_url, "rel": "alternate", "type": "text/html"}
    media_type = MEDIA_TYPES[extension]
    generator.link(href=feed.url(extension), rel="self", type=media_type)
    generator.link(page)
    generator.links.links = (page,)
    history = feed.history_urls(extension)
    generator.links.history = (
        *({"href": url, "rel": "hub"} for url in feed.hub_urls),
        *({"href": url, "rel": rel, "type": media_type} for rel, url in history.items()),
    )
    generator.links.is_archive = feed.archive_links.is_archive
    return generator


def _fill(
    entry: FeedEntry,
    article: Article,
    extension: str,
    *,
    base_url: str,
    titles: Mapping[str, str],
) -> None:
    """Set the fields that this format has, with one call of feedgen for each kind of field."""
    url = head.entry_url(article, base_url)
    entry.id(head.entry_id(article))  # also the guid of RSS, which is then not a permalink
    entry.title(article.title)
    entry.published(article.published)
    if article.content_html:
        entry.content(article.content_html, type="html")
    if extension == "atom" and not article.content_html:
        entry.summary(head.short_text(article))
    elif article.summary:
        # Readers take a description of RSS for HTML, and a summary of Atom, which has a type, not.
        is_html = extension == "rss"
        entry.description(escape(article.summary) if is_html else article.summary, isSummary=True)
    labels = [categories.title_path(path, titles) for path in article.categories]
    # Atom has a label for display beside the term; RSS's category is the path itself (RSS 2.0,
    # "a forward-slash-separated string that identifies a hierarchic location").
    terms = [
        {"term": label, "label": label if extension == "rss" else label.rsplit("/", 1)[-1]}
        for label in labels
    ]
    if terms or article.tags:
        entry.category([*terms, *({"term": tag} for tag in article.tags)])
    entry.link(href=url)
    if extension == "rss":
        # Stable: what can be heard comes first, because players play the first file.
        files = sorted(article.enclosures, key=lambda file: not is_heard(file.type))
        for enclosure in files[:1]:
            entry.enclosure(enclosure.url, str(enclosure.length), enclosure.type)
        entry.links.creators = article.authors
        entry.links.files = tuple(files[1:])
        entry.podcast.podcast = article.podcast
    else:
        entry.updated(head.updated(article))
        if article.authors:
            entry.author([{"name": name} for name in article.authors])
        entry.links.links = (
            {"href": url, "rel": "alternate", "type": "text/html"},
            *(
                {"href": e.url, "rel": "enclosure", "type": e.type, "length": str(e.length)}
                for e in article.enclosures
            ),
        )
    entry.links.language = article.language
    entry.links.image = article.image


def _document(generator: FeedGenerator, extension: str) -> bytes:
    document: bytes = generator.rss_str() if extension == "rss" else generator.atom_str()
    declaration, _, root = document.partition(b"\n")
    if extension == "rss":
        root = _NAMES.sub(_plain, _DESCRIPTION.sub(_plain, root, count=1))
    return declaration + b"\n" + _STYLE + root


def _plain(match: re.Match[bytes]) -> bytes:
    """Plain text so that readers do not take it for HTML (RSS Advisory Board's profile, character
    data): with hexadecimal references."""
    text = match.group()
    if b"&" not in text:
        return text
    return text.replace(b"&amp;", b"&#x26;").replace(b"&lt;", b"&#x3C;")
