"""Pages that are sources without selectors: microformats, and lists of schema.org."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.articles.article import Detail, Entry
from service.errors import ParseFailed
from tests.effort import assert_linear
from workers.ingest.parse import Document, parse

URL = "http://x.example/blog/"
LONG = "The ferry sails again at noon, says the harbour master, and the fog has lifted for good."


def read(body: str, head: str = "") -> Document:
    """Parse a page."""
    page = f"<!doctype html><html lang='en'><head><title>Blog</title>{head}</head>{body}</html>"
    return parse(page.encode(), url=URL)


def entries(body: str, head: str = "") -> list[Entry]:
    """The entries of a page."""
    return list(read(body, head).entries)


def ld(*values: Any) -> str:
    """Each value as JSON-LD."""
    return "".join(
        f'<script type="application/ld+json">{orjson.dumps(value).decode()}</script>'
        for value in values
    )


H_FEED = """<div class="h-feed"><h1 class="p-name">Notes of the quay</h1>
<article class="h-entry"><h2 class="p-name"><a class="u-url" href="1">Ferry &amp; fog</a></h2>
 <time class="dt-published" datetime="2026-01-05T10:00:00Z">today</time>
 <a class="p-author h-card" href="/ann"><img class="u-photo" src="/ann.jpg"> <b class="p-name">Ann
 Tern</b></a>
 <p class="p-summary">Short.</p><div class="e-content"><p>Long <i>text</i>.</p></div>
 <a class="p-category" href="/fog">Fog</a> <img class="u-photo" src="/1.jpg">
 <audio class="u-audio" src="/1.mp3"></audio>
 <div class="h-cite u-in-reply-to"><a class="u-url p-name" href="http://y.example/">Other</a></div>
</article>
<article class="h-entry"><a class="u-url" href="/blog/2"><time class="dt-published"
 datetime="2026-01-04">4 January</time></a><p class="e-content p-name">Just a note about the crane
 that stands still since the morning.</p></article></div>"""


def test_an_h_feed() -> None:
    """Each property of an entry, and none of a card or a citation in it."""
    document = read(H_FEED)
    assert ("h-feed", "Notes of the quay") == (document.kind, document.title)
    first, note = document.entries
    assert ("Ferry & fog", f"{URL}1", f"{URL}1") == (first.title, first.url, first.guid)
    assert datetime(2026, 1, 5, 10, tzinfo=UTC) == first.published
    assert ("<p>Long <i>text</i>.</p>", "Short.") == (first.content_html, first.summary)
    assert (("Ann Tern",), ("Fog",)) == (first.authors, first.categories)
    assert ("http://x.example/1.jpg", Detail.FEED) == (first.image, first.detail)
    assert ["http://x.example/1.mp3"] == [file.url for file in first.enclosures]
    assert ("", "http://x.example/blog/2") == (note.title, note.url)
    assert "Just a note" in note.content_html


@pytest.mark.parametrize(
    ("entry", "field", "expected"),
    [
        ("<a class='p-name' href='3'>T</a>", "url", f"{URL}3"),
        ("<b class='p-name'>T</b><a rel='bookmark' href='3'>#</a>", "url", f"{URL}3"),
        ("<a class='u-url u-uid' href='3'>T</a>", "guid", f"{URL}3"),
        ("<i class='u-uid'>tag:x</i><a class='u-url' href='3'>T</a>", "guid", "tag:x"),
        ("<i class='p-name'>T</i><abbr class='dt-published' title='2026-01-05'>5th</abbr>",
         "raw_published", "2026-01-05"),
        ("<i class='p-name'>T</i><i class='dt-published'><b class='value'>2026-01-05</b> at"
         " <b class='value'>10:00</b></i>", "raw_published", "2026-01-05 10:00"),
        ("<i class='p-name'>T</i><i class='dt-updated'>2026-01-05</i>", "raw_published",
         "2026-01-05"),
        ("<i class='p-name'>T</i><i class='p-author'>Ann</i><i class='p-author'>Ann</i>",
         "authors", ("Ann",)),
        ("<i class='p-name'>T</i><a rel='tag' href='/t'>Fog</a>", "categories", ("Fog",)),
        ("<i class='p-name'>a &lt;b&gt;</i>", "title", "a <b>"),
    ],
)  # fmt: skip
def test_properties(entry: str, field: str, expected: Any) -> None:
    """In all the ways that pages write them."""
    body = f"<div class='h-feed'><p>x</p><div class='h-entry'>{entry}</div>"
    other = "<div class='h-entry'><a class='u-url p-name' href='/2'>Two</a></div></div>"
    assert expected == getattr(entries(body + other)[0], field)


def test_hatom() -> None:
    """The names of before; themes of WordPress have them."""
    body = "".join(
        f"<article class='post hentry'><h2 class='entry-title'><a href='/{number}' rel='bookmark'>"
        f"Story {number}</a></h2><abbr class='published' title='2026-01-0{number}'>x</abbr>"
        f"<span class='author vcard'><a class='fn' href='/ann'>Ann</a></span>"
        f"<div class='entry-content'><p>Text</p></div></article>"
        for number in (1, 2)
    )
    first, second = entries(f"<body class='hfeed'>{body}</body>")
    assert ("Story 1", "http://x.example/1", ("Ann",)) == (first.title, first.url, first.authors)
    assert ("<p>Text</p>", datetime(2026, 1, 2, tzinfo=UTC)) == (
        second.content_html, second.published,
    )  # fmt: skip


def test_the_page_of_one_entry_is_that_article() -> None:
    """With what it has itself, whatever else the page lists."""
    own = f"<article class='h-entry'><h1 class='p-name'>One</h1><p class='e-content'>{LONG}</p>"
    more = "</article><div class='h-entry'><a class='u-url p-name' href='/2'>Two</a></div>"
    document = read(own + more)
    (entry,) = document.entries
    assert ("html", "One", URL, Detail.PAGE) == (
        document.kind, entry.title, entry.url, entry.detail,
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "<article class='hentry'><h1 class='entry-title'>One</h1>"
        f"<div class='entry-content'>{LONG}</div></article>",
        f"<div class='hfeed'><article class='h-entry'>{LONG}</article></div>",
    ],
)
def test_a_theme_that_marks_every_page_marks_nothing(body: str) -> None:
    """Then the page is read as other pages are."""
    document = read(f"<body>{body}</body>", "<meta property='og:title' content='Meta'>")
    assert ["Meta"] == [entry.title for entry in document.entries]


def articles(*numbers: int, **fields: Any) -> list[dict[str, Any]]:
    """Articles in JSON-LD."""
    return [
        {"@type": "NewsArticle", "headline": f"Story {n}", "url": f"/{n}", **fields}
        for n in numbers
    ]


@pytest.mark.parametrize(
    "values",
    [
        articles(1, 2),
        [articles(1, 2)],
        [{"@context": "https://schema.org", "@graph": articles(1, 2)}],
        [{"@type": "ItemList", "itemListElement": [
            {"@type": "ListItem", "position": n + 1, "item": item}
            for n, item in enumerate(articles(1, 2))]}],
        [{"@type": "ItemList", "itemListElement": articles(1, 2)}],
        [{"@type": "ItemList", "itemListElement": [
            {"@type": "ListItem", "url": f"/{n}", "name": f"Story {n}"} for n in (1, 2)]}],
        [{"@type": "ItemList", "itemListElement": [
            {"@type": "ListItem", "item": {"@id": f"http://x.example/{n}", "name": f"Story {n}"}}
            for n in (1, 2)]}],
        [{"@type": "CollectionPage", "mainEntity": {"@type": "ItemList", "itemListElement":
            articles(1, 2)}}],
        [{"@type": "Blog", "blogPost": articles(1, 2)}],
        [{"@type": "http://schema.org/WebPage", "hasPart": articles(1, 2)}],
        [{"@type": "ItemList", "itemListElement": ["/1", "/2"]}],
        [{"@type": "ItemList", "itemListElement": ["/1", "/2"]}, *articles(1, 2)],
    ],
)  # fmt: skip
def test_lists_of_schema_org(values: list[Any]) -> None:
    """In all the shapes that search engines ask for; titles of bare addresses are on the page."""
    links = "<a href='/1'><img></a><a href='/1'>Story 1</a> <a href='/2'>Story 2</a>"
    document = read(f"<body>{links}</body>", ld(*values))
    assert ("schema-list", "Blog") == (document.kind, document.title)
    assert [("Story 1", "http://x.example/1"), ("Story 2", "http://x.example/2")] == [
        (entry.title, entry.url) for entry in document.entries
    ]


def test_all_that_an_article_of_schema_org_has() -> None:
    """Date, authors, section, picture and text."""
    rich = articles(
        1,
        datePublished="2026-01-05T10:00:00Z",
        author=[{"@type": "Person", "name": "Ann"}, "Bo"],
        articleSection=["Fog"],
        image=[{"url": "/1.jpg"}],
        articleBody="One.\n\nTwo < three.",
        description="Short.",
    )
    first, second = entries("", ld(*rich, *articles(2)))
    assert datetime(2026, 1, 5, 10, tzinfo=UTC) == first.published
    assert (("Ann", "Bo"), ("Fog",)) == (first.authors, first.categories)
    assert ("http://x.example/1.jpg", "Short.") == (first.image, first.summary)
    assert ("<p>One.</p>\n<p>Two &lt; three.</p>", Detail.FEED) == (
        first.content_html, first.detail,
    )  # fmt: skip
    assert Detail.TEASER == second.detail


@pytest.mark.parametrize(
    "values",
    [
        [*articles(1, 2), {"@type": "NewsArticle", "headline": "Own", "url": URL}],
        [{"@type": "NewsArticle", "headline": "Own"},
         {"@type": "ItemList", "itemListElement": ["/1", "/2"]}],
        [{"@type": "NewsArticle", "headline": "Own", "mainEntityOfPage": {"@id": URL}},
         {"@type": "ItemList", "itemListElement": ["/1", "/2"]}],
        [{"@type": "BreadcrumbList", "itemListElement": ["/1", "/2"]},
         {"@type": "NewsArticle", "headline": "Own"}],
        [{"@type": "ItemList", "itemListElement": [
            {"item": {"@type": "Product", "name": f"Rope {n}", "url": f"/{n}"}} for n in (1, 2)]}],
        [{"@type": "ItemList", "itemListElement": ["/1"]}],
        [{"@type": ["ItemList", 5], "itemListElement": {"item": [5]}}, 5, None, "x"],
        [{"@type": "NewsArticle", "url": "javascript:x()", "mainEntityOfPage": 5}],
    ],
)  # fmt: skip
def test_pages_that_are_no_lists(values: list[Any]) -> None:
    """An article with others beside it, paths, products, one entry, and nonsense."""
    document = read(f"<body><article><h1>Own</h1><p>{LONG}</p></article></body>", ld(*values))
    assert ["Own"] == [entry.title for entry in document.entries]


def test_long_json_ld_is_no_tag() -> None:
    """It has more quotes than a tag may have attributes, and no bracket."""
    values = articles(*range(3_000), description="It is said: ' ' '.")
    document = read("<body><p>x</p></body>", ld(values))
    assert ("schema-list", 3_000) == (document.kind, len(document.entries))
    huge = "<p a='<script>' " + "b " * 30_000 + "</script>"
    with pytest.raises(ParseFailed, match="a tag of over"):
        read(huge + "<p " + "b " * 30_000 + ">")


def test_deep_json_ld_ends() -> None:
    """A page may nest its objects as it likes."""
    value: Any = {"@type": "ItemList", "itemListElement": ["/1", "/2"]}
    for _ in range(60):
        value = {"@graph": [value]}
    page = f"<body><article><h1>Own</h1><p>{LONG}</p></article></body>"
    assert ["Own"] == [entry.title for entry in entries(page, ld(value))]


@pytest.mark.parametrize(
    "entry",
    [
        "<div class='h-entry'>",
        "<p class='h-entry p-name'>x</p>",
        "<a class='u-url p-author' rel='tag' href='/1'>x</a>",
    ],
)
def test_microformats_take_linear_time(entry: str) -> None:
    """Entries that are nested in each other take linear time, too."""

    def try_to_read(text: str) -> None:
        with suppress(ParseFailed):
            read(f"<div class='h-feed'><div class='h-entry'>{text}")
            read(f"<div class='h-feed'>{text}")

    assert_linear(try_to_read, entry * 4_000)
