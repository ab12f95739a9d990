"""The gate: whatever stands in one article, every document that it is in stays readable."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient
from hypothesis import assume, example, given
from hypothesis import strategies as st
from lxml import etree

from service.articles import text
from service.articles.article import Article, Draft, Enclosure, Entry
from service.articles.compose import compose
from service.errors import InvalidInput
from service.feeds import opml, sitemap
from service.feeds.page import Page
from service.feeds.writer import Renderer
from tests.conftest import AUTH, DAY, Get
from tests.waiting import wait_until

ODD = (
    "\x00", "\x01", "\x0b", "\x1b", "\x7f", "\x85", "\x92", "\ud800", "\udfff", "\ufdd0", "\ufffe",
    "\uffff", "\U0001fffe", "\U0010ffff", "\u0301", "e", "<", "&", "&#1;", "&#x301;", "]]>", "\r",
    "\n", "\t", " ", "\u2028", "\u202e", "\ufeff", "😀", "<b>", "</b>", "<font>", "é",
)  # fmt: skip
ANYTHING = st.lists(
    st.sampled_from(ODD) | st.text(st.characters(exclude_categories=()), max_size=5), max_size=8
).map("".join)
MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
ENTRIES = st.builds(
    Entry,
    guid=ANYTHING,
    url=ANYTHING.map("http://s.example/{}".format) | ANYTHING,
    title=ANYTHING,
    summary=ANYTHING,
    content_html=ANYTHING,
    authors=st.lists(ANYTHING, max_size=2).map(tuple),
    categories=st.lists(ANYTHING, max_size=2).map(tuple),
    tags=st.lists(ANYTHING, max_size=2).map(tuple),
    language=ANYTHING | st.just("e\x0bn"),
    image=ANYTHING.map("http://s.example/{}".format),
    enclosures=st.builds(
        Enclosure,
        url=ANYTHING.map("http://s.example/{}".format),
        type=ANYTHING,
        length=st.integers(-1, 10**30),
    ).map(lambda enclosure: (enclosure,)),
    attribution=ANYTHING,
    published=MOMENTS,
    raw_published=ANYTHING,
    updated=MOMENTS,
)


def strings(draft: Draft) -> list[str]:
    """Every string of a draft."""
    found = [
        draft.id, draft.source, draft.guid, draft.url, draft.title, draft.summary,
        draft.content_html, *draft.authors, *draft.tags, draft.language, draft.image,
        draft.attribution, draft.raw_published,
    ]  # fmt: skip
    for category in draft.categories:
        found += [category.path, *category.titles]
    for enclosure in draft.enclosures:
        found += [enclosure.url, enclosure.type]
    return found


def kept(draft: Draft) -> Article:
    """The draft as storage would keep it."""
    fields = orjson.loads(draft.to_doc())
    fields |= {
        "published": "2017-12-22T16:41:07.000Z", "updated": "2017-12-22T16:41:07.000Z",
        "first_seen": "2017-12-22T16:41:07.000Z", "revision": 1,
        "content_hash": draft.content_hash, "status": "live",
    }  # fmt: skip
    return Article.from_dict(fields)


def ordinary(title: str) -> Draft:
    """An article in which every value is usual."""
    entry = Entry(title=title, content_html=f"<p>{title}</p>", published=DAY, categories=("News",))
    return compose(entry, source="http://s.example/feed")


def documents(drafts: list[Draft]) -> dict[str, bytes]:
    """Everything that shows these articles, by name; `json` in the name of what is JSON."""
    articles = [kept(draft) for draft in drafts]
    titles = {path: t for d in drafts for c in d.categories for path, t in c.lineage()}
    renderer = Renderer(site_title="S", base_url="http://n.example", language="en", zone=UTC)
    made = {
        extension: renderer.render(Page("all"), extension, articles, titles)
        for extension in ("rss", "atom", "json")
    }
    made["news sitemap"] = sitemap.news(
        articles, site_title="S", language="en", base_url="http://n.example"
    )
    made["opml"] = opml.render(titles, views={}, site_title="S", base_url="http://n.example")
    made["article json"] = articles[1].to_json()
    return made


@given(ENTRIES, ANYTHING)
@example(Entry(title="x", language="e\x0bn"), "s")
@example(Entry(title="x", guid="g\ud800\x00"), "s\ud800\x01")
@example(Entry(title="x", content_html="<p>e<font>&#x301;</font>&DownBreve;&#11;</p>"), "s")
@example(Entry(content_html="<p>e<b>\u0301</b> first</p>"), "s")
@example(Entry(title="x", guid="\r\x00\n"), "\r\x00\n")
def test_whatever_stands_in_an_article_is_read_by_strict_parsers(entry: Entry, source: str) -> None:
    """Any Unicode in any field: every document parses, with the other articles in it."""
    try:
        odd = compose(entry, source=source)
    except InvalidInput:
        assume(False)
    for value in strings(odd):
        assert value == text.without_forbidden(value)
        etree.Element("x").text = value
    for value in set(strings(odd)) - {odd.guid, odd.source}:
        assert unicodedata.is_normalized("NFC", value)
    made = documents([ordinary("Before"), odd, ordinary("After")])
    for name, body in made.items():
        if "json" in name:
            orjson.loads(body)
        else:
            etree.fromstring(body, etree.XMLParser(resolve_entities=False))
        if name in ("rss", "atom", "json"):
            assert b"Before" in body
            assert b"After" in body


@pytest.mark.parametrize(
    ("given_tag", "tag"),
    [
        ("en", "en"),
        (" EN_us ", "EN-us"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("en_US.UTF-8", "en-US"),
        ("de_DE@euro", "de-DE"),
        ("x-klingon", "x-klingon"),
        ("i-klingon", "tlh"),
        ("zh_min_nan", "nan"),
        ("en-GB-oed", "en-GB-oxendict"),
        ("i-enochian", "i-enochian"),
        ("e\x0bn", ""),
        ("English", ""),
        ("en-", ""),
        ("e", ""),
        ("*", ""),
        ("日本語", ""),
        ("en-" + "a-" * 30 + "a", ""),
        ("NaN", ""),
        ("nan", "nan"),
        ("nan-Latn-TW", "nan-Latn-TW"),
        ("null", ""),
        ("None", ""),
        ("undefined", ""),
        ("en-null", "en"),
        ("en_None", "en"),
        ("pt-undefined", "pt"),
        ("fr-NaN", "fr"),
        ("null-null", ""),
        ("undefined-US", ""),
        ("zh-nan", "zh-nan"),
        ("und", ""),
        ("UND", ""),
        ("und-Latn", "und-Latn"),
        ("non", "non"),
        ("", ""),
    ],
)
def test_a_language_is_a_tag_or_nothing(given_tag: str, tag: str) -> None:
    """RFC 5646, the spellings of POSIX, and the slips of programs."""
    assert tag == text.language_tag(given_tag)


@pytest.mark.parametrize("length", [1, text._SHORT, text._SHORT + 1, 5_000])
@pytest.mark.parametrize("odd", [c for c in ODD if c != text.without_forbidden(c)])
def test_a_forbidden_character_is_found_in_short_and_long_text(odd: str, length: int) -> None:
    """Both ways of looking for one see the same."""
    for filler in ("a", "é", "語", "😀", "\n"):
        there = filler * length + odd + filler * length
        assert odd not in text.normalized(there)
        assert text.normalized(there).count(filler) == 2 * length


def test_identifiers_keep_their_form() -> None:
    """Two guids that differ in their Unicode form alone are two, as RFC 4287 4.2.6.1 has it."""
    first, second = (
        compose(Entry(title="x", guid=guid), source="s") for guid in ("caf\u00e9", "cafe\u0301")
    )
    assert "cafe\u0301" == second.guid
    assert first.id != second.id


async def test_an_odd_language_harms_no_feed(
    client: TestClient[Any, Any], aggregating: None, get: Get
) -> None:
    """A push with U+000B in it made RSS, Atom and the news sitemap of everything a 500."""
    now = datetime.now(UTC).isoformat()
    items = [
        {"title": title, "guid": title, "language": language, "published": now}
        for title, language in (("Plain", "en"), ("Odd", "e\x0bn"))
    ]
    async with client.post("/api/v1/articles", json=items, headers=AUTH) as response:
        assert ["created"] * 2 == [receipt["status"] for receipt in await response.json()]

    async def both_shown() -> bool:
        body = await get("/feeds/all.rss")
        return b"Plain" in body and b"Odd" in body

    await wait_until(both_shown)
    for path in ("/feeds/all.rss", "/feeds/all.atom", "/news-sitemap.xml"):
        body = await get(path)
        etree.fromstring(body)
        assert b"Plain" in body
        assert b"Odd" in body


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/v1/views", {"name": "odd", "title": "a\x01\ufffeb"}),
        ("/api/v1/sources", {"url": "http://127.0.0.1:9/f", "category": "a\x01\ufffeb"}),
        (
            "/api/v1/sources",
            {"url": "http://127.0.0.1:9/f", "category": "c", "mapping": {"a\x01": "b\x01"}},
        ),
    ],
)
async def test_odd_titles_of_other_things_harm_no_document(
    client: TestClient[Any, Any], get: Get, path: str, fields: dict[str, object]
) -> None:
    """Titles of views stand in feeds, categories of sources in lists of them."""
    async with client.post(path, json=fields, headers=AUTH) as response:
        assert 201 == response.status
    for document in ("/feeds/views/odd.rss", "/feeds/views/odd.atom", "/feeds.opml"):
        if "views" in path or "opml" in document:
            etree.fromstring(await get(document))
    etree.fromstring(await get("/api/v1/sources.opml", **AUTH))


@pytest.mark.parametrize("field", ["title", "summary", "attribution", "raw_published", "url"])
@pytest.mark.parametrize("value", ["e\u0301", "x\x01y", "a\r\nb", "\ud800z", "\u0301"])
def test_a_draft_is_normalised_whatever_field_is_odd(field: str, value: str) -> None:
    """Each field by itself; names beside it, and what is too long, too."""
    draft = replace(ordinary("Usual"), **{field: value}, authors=("Ann", "A\u0301"), tags=("é",))
    assert text.normalized(value) == getattr(draft, field)
    assert (("Ann", "Á"), ("é",)) == (draft.authors, draft.tags)
    cut = replace(ordinary("Usual"), title="t" * 600, tags=("g" * 300,))
    assert (500, 200) == (len(cut.title), len(cut.tags[0]))
