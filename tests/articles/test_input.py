"""Entries from JSON: each field is checked, and named where it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from service.articles.article import Detail, Enclosure, Entry
from service.articles.input import MAX_LIST_ITEMS, entry_from_json
from service.errors import InvalidInput
from tests.composing import NOON, article

MOMENT = datetime(2026, 1, 5, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Entry(detail=Detail.RECORD)),
        ({"title": None, "authors": None}, Entry(detail=Detail.RECORD)),
        ({"title": "T", "guid": "g", "source": "s"},
         Entry(title="T", guid="g", source="s", detail=Detail.RECORD)),
        ({"url": "http://a.example/1"},
         Entry(url="http://a.example/1", base_url="http://a.example/1", detail=Detail.RECORD)),
        ({"authors": ["A", {"name": "B", "url": "x"}]},
         Entry(authors=("A", "B"), detail=Detail.RECORD)),
        ({"categories": ["A/B"], "tags": ["t"]},
         Entry(categories=("A/B",), tags=("t",), detail=Detail.RECORD)),
        ({"enclosures": [{"url": "u"}]}, Entry(
            enclosures=(Enclosure(url="u", type="", length=0),), detail=Detail.RECORD)),
        ({"enclosures": [{"url": "u", "type": "a/b", "length": 5}]}, Entry(
            enclosures=(Enclosure(url="u", type="a/b", length=5),), detail=Detail.RECORD)),
        ({"id": 5, "revision": "x", "first_seen": None, "status": [], "content_hash": {}},
         Entry(detail=Detail.RECORD)),
    ],
)  # fmt: skip
def test_taken(fields: dict[str, Any], expected: Entry) -> None:
    """Valid fields are kept as they are; null is an absent field; fields that storage decides are
    ignored."""
    assert expected == entry_from_json(fields)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"titel": "x"}, "titel", "'x'"),
        ({"titel": None}, "titel", "None"),
        ({"form": 3}, "form", "3"),
        ({"base_url": "x"}, "base_url", "'x'"),
        ({"title": 5}, "title", "5"),
        ({"title": ["x"]}, "title", "['x']"),
        ({"content_html": True}, "content_html", "True"),
        ({"authors": "Pia"}, "authors", "'Pia'"),
        ({"authors": ["Pia", 5]}, "authors[1]", "5"),
        ({"authors": [{"name": 5}]}, "authors[0]", "5"),
        ({"authors": [{}]}, "authors[0]", "None"),
        ({"categories": [{"name": "A"}]}, "categories[0]", "{'name': 'A'}"),
        ({"tags": {"a": 1}}, "tags", "{'a': 1}"),
        ({"enclosures": ["u"]}, "enclosures[0]", "'u'"),
        ({"enclosures": [{"href": "u"}]}, "enclosures[0]", "{'href': 'u'}"),
        ({"enclosures": [{}]}, "enclosures[0].url", "None"),
        ({"enclosures": [{"url": "u", "type": 5}]}, "enclosures[0].type", "5"),
        ({"enclosures": [{"url": "u", "length": "5"}]}, "enclosures[0].length", "'5'"),
        ({"enclosures": [{"url": "u", "length": True}]}, "enclosures[0].length", "True"),
        ({"enclosures": [{"url": "u", "length": -1}]}, "enclosures[0].length", "-1"),
        ({"published": 5}, "published", "5"),
        ({"published": "2026-01-05"}, "published", "'2026-01-05'"),
        ({"published": "2026-01-05T10:30:00"}, "published", "'2026-01-05T10:30:00'"),
        ({"published": "5 Jan 2026 10:30 GMT"}, "published", "'5 Jan 2026 10:30 GMT'"),
        ({"updated": "0001-01-01T00:00:00+14:00"}, "updated", "'0001-01-01T00:00:00+14:00'"),
        ({"updated": "9999-12-31T23:59:59-14:00"}, "updated", "'9999-12-31T23:59:59-14:00'"),
    ],
)  # fmt: skip
def test_refused(fields: dict[str, Any], name: str, value: str) -> None:
    """The error names the field and the value."""
    with pytest.raises(InvalidInput) as caught:
        entry_from_json({"guid": "1", **fields})
    assert (name, value) == (caught.value.field, caught.value.value)


@pytest.mark.parametrize("name", ["authors", "categories", "tags", "enclosures"])
def test_lists_are_bounded(name: str) -> None:
    """A list with more than MAX_LIST_ITEMS items is refused."""
    item: Any = {"url": "u"} if name == "enclosures" else "x"
    assert MAX_LIST_ITEMS == len(getattr(entry_from_json({name: [item] * MAX_LIST_ITEMS}), name))
    with pytest.raises(InvalidInput, match=f"{name}: must be a list of at most {MAX_LIST_ITEMS}"):
        entry_from_json({name: [item] * (MAX_LIST_ITEMS + 1)})


@pytest.mark.parametrize(
    "text",
    ["2026-01-05T10:30:00Z", "2026-01-05t10:30:00z", "2026-01-05T11:30:00.000+01:00",
     "2026-01-05T10:30:00-00:00"],
)  # fmt: skip
def test_dates(text: str) -> None:
    """RFC 3339 in UTC; the text is kept, unless there is another."""
    entry = entry_from_json({"published": text, "updated": text})
    assert (MOMENT, MOMENT, text) == (entry.published, entry.updated, entry.raw_published)
    assert "x" == entry_from_json({"published": text, "raw_published": "x"}).raw_published


def test_text_becomes_paragraphs_where_there_is_no_markup() -> None:
    """Escaped; markup, if there is any, goes before it."""
    assert "<p>a &lt;b&gt;</p>\n<p>c</p>" == (
        entry_from_json({"content_text": "a <b>\n\nc"}).content_html
    )
    both = {"content_text": "a", "content_html": "<p>b</p>"}
    assert "<p>b</p>" == entry_from_json(both).content_html
    assert "<p>a</p>" == entry_from_json({**both, "content_html": ""}).content_html


def test_an_exported_article_is_taken_back() -> None:
    """Every field of an article is known."""
    enclosures = (Enclosure(url="u", type="a/b", length=1),)
    exported = article(
        url="http://a.example/", content_html="<p>c</p>", authors=("A",), tags=("t",),
        language="en", enclosures=enclosures, attribution="x", raw_published="r", revision=2,
        first_seen=NOON + timedelta(days=1),
    )  # fmt: skip
    entry = entry_from_json(orjson.loads(exported.to_json()))
    assert (("A",), ("a/b",), enclosures, NOON, "r") == (
        entry.authors,
        entry.categories,
        entry.enclosures,
        entry.published,
        entry.raw_published,
    )
