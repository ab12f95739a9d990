"""Parsers on recorded documents: each form that is read, and what is hostile or broken."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from service.articles.article import Detail, Enclosure, Entry
from service.errors import ParseFailed
from tests.composing import compose_all
from tests.effort import assert_linear
from tests.running import ROOT
from workers.ingest.parse import Document, FeedLink, parse
from workers.ingest.parse import document as document_module

DATA = ROOT / "tests" / "data"
OSLO = ZoneInfo("Europe/Oslo")
CRANE = "https://www.ternmouth.example/media/3-harbour/item/71-crane-stands-again"


def read(name: str, **options: object) -> Document:
    """Parse a recorded document."""
    return parse((DATA / name).read_bytes(), **options)  # type: ignore[arg-type]


def one(body: str | bytes, **options: object) -> Entry:
    """The one entry of a document."""
    data = body.encode() if isinstance(body, str) else body
    (entry,) = parse(data, **options).entries  # type: ignore[arg-type]
    return entry


def rss(item: str, *, namespaces: str = "") -> str:
    """A feed with one item."""
    return (
        f'<rss version="2.0" {namespaces}><channel><title>t</title>'
        f"<link>http://s.example/</link><item>{item}</item></channel></rss>"
    )


def test_a_k2_date_list() -> None:
    """Teasers with their categories below the breadcrumb; an item without a link is a reject."""
    document = read("k2_date.html", zone=OSLO)
    assert ("k2-list", "https://www.ternmouth.example/media/itemlist/date/2026/1/5") == (
        document.kind,
        document.url,
    )
    crane, soup = document.entries
    assert (CRANE, "Crane stands again", Detail.TEASER) == (crane.guid, crane.title, crane.detail)
    assert ("Media Center/Harbour News",) == crane.categories
    assert datetime(2026, 1, 5, 10, 30, tzinfo=UTC) == crane.published
    assert "Monday, 05 January 2026 11:30" == crane.raw_published
    assert ("Soup for all & sundry", ("Media Center/Town Diary",)) == (soup.title, soup.categories)
    assert ["item 3"] == [reject.where for reject in document.rejects]


def test_a_k2_item_page() -> None:
    """Lead and text, exact times from JSON-LD, no toolbar, no comments, no "Featured"."""
    document = read("k2_item.html", zone=UTC)
    (entry,) = document.entries
    assert ("k2-item", Detail.PAGE, CRANE) == (document.kind, entry.detail, entry.guid)
    assert "Crane stands again" == entry.title
    assert ("Media Center/Harbour News",) == entry.categories
    assert (("Pia Lund",), ("Cranes", "Quay")) == (entry.authors, entry.tags)
    assert datetime(2026, 1, 5, 10, 30, 20, tzinfo=UTC) == entry.published
    assert datetime(2026, 1, 6, 7, 15, tzinfo=UTC) == entry.updated
    assert entry.content_html.startswith("<p>The old crane")
    assert "At last" not in entry.content_html
    assert "/media/crane_L.jpg" == entry.image


def test_all_forms_of_a_k2_item_are_one_article() -> None:
    """The same id; feed and JSON also the same content hash, wrappers and all."""
    drafts = {}
    for name in ("k2_date.html", "k2_item.html", "k2.rss", "k2.json"):
        found, rejects = compose_all(read(name, zone=OSLO), name=name)
        assert [] == rejects
        drafts[name] = found[0]
    assert 1 == len({draft.id for draft in drafts.values()})
    assert {"www.ternmouth.example"} == {draft.source for draft in drafts.values()}
    assert drafts["k2.rss"].content_hash == drafts["k2.json"].content_hash
    assert "Harbour Office" == drafts["k2.rss"].attribution == drafts["k2_item.html"].attribution
    assert "https://www.ternmouth.example/services" in drafts["k2.json"].content_html


def test_a_k2_list_of_nothing() -> None:
    """A valid page without items."""
    page = '<html><body><div class="genericView"><h1>x</h1></div></body></html>'
    assert () == parse(page.encode()).entries


def test_a_page_saved_as_text() -> None:
    """Day, category below what the breadcrumb says, paragraphs as HTML, the words kept."""
    document = read("page.txt", zone=OSLO)
    (entry,) = document.entries
    assert ("text", Detail.PAGE) == (document.kind, entry.detail)
    assert ("Media Center/Harbour News",) == entry.categories
    assert datetime(2026, 1, 4, 23, tzinfo=UTC) == entry.published
    assert 2 == entry.content_html.count("<p>")
    (draft,), _ = compose_all(document, name="page.txt")
    assert "The old crane stands on its feet again, nine weeks after it fell" == draft.title
    assert "Harbour Office's night desk" == draft.attribution


def test_a_text_page_with_several_articles() -> None:
    """Each has its own day line, and a title above it if there is one."""
    newer, older = read("two.txt").entries
    assert ("Crane stands again", ("Harbour News",)) == (newer.title, newer.categories)
    assert ("Soup for all", ("Town Diary",)) == (older.title, older.categories)
    assert "<p>The second article of the page, which is the newer one.</p>" == newer.content_html
    assert "<p>The first article of the page. It has two sentences.</p>" == older.content_html


def test_an_arabic_text_page() -> None:
    """Its own digits, its own month, its own word for "in"."""
    body = (
        "أخبار\n٢٢ كانون الأول ٢٠١٧ في أخبار\n\nنص الخبر هنا.\n\nالرئيسية Items filtered by date: x"
    )
    entry = one(body)
    assert (("أخبار",), datetime(2017, 12, 22, tzinfo=UTC)) == (entry.categories, entry.published)


def test_atom_with_bases_and_types() -> None:
    """xml:base at each level, xhtml, text titles that look like markup, languages."""
    document = read("full.atom", url="http://mirror.example/f")
    assert ("atom", "http://a.example/blog/feed.atom", "Notes & queries") == (
        document.kind,
        document.url,
        document.title,
    )
    first, second = document.entries
    (draft, _), rejects = compose_all(document, name="f")
    assert [] == rejects
    assert ("1 < 2", "http://a.example/blog/2026/one.html") == (draft.title, draft.url)
    assert '<a href="http://a.example/blog/2026/more.html" rel="noopener">' in draft.content_html
    assert "Short & plain" == draft.summary
    assert (Enclosure(url="http://a.example/blog/2026/one.mp3", type="audio/mpeg", length=77),) == (
        draft.enclosures
    )
    assert ("en", "ar") == (first.language, second.language)
    assert datetime(2026, 1, 5, 10, tzinfo=UTC) == first.published
    assert datetime(2026, 1, 4, 12, tzinfo=UTC) == second.published
    assert ("Notes",) == first.categories


def test_rdf() -> None:
    """RSS 1.0: items beside the channel, Dublin Core for the rest."""
    (entry,) = read("old.rdf").entries
    assert ("http://o.example/1", ("Pia Lund",), ("Boats",)) == (
        entry.guid,
        entry.authors,
        entry.categories,
    )
    assert datetime(2026, 1, 5, 9, tzinfo=UTC) == entry.published


def test_json_feed() -> None:
    """1.1 and 1.0 forms; a wrong type is no reject."""
    document = read("feed.json")
    first, second, third = document.entries
    assert ("1", "/one", ("Pia Lund",), ("Boats",)) == (
        first.guid,
        first.url,
        first.authors,
        first.categories,
    )
    assert (
        Enclosure(url="http://j.example/a.mp3", type="audio/mpeg", length=9),
    ) == first.enclosures
    assert ("2", ("Old Style",)) == (second.guid, second.authors)
    assert "<p>Plain</p>\n<p>text &lt;b&gt;</p>" == second.content_html
    assert ("3", "7", ()) == (third.guid, third.title, document.rejects)


def test_opml() -> None:
    """Feeds, with the folders above them as category."""
    assert (
        FeedLink(url="http://a.example/feed", title="A", category="News/Boats Ships"),
        FeedLink(url="http://b.example/feed", title="B", category=""),
    ) == read("list.opml").feeds


@pytest.mark.parametrize(
    ("body", "titles", "rejects"),
    [
        ('{"title": "One"}', ["One"], []),
        ('[{"title": "One"}, {"titel": "x"}, 5]', ["One"], ["item 2", "item 3"]),
        ('{"title": "One"}\n\n{"title": "Two"}\nnonsense\n', ["One", "Two"], ["line 3"]),
    ],
)
def test_records(body: str, titles: list[str], rejects: list[str]) -> None:
    """One article, an array, lines: what is wrong is named by its place."""
    document = parse(body.encode())
    assert titles == [entry.title for entry in document.entries]
    assert rejects == [reject.where for reject in document.rejects]


def test_latin1_by_declaration_and_by_header() -> None:
    """The declared charset; the header's wins; neither: UTF-8, else Windows-1252."""
    assert "Déjà vu" == read("latin1.rss").entries[0].title
    undeclared = rss("<title>D\xe9j\xe0 vu</title>").encode("latin-1")
    assert "Déjà vu" == one(undeclared).title
    greek = rss("<title>Ωμέγα</title>").encode("iso-8859-7")
    assert "Ωμέγα" == one(greek, content_type="text/xml; charset=iso-8859-7").title


def test_one_repair_pass() -> None:
    """Undeclared entities, bare ampersands, forbidden characters; nothing is cut off."""
    (entry,) = read("broken.rss").entries
    assert "http://b.example/x?a=1&b=2" == entry.url
    (draft,), _ = compose_all(read("broken.rss"), name="x")
    assert "Tea & cake &unknown;" == draft.title
    assert "<p>a &nbsp; b &amp; c</p>" == draft.content_html


def test_feedparser_is_the_last_resort() -> None:
    """Tags that never close are no XML after any repair; feedparser finds the item."""
    body = (
        "<rss version='2.0'><channel><title>t</title>"
        "<item><title>Found</title><link>http://x.example/1</link></item>"
    )
    document = parse(body.encode(), url="http://x.example/feed")
    assert 1 == len(document.entries)
    assert "Found" in document.entries[0].title


@pytest.mark.parametrize(
    "body",
    [b"", b"  \n", b"just words", b"{", b"{\n]", b"<html><body><p>short</p></body></html>",
     b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<?xml version='1.0'?><other/>"],
)  # fmt: skip
def test_nothing_can_be_made_of_it(body: bytes) -> None:
    """A body of no known kind is one clear error."""
    with pytest.raises(ParseFailed):
        parse(body)


def test_an_entity_bomb_and_an_external_entity_come_to_nothing() -> None:
    """Neither is expanded nor fetched; the rest of the feed is read."""
    bomb = (
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">'
        '<!ENTITY c SYSTEM "file:///etc/passwd">]>'
    )
    entry = one(bomb + rss("<title>x&b;&c;y</title>"))
    assert "aaaa" not in entry.title
    assert "root:" not in entry.title


@pytest.mark.parametrize(
    "body",
    [
        rss("<title>x</title><description>" + "&lt;div&gt;" * 50_000 + "</description>"),
        rss("<title>x</title><description>&lt;p " + "a='b' " * 100_000 + "&gt;</description>"),
        rss("<title>x</title><description>" + "&lt;!--" * 200_000 + "</description>"),
        rss("<a>" * 5_000 + "</a>" * 5_000 + "<title>x</title>"),
    ],
    ids=["deep", "attributes", "comments", "nested"],
)
def test_hostile_markup_takes_linear_time(body: str) -> None:
    """Bounded work for each; a guard in front of what is quadratic."""

    def work(text: str) -> None:
        with suppress(ParseFailed):
            compose_all(parse(text.encode()), name="x")

    assert_linear(work, body)


def test_too_many_entries_are_a_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first entries are read, and one reject says how many were not."""
    monkeypatch.setattr(document_module, "MAX_ENTRIES", 2)
    document = parse(b'[{"title": "1"}, {"title": "2"}, {"title": "3"}]')
    assert (2, ["the rest"]) == (len(document.entries), [r.where for r in document.rejects])


@pytest.mark.parametrize(
    ("item", "field", "expected"),
    [
        ("<title>t</title><author>a@b.example (Pia)</author>", "authors", ("Pia",)),
        ("<title>t</title><pubDate>garbage</pubDate>", "raw_published", "garbage"),
        ("<title>t</title><pubDate>garbage</pubDate>", "published", None),
        ("<guid>http://x.example/1</guid>", "url", "http://x.example/1"),
        ("<guid isPermaLink='false'>http://x.example/1</guid>", "url", ""),
        ("<title>t</title><category>A</category><category>B</category>", "categories", ("A", "B")),
        ("<title>t</title><media:thumbnail url='i.png'/>", "image", "i.png"),
        ("<title>t</title><media:content url='v.mp4' type='video/mp4'/>", "image", ""),
        ("<title>t</title><enclosure url='a' length='x'/>", "enclosures",
         (Enclosure(url="a", type="", length=0),)),
        ("<title>t</title><description>s</description><content:encoded>c</content:encoded>",
         "summary", "s"),
        ("<title>t</title><georss:point>1 2</georss:point>", "title", "t"),
    ],
)  # fmt: skip
def test_rss_items(item: str, field: str, expected: object) -> None:
    """Each row shows one field of an item."""
    namespaces = (
        'xmlns:media="http://search.yahoo.com/mrss/" xmlns:georss="http://www.georss.org/georss" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/"'
    )
    assert expected == getattr(one(rss(item, namespaces=namespaces)), field)


def test_any_other_page_is_one_article() -> None:
    """JSON-LD and OpenGraph for the facts, <article> for the text, without its navigation."""
    page = (
        '<html lang="de"><head><meta property="og:title" content="Titel">'
        '<meta name="author" content="Pia Lund">'
        '<meta property="article:published_time" content="2026-01-05T10:00:00+01:00">'
        '<meta property="article:section" content="Hafen"><link rel="canonical" href="/a/1"></head>'
        "<body><nav>Menu</nav><article><nav>x</nav><h1>Titel</h1><p>"
        + "Wort " * 40
        + "</p></article>"
    )
    document = parse(page.encode(), url="http://p.example/a/1?utm=1")
    (entry,) = document.entries
    assert ("html", "http://p.example/a/1", Detail.PAGE) == (document.kind, entry.url, entry.detail)
    assert ("Titel", ("Pia Lund",), ("Hafen",), "de") == (
        entry.title,
        entry.authors,
        entry.categories,
        entry.language,
    )
    assert datetime(2026, 1, 5, 10, tzinfo=timezone(timedelta(hours=1))) == entry.published
    assert "Menu" not in entry.content_html
    assert "x</nav>" not in entry.content_html
