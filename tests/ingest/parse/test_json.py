"""JSON Feed, K2's JSON and records: a wrong value costs itself, a wrong record is one reject."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.articles.article import Detail, Enclosure, Entry
from service.errors import ParseFailed
from tests.composing import compose_all
from workers.ingest.parse import Document, parse

VERSION = "https://jsonfeed.org/version/1.1"
URL = "http://j.example/dir/feed.json"


def feed(*items: Any, **fields: Any) -> Document:
    """The body of a JSON Feed with these items."""
    return parse(orjson.dumps({"version": VERSION, "items": items, **fields}), url=URL)


def k2(*items: Any, site: Any = None, url: str = URL) -> Document:
    """K2's JSON of a list."""
    site = {"url": "http://k.example/joomla", "name": "K &amp; K"} if site is None else site
    return parse(orjson.dumps({"site": site, "items": items}), url=url)


def only(document: Document) -> Entry:
    """The one entry of a JSON Feed."""
    (entry,) = document.entries
    return entry


@pytest.mark.parametrize(
    ("title", "content_type", "expected"),
    [
        (rb"a\ud83db", "", "ab"),
        (b"caf\xe9", "application/json; charset=iso-8859-1", "caf\u00e9"),
        (b"caf\xe9", "", "caf\u00e9"),
        ("\u65e5\u672c\u8a9e".encode() + b"\xe6", "", "\u65e5\u672c\u8a9e\ufffd"),
        (b"a\x0b\tb\nc", "", "a b c"),
    ],
)
def test_a_character_that_json_forbids_costs_itself(
    title: bytes, content_type: str, expected: str
) -> None:
    """The other articles of the feed are read, and the rest of its title."""
    body = b'{"version": "%b", "items": [{"id": "1", "title": "%b"}, {"id": "2", "title": "x"}]}'
    document = parse(body % (VERSION.encode(), title), url=URL, content_type=content_type)
    drafts, rejects = compose_all(document, name=URL)
    assert ([expected, "x"], []) == ([draft.title for draft in drafts], rejects)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, URL),
        ({"feed_url": "http://j.example/own.json"}, "http://j.example/own.json"),
        ({"feed_url": "/own.json"}, "http://j.example/own.json"),
        ({"feed_url": "http://[x"}, URL),
        ({"feed_url": 7}, URL),
    ],
)
def test_the_address_of_a_feed(fields: dict[str, Any], expected: str) -> None:
    """What it says, resolved; a wrong type of the feed's own costs no article."""
    document = feed({"id": "1"}, **fields)
    assert (expected, 1) == (document.url, len(document.entries))


@pytest.mark.parametrize(
    ("item", "field", "expected"),
    [
        ({"id": 5}, "guid", "5"),
        ({"id": 1.5}, "guid", "1.5"),
        ({"id": None, "title": "x"}, "guid", ""),
        ({"id": "1", "external_url": "http://o.example/"}, "url", "http://o.example/"),
        ({"id": "1", "authors": [{"url": "x"}, {"name": "P"}]}, "authors", ("P",)),
        ({"id": "1", "author": {"name": "P"}}, "authors", ("P",)),
        ({"id": "1", "tags": ["a", 5]}, "categories", ("a",)),
        ({"id": "1", "banner_image": "/b.png"}, "image", "/b.png"),
        ({"id": "1", "date_published": "0000-00-00"}, "published", None),
        ({"id": "1", "date_published": "0000-00-00"}, "raw_published", "0000-00-00"),
        ({"id": "1", "content_text": "a\n\nb"}, "content_html", "<p>a</p>\n<p>b</p>"),
        ({"id": "1", "date_published": 1513960867}, "raw_published", "1513960867"),
        ({"id": "1"}, "detail", Detail.FEED),
    ],
)
def test_items(item: dict[str, Any], field: str, expected: object) -> None:
    """Each row shows one field of an item."""
    assert expected == getattr(only(feed(item)), field)


@pytest.mark.parametrize(
    ("item", "field", "expected"),
    [
        ({"id": True}, "guid", ""),
        ({"tags": "abc"}, "categories", ("abc",)),
        ({"authors": "P"}, "authors", ("P",)),
        ({"authors": ["P", 5, {"name": ["Q"]}]}, "authors", ("P",)),
        ({"authors": {"name": "P"}}, "authors", ("P",)),
        ({"author": "P"}, "authors", ("P",)),
        ({"attachments": "a"}, "enclosures", ()),
        ({"attachments": {"url": "a"}}, "enclosures", (Enclosure(url="a", type=""),)),
        ({"content_html": ["x"], "content_text": "y"}, "content_html", "<p>y</p>"),
        ({"title": 1_000}, "title", "1000"),
        ({"url": 5, "date_published": {}}, "raw_published", ""),
        ({"_dateline": 5}, "categories", ()),
    ],
)
def test_a_wrong_value_costs_only_itself(item: Any, field: str, expected: object) -> None:
    """What stands in the wrong place is read, what makes no sense is left out."""
    document = feed(item)
    assert expected == getattr(only(document), field)
    assert () == document.rejects


def test_an_item_that_is_none_is_one_reject() -> None:
    """It names the value, and the next item is taken."""
    document = feed(5, {"id": "2"})
    assert ["2"] == [entry.guid for entry in document.entries]
    assert [("item 1", "article: must be a JSON object (got 5)")] == [
        (r.where, r.reason) for r in document.rejects
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(9, 9), (9.0, 9), (None, 0), (-1, 0), ("9", 0), (1e300, 0), (2**63, 0), (True, 1)],
)
def test_sizes_of_attachments(size: Any, expected: int) -> None:
    """A number that cannot be written as JSON again is left out: one such item would end a whole
    batch."""
    attachment = {"url": "http://j.example/a", "size_in_bytes": size}
    (draft,), _ = compose_all(
        feed({"id": "1", "title": "x", "attachments": [attachment]}), name="x"
    )
    assert expected == draft.enclosures[0].length
    assert draft.to_doc()


@pytest.mark.parametrize(
    ("item", "field", "expected"),
    [
        ({}, "guid", "http://k.example/joomla/item/1-a"),
        ({}, "url", "http://k.example/joomla/item/1-a"),
        ({"introtext": "<p>a</p>", "fulltext": "<p>b</p>"}, "content_html", "<p>a</p>\n<p>b</p>"),
        ({"introtext": "<p>a</p>", "fulltext": None}, "content_html", "<p>a</p>"),
        ({"created": "2026-01-05 10:30:20"}, "published",
         datetime(2026, 1, 5, 10, 30, 20, tzinfo=UTC)),
        ({"modified": "0000-00-00 00:00:00"}, "updated", None),
        ({"author": [], "category": False, "tags": None}, "authors", ()),
        ({"category": {"name": "Harbour News"}}, "categories", ("Harbour News",)),
        ({"tags": [{"name": "Ice"}]}, "tags", ("Ice",)),
        ({"language": "*"}, "language", ""),
        ({"language": "en-GB"}, "language", "en-GB"),
    ],
)  # fmt: skip
def test_k2_items(item: dict[str, Any], field: str, expected: object) -> None:
    """Times are UTC, links are the site's; PHP's empty objects are lists."""
    assert expected == getattr(only(k2({"link": "/joomla/item/1-a", **item})), field)


@pytest.mark.parametrize("link", [None, "", "http://[x"])
def test_a_k2_item_without_a_link_is_a_reject(link: str | None) -> None:
    """All such items would have the site's address as their identity, and be one article."""
    document = k2({"title": "a", "link": link}, {"title": "b", "link": "/b"})
    assert ["http://k.example/b"] == [entry.guid for entry in document.entries]
    assert ["item 1"] == [reject.where for reject in document.rejects]


def test_the_site_of_k2() -> None:
    """Its title is cleaned; links lead somewhere even if it does not say where it is."""
    assert ("K & K", URL) == (k2().title, k2().url)
    assert "http://k.example/joomla" == k2(url="").url
    assert "http://j.example/item/1" == only(k2({"link": "/item/1"}, site={"url": 5})).guid


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"title": "x"}\n{"title": "y"}',
        b'{"title": "x"}\r\n\r\n{"title": "y"}\r\n',
        b'[{"title": "x"}, {"title": "y"}]',
        '[{"title": "x"}, {"title": "y"}]'.encode("utf-16"),
    ],
)
def test_records_of_any_editor(body: bytes) -> None:
    """Marks, line ends and UTF-16; they are records, and know where they came from."""
    document = parse(body, url=URL)
    assert ("records", URL) == (document.kind, document.url)
    assert [("x", Detail.RECORD), ("y", Detail.RECORD)] == [
        (e.title, e.detail) for e in document.entries
    ]


def test_a_date_out_of_range_costs_one_record() -> None:
    """The date has the form of RFC 3339, but such a moment does not exist."""
    document = parse(b'[{"title": "a", "published": "0001-01-01T00:00:00+14:00"}, {"title": "b"}]')
    assert ["b"] == [entry.title for entry in document.entries]
    assert document.rejects[0].reason.startswith("published: ")


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 50_000, b'{"a"\n' * 1_000, b"{}}", b'{"id": 1e999}']
)
def test_no_json(body: bytes) -> None:
    """Depth and garbage come to one clear error."""
    with pytest.raises(ParseFailed):
        parse(body)
