"""Guess: selectors for a page or a JSON document whose articles nobody has named yet. Pure.

Articles of a list look alike: elements of one class, or children of one parent, each with a link of
its own and words. Such groups are compared by how much they look like news; of the best, each field
gets the selector that fits most of the items. A guess is a proposal: people look at it before it is
used.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from lxml import etree

from service.errors import InvalidInput, ParseFailed
from service.sources.select import checked_select
from service.sources.selector import WrongSelector, compiled
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.guess_json import guessed_in_json
from workers.ingest.parse.html.page import decoded_html, tree_of
from workers.ingest.parse.selected import is_xml, parse_selected

MAX_PROPOSALS = 3
MAX_ELEMENTS = 20_000
MAX_GROUPS = 400
SAMPLE = 30
"""Items of a group that are looked at."""
MIN_ITEMS = 3
MIN_TITLE_CHARS = 8
_MOST, _HALF = 0.8, 0.5
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_ASIDE = "ancestor-or-self::*[self::nav or self::header or self::footer or self::aside]"
_CLASS = re.compile(r"[A-Za-z][A-Za-z_-]*\d?")
_DATE_CLASS = re.compile(r"date|time|publish|posted|when", re.IGNORECASE)
_TEXT_CLASS = re.compile(r"summary|excerpt|desc|teaser|text|body|intro|lead|content", re.IGNORECASE)
_AUTHOR_CLASS = re.compile(r"author|by-?line|^by$", re.IGNORECASE)
_CATEGORY_CLASS = re.compile(r"category|categories|section|topic|rubri", re.IGNORECASE)
_NEXT = ("a[rel~=next]", "link[rel~=next]", "a.next", ".next a", ".pagination-next a", "a.older")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Selectors that read some articles."""

    select: dict[str, str]
    items: int
    """Number of articles that they read."""
    titles: tuple[str, ...]
    """The first ones."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Elements that a selector selects, of which each may be an article."""

    selector: str
    elements: Sequence[Any]
    score: float = 0.0


def guess(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> tuple[Proposal, ...]:
    """Proposals for a document, the best one first; none if nothing in it repeats, and for
    XML, which is a feed or has names that say what they are."""
    if is_xml(body):
        return ()
    try:
        if body.lstrip()[:1] in (b"{", b"["):
            selects = guessed_in_json(body, content_type)
        else:
            selects = _guessed_in_html(tree_of(decoded_html(body, content_type)), zone)
    except ParseFailed:
        return ()
    proposals = []
    for select in selects:
        try:
            document = parse_selected(
                body, select=checked_select(select), url=url, content_type=content_type, zone=zone
            )
        except (ParseFailed, InvalidInput):
            continue
        titles = tuple(entry.title or entry.url for entry in document.entries[:3])
        if titles:
            count = len(document.entries)
            proposals.append(Proposal(select=select, items=count, titles=titles))
        if len(proposals) == MAX_PROPOSALS:
            break
    return tuple(proposals)


def _guessed_in_html(root: Any, zone: tzinfo) -> Iterator[dict[str, str]]:
    same: dict[frozenset[str], list[_Group]] = defaultdict(list)
    for group in map(_scored, _groups(root)):
        if group.score > 0:
            same[frozenset(filter(None, map(_href, group.elements[:SAMPLE])))].append(group)
    # Of several elements around the same links the outermost has all of an article, and of several
    # selectors of it the shortest is the clearest.
    best = [
        max(groups, key=lambda group: (sum(1 for _ in group.elements[0].iter()),
                                       -len(group.selector)))
        for groups in same.values()
    ]  # fmt: skip
    best.sort(key=lambda group: -group.score)
    for group in best:
        yield _select(group, root, zone)


def _groups(root: Any) -> Iterator[_Group]:
    """Elements of one tag and class, and children of one tag of one parent."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for number, element in enumerate(root.iter(etree.Element)):
        if number > MAX_ELEMENTS:
            break
        if element.tag in ("html", "body", "head", "script", "style", "option"):
            continue
        for name in _classes(element):
            groups[f"{element.tag}.{name}"].append(element)
        parent = element.getparent()
        if parent is not None and parent.tag != "head":
            groups[f"{_named(parent)} > {element.tag}"].append(element)
        if element.tag == "article":
            groups["article"].append(element)
    large = [item for item in groups.items() if len(item[1]) >= MIN_ITEMS]
    large.sort(key=lambda item: -sum(len(element) for element in item[1][:SAMPLE]))
    for selector, elements in large[:MAX_GROUPS]:
        yield _Group(selector, elements)


def _classes(element: Any) -> list[str]:
    """Names that a person may have given, not those that a program numbers."""
    names = (element.get("class") or "").split()[:8]
    return [name for name in names if _CLASS.fullmatch(name)]


def _named(element: Any) -> str:
    """A selector of an element by its id or class, else by its tag."""
    name = element.get("id") or ""
    if _CLASS.fullmatch(name):
        return f"{element.tag}#{name}"
    classes = _classes(element)
    return f"{element.tag}.{classes[0]}" if classes else str(element.tag)


def _scored(group: _Group) -> _Group:
    """The group with how much it looks like news; 0 for menus and single parts of an article."""
    sample = group.elements[:SAMPLE]
    titles = [_title(element) for element in sample]
    links = [_href(element) for element in sample]
    fits = [
        len(title) >= MIN_TITLE_CHARS and bool(link)
        for title, link in zip(titles, links, strict=True)
    ]
    share = sum(fits) / len(sample)
    if share < _HALF or len(set(filter(None, links))) < _MOST * sum(map(bool, links)):
        return group
    words = sum(min(len(_words(element)), 400) for element in sample) / len(sample)
    is_aside = sum(bool(element.xpath(_ASIDE)) for element in sample) > _HALF * len(sample)
    headings = sum(len(_headings(element)) for element in sample) / len(sample)
    dated = sum(element.find(".//time") is not None for element in sample) / len(sample)
    score = share * min(len(group.elements), 60) ** 0.5 * words
    score *= (1 + min(headings, 1) + dated) / max(headings, 1)
    return _Group(group.selector, group.elements, score * (0.05 if is_aside else 1))


def _headings(element: Any) -> list[Any]:
    return list(element.iter(*_HEADINGS))


def _words(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())


def _title(element: Any) -> str:
    for heading in _headings(element):
        return _words(heading)
    return max((_words(link) for link in element.iter("a")), key=len, default="")


def _href(element: Any) -> str:
    """The address of the article: of the link in its heading or around it, else of the longest."""
    links = [link for link in element.iter("a") if _is_real(link)]
    for heading in _headings(element)[:1]:
        inside = [link for link in heading.iter("a") if _is_real(link)]
        above = set(heading.iterancestors("a"))
        around = [link for link in links if link in above]
        links = inside or around or links
    return max(links, key=lambda link: len(_words(link))).get("href") if links else ""


def _is_real(link: Any) -> bool:
    return not (link.get("href") or "#").startswith(("#", "javascript:", "mailto:"))


def _select(group: _Group, root: Any, zone: tzinfo) -> dict[str, str]:
    items = group.elements[:SAMPLE]
    heading = _heading_of(items)
    select = {"items": group.selector, "title": heading or _of_longest_link(items)}
    links = (f"{heading} a", f"a:has({heading})") if heading else ()
    fitting = (each for each in (*links, select["title"], "a") if _is_link(each, items))
    select["link"] = next(fitting, "a")
    guesses = {
        "date": _best(items, _is_date(zone), _DATE_CLASS, ("time",)),
        "content": _best(items, lambda text: len(text) >= MIN_TITLE_CHARS, _TEXT_CLASS, ("p",)),
        "author": _best(items, bool, _AUTHOR_CLASS, ("[rel~=author]",)),
        "category": _best(items, bool, _CATEGORY_CLASS, ("[rel~=tag]",)),
        "image": "img" if _share("img", items, lambda _: True) >= _HALF else "",
        "next_page": next((each for each in _NEXT if compiled(each).values(root)), ""),
    }
    titles = (select["title"], select["link"])
    return select | {name: text for name, text in guesses.items() if text and text not in titles}


def _heading_of(items: Sequence[Any]) -> str:
    for name in _HEADINGS:
        if _share(name, items, bool) >= _MOST:
            return name
    return ""


def _of_longest_link(items: Sequence[Any]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for item in items:
        links = [link for link in item.iter("a") if _is_real(link)]
        if links:
            longest = max(links, key=lambda link: len(_words(link)))
            counts[f"a.{c[0]}" if (c := _classes(longest)) else "a"] += 1
    return max(counts, key=lambda name: counts[name], default="a")


def _is_link(selector: str, items: Sequence[Any]) -> bool:
    links = [next(iter(_values(selector, item)), None) for item in items]
    addresses = [_href(link) or link.get("href") for link in links if link is not None]
    real = [address for address in addresses if address and not address.startswith("#")]
    return len(set(real)) >= _MOST * len(items)


def _is_date(zone: tzinfo) -> Callable[[str], bool]:
    return lambda text: parse_date(text, zone=zone) is not None


def _best(
    items: Sequence[Any], fits: Callable[[str], bool], names: re.Pattern[str],
    usual: tuple[str, ...],
) -> str:  # fmt: skip
    """The selector whose first text fits in most items: a usual one, or a class that says so."""
    selectors = dict.fromkeys(usual)
    for item in items[:MIN_ITEMS]:
        for element in item.iterdescendants(etree.Element):
            named = (f"{element.tag}.{name}" for name in _classes(element) if names.search(name))
            selectors |= dict.fromkeys(named)
    shares = [(_share(selector, items, fits), selector) for selector in list(selectors)[:40]]
    best, selector = max(shares, key=lambda each: each[0], default=(0.0, ""))
    return selector if best >= _HALF else ""


def _share(selector: str, items: Sequence[Any], fits: Callable[[str], bool]) -> float:
    """In what part of the items the selector names something that fits."""
    count = 0
    for item in items:
        first = next(iter(_values(selector, item)), None)
        if first is not None:
            count += any(map(fits, (first.get("datetime") or "", _words(first))))
    return count / len(items)


def _values(selector: str, item: Any) -> list[Any]:
    try:
        return [each for each in compiled(selector).values(item) if each is not item]
    except WrongSelector:
        return []
