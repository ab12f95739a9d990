"""From entries to drafts: identity, titles, bounds; and entries from JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from service.articles import sanitize, urls
from service.articles.article import Detail, Enclosure, Entry, article_id
from service.articles.compose import (
    MAX_CONTENT_CHARS,
    attribution,
    compose,
    contents_of,
    first_sentence,
    shorten,
)
from service.articles.input import entry_from_json
from service.articles.text import Plain
from service.errors import InvalidInput
from tests.effort import assert_linear
from workers.ingest.identify import FILE_SOURCE, identify
from workers.ingest.parse import Document

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_a_draft_is_clean_and_known() -> None:
    """Markup, names, URLs and categories, each by its rule."""
    draft = compose(
        Entry(
            guid=" g ",
            url="/a",
            title="<b>T</b> &amp; more",
            content_html="<p>x<script>1</script></p>",
            authors=("<i>A</i>", "A", ""),
            categories=("Media  Center/News", "media-center/news"),
            tags=("t", "t"),
            image="i.png",
            enclosures=(Enclosure(url="a.mp3", type="", length=-1), Enclosure(url="javascript:x")),
            base_url="http://s.example/b/",
        ),
        source="s",
    )
    assert article_id("s", "g") == draft.id
    assert ("T & more", "<p>x</p>", "x") == (draft.title, draft.content_html, draft.summary)
    assert ("http://s.example/a", "http://s.example/b/i.png") == (draft.url, draft.image)
    assert (("A",), ("t",)) == (draft.authors, draft.tags)
    assert [("media-center/news", ("Media Center", "News"))] == [
        (c.path, c.titles) for c in draft.categories
    ]
    assert (Enclosure(url="http://s.example/b/a.mp3", type="audio/mpeg"),) == draft.enclosures


@pytest.mark.parametrize(
    ("url", "named", "expected"),
    [
        ("http://m.example/track/talk.mp3?source=feed", "", "audio/mpeg"),
        ("http://m.example/talk.M4A", "", "audio/x-m4a"),
        ("http://m.example/talk.mp3", "audio/x-mp3", "audio/mpeg"),
        ("http://m.example/talk.mp3", "application/octet-stream", "audio/mpeg"),
        ("http://m.example/talk.mp3", "audio/ogg", "audio/ogg"),
        ("http://m.example/plan.pdf", "pdf", "application/pdf"),
        ("http://m.example/", "", "application/octet-stream"),
        ("http://m.mp3/talk", "", "application/octet-stream"),
    ],
)
def test_types_of_files(url: str, named: str, expected: str) -> None:
    """As they are named, else by the ending of the path."""
    assert expected == urls.media_type(url, named)


def test_a_file_without_a_page_is_the_link() -> None:
    """But not the identity, which older versions did not make of it."""
    entry = Entry(title="t", enclosures=(Enclosure(url="http://m.example/a.mp3"),))
    draft = compose(entry, source="s")
    assert "http://m.example/a.mp3" == draft.url
    assert draft.guid.startswith("urn:sha256:")


def test_identity_falls_back_to_url_and_text() -> None:
    """Guid, else URL, else a hash of title, day and text, which stays the same."""
    by_url = compose(Entry(url="http://s.example/a", title="t"), source="s")
    assert "http://s.example/a" == by_url.guid
    text = Entry(title="t", content_html="<p>x</p>", published=NOON)
    assert compose(text, source="s").id == compose(text, source="s").id
    other = Entry(title="t", content_html="<p>y</p>", published=NOON)
    assert compose(text, source="s").id != compose(other, source="s").id


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (Entry(guid="1"), "title"),
        (Entry(title=" <b></b> "), "title"),
        (Entry(url="http://s.example/a", detail=Detail.RECORD), "title"),
        (Entry(title="t", categories=("!!",), detail=Detail.RECORD), "category"),
        (Entry(title="t", categories=("a/b/c/d/e/f/g/h/i",), detail=Detail.RECORD), "category"),
        (Entry(title="t", content_html="x" * (MAX_CONTENT_CHARS + 1)), "content_html"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(entry: Entry, field: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInput) as caught:
        compose(entry, source="s")
    assert field == caught.value.field
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("year", [1, 1899, 1970])
def test_dates_that_mean_none_are_none(year: int) -> None:
    """0001-01-01, 1899-12-30 and the start of the epoch mean that there is no date."""
    moment = datetime(year, 1, 1, tzinfo=UTC)
    assert compose(Entry(title="t", published=moment), source="s").published is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One sentence. And two.", "One sentence"),
        ("Is it? Yes.", "Is it?"),
        ("He said “no.” Then left.", "He said “no.”"),
        ("No end at all", "No end at all"),
        ("Version 2.5 is out. Get it.", "Version 2.5 is out"),
        ("هل هذا خبر؟ نعم.", "هل هذا خبر؟"),
        ("first line\nsecond line.", "first line"),
        ("word " * 50, ("word " * 23).strip() + "…"),
        ("x" * 200, "x" * 119 + "…"),
    ],
)
def test_first_sentence(text: str, expected: str) -> None:
    """Cut at a word, without its full stop."""
    assert expected == first_sentence(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Words. (Source: Harbour Office)", "Harbour Office"),
        ("Words. ( source :  The Harbour's Office ).", "The Harbour's Office"),
        ("كلمات (المصدر: مكتب الميناء)", "مكتب الميناء"),
        ("(Source: early) and more words", ""),
        ("nothing", ""),
    ],
)
def test_attribution(text: str, expected: str) -> None:
    """Only as the last words."""
    assert expected == attribution(text)


def test_shorten_leaves_no_comma_behind() -> None:
    """A comma before the ellipsis is removed."""
    assert "one, two…" == shorten("one, two, three", 12)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"authors": ["A", {"name": "B", "url": "x"}]}, {"authors": ("A", "B")}),
        ({"content_text": "a\n\nb <c>"}, {"content_html": "<p>a</p>\n<p>b &lt;c&gt;</p>"}),
        ({"published": "2026-01-05T13:00:00+01:00"},
         {"published": NOON, "raw_published": "2026-01-05T13:00:00+01:00"}),
        ({"enclosures": [{"url": "u", "type": "t", "length": 1}]},
         {"enclosures": (Enclosure(url="u", type="t", length=1),)}),
        ({"url": "http://x.example/"}, {"base_url": "http://x.example/"}),
        ({"source": "s", "id": "ignored", "revision": 3, "status": "live"}, {"source": "s"}),
        ({"title": None}, {"title": ""}),
        ({}, {"detail": Detail.RECORD}),
    ],
)  # fmt: skip
def test_entries_from_json(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each field by its type; null is nothing."""
    entry = entry_from_json(fields)
    assert expected == {name: getattr(entry, name) for name in expected}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"titel": "x"}, "titel"), ({"title": 5}, "title"), ({"tags": "x"}, "tags"),
        ({"tags": ["a", 5]}, "tags[1]"), ({"authors": [{"url": "x"}]}, "authors[0]"),
        ({"published": "2017-12-22"}, "published"), ({"published": "yesterday"}, "published"),
        ({"updated": 5}, "updated"), ({"enclosures": ["x"]}, "enclosures[0]"),
        ({"enclosures": [{"url": "u", "size": 1}]}, "enclosures[0]"),
        ({"enclosures": [{"url": "u", "length": True}]}, "enclosures[0].length"),
        ({"enclosures": [{"length": 1}]}, "enclosures[0].url"), ({"tags": ["a"] * 51}, "tags"),
    ],
)  # fmt: skip
def test_json_that_is_refused(fields: dict[str, Any], field: str) -> None:
    """By the name of the field, with its value."""
    with pytest.raises(InvalidInput) as caught:
        entry_from_json(fields)
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("url", "entry", "expected"),
    [
        ("http://s.example/feed", Entry(guid="41"), ("http://s.example/feed", "41")),
        ("http://s.example/feed", Entry(guid="http://s.example/1"),
         ("s.example", "http://s.example/1")),
        ("https://S.example:443/other", Entry(guid="http://s.example/1"),
         ("s.example", "http://s.example/1")),
        ("http://s.example/feed", Entry(guid="http://victim.example/1"),
         ("http://s.example/feed", "http://victim.example/1")),
        ("http://s.example/feed", Entry(url="http://s.example/2"),
         ("s.example", "http://s.example/2")),
        ("", Entry(guid="41"), (FILE_SOURCE, "41")),
        ("", Entry(source="mine", guid="41"), ("mine", "41")),
        ("http://s.example/feed", Entry(source="victim", guid="41"),
         ("http://s.example/feed", "41")),
    ],
)  # fmt: skip
def test_identity_by_same_origin(url: str, entry: Entry, expected: tuple[str, str]) -> None:
    """No feed speaks for another host, and no network record names its own source."""
    assert expected == identify(Document(kind="rss", url=url, entries=(entry,)), entry, name="n")


def test_pages_without_links_are_known_by_file_category_and_day() -> None:
    """And by their place from the bottom of the page, where new ones are added on top."""
    first, second = (
        Entry(title=t, categories=("A",), published=NOON, content_html=t) for t in ("1", "2")
    )
    before = Document(kind="text", entries=(first,))
    after = Document(kind="text", entries=(second, first))
    known = identify(before, first, name="page.txt")
    assert known == identify(after, first, name="page.txt")
    assert known != identify(after, second, name="page.txt")
    assert known != identify(before, first, name="other.txt")


@pytest.mark.parametrize("text", ["." * 400_000 + "x", '?"' * 200_000 + "x", "(source: a" * 40_000])
def test_hostile_texts_take_linear_time(text: str) -> None:
    """Their ends are looked for in a part of them, or once."""
    for work in (first_sentence, attribution):
        assert_linear(work, text)


def test_contents_of_several_entries_are_those_of_each() -> None:
    """In their order; one over its bound has none, and is refused when it is composed."""
    texts = ["<b>a</b>", Plain("<b>"), "x" * (MAX_CONTENT_CHARS + 1), "", "<a href='/c'>c</a>"]
    entries = [
        Entry(title="T", content_html=text, base_url=f"http://n{at}.example/")
        for at, text in enumerate(texts)
    ]
    contents = contents_of(entries)
    assert None is contents[2]
    for at in (0, 1, 3, 4):
        alone = compose(entries[at], source="http://s.example/feed")
        assert (alone.content_html, alone) == (
            contents[at],
            compose(entries[at], source="http://s.example/feed", content=contents[at]),
        )
    with pytest.raises(InvalidInput, match="content_html"):
        compose(entries[2], source="http://s.example/feed", content=contents[2])


def test_several_are_sanitised_as_each_alone() -> None:
    """Whatever is beside them: none, empty, too deep, with ids, with another base."""
    markups = [
        sanitize.Markup("<a href='/x'>x</a>", "http://a.example/"),
        sanitize.Markup(" \n"),
        sanitize.Markup("<div>" * 20_000 + "deep"),
        sanitize.Markup("<a href='#n'>n</a><p id=n>n</p>", "http://b.example/", lambda: "b-"),
        sanitize.Markup("<a href='/x'>x</a>", "http://c.example/"),
    ]
    assert [] == sanitize.html_of_all([])
    alone = [sanitize.html(m.text, base_url=m.base_url, id_prefix=m.id_prefix) for m in markups]
    assert alone == sanitize.html_of_all(markups)
    assert ["http://a.example/x", "http://c.example/x"] == [
        re.findall('href="([^"]*)"', alone[at])[0] for at in (0, 4)
    ]
    assert ("", "<p>deep</p>") == (alone[1], alone[2])
