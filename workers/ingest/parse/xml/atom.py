"""Atom 0.3 and 1.0 (RFC 4287). Pure."""

from __future__ import annotations

import base64
from datetime import tzinfo
from html import escape
from typing import Any

from lxml import etree

from service.articles.article import Entry
from service.articles.podcast import Podcast
from service.articles.text import Plain, paragraphs
from service.feeds.head import GENERATOR
from workers.ingest.parse.category_labels import labelled
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, Html, collected, without_repeated_title
from workers.ingest.parse.links import absolute, is_web, resolved
from workers.ingest.parse.xml.fields import (
    BASE,
    LANG,
    Fields,
    authors,
    described,
    enclosure,
    fields_of,
    first,
    image,
    inner_text,
    is_atom,
    linked,
    local_name,
    relations,
    rename,
    text,
    with_pictures,
)
from workers.ingest.parse.xml.hints import hints_of
from workers.ingest.parse.xml.podcast import podcast_of, show_of

_PLAIN_TYPES = ("text", "text/plain")
_ATOM = "{http://www.w3.org/2005/Atom}"
# Namespaces that are in HTML itself.
_IN_HTML = (
    "{http://www.w3.org/1999/xhtml}*",
    "{http://www.w3.org/1998/Math/MathML}*",
    "{http://www.w3.org/2000/svg}*",
)
_DATES = (
    "atom:published",
    "atom:issued",
    "atom:created",
    "atom:updated",
    "atom:modified",
    "dc:date",
)


def parse_atom(root: Any, url: str, zone: tzinfo) -> Document:
    """The entries of a feed, or a single entry as the root of a document (RFC 4287 2)."""
    _make_atom(root)
    if local_name(root) == "entry":
        root, alone = root.makeelement(f"{_ATOM}feed"), root
        root.append(alone)
    fields = fields_of(root)
    links = fields.get("atom:link", [])
    base = absolute(url, root.get(BASE, ""))
    document_url = (
        resolved(base, linked(links, "self")) or url or resolved(base, linked(links, "alternate"))
    )
    language = root.get(LANG) or text(fields, "dc:language")
    entry_base = base or document_url
    # Our own feeds name the site here, because RFC 4287 4.1.1 wants a name where entries have none.
    is_ours = text(fields, "atom:generator") == GENERATOR
    by = () if is_ours else authors(fields)
    show = show_of(fields, base=entry_base)

    def take(element: Any) -> Entry:
        is_declared = bool(root.get(BASE))
        entry = _entry(element, entry_base, is_declared, language, by, zone, show)
        return without_repeated_title(entry) if is_ours else entry

    return collected(
        "atom",
        [*root.iterfind("{*}entry")],
        take,
        url=document_url,
        title=title(fields, "atom:title") or text(fields, "dc:title"),
        hints=hints_of(fields, base=entry_base),
    )


def _make_atom(root: Any) -> None:
    """Move the elements of a feed without a namespace, or in an unknown one, into Atom's."""
    namespace = root.tag.rpartition("}")[0][1:]
    if is_atom(namespace):
        return
    for element in root.iter(f"{{{namespace}}}*" if namespace else "{}*"):
        rename(element, f"{_ATOM}{local_name(element)}")


def _entry(
    entry: Any, base: str, is_declared: bool, language: str, by: tuple[str, ...], zone: tzinfo,
    show: Podcast,
) -> Entry:  # fmt: skip
    fields = fields_of(entry)
    base = absolute(base, entry.get(BASE, ""))
    links = fields.get("atom:link", [])
    raw, guid = first(fields, *_DATES), first(fields, "atom:id", "dc:identifier")
    content, summary = fields.get("atom:content", []), fields.get("atom:summary", [])
    text_element = (content or summary or [None])[0]
    text_base = "" if text_element is None else text_element.get(BASE, "")
    is_declared = is_declared or bool(entry.get(BASE) or text_base)
    link = _link(fields, links, base) or (guid if is_web(guid) else "")
    markup_of_text = described(fields) if text_element is None else markup(text_element)
    files = tuple(
        enclosure(each, resolved(base, each.get("href", "")))
        for each in links
        if "enclosure" in relations(each)
    )
    return Entry(
        guid=guid,
        url=link,
        title=title(fields, "atom:title") or first(fields, "dc:title", "media:title"),
        summary=markup(summary[0]) if summary and content else "",
        content_html=with_pictures(markup_of_text, fields),
        authors=authors(fields) or _authors_of_source(fields) or by,
        categories=tuple(filter(None, map(category, fields.get("atom:category", ())))),
        language=entry.get(LANG) or text(fields, "dc:language") or language,
        image=image(fields),
        enclosures=files,
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(first(fields, "atom:updated", "atom:modified"), zone=zone),
        base_url=absolute(base, text_base),
        text_base_url="" if is_declared else absolute(base, link),
        podcast=podcast_of(fields, show=show, files=files),
    )


def _link(fields: Fields, links: list[Any], base: str) -> str:
    origin = text(fields, "feedburner:origLink")
    # A text in the element is RSS's way.
    link = linked(links, "alternate") or text(fields, "atom:link")
    return origin or resolved(_base_of_link(links, base), link)


def _authors_of_source(fields: Fields) -> tuple[str, ...]:
    """Authors of the feed that an entry was copied from (RFC 4287 4.2.1)."""
    for source in fields.get("atom:source", ()):
        return authors(fields_of(source))
    return ()


def _base_of_link(links: list[Any], base: str) -> str:
    for link in links:
        if "alternate" in relations(link) and link.get(BASE):
            return absolute(base, link.get(BASE))
    return base


def category(element: Any) -> str:
    """The label of a category, which is for people; if its term is a path, as in our own feeds, the
    path that ends with the label; empty if it has neither."""
    term, label = (element.get("term") or "").strip(), (element.get("label") or "").strip()
    if not label or "/" not in term:
        # Text in the element is RSS's way, which RFC 4287 does not allow.
        return label or term or inner_text(element)
    return labelled(term, label) or label


def title(fields: Fields, name: str) -> str:
    """A text construct that is one line: `Html` or `Plain` if it has a type, else undecided: type
    is text by default (RFC 4287 3.1), and what it is not said of is often HTML."""
    elements = fields.get(name)
    if not elements:
        return ""
    element = elements[0]
    if len(element):
        return Html(markup(element))
    content = inner_text(element)
    if is_base64(element):
        return _from_base64(content)
    kind = element.get("type", "").lower()
    if "html" in kind:
        return Html(content)
    return Plain(content) if kind in _PLAIN_TYPES else content


def markup(element: Any) -> str:
    """A text construct or content as HTML (RFC 4287 3.1, 4.1.3)."""
    kind = element.get("type", "text").lower()
    if element.get("mode") == "xml" or "xhtml" in kind or len(element):
        is_wrapped = len(element) == 1 and not (element.text or "").strip()
        return inner_markup(element[0] if is_wrapped else element)
    content = inner_text(element)
    if is_base64(element):
        return _from_base64(content)
    if kind in _PLAIN_TYPES and element.get("mode") != "escaped":
        return paragraphs(content)
    return content


def is_base64(element: Any) -> bool:
    """Whether the text is base64: by its mode in Atom 0.3, else by its type (RFC 4287 4.1.3.3)."""
    kind = element.get("type", "text").lower()
    is_text = kind.startswith("text") or kind.endswith(("+xml", "/xml")) or "/" not in kind
    return element.get("mode") == "base64" or (not is_text and not len(element))


def _from_base64(text: str) -> str:
    """The text in base64; empty if the content is not text, such as a picture. A text that is not
    base64 is returned as paragraphs."""
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return paragraphs(text)
    try:
        return content.decode()
    except ValueError:
        return ""


def inner_markup(element: Any) -> str:
    """The content of an XHTML element, as HTML: without prefixes."""
    for child in element.iter(*_IN_HTML):
        rename(child, local_name(child))
    pieces = [escape(element.text or "", quote=False)]
    pieces += [etree.tostring(child, encoding="unicode", method="html") for child in element]
    return "".join(pieces)
