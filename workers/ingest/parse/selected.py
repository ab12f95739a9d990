"""Selected: articles of a page, an XML or a JSON document that its operator's selectors name. Pure.

The document is read for what it is, and its field `items` names the articles in it; see
`service.sources.select`. What a selector names is used as people mean it: of an element as `link`
its href, as `image` its picture, as `date` its machine-readable form, as `content` its markup, and
else its text. Nothing is guessed: an item without a link that a selector should have named is a
reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

import orjson
from lxml import etree
from lxml import html as lxml_html

from service.articles import media, text
from service.articles.article import Detail, Entry
from service.errors import ParseFailed
from service.sources.select import selector_of
from service.sources.selector import WrongSelector
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document, collected
from workers.ingest.parse.html.k2 import inner_html
from workers.ingest.parse.html.page import base_of, decoded_html, title_of_page, tree_of
from workers.ingest.parse.json_values import decode_any
from workers.ingest.parse.links import is_web, resolved, web_url

SELECTED = "selected"
MAX_VALUES = 50
MAX_DATE_CHARS = 200
_DATE_ATTRIBUTES = ("datetime", "content", "data-datetime", "data-timestamp", "title", "value")
_NAMES = ("name", "title", "label", "term")
_URLS = ("url", "href", "src", "link")
_TYPED = frozenset({"rss", "feed", "rdf", "urlset", "sitemapindex", "opml", "channel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """What all items of one document have in common."""

    select: Mapping[str, str]
    base: str
    zone: tzinfo

    def values(self, node: Any, name: str) -> list[Any]:
        """What the selector of a field names; nothing if the field has none."""
        if name not in self.select:
            return []
        try:
            return selector_of(self.select, name).values(node)
        except WrongSelector as exc:
            raise ParseFailed(f"select.{name} {self.select[name]!r}: {exc}") from exc

    def texts(self, node: Any, name: str) -> list[str]:
        """The texts that are not empty, at most MAX_VALUES."""
        values = self.values(node, name)[:MAX_VALUES]
        return [each for each in map(_text, values) if each]

    def entry(self, item: Any) -> Entry:
        """The entry of an item. Raises ValueError if it has no link, or no title and text."""
        link = self._link(item)
        title = next(iter(self.texts(item, "title")), "")
        content = "\n".join(map(_markup, self.values(item, "content")[:MAX_VALUES])).strip()
        if not title and not content and not link:
            raise ValueError(f"nothing is selected in it: {_shown(item)}")
        raw, published = self._date(item)
        images = map(_image, self.values(item, "image")[:MAX_VALUES])
        image = next((each for each in images if each), "")
        # The text of HTML has no markup in it; of XML and JSON nobody knows.
        is_markup = isinstance(item, lxml_html.HtmlElement)
        return Entry(
            guid=link,
            url=link,
            title=text.Plain(title) if is_markup else title,
            content_html=content,
            authors=tuple(map(text.Plain, self.texts(item, "author"))),
            categories=tuple(map(text.Plain, self.texts(item, "category"))),
            image=web_url(self.base, image),
            published=published,
            raw_published=raw,
            base_url=self.base,
            detail=Detail.FEED if content else Detail.TEASER,
        )

    def _link(self, item: Any) -> str:
        if "link" not in self.select:
            return ""
        links = [_link(value) for value in self.values(item, "link")[:MAX_VALUES]]
        written = next((link for link in links if link), "")
        link = resolved(self.base, written)
        if not written:
            raise ValueError(f"select.link {self.select['link']!r} selects no link in it")
        if not is_web(link):
            raise ValueError(f"its link {written[:200]!r} is not an http(s) URL")
        return link

    def _date(self, item: Any) -> tuple[str, datetime | None]:
        """(as written, the moment or None), of the first value that is a date."""
        first = ""
        for value in self.values(item, "date")[:MAX_VALUES]:
            for written in _dates(value):
                first = first or written
                moment = self._moment(written)
                if moment is not None:
                    return written, moment
        return first, None

    def _moment(self, written: str) -> datetime | None:
        form = self.select.get("date_format")
        if form and len(written) <= MAX_DATE_CHARS:
            try:
                moment = datetime.strptime(written, form)  # noqa: DTZ007 -- below
                known = moment if moment.tzinfo else moment.replace(tzinfo=self.zone)
                return known.astimezone(UTC)
            except (ValueError, OverflowError):
                pass
        return parse_date(written, zone=self.zone)


def parse_selected(
    body: bytes, *, select: Mapping[str, str], url: str, content_type: str, zone: tzinfo
) -> Document:
    """The articles that selectors name.

    Raises:
        ParseFailed: the document is not what the selectors are for, or they select no item.
    """
    root, base, title = _root(body, select, url, content_type)
    reader = _Reader(select=select, base=base, zone=zone)
    items = reader.values(root, "items")
    if not items:
        raise ParseFailed(f"select.items {select['items']!r} selects nothing in this document")
    next_links = [_link(value) for value in reader.values(root, "next_page")]
    following = web_url(base, next((link for link in next_links if link), ""))
    return collected(
        SELECTED, items, reader.entry, title=title, url=url,
        next_url=following if following != url else "",
    )  # fmt: skip


def raw_items(
    body: bytes, *, select: Mapping[str, str], url: str, content_type: str
) -> list[dict[str, list[str]]]:
    """What the selectors name in each item, before anything is read from it: of elements their
    text, and of those for addresses and dates the attribute that is used.

    Raises:
        ParseFailed: as `parse_selected`.
    """
    root, base, _ = _root(body, select, url, content_type)
    reader = _Reader(select=select, base=base, zone=UTC)
    names = [name for name in select if name not in ("items", "next_page", "date_format")]
    return [
        {name: [_raw(name, each) for each in reader.values(item, name)[:MAX_VALUES]]
         for name in names}
        for item in reader.values(root, "items")
    ]  # fmt: skip


def _raw(name: str, value: Any) -> str:
    if name == "link":
        return _link(value) or _text(value)
    if name == "image":
        return _image(value) or _text(value)
    if name == "date":
        return next(iter(_dates(value)), "")
    return _markup(value) if name == "content" else _text(value)


def _root(
    body: bytes, select: Mapping[str, str], url: str, content_type: str
) -> tuple[Any, str, str]:
    """(root, base of its links, title)."""
    is_json = body.lstrip()[:1] in (b"{", b"[")
    if is_json != selector_of(select, "items").is_of_json:
        kind, other = ("JSON", "a page") if is_json else ("not JSON", "JSON")
        raise ParseFailed(f"is {kind}, but the selectors of its source are for {other}")
    if is_json:
        try:
            return decode_any(body, content_type), url, ""
        except orjson.JSONDecodeError as exc:
            raise ParseFailed(f"is not JSON: {exc}") from exc
    if is_xml(body):
        return _xml(body), url, ""
    root = tree_of(decoded_html(body, content_type))
    return root, base_of(root, url) or url, title_of_page(root)


def is_xml(body: bytes) -> bool:
    """Whether a document is XML and not a page."""
    head = body.lstrip()[:1_024].lower()
    if b"<html" in head or b"<!doctype html" in head:
        return False
    return head.startswith(b"<?xml") or head[1:12].split(b">")[0].split()[:1] in (
        [name.encode()] for name in _TYPED
    )


def _xml(body: bytes) -> Any:
    """The root of an XML document, with the local names of its elements alone: selectors need no
    namespaces then."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise ParseFailed(f"XML that cannot be read: {exc}") from exc
    if root is None:
        raise ParseFailed("XML that cannot be read")
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    return root


def _text(value: Any) -> str:
    """The text of a value on one line; that of an object is its name."""
    if isinstance(value, etree._Element):
        if value.tag == "meta":
            value = value.get("content")
        else:
            value = text.plain_text(text.without_scripts(inner_html(value)))
    if isinstance(value, dict):
        value = next((value[name] for name in _NAMES if isinstance(value.get(name), str)), "")
    if isinstance(value, list):
        return next(filter(None, map(_text, value)), "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return " ".join(str(value).split())


def _link(value: Any) -> str:
    if isinstance(value, etree._Element):
        links: Any = value.xpath(
            "(@href | .//@href)[1] | self::link[not(@href)]/text() | self::meta/@content"
            " | self::loc/text() | self::guid/text() | ancestor::a[1]/@href"
        )
        return str(links[0]).strip() if links else ""
    if isinstance(value, dict):
        value = next((value[name] for name in _URLS if isinstance(value.get(name), str)), "")
    return value.strip() if isinstance(value, str) else ""


def _dates(value: Any) -> list[str]:
    """A date as it is written, the forms for machines first."""
    if not isinstance(value, etree._Element):
        return [written] if (written := _text(value)) else []
    inside = value.find(".//time") if value.tag != "time" else None
    elements = [value] if inside is None else [value, inside]
    named = [element.get(name) or "" for element in elements for name in _DATE_ATTRIBUTES]
    return [date for each in (*named, _text(value)) if (date := " ".join(each.split()))]


def _markup(value: Any) -> str:
    if isinstance(value, etree._Element):
        if len(value) or isinstance(value, lxml_html.HtmlElement):
            return inner_html(value)
        # In XML the markup of a text is escaped, as in feeds.
        value = value.text or ""
    if isinstance(value, str) and ("</" in value or "<br" in value or "<p>" in value):
        return value
    return text.paragraphs(str(value)) if isinstance(value, str | int | float) else ""


def _image(value: Any) -> str:
    if isinstance(value, etree._Element):
        return media.picture_in(value) or _background(value)
    return _link(value)


def _background(element: Any) -> str:
    """The address in `style="background-image: url(…)"`; empty if there is none."""
    _, separator, rest = (element.get("style") or "").partition("url(")
    return rest.partition(")")[0].strip("\"' ") if separator else ""


def _shown(item: Any) -> str:
    shown = _text(item) if isinstance(item, etree._Element) else repr(item)
    return shown[:80] or "it is empty"
