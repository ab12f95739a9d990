"""Microformats: entries that a page marks with classes, as h-feed and h-entry or as hAtom. Pure.

Source: microformats.org/wiki/microformats2-parsing, as far as articles need it. A property belongs
to the nearest root around it; a page of one entry is the entry itself. Values are read by the
prefix of their property: p- text, u- address, dt- date, e- markup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

from lxml import etree

from service.articles.article import Detail, Enclosure, Entry
from service.articles.text import Plain, plain_text, spaces, without_scripts
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import MAX_ENTRIES, Document, collected
from workers.ingest.parse.html.k2 import inner_html
from workers.ingest.parse.links import is_web, resolved, web_url

H_FEED = "h-feed"
MAX_VALUES = 50
_ENTRIES = ("h-entry", "hentry")
_FEEDS = ("h-feed", "hfeed")
# What hAtom calls them; `hentry` is followed by these alone.
_OLDER = {
    "p-name": "entry-title", "e-content": "entry-content", "p-summary": "entry-summary",
    "dt-published": "published", "dt-updated": "updated", "p-author": "author",
}  # fmt: skip


def parse_microformats(root: Any, *, base: str, url: str, zone: tzinfo) -> Document | None:
    """The entries of a page; None if it marks none.

    Args:
        base: URL that links on the page are relative to.
        url: its own URL.
    """
    feeds = _outermost(root, _FEEDS)
    entries = _outermost(feeds[0] if feeds else root, _ENTRIES)
    entries = entries[: MAX_ENTRIES + 1]
    own = [entry for entry in entries if _is_own(_Root(entry), base, url)]
    is_single = len(own) == 1 and (not feeds or len(entries) == 1)
    if is_single and not (_has(own[0], ("h-entry",)) and _Root(own[0]).properties("e-content")):
        # Themes have these classes on every page; what else an article's page says is more exact.
        return None
    document = collected(
        "html" if is_single else H_FEED,
        own if is_single else entries,
        lambda element: _entry(element, base, zone, own=url if is_single else ""),
        title=(_text(_Root(feeds[0]), "p-name") if feeds else "") or _page_title(root),
        url=url,
    )
    return document if document.entries else None


def _outermost(element: Any, names: tuple[str, ...]) -> list[Any]:
    """The elements of one of these classes that are not in another one."""
    # Most pages have none: what is found by its class is looked at more closely.
    similar = " or ".join(f"contains(@class, '{name}')" for name in names)
    return [
        each
        for each in element.xpath(f"descendant::*[{similar}]")
        if _has(each, names) and not any(_has(above, names) for above in each.iterancestors())
    ]


def _has(element: Any, names: tuple[str, ...]) -> bool:
    classes = element.get("class")
    return classes is not None and not set(names).isdisjoint(classes.split())


def _is_own(entry: _Root, base: str, url: str) -> bool:
    """Whether an entry is what its page is about: it names no other page as its own."""
    link = _url(entry, base)
    return not link or link.partition("#")[0] == url.partition("#")[0]


def _entry(element: Any, base: str, zone: tzinfo, *, own: str) -> Entry:
    """The entry of an element. Raises ValueError for one without an address, title and text."""
    root = _Root(element)
    link = own or _url(root, base)
    content = "\n".join(inner_html(each) for each in root.properties("e-content")[:1])
    summary = _text(root, "p-summary")
    title = _title(root, content or summary)
    if not link and not title and not content:
        raise ValueError("has no address, no title and no text")
    raw = _date(root, "dt-published") or _date(root, "dt-updated")
    image = next(iter(_addresses(root, "u-photo", "u-featured")), "")
    files = _addresses(root, "u-audio", "u-video", "u-enclosure")
    return Entry(
        guid=_uid(root, base) or link,
        url=link,
        title=Plain(title),
        summary=Plain(summary),
        content_html=content,
        authors=tuple(map(Plain, _authors(root))),
        categories=tuple(map(Plain, _categories(root))),
        image=web_url(base, image),
        enclosures=tuple(Enclosure(url=resolved(base, file), type="") for file in files),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(_date(root, "dt-updated"), zone=zone),
        base_url=base,
        detail=Detail.PAGE if own else Detail.FEED if content else Detail.TEASER,
    )


class _Root:
    """An entry, with the elements of its own by their classes, at most MAX_VALUES of each."""

    def __init__(self, element: Any) -> None:
        self._is_older = _has(element, ("hentry",))
        self._by_class: dict[str, list[Any]] = defaultdict(list)
        self.links: list[Any] = []
        """Its links with a relation."""
        for each in _own_descendants(element):
            if each.tag == "a" and each.get("rel") and len(self.links) < MAX_VALUES:
                self.links.append(each)
            for name in (each.get("class") or "").split():
                if len(self._by_class[name]) < MAX_VALUES:
                    self._by_class[name].append(each)

    def properties(self, *names: str) -> list[Any]:
        """The elements of properties, those of the first name first."""
        elements: list[Any] = []
        for name in names:
            elements += self._by_class.get(name, ())
            if self._is_older and name in _OLDER:
                elements += self._by_class.get(_OLDER[name], ())
        return elements


def _own_descendants(element: Any) -> Iterator[Any]:
    """The elements in a root, without what is in other roots there (a card of an author, a reply);
    their own elements are included, because they may be properties of this one."""
    for child in element:
        if not isinstance(child.tag, str):
            continue
        yield child
        if not any(name.startswith("h-") for name in (child.get("class") or "").split()):
            yield from _own_descendants(child)


def _words(element: Any) -> str:
    if element.tag in ("abbr", "data", "input", "time") and not element.text_content().strip():
        return spaces(element.get("title") or element.get("value") or "")
    if element.tag == "img":
        return spaces(element.get("alt") or "")
    return spaces(plain_text(without_scripts(inner_html(element))))


def _text(root: _Root, name: str) -> str:
    return next(filter(None, map(_words, root.properties(name))), "")


def _title(root: _Root, text: str) -> str:
    """The name; empty for a note, whose name is only its text once more."""
    title = _text(root, "p-name")
    words = spaces(plain_text(without_scripts(text)))
    return "" if title and words.startswith(title.rstrip("…. ")) and len(title) > 40 else title


def _addresses(root: _Root, *names: str) -> list[str]:
    values = []
    for each in root.properties(*names):
        inside = [each, *each.iter("a", "img", "audio", "video", "source")]
        known = (part.get(name) for part in inside for name in ("href", "src", "data", "poster"))
        value = next(filter(None, known), "") or _words(each)
        values += [value] if value else []
    return values


def _url(root: _Root, base: str) -> str:
    """The address of an entry: u-url, a bookmark, or the only link in its name."""
    links = _addresses(root, "u-url")
    links += [each.get("href") for each in root.links if "bookmark" in each.get("rel").split()]
    for name in root.properties("p-name"):
        links += [each.get("href") for each in [name, *name.iter("a")] if each.get("href")]
    targets = (web_url(base, link) for link in links if link)
    return next(filter(None, targets), "")


def _uid(root: _Root, base: str) -> str:
    uid = next(iter(_addresses(root, "u-uid")), "")
    target = resolved(base, uid)
    return target if is_web(target) else uid


def _date(root: _Root, name: str) -> str:
    """A date for machines, else its text; parts in value-title and value are joined."""
    for each in root.properties(name):
        inside = [each, *each.iter("time")]
        values = (part.get(key) for part in inside for key in ("datetime", "title", "value"))
        parts = [
            part.get("title") or part.get("datetime") or _words(part)
            for part in each.iterdescendants(etree.Element)
            if _has(part, ("value", "value-title"))
        ]
        text = spaces(next(filter(None, values), "") or " ".join(parts) or _words(each))
        if text:
            return text
    return ""


def _authors(root: _Root) -> list[str]:
    """Names of authors; of a card the name in it."""
    authors = []
    for each in root.properties("p-author"):
        names = [part for part in each.iterdescendants() if _has(part, ("p-name", "fn"))]
        authors.append(next(filter(None, map(_words, names)), "") or _words(each))
    return [name for name in dict.fromkeys(authors) if name]


def _categories(root: _Root) -> list[str]:
    tags = root.properties("p-category")
    tags += [each for each in root.links if {"tag", "category"} & set(each.get("rel").split())]
    return [name for name in dict.fromkeys(map(_words, tags)) if name]


def _page_title(root: Any) -> str:
    return next((_words(title) for title in root.iter("title")), "")
