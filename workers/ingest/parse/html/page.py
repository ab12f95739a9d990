"""HTML pages: K2 lists and items by their classes (k2.py), entries that a page marks with
microformats (microformats.py) or lists in JSON-LD (schema_lists.py), any other page as one article.
Pure.

A page that is none of these lists is read by its own markup: JSON-LD and OpenGraph for the facts,
`<article>` or `<main>` for the text, and an extractor (readability.py) where there is neither. Any
page may name the feeds of its site (alternates.py).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import tzinfo
from typing import Any

import orjson
from lxml import etree
from lxml import html as lxml_html

from service.articles import sanitize
from service.articles.article import Detail, Entry
from service.articles.json_text import decode_json
from service.articles.text import line, without_forbidden
from service.articles.tree import movable
from service.errors import ParseFailed
from workers.ingest.parse.charsets import charset_of, decode
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document
from workers.ingest.parse.html import k2
from workers.ingest.parse.html.alternates import alternates_of, hints_of_page
from workers.ingest.parse.html.microformats import parse_microformats
from workers.ingest.parse.html.readability import extracted
from workers.ingest.parse.html.schema_lists import is_article, link_of, parse_schema_list
from workers.ingest.parse.links import absolute

_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?\s*([\w-]+)", re.IGNORECASE)
_DATA = re.compile(r"(?<=>)[^<>]++(?=</script)", re.IGNORECASE)
_PLACE = "dateline-data-"
# Shorter texts are menus and teasers.
MIN_TEXT_CHARS = 80


def parse_html(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """The articles and the feeds of a page. Raises ParseFailed if it has neither."""
    text = decoded_html(body, content_type)
    root = tree_of(text)
    base = base_of(root, url)
    named = _attribute(root, "//link[@rel='canonical']", "href") or _meta(root, "og:url")
    own = absolute(base, named) if named else url
    values = _json_ld(root)
    facts = _facts(values, base=base or own, url=own)
    alternates = alternates_of(root, base=base or own, url=url)
    hints = hints_of_page(root, base=base or own)
    document = k2.parse_k2(root, base=base or own, url=own, facts=facts, zone=zone)
    document = document or parse_microformats(root, base=base or own, url=own, zone=zone)
    document = document or parse_schema_list(values, root, base=base or own, url=own, zone=zone)
    document = document or _single(root, text, base or own, own, facts, zone)
    if document is None and not alternates:
        raise ParseFailed(
            "HTML without an article: no K2 list or item, and no text that stands out"
        )
    document = document or Document(kind="html-guess", title=line(title_of_page(root)))
    # If a page does not name its own URL, its <base> still names its site.
    return replace(document, url=own or base, alternates=alternates, hints=hints)


def base_of(root: Any, url: str) -> str:
    """What links on a page are relative to; empty if neither URL nor <base> is known."""
    return absolute(url, _attribute(root, "//base[@href]", "href"))


def decoded_html(body: bytes, content_type: str) -> str:
    """The text of a page, by its header and its meta element."""
    declared = _CHARSET.search(body[:4096])
    return decode(
        body,
        charset_of(content_type),
        declared.group(1).decode() if declared else "",
    )


def tree_of(text: str) -> Any:
    """The <html> element of a page, without comments. Raises ParseFailed."""
    data: list[str] = []
    if sanitize.has_huge_tag(text):
        # The data of a script may be long, and have no bracket that would end a tag.
        text = _DATA.sub(lambda match: _place(match.group(), data), text)
        if sanitize.has_huge_tag(text):
            raise ParseFailed(f"HTML with a tag of over {sanitize.MAX_ATTRIBUTES} attributes")
    parser = lxml_html.HTMLParser(
        encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = lxml_html.document_fromstring(
            movable(text).encode("utf-8", "replace"), parser=parser
        )
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as exc:
        raise ParseFailed(f"HTML that cannot be read: {exc}") from exc
    for script in root.iter("script") if data else ():
        number = (script.text or "").removeprefix(_PLACE)
        if number.isdecimal() and int(number[:9]) < len(data):
            script.text = without_forbidden(data[int(number[:9])])
    return root


def _place(text: str, data: list[str]) -> str:
    """What stands in the place of the data of a script, until the page is a tree."""
    data.append(text)
    return f"{_PLACE}{len(data) - 1}"


def _attribute(root: Any, path: str, name: str) -> str:
    elements = root.xpath(path)
    return str(elements[0].get(name) or "").strip() if elements else ""


def _meta(root: Any, *names: str) -> str:
    for name in names:
        values = root.xpath("//meta[@property=$name or @name=$name]/@content", name=name)
        if values and values[0].strip():
            return str(values[0]).strip()
    return ""


def _json_ld(root: Any) -> list[Any]:
    """The values of JSON-LD on the page; what is not JSON is left out."""
    values = []
    for script in root.xpath("//script[@type='application/ld+json']"):
        try:
            values.append(decode_json((script.text or "").encode("utf-8", "replace")))
        except orjson.JSONDecodeError:
            continue
    return values


def _facts(values: list[Any], *, base: str, url: str) -> dict[str, Any]:
    """The schema.org article that the page is, else the first one on it; empty if there is none."""
    articles: list[dict[str, Any]] = []
    for value in values:
        graph = value.get("@graph", [value]) if isinstance(value, dict) else value
        items = graph if isinstance(graph, list) else []
        articles += [item for item in items if isinstance(item, dict) and is_article(item)]
    own = (item for item in articles if link_of(item, base) == url)
    return next(own, articles[0] if articles else {})


def _fact(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    return value.strip() if isinstance(value, str) else ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _single(
    root: Any, text: str, base: str, url: str, facts: dict[str, Any], zone: tzinfo
) -> Document | None:
    """The page as one article; None if it has no text that stands out."""
    is_article = (
        bool(facts)
        or _meta(root, "og:type").lower() == "article"
        or bool(_meta(root, "article:published_time"))
    )
    title = _fact(facts, "headline") or _meta(root, "og:title") or title_of_page(root)
    content = main_content(root) or extracted(text, url=url)
    if not content or not title:
        return None
    raw = _fact(facts, "datePublished") or _meta(root, "article:published_time", "date")
    modified = _fact(facts, "dateModified") or _meta(root, "article:modified_time")
    section = _fact(facts, "articleSection") or _meta(root, "article:section")
    entry = Entry(
        guid=url,
        url=url,
        title=title,
        summary=_meta(root, "og:description", "description"),
        content_html=content,
        authors=tuple(_authors(facts)) or tuple(filter(None, [_meta(root, "author")])),
        categories=() if not section or section.startswith("http") else (section,),
        language=root.get("lang", ""),
        image=_meta(root, "og:image"),
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(modified, zone=zone),
        base_url=base,
        detail=Detail.PAGE,
    )
    return Document(
        kind="html" if is_article else "html-guess",
        url=url,
        title=line(title),
        entries=(entry,),
    )


def title_of_page(root: Any) -> str:
    """The first heading of the first level, else the title of the page; may be empty."""
    for path in ("//h1", "//title"):
        for element in root.xpath(path):
            text = " ".join(element.text_content().split())
            if text:
                return text
    return ""


def _authors(facts: dict[str, Any]) -> list[str]:
    names = (a.get("name") if isinstance(a, dict) else a for a in _listed(facts.get("author")))
    return [name for name in names if isinstance(name, str) and name]


def main_content(root: Any) -> str | None:
    """Markup of the first itemprop=articleBody, `<article>` or `<main>` that contains a text."""
    for path in ("//*[@itemprop='articleBody']", "//article", "//main"):
        for element in root.xpath(path):
            for noise in element.xpath(
                ".//nav|.//aside|.//footer|.//form|.//script|.//style|.//h1"
            ):
                noise.drop_tree()
            if len(element.text_content().strip()) >= MIN_TEXT_CHARS:
                return k2.inner_html(element)
    return None
