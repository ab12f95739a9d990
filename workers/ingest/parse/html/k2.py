"""K2 for Joomla: list and item pages, by the class names of its templates. Pure.

Lists have items of one of a few kinds (`genericItemView` for dates and searches, `catItemView` for
categories, and so on); the page of one item is `itemView`. All name their elements alike: kind +
element, as in `catItemTitle`. Sites theme the markup, but keep the classes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import tzinfo
from html import escape
from typing import Any

from lxml import etree

from service.articles.article import Detail, Entry
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, Reject, bounded
from workers.ingest.parse.links import resolved
from workers.ingest.parse.text import FILTERED

LIST_KINDS = ("genericItem", "catItem", "tagItem", "userItem", "latestItem")
_ITEM = "item"
_WITH_CLASS = ".//*[contains(concat(' ', normalize-space(@class), ' '), $name)]"


def parse_k2(
    root: Any, *, base: str, url: str, facts: dict[str, Any], zone: tzinfo
) -> Document | None:
    """The items of a K2 page; None if it is not a K2 page.

    Args:
        facts: the article's fields in JSON-LD on the page.
    """
    items = _by_class(root, f"{_ITEM}View")
    if items:
        entry = _entry(items[0], _ITEM, base, url, _crumbs(root, _ITEM), zone)
        return _document("k2-item", root, url, [_exact(entry, facts, zone)], [])
    for kind in LIST_KINDS:
        items = _by_class(root, f"{kind}View")
        if items:
            return _list(root, items, kind, base, url, _crumbs(root, kind), zone)
    if _by_class(root, "genericView") or root.get_element_by_id(
        "genericItemListNothingFound", None
    ):
        return _document("k2-list", root, url, [], [])
    return None


def _list(
    root: Any, items: list[Any], kind: str, base: str, url: str, crumbs: list[str], zone: tzinfo
) -> Document:
    entries, rejects = [], []
    for number, item in enumerate(items, 1):
        entry = _entry(item, kind, base, "", crumbs, zone)
        if entry.url:
            entries.append(entry)
        else:
            rejects.append(Reject(where=f"item {number}", reason="has no link to its page"))
    return _document("k2-list", root, url, entries, rejects)


def _document(
    kind: str, root: Any, url: str, entries: list[Entry], rejects: list[Reject]
) -> Document:
    bounded_entries, bounded_rejects = bounded(entries, rejects)
    titles = root.xpath("//title/text()")
    return Document(
        kind=kind,
        url=url,
        title=" ".join(titles[0].split()) if titles else "",
        entries=bounded_entries,
        rejects=bounded_rejects,
    )


def _entry(item: Any, kind: str, base: str, url: str, crumbs: list[str], zone: tzinfo) -> Entry:
    title, link = _title(item, kind)
    url = url or resolved(base, link)
    shown = _words(item, f"{kind}DateCreated")
    modified = _words(item, f"{kind}DateModified").partition(" on ")[2]
    texts = [*_by_class(item, f"{kind}IntroText")[:1], *_by_class(item, f"{kind}FullText")[:1]]
    images = [image for block in _by_class(item, f"{kind}Image") for image in block.iter("img")]
    category = _link_words(item, f"{kind}Category")
    # The path of an item page may end with the item itself.
    above = crumbs[:-1] if kind == _ITEM and crumbs[-1:] == [title] else crumbs
    return Entry(
        guid=url,
        url=url,
        title=title,
        content_html="\n".join(inner_html(text) for text in texts),
        authors=tuple(filter(None, [_link_words(item, f"{kind}Author")])),
        categories=tuple(filter(None, [_path(above, category)])),
        tags=tuple(_words_of(a) for tags in _by_class(item, f"{kind}Tags") for a in tags.iter("a")),
        image=str(images[0].get("src") or "") if images else "",
        published=parse_date(shown, zone=zone),
        raw_published=shown,
        updated=parse_date(modified, zone=zone),
        base_url=base,
        detail=Detail.PAGE if kind == _ITEM else Detail.TEASER,
    )


def _exact(entry: Entry, facts: dict[str, Any], zone: tzinfo) -> Entry:
    """The entry with the dates of JSON-LD: the page shows minutes in the site's own zone."""
    dates = (facts.get("datePublished"), facts.get("dateModified"))
    published, updated = (
        parse_date(date, zone=zone) if isinstance(date, str) else None for date in dates
    )
    return replace(entry, published=published or entry.published, updated=updated or entry.updated)


def _title(item: Any, kind: str) -> tuple[str, str]:
    """(title, link), without the "Featured" that K2 adds to the title."""
    for heading in _by_class(item, f"{kind}Title"):
        for link in heading.iter("a"):
            return _words_of(link), str(link.get("href") or "")
        for featured in heading.xpath("./span/sup"):
            featured.drop_tree()
        return _words_of(heading), _read_more(item)
    return "", _read_more(item)


def _read_more(item: Any) -> str:
    links = [str(a.get("href") or "") for a in _by_class(item, "k2ReadMore")]
    return links[0] if links else ""


def _crumbs(root: Any, kind: str) -> list[str]:
    """The breadcrumb from below Home to above the list itself."""
    for trail in [*_by_class(root, "breadcrumb"), *_by_class(root, "breadcrumbs")]:
        steps = [
            step for step in trail.xpath(".//li") or trail.xpath("./a|./span") if _first_words(step)
        ]
        # Before Home there may be a "You are here:".
        home = next((index for index, step in enumerate(steps) if _is_home(step)), -1)
        steps = steps[home + 1 :]
        # The last step, without a link, is the title of the list itself: a day, a tag, an author.
        # In no language is it a category.
        if kind not in (_ITEM, "catItem") and steps and not steps[-1].xpath(".//a|self::a"):
            steps = steps[:-1]
        titles = map(_first_words, steps)
        return [title for title in titles if not title.startswith(FILTERED)]
    return []


def _first_words(step: Any) -> str:
    """The words of a step, without those of the divider after it."""
    for element in step.xpath(".//a|.//span"):
        if "divider" not in (element.get("class") or ""):
            return _words_of(element)
    return _words_of(step)


def _is_home(step: Any) -> bool:
    links = step.xpath(".//a/@href|self::a/@href")
    return (bool(links) and links[0] in ("/", "./", "index.php", "/index.php")) or (
        _first_words(step).casefold() in ("home", "accueil", "startseite", "inicio", "الرئيسية")
    )


def _path(crumbs: list[str], category: str) -> str:
    """`Media Center/Harbour News`: the breadcrumb down to the category, if it contains it."""
    if not category:
        return "/".join(_step(crumb) for crumb in crumbs)
    above = crumbs[: crumbs.index(category)] if category in crumbs else crumbs
    return "/".join(_step(title) for title in (*above, category))


def _step(title: str) -> str:
    return title.replace("/", " ")


def _by_class(element: Any, name: str) -> list[Any]:
    elements: list[Any] = element.xpath(_WITH_CLASS, name=f" {name} ")
    return elements


def _words(element: Any, name: str) -> str:
    elements = _by_class(element, name)
    return _words_of(elements[0]) if elements else ""


def _link_words(element: Any, name: str) -> str:
    """The words of the first link in an element of this class, without the label before it
    ("Published in")."""
    for labelled in _by_class(element, name):
        for link in labelled.iter("a"):
            return _words_of(link)
    return ""


def _words_of(element: Any) -> str:
    return " ".join(element.text_content().split())


def inner_html(element: Any) -> str:
    """The markup inside an element, without its own start and end tag."""
    pieces = [escape(element.text or "", quote=False)]
    pieces += [etree.tostring(child, encoding="unicode", method="html") for child in element]
    return "".join(pieces).strip()
