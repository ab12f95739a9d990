"""What validators of feeds want, in articles that have little or odd things in them."""

from __future__ import annotations

from datetime import UTC
from html import unescape
from typing import Any

import orjson
import pytest
from lxml import etree

from service.articles.article import Article
from service.feeds import opml
from service.feeds.page import Page, Period
from service.feeds.writer import Renderer
from tests.composing import compose_all, full_article
from workers.ingest.parse import parse

PAGE = Page("media-center")
TITLES = {"media-center": "R&D <news>", "media-center/coalition-news": "A < B & C"}
ATOM = "{http://www.w3.org/2005/Atom}"
PLAIN = b"R&#x26;D &#x3C;news&gt; \xc2\xb7 Tern &#x26; Co"


def render(article: Article, extension: str, *, is_brief: bool = False) -> bytes:
    """A feed of one article."""
    renderer = Renderer(
        site_title="Tern & Co", base_url="http://news.example", language="en", zone=UTC
    )
    return renderer.render(PAGE, extension, [article], TITLES, is_brief=is_brief)


def bare(**fields: Any) -> Article:
    """An article with a title alone, and these fields."""
    nothing = {"summary": "", "content_html": "", "enclosures": (), "authors": (), "tags": ()}
    return full_article(1, **{**nothing, "title": "Only <a> title & no text", **fields})


@pytest.mark.parametrize(
    ("article", "field", "text"),
    [
        (bare(), "content_text", "Only <a> title & no text"),
        (bare(summary="S"), "content_text", "S"),
        (bare(content_html="<p>C</p>"), "content_html", "<p>C</p>"),
    ],
)
def test_every_item_of_json_has_a_text(article: Article, field: str, text: str) -> None:
    """JSON Feed 1.1: "one or both must be present"."""
    (item,) = orjson.loads(render(article, "json"))["items"]
    assert {field: text} == {name: item[name] for name in item if name.startswith("content_")}


@pytest.mark.parametrize(
    ("article", "summary", "content"),
    [
        (bare(), "Only <a> title & no text", None),
        (bare(summary="S"), "S", None),
        (bare(content_html="<p>C</p>"), None, "<p>C</p>"),
        (bare(content_html="<p>C</p>", summary="S"), "S", "<p>C</p>"),
    ],
)
def test_every_entry_of_atom_has_a_text(
    article: Article, summary: str | None, content: str | None
) -> None:
    """RFC 4287 4.1.2: a summary where there is no content."""
    (entry,) = etree.fromstring(render(article, "atom")).iter(f"{ATOM}entry")
    assert (summary, content) == (
        entry.findtext(f"{ATOM}summary"), entry.findtext(f"{ATOM}content"),
    )  # fmt: skip


def test_a_brief_entry_has_one_too() -> None:
    """A brief entry has its summary, and not its text."""
    body = render(full_article(1), "atom", is_brief=True)
    (entry,) = etree.fromstring(body).iter(f"{ATOM}entry")
    assert "A summary & more" == entry.findtext(f"{ATOM}summary")
    assert entry.find(f"{ATOM}content") is None


@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
@pytest.mark.parametrize("title", ["Only a title", "Only <picture> & Vec<u8>", "  Two  spaces "])
def test_a_title_is_not_read_back_as_a_text(extension: str, title: str) -> None:
    """One dateline that follows another has the same article."""
    body = render(bare(title=title), extension)
    (draft,), _ = compose_all(parse(body), name="feed", url="http://news.example/feeds/all")
    assert (" ".join(title.split()), "", "") == (draft.title, draft.content_html, draft.summary)


def test_plain_texts_of_rss_do_not_look_like_html() -> None:
    """RSS Advisory Board's profile, character data: hexadecimal references for `&` and `<`."""
    article = full_article(1, title="Vec<u8> & more", authors=("Ida & <Ivo>",), tags=("a<b",))
    body = render(article, "rss")
    for element in (
        b"<title>%b</title><link>" % PLAIN,
        b"<description>R&#x26;D &#x3C;news&gt;</description>",
        b"<image><url>http://news.example/static/icon-144.png</url><title>%b</title>" % PLAIN,
        b"<title>Vec&#x3C;u8&gt; &#x26; more</title>",
        b"<dc:creator>Ida &#x26; &#x3C;Ivo&gt;</dc:creator>",
        b"<category>R&#x26;D &#x3C;news&gt;/A &#x3C; B &#x26; C</category>",
        b"<category>a&#x3C;b</category>",
    ):
        assert element in body
    root = etree.fromstring(body)
    assert "Vec<u8> & more" == root.findtext("channel/item/title")
    # HTML by convention: as it was.
    assert "A summary &amp; more" == root.findtext("channel/item/description")
    assert b"<description>A summary &amp;amp; more</description>" in body


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("&#1; is a control", "html"),
        ("The </marquee> tag", "html"),
        ("Q&A2 & more", "html"),
        ("AT&T, R&D", None),
        ("vector<int> & more", None),
        # A reader that resolves twice would show something else.
        ("The <b>x</b> tag", "text"),
        ("&amp; is an entity", "text"),
    ],
)
def test_atom_says_of_texts_that_look_like_html_what_they_are(text: str, kind: str | None) -> None:
    """Of titles and summaries of entries, and of the feed; what is read back is the same."""
    body = Renderer(site_title=text, base_url="http://n.example", language="en", zone=UTC).render(
        Page("all"), "atom", [bare(title=text, summary=f"{text}!")], {}
    )
    feed = etree.fromstring(body)
    entry = feed.find(f"{ATOM}entry")
    assert entry is not None
    for element in (
        feed.find(f"{ATOM}title"),
        *map(entry.find, (f"{ATOM}title", f"{ATOM}summary")),
    ):
        assert element is not None
        assert kind == element.get("type")
        shown = element.text or ""
        assert text in (unescape(shown) if kind == "html" else shown)
    (draft,), _ = compose_all(parse(body), name="feed", url="http://n.example/feeds/all")
    assert (text, f"{text}!") == (draft.title, draft.summary)


@pytest.mark.parametrize("extension", ["rss", "atom"])
@pytest.mark.parametrize("year", [1970, 1985, 2004])
def test_an_empty_feed_has_no_date_before_there_were_feeds(extension: str, year: int) -> None:
    """W3C: ImplausibleDate."""
    renderer = Renderer(site_title="S", base_url="http://n.example", language="en", zone=UTC)
    body = renderer.render(Page("all", Period(year)), extension, [], {})
    assert (b"2005-12-01" if extension == "atom" else b"01 Dec 2005") in body


def test_names_in_opml_are_the_same_as_text_and_as_html() -> None:
    """The specification takes them for HTML, readers for text; an ampersand stays."""
    titles = {"a": "Vec<u8> & <b>C", "a/b": "<i>"}
    body = opml.render(titles, views={"views/x": "<x>"}, site_title="T <i>", base_url="http://n.x")
    root = etree.fromstring(body)
    names = [root.findtext("head/title"), *(each.get("text") for each in root.iter("outline"))]
    assert [
        "Feeds of T ‹i›", "T ‹i›", "Vec‹u8› & ‹b›C", "Vec‹u8› & ‹b›C", "‹i›", "Views", "‹x›",
    ] == names  # fmt: skip
    shown = [o.attrib["title"] for o in root.iter("outline") if "title" in o.attrib]
    assert shown == [o.attrib["text"] for o in root.iter("outline") if "title" in o.attrib]


def test_a_list_of_sources_is_valid_without_sources_and_without_settings() -> None:
    """A body has an outline, and no namespace is declared in vain."""
    empty = opml.write([], title="T")
    assert () == tuple(opml.read(empty))
    (outline,) = etree.fromstring(empty).iter("outline")
    assert {"text": "No feeds", "isComment": "true"} == dict(outline.attrib)
    plain = opml.FeedLink(url="http://a.example/", title="A")
    assert b"dateline" not in opml.write([plain], title="T")
    odd = opml.FeedLink(url="http://b.example/", title="Vec<u8>", settings={"interval_s": 60})
    assert [plain, odd] == opml.read(opml.write([plain, odd], title="T"))


def test_opml_has_what_its_validators_know() -> None:
    """A folder has a text alone, because a title wants a type."""
    titles = {"a": "A", "a/b": "B"}
    body = opml.render(titles, views={"views/x": "X"}, site_title="T", base_url="http://n.example")
    root = etree.fromstring(body)
    assert ["title"] == [element.tag for element in root.iterfind("head/*")]
    folders = [dict(outline.attrib) for outline in root.iter("outline") if len(outline)]
    assert [{"text": "A"}, {"text": "Views"}] == folders
    assert all("title" in o.attrib for o in root.iter("outline") if "type" in o.attrib)
