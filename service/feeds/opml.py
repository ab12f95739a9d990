"""OPML 2.0: the list of all our feeds, and lists of sources to import and export. Pure.

In a list of sources, the folders above a feed are its category.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from service.articles import categories
from service.errors import InvalidInput
from service.feeds.page import Page

MAX_DEPTH = 8
MAX_OUTLINES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLink:
    """A feed that a document names: in a list of feeds (an outline of OPML), or as its own."""

    url: str
    title: str = ""
    category: str = ""
    """Titles of its folders, outermost first, joined by `/`; empty if it is in no folder."""


def render(
    titles: Mapping[str, str],
    *,
    views: Mapping[str, str],
    site_title: str,
    base_url: str,
) -> bytes:
    """List the live feeds of `all`, of each category (nested as the categories are) and of views.

    Args:
        titles: category path → title.
        views: path of the view → title.
    """
    root = etree.Element("opml", version="2.0")
    head = etree.SubElement(root, "head")
    etree.SubElement(head, "title").text = f"Feeds of {site_title}"
    etree.SubElement(head, "docs").text = "https://opml.org/spec2.opml"
    body = etree.SubElement(root, "body")
    outlines = {"": body}
    _outline(body, Page(categories.ALL), site_title, base_url)
    for path in sorted(titles):
        parent = outlines.get(path.rpartition("/")[0], body)
        title = categories.title_path(path, titles).rsplit("/", 1)[-1]
        outlines[path] = _outline(parent, Page(path), title, base_url)
    if views:
        folder = etree.SubElement(body, "outline", text="Views", title="Views")
        for path, title in sorted(views.items()):
            _outline(folder, Page(path), title, base_url)
    opml: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return opml


def _outline(parent: etree._Element, page: Page, title: str, base_url: str) -> etree._Element:
    # `text` is what the specification requires, `title` what many readers show.
    return etree.SubElement(
        parent,
        "outline",
        type="rss",
        text=title,
        title=title,
        xmlUrl=base_url + page.feed_path("rss"),
        htmlUrl=base_url + page.news_path(),
    )


def read(body: bytes) -> list[FeedLink]:
    """The feeds of an OPML document, in its order. Raises InvalidInput if it is not OPML."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise InvalidInput("body", body[:60], f"is not OPML: {exc}") from exc
    if etree.QName(root).localname.lower() != "opml":
        raise InvalidInput("body", body[:60], "is XML, but not OPML")
    return outlines(root)


def outlines(root: Any) -> list[FeedLink]:
    """The first MAX_OUTLINES feeds of an <opml> element; empty if it has no body."""
    body = root.find("{*}body")
    feeds = _feeds(body, ()) if body is not None else iter(())
    return [outline for _, outline in zip(range(MAX_OUTLINES), feeds, strict=False)]


def _feeds(parent: Any, above: tuple[str, ...]) -> Iterator[FeedLink]:
    for outline in parent.iterfind("{*}outline"):
        title = (outline.get("title") or outline.get("text") or "").replace("/", " ").strip()
        url = (outline.get("xmlUrl") or "").strip()
        if url:
            yield FeedLink(url=url, title=title, category="/".join(above))
        if len(outline) and len(above) < MAX_DEPTH:
            yield from _feeds(outline, (*above, title) if title else above)


def write(feeds: Sequence[FeedLink], *, title: str) -> bytes:
    """Write a list of feeds, in folders by category; `read` returns the same feeds."""
    root = etree.Element("opml", version="2.0")
    etree.SubElement(etree.SubElement(root, "head"), "title").text = title
    folders = {"": etree.SubElement(root, "body")}
    for feed in sorted(feeds, key=lambda feed: feed.category):
        parent = _folder(folders, feed.category)
        name = feed.title or feed.url
        etree.SubElement(parent, "outline", type="rss", text=name, title=name, xmlUrl=feed.url)
    opml: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return opml


def _folder(folders: dict[str, etree._Element], path: str) -> etree._Element:
    if path not in folders:
        above, _, title = path.rpartition("/")
        parent = _folder(folders, above)
        folders[path] = etree.SubElement(parent, "outline", text=title, title=title)
    return folders[path]
