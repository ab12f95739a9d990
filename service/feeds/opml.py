"""OPML 2.0: the list of all our feeds, and lists of sources to import and export. Pure.

In a list of sources, the folders above a feed are its category, and attributes of our namespace are
its other settings, as JSON: `dateline:rules='["drop title ~ Sponsored"]'`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from lxml import etree

from service.articles import categories
from service.errors import InvalidInput
from service.feeds.page import Page

MAX_DEPTH = 8
# Namespace of the attributes that state the settings of a source.
SETTINGS = "urn:dateline:source"
MAX_OUTLINES = 100_000
# An outline of these types has a URL, too, which is not that of a feed.
_OTHER_TYPES = frozenset({"include", "html"})
_BARE_AMPERSAND = re.compile(rb"&(?!#?\w{1,40};)")
# The specification has HTML in the names of outlines, and readers show them as text: so these are
# written with characters that are the same in both.
_NO_MARKUP = str.maketrans("<>", "‹›")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLink:
    """A feed that a document names: in a list of feeds (an outline of OPML), or as its own."""

    url: str
    title: str = ""
    category: str = ""
    """Titles of its folders, outermost first, joined by `/`; empty if it is in no folder."""
    settings: dict[str, Any] = field(default_factory=dict, hash=False)
    """Settings of a source by the names of the API: attributes in the namespace SETTINGS."""


def render(
    titles: Mapping[str, str],
    *,
    views: Mapping[str, str],
    site_title: str,
    base_url: str,
) -> bytes:
    """List the live feeds of `all`, of each category (nested as the categories are) and of views.

    A category with others below it is a folder, whose first feed is its own: readers do not look
    for feeds inside of a feed.

    Args:
        titles: category path → title.
        views: path of the view → title.
    """
    root = etree.Element("opml", version="2.0")
    head = etree.SubElement(root, "head")
    etree.SubElement(head, "title").text = f"Feeds of {site_title}".translate(_NO_MARKUP)
    body = etree.SubElement(root, "body")
    folders = {"": body}
    parents = {path.rpartition("/")[0] for path in titles}
    _outline(body, Page(categories.ALL), site_title.translate(_NO_MARKUP), base_url)
    for path in sorted(titles):
        parent = folders.get(path.rpartition("/")[0], body)
        title = categories.title_path(path, titles).rsplit("/", 1)[-1].translate(_NO_MARKUP)
        if path in parents:
            parent = folders[path] = _subfolder(parent, title)
        _outline(parent, Page(path), title, base_url)
    if views:
        folder = _subfolder(body, "Views")
        for path, title in sorted(views.items()):
            _outline(folder, Page(path), title.translate(_NO_MARKUP), base_url)
    opml: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return opml


def _subfolder(parent: etree._Element, title: str) -> etree._Element:
    # A title needs a type in some validators, and folders have none.
    return etree.SubElement(parent, "outline", text=title)


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
    """The feeds of an OPML document, in its order. Raises InvalidInput if it is not OPML.

    A document that is not well-formed is repaired: many programs write URLs with bare ampersands.
    """
    try:
        root = etree.fromstring(body, _parser())
    except (etree.XMLSyntaxError, ValueError) as exc:
        root = _repaired(body)
        if root is None or not _is_opml(root):
            raise InvalidInput("body", body[:60], f"is not OPML: {exc}") from exc
    if not _is_opml(root):
        raise InvalidInput("body", body[:60], "is XML, but not OPML")
    return outlines(root)


def _parser(*, recover: bool = False) -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=recover
    )


def _repaired(body: bytes) -> Any:
    try:
        return etree.fromstring(_BARE_AMPERSAND.sub(b"&amp;", body.strip()), _parser(recover=True))
    except (etree.XMLSyntaxError, ValueError):
        return None


def _is_opml(root: Any) -> bool:
    # A root that was recovered may have a prefix in its name, for which `etree.QName` raises.
    return str(root.tag).rpartition("}")[2].rpartition(":")[2].lower() == "opml"


def outlines(root: Any) -> list[FeedLink]:
    """The first MAX_OUTLINES feeds of an <opml> element; empty if it has no body."""
    body = root.find("{*}body")
    feeds = _feeds(body, ()) if body is not None else iter(())
    return [outline for _, outline in zip(range(MAX_OUTLINES), feeds, strict=False)]


def _feeds(parent: Any, above: tuple[str, ...]) -> Iterator[FeedLink]:
    for outline in parent.iterfind("{*}outline"):
        title = (_attribute(outline, "title", "text") or "").replace("/", " ").strip()
        url = _attribute(outline, "xmlurl", "url").strip()
        if url and _attribute(outline, "type").lower() not in _OTHER_TYPES:
            yield from _links(url, title, "/".join(above), outline)
        if len(outline):
            # Categories are not as deep: the folders below are in the last one that is.
            inside = (*above, title) if title and len(above) < MAX_DEPTH else above
            yield from _feeds(outline, inside)


def _links(url: str, title: str, folder: str, outline: Any) -> Iterator[FeedLink]:
    """The feed in its folder; outside of folders in the categories that it names (OPML 2.0)."""
    named = _attribute(outline, "category").split(",") if not folder else []
    categories = [each.strip().strip("/") for each in named if each.strip(" /")] or [folder]
    for category in categories:
        yield FeedLink(url=url, title=title, category=category, settings=_settings(outline))


def _settings(outline: Any) -> dict[str, Any]:
    prefix = f"{{{SETTINGS}}}"
    return {
        str(name).removeprefix(prefix): _value(text)
        for name, text in outline.attrib.items()
        if name.startswith(prefix)
    }


def _value(text: str) -> Any:
    """The value in an attribute: JSON, or else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _written(value: Any) -> str:
    """The inverse of `_value`."""
    if isinstance(value, str) and _value(value) == value:
        return value
    return orjson.dumps(value).decode()


def _attribute(outline: Any, *names: str) -> str:
    """The first of these attributes that is not empty, however its letters are written: xmlUrl,
    xmlurl, XMLURL."""
    values = {name.lower(): value for name, value in outline.attrib.items()}
    return next((values[name] for name in names if values.get(name)), "")


def write(feeds: Sequence[FeedLink], *, title: str, has_settings: bool = False) -> bytes:
    """Write a list of feeds, in folders by category; `read` returns the same feeds.

    Args:
        has_settings: whether outlines with settings are added to the document later.
    """
    # Others' validators do not know our namespace.
    has_settings = has_settings or any(feed.settings for feed in feeds)
    root = etree.Element("opml", {"version": "2.0"}, {"dateline": SETTINGS} if has_settings else {})
    etree.SubElement(etree.SubElement(root, "head"), "title").text = title
    folders = {"": etree.SubElement(root, "body")}
    if not feeds:
        # A body without an outline is not valid.
        etree.SubElement(folders[""], "outline", text="No feeds", isComment="true")
    for feed in sorted(feeds, key=lambda feed: feed.category):
        parent = _folder(folders, feed.category)
        name = feed.title or feed.url
        settings = {f"{{{SETTINGS}}}{key}": _written(v) for key, v in feed.settings.items()}
        named = {"type": "rss", "text": name, "title": name, "xmlUrl": feed.url}
        etree.SubElement(parent, "outline", {**named, **settings})
    opml: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return opml


def write_in_parts(feeds: Sequence[FeedLink], *, title: str) -> tuple[bytes, bytes, bytes]:
    """What stands before the outlines of a list of feeds, these, and what stands behind them: with
    the outlines of other lists between, it is one document."""
    document = write(feeds, title=title, has_settings=True)
    # In texts both are escaped.
    document = document.replace(b"<body/>", b"<body></body>")
    head, _, rest = document.partition(b"<body>")
    body, _, end = rest.rpartition(b"</body>")
    return head + b"<body>", body, b"</body>" + end


def _folder(folders: dict[str, etree._Element], path: str) -> etree._Element:
    if path not in folders:
        above, _, title = path.rpartition("/")
        parent = _folder(folders, above)
        folders[path] = _subfolder(parent, title)
    return folders[path]
