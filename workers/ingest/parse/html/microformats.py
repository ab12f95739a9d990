"""Microformats: entries that a page marks with classes, as h-feed and h-entry or as hAtom. Pure.

Source: microformats.org/wiki/microformats2-parsing, as far as articles need it. A property belongs
to the nearest root around it; a page of one entry is the entry itself. Values are read by the
prefix of their property: p- text, u- address, dt- date, e- markup.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

from lxml import etree

from service.articles.article import Detail, Enclosure, Entry
from service.articles.text import Plain, plain_text, spaces, without_scripts
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, collected
from workers.ingest.parse.html.k2 import inner_html
from workers.ingest.parse.links import is_web, resolved, web_url

H_FEED = "h-feed"
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
    own = [entry for entry in entries if _is_own(entry, base, url)]
    is_single = len(own) == 1 and (not feeds or len(entries) == 1)
    if is_single and not (_has(own[0], ("h-entry",)) and _properties(own[0], "e-content")):
        # Themes have these classes on every page; what else an article's page says is more exact.
        return None
    document = collected(
        "html" if is_single else H_FEED,
        own if is_single else entries,
        lambda element: _entry(element, base, zone, own=url if is_single else ""),
        title=(_text(feeds[0], "p-name") if feeds else "") or _page_title(root),
        url=url,
        language=str(root.get("lang") or ""),
    )
    return document if document.entries else None


def _outermost(element: Any, names: tuple[str, ...]) -> list[Any]:
    """The elements of one of these classes that are not in another one."""
    return [
        each
        for each in element.iterdescendants(etree.Element)
        if _has(each, names) and not any(_has(above, names) for above in each.iterancestors())
    ]


def _has(element: Any, names: tuple[str, ...]) -> bool:
    classes = element.get("class")
    return classes is not None and not set(names).isdisjoint(classes.split())


def _is_own(entry: Any, base: str, url: str) -> bool:
    """Whether an entry is what its page is about: it names no other page as its own."""
    link = _url(entry, base)
    return not link or link.partition("#")[0] == url.partition("#")[0]


def _entry(element: Any, base: str, zone: tzinfo, *, own: str) -> Entry:
    """The entry of an element. Raises ValueError for one without an address, title and text."""
    link = own or _url(element, base)
    content = "\n".join(inner_html(each) for each in _properties(element, "e-content")[:1])
    summary = _text(element, "p-summary")
    title = _title(element, content or summary)
    if not link and not title and not content:
        raise ValueError("has no address, no title and no text")
    raw = _date(element, "dt-published") or _date(element, "dt-updated")
    image = next(iter(_addresses(element, "u-photo", "u-featured")), "")
    files = _addresses(element, "u-audio", "u-video", "u-enclosure")
    return Entry(
        guid=_uid(element, base) or link,
        url=link,
        title=Plain(title),
        summary=Plain(summary),
        content_html=content,
        authors=tuple(map(Plain, _authors(element))),
        categories=tuple(map(Plain, _categories(element))),
        image=web_url(base, image),
        enclosures=tuple(Enclosure(url=resolved(base, file), type="") for file in files),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(_date(element, "dt-updated"), zone=zone),
        base_url=base,
        detail=Detail.PAGE if own else Detail.FEED if content else Detail.TEASER,
    )


def _properties(element: Any, name: str) -> list[Any]:
    """The elements of a property, of this root and not of one inside of it."""
    older = _OLDER.get(name, name) if _has(element, ("hentry",)) else name
    names = (name, older)
    return [each for each in _own_descendants(element) if _has(each, names)]


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


def _text(element: Any, name: str) -> str:
    return next(filter(None, map(_words, _properties(element, name))), "")


def _title(element: Any, text: str) -> str:
    """The name; empty for a note, whose name is only its text once more."""
    title = _text(element, "p-name")
    words = spaces(plain_text(without_scripts(text)))
    return "" if title and words.startswith(title.rstrip("…. ")) and len(title) > 40 else title


def _addresses(element: Any, *names: str) -> list[str]:
    values = []
    for each in (each for name in names for each in _properties(element, name)):
        inside = [each, *each.iter("a", "img", "audio", "video", "source")]
        known = (part.get(name) for part in inside for name in ("href", "src", "data", "poster"))
        value = next(filter(None, known), "") or _words(each)
        values += [value] if value else []
    return values


def _url(element: Any, base: str) -> str:
    """The address of an entry: u-url, a bookmark, or the only link in its name."""
    links = _addresses(element, "u-url")
    links += [
        each.get("href")
        for each in _own_descendants(element)
        if each.tag == "a" and "bookmark" in (each.get("rel") or "").split()
    ]
    for name in _properties(element, "p-name"):
        links += [each.get("href") for each in [name, *name.iter("a")] if each.get("href")]
    targets = (web_url(base, link) for link in links if link)
    return next(filter(None, targets), "")


def _uid(element: Any, base: str) -> str:
    uid = next(iter(_addresses(element, "u-uid")), "")
    target = resolved(base, uid)
    return target if is_web(target) else uid


def _date(element: Any, name: str) -> str:
    """A date for machines, else its text; parts in value-title and value are joined."""
    for each in _properties(element, name):
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


def _authors(element: Any) -> list[str]:
    """Names of authors; of a card the name in it."""
    authors = []
    for each in _properties(element, "p-author"):
        names = [part for part in each.iterdescendants() if _has(part, ("p-name", "fn"))]
        authors.append(next(filter(None, map(_words, names)), "") or _words(each))
    return [name for name in dict.fromkeys(authors) if name]


def _categories(element: Any) -> list[str]:
    tags = _properties(element, "p-category")
    tags += [
        each
        for each in _own_descendants(element)
        if each.tag == "a" and {"tag", "category"} & set((each.get("rel") or "").split())
    ]
    return [name for name in dict.fromkeys(map(_words, tags)) if name]


def _page_title(root: Any) -> str:
    return next((_words(title) for title in root.iter("title")), "")
