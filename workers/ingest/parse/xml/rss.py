"""RSS 0.9x, 1.0 (RDF) and 2.0, with their extensions in other namespaces. Pure."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from service.articles.article import Entry
from service.articles.podcast import NOTHING_KNOWN, Podcast
from service.articles.text import with_lines
from service.feeds.head import GENERATOR
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, collected
from workers.ingest.parse.links import absolute, resolved
from workers.ingest.parse.xml import atom
from workers.ingest.parse.xml.cdf import parse_cdf
from workers.ingest.parse.xml.fields import (
    BASE,
    LANG,
    Fields,
    authors,
    described,
    enclosures,
    fields_of,
    first,
    image,
    inner_text,
    linked,
    local_name,
    text,
    texts,
    with_pictures,
)
from workers.ingest.parse.xml.hints import hints_of
from workers.ingest.parse.xml.podcast import podcast_of, show_of

_ABOUT = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"
_K2_BLOCK = '<div class="K2Feed'
_LAST_TEXTS = ("itunes:summary", "googleplay:description", "itunes:subtitle")
# What an item names no date of publication by comes last: then it changed when it was published.
_DATES = (
    "pubdate", "dc:date", "atom:published", "atom:issued", "dcterms:issued", "atom:created",
    "dcterms:created", "dcterms:date", "atom:updated", "atom:modified", "dcterms:modified",
)  # fmt: skip
_UPDATES = ("atom:updated", "atom:modified", "dcterms:modified")


def parse_rss(root: Any, url: str, zone: tzinfo) -> Document:
    """The items of a channel, or beside it as RSS 0.9 and 1.0 have them; those of CDF, which has
    the same root.

    Raises:
        ParseFailed: the root is a channel without items and title.
    """
    channel = root.find("{*}channel")
    if channel is None:
        channel = root
    fields = fields_of(channel)
    own = text(fields, "link")
    document_url = absolute(url or own, linked(fields.get("atom:link", []), "self"))
    items = [
        *channel.iterfind("{*}item"),
        # RSS 1.1.
        *channel.iterfind("{*}items/{*}item"),
        *(root.iterfind("{*}item") if root is not channel else []),
    ]
    if channel is root and not items:
        return parse_cdf(root, url, zone)
    declared = absolute(root.get(BASE, ""), channel.get(BASE, ""))
    base = absolute(absolute(document_url, own), declared)
    language = first(fields, "language", "dc:language") or channel.get(LANG) or root.get(LANG, "")
    # Our own feeds say of all articles what not every one says of itself.
    is_ours = text(fields, "generator") == GENERATOR
    by = () if is_ours else authors(fields)
    show = NOTHING_KNOWN if is_ours else show_of(fields, base=base)
    return collected(
        "rdf" if local_name(root) == "RDF" else "rss",
        items,
        lambda item: _item(item, base, bool(declared), language, by, zone, show),
        url=document_url,
        title=_title(fields),
        hints=hints_of(fields, base=document_url),
    )


def _item(
    item: Any, base: str, is_declared: bool, language: str, by: tuple[str, ...], zone: tzinfo,
    show: Podcast,
) -> Entry:  # fmt: skip
    fields = fields_of(item)
    raw = first(fields, *_DATES)
    content, summary = _texts(fields)
    guid = text(fields, "guid") or text(fields, "atom:id")
    link = _link(fields)
    if not link and guid.startswith(("http://", "https://")) and _is_permalink(fields):
        link = guid
    base = absolute(base, item.get(BASE, ""))
    markup = with_lines(_without_k2(content or first(fields, *_LAST_TEXTS)))
    files = enclosures(fields)
    return Entry(
        guid=guid or item.get(_ABOUT, "") or text(fields, "dc:identifier"),
        url=link,
        title=_title(fields),
        summary=summary,
        content_html=with_pictures(markup, fields),
        authors=authors(fields) or by,
        categories=tuple(_categories(fields)),
        tags=tuple(filter(None, map(str.strip, text(fields, "itunes:keywords").split(",")))),
        language=text(fields, "dc:language") or item.get(LANG, "") or language,
        image=image(fields),
        enclosures=files,
        published=parse_date(raw, zone=zone),
        raw_published=raw,
        updated=parse_date(first(fields, *_UPDATES), zone=zone),
        base_url=base,
        text_base_url="" if is_declared or item.get(BASE) else absolute(base, link),
        podcast=podcast_of(fields, show=show, files=files),
    )


def _title(fields: Fields) -> str:
    title = first(fields, "title", "dc:title")
    return title or atom.title(fields, "atom:title") or first(fields, "media:title")


def _link(fields: Fields) -> str:
    origin = text(fields, "feedburner:origLink")
    if origin or not (elements := fields.get("link")):
        links = fields.get("atom:link", [])
        return origin or text(fields, "atom:link") or linked(links, "alternate")
    link = inner_text(elements[0]) or linked(elements, "alternate")
    # An xml:base of the link alone.
    return resolved(elements[0].get(BASE, ""), link) or link


def _categories(fields: Fields) -> list[str]:
    names = [*texts(fields, "category"), *texts(fields, "dc:subject")]
    return names + list(filter(None, map(atom.category, fields.get("atom:category", ()))))


def _texts(fields: Fields) -> tuple[str, str]:
    """(text, summary) of an item; of two that are both called a summary, the longer is the text."""
    content, description = _content(fields), _markup(fields, "description", "dc:description")
    summary = _markup(fields, "summary") or _atom_text(fields, "summary")
    if content:
        return content, description or summary
    longer, shorter = sorted((description, summary), key=len, reverse=True)
    return longer, shorter


def _content(fields: Fields) -> str:
    content = _markup(fields, "content:encoded") or _atom_text(fields, "content")
    if content:
        return content
    # <xhtml:body> or <xhtml:div>, once a way to avoid escaping.
    for element in (*fields.get("xhtml:body", ()), *fields.get("xhtml:div", ())):
        return atom.inner_markup(element)
    return _markup(fields, "content", "fulltext") or described(fields)


def _markup(fields: Fields, *names: str) -> str:
    """The first text or markup of any of these names; elements in it are markup that was not
    escaped."""
    for name in names:
        for element in fields.get(name, ()):
            content = atom.inner_markup(element).strip() if len(element) else inner_text(element)
            if content:
                return content
    return ""


def _atom_text(fields: Fields, name: str) -> str:
    elements = fields.get(f"atom:{name}")
    return atom.markup(elements[0]) if elements else ""


def _is_permalink(fields: Fields) -> bool:
    guids = fields.get("guid")
    if not guids:
        return False
    return str(guids[0].get("isPermaLink", "true")).strip().lower() != "false"


def _without_k2(markup: str) -> str:
    """Intro and full text without the blocks around them, which only K2's feeds have, not its JSON
    and pages."""
    if _K2_BLOCK not in markup:
        return markup
    blocks = (block.partition('">') for block in markup.split(_K2_BLOCK)[1:])
    texts = [
        inner.rstrip().removesuffix("</div>")
        for name, _, inner in blocks
        if name in ("IntroText", "FullText")
    ]
    return "\n".join(texts) or markup
