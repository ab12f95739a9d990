"""Lists of schema.org in a page: ItemList, and several articles, in JSON-LD. Pure.

Search engines ask sites for these, so pages have them that have no feed. A page that is an article
itself may list others beside it: it stays one article. Entries of a list may be addresses alone;
their titles are then those of the links on the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

from service.articles.article import Detail, Entry
from service.articles.text import Plain, line, paragraphs
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, collected
from workers.ingest.parse.json_values import list_of, objects_of, string_of
from workers.ingest.parse.links import web_url

SCHEMA_LIST = "schema-list"
ARTICLES = frozenset(
    {
        "Article", "NewsArticle", "BlogPosting", "Report", "ReportageNewsArticle",
        "AnalysisNewsArticle", "BackgroundNewsArticle", "OpinionNewsArticle", "ReviewNewsArticle",
        "LiveBlogPosting", "SocialMediaPosting", "TechArticle", "ScholarlyArticle",
    }
)  # fmt: skip
_MEMBERS = ("@graph", "mainEntity", "mainEntityOfPage", "blogPost", "blogPosts", "hasPart", "about")
_OTHERS = frozenset({"BreadcrumbList", "HowTo", "FAQPage", "Product", "OfferCatalog"})
MAX_DEPTH = 8
MAX_ITEMS = 10_001
MIN_ITEMS = 2


def parse_schema_list(
    values: list[Any], root: Any, *, base: str, url: str, zone: tzinfo
) -> Document | None:
    """The articles that a page lists; None if it lists none, or is an article itself.

    Args:
        values: the JSON-LD of the page.
        base: URL that links on the page are relative to.
        url: its own URL.
    """
    objects = [each for value in values for each in _objects(value, 0)]
    articles = [each for each in objects if is_article(each)]
    if any(_is_page(each, base, url, is_alone=len(articles) == 1) for each in articles):
        return None
    listed = [item for each in objects if _is_list(each) for item in _items(each)]
    items = {link: item for item in (*listed, *articles) if (link := link_of(item, base))}
    # A list of addresses says less of an article than the article itself.
    items |= {link: item for item in articles if (link := link_of(item, base))}
    items.pop(url, None)
    if len(items) < MIN_ITEMS:
        return None
    titles = _titles(root, base) if any(not _title(item) for item in items.values()) else {}
    return collected(
        SCHEMA_LIST,
        [*items.items()][:MAX_ITEMS],
        lambda pair: _entry(*pair, words=titles.get(pair[0], ""), base=base, zone=zone),
        title=next((line(each.text or "") for each in root.iter("title")), ""),
        url=url,
    )


def is_article(value: dict[str, Any]) -> bool:
    """Whether an object is of a type of articles."""
    return not ARTICLES.isdisjoint(_types(value))


def _types(value: dict[str, Any]) -> set[str]:
    names = (each for each in list_of(value, "@type") if isinstance(each, str))
    return {name.rpartition("/")[2].rpartition(":")[2] for name in names}


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The objects of a document, those in their usual members included."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, list):
        for each in value[:MAX_ITEMS]:
            yield from _objects(each, depth + 1)
    elif isinstance(value, dict):
        yield value
        for name in _MEMBERS:
            yield from _objects(value.get(name), depth + 1)


def _is_list(value: dict[str, Any]) -> bool:
    types = _types(value)
    return ("ItemList" in types or "itemListElement" in value) and types.isdisjoint(_OTHERS)


def _items(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The items of an ItemList: of each the article itself, if it has one."""
    for element in list_of(value, "itemListElement")[:MAX_ITEMS]:
        if isinstance(element, str):
            yield {"url": element}
        elif isinstance(element, dict):
            item = element.get("item")
            if isinstance(item, str):
                item = {"@id": item}
            item = item if isinstance(item, dict) else {}
            if not _types(item) or is_article(item):
                yield {**element, **item}


def link_of(item: dict[str, Any], base: str) -> str:
    """The address of the page of an object; empty if it names none."""
    page = item.get("mainEntityOfPage")
    page = page.get("@id") if isinstance(page, dict) else page
    for value in (item.get("url"), page, item.get("@id")):
        if isinstance(value, str) and (link := web_url(base, value)):
            return link
    return ""


def _is_page(item: dict[str, Any], base: str, url: str, *, is_alone: bool) -> bool:
    """Whether an article is the page that describes it: it says so, or is the only one and names
    no other page."""
    link = link_of(item, base)
    return (is_alone and not link) or link.partition("#")[0] == url.partition("#")[0]


def _title(item: dict[str, Any]) -> str:
    return string_of(item, "headline") or string_of(item, "name")


def _titles(root: Any, base: str) -> dict[str, str]:
    """Address → the longest text of the links to it."""
    titles: dict[str, str] = {}
    for link in root.iter("a"):
        target = web_url(base, link.get("href") or "")
        words = " ".join("".join(link.itertext()).split())
        if target and len(words) > len(titles.get(target, "")):
            titles[target] = words
    return titles


def _entry(link: str, item: dict[str, Any], *, words: str, base: str, zone: tzinfo) -> Entry:
    raw = string_of(item, "datePublished") or string_of(item, "dateCreated")
    body = string_of(item, "articleBody")
    sections = (each for each in list_of(item, "articleSection") if isinstance(each, str))
    return Entry(
        guid=link,
        url=link,
        title=_title(item) or Plain(words),
        summary=string_of(item, "description"),
        content_html=body if "</" in body else paragraphs(body),
        authors=tuple(_names(item)),
        categories=tuple(sections),
        language=string_of(item, "inLanguage"),
        image=web_url(base, _image(item)),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(string_of(item, "dateModified"), zone=zone),
        base_url=base,
        detail=Detail.FEED if body else Detail.TEASER,
    )


def _names(item: dict[str, Any]) -> Iterator[str]:
    for author in list_of(item, "author"):
        name = author.get("name") if isinstance(author, dict) else author
        if isinstance(name, str) and name:
            yield name


def _image(item: dict[str, Any]) -> str:
    for image in objects_of(item, "image"):
        if link := string_of(image, "url") or string_of(image, "contentUrl"):
            return link
    images = [each for each in list_of(item, "image") if isinstance(each, str)]
    return images[0] if images else string_of(item, "thumbnailUrl")
