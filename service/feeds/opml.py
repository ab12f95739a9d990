"""OPML 2.0: the list of all feeds, for a reader's import."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate

from lxml import etree

from service import categories
from service.pages import Page


def render(titles: Mapping[str, str], *, site_title: str, base_url: str, changed_ms: int) -> bytes:
    """The live feeds of everything and of each category, nested as the categories are.

    Args:
        titles: category path → title.
        changed_ms: when anything in these feeds changed last.
    """
    root = etree.Element("opml", version="2.0")
    head = etree.SubElement(root, "head")
    etree.SubElement(head, "title").text = f"Feeds of {site_title}"
    etree.SubElement(head, "dateModified").text = formatdate(changed_ms // 1000, usegmt=True)
    etree.SubElement(head, "docs").text = "https://opml.org/spec2.opml"
    body = etree.SubElement(root, "body")
    outlines = {"": body}
    _outline(body, Page(categories.ALL), site_title, base_url)
    for path in sorted(titles):
        parent = outlines.get(path.rpartition("/")[0], body)
        title = categories.title_path(path, titles).rsplit("/", 1)[-1]
        outlines[path] = _outline(parent, Page(path), title, base_url)
    made: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return made


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
