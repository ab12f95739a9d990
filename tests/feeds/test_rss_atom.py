"""RSS and Atom: fragments against feedgen's whole, and what feedgen alone does wrong."""

from __future__ import annotations

from datetime import UTC

import feedparser
import pytest
from lxml import etree

from service.articles.article import Article
from service.feeds import rss_atom
from service.feeds.head import feed_of
from service.feeds.page import Page, Period
from service.feeds.writer import Renderer
from tests.composing import full_article

PAGE = Page("media-center/coalition-news", Period(2017, 12, 22))
TITLES = {"media-center": "Media Center", "media-center/coalition-news": "Coalition News"}
BASE = "http://news.example"
ATOM = "{http://www.w3.org/2005/Atom}"


AWKWARD = [
    full_article(1),
    full_article(2, title="Arabic: كانون الأول 😀", language="ar", content_html="<p>نص</p>"),
    full_article(3, title="a < b && c ]]> d", content_html="<p>]]> ]]&gt; &lt;</p>"),
    full_article(4, url="", authors=(), tags=(), enclosures=(), summary="", language=""),
    full_article(5, content_html="", enclosures=()),
    full_article(6, title="<updated>x</updated>", language=""),
    full_article(7, title='xmlns:dc="http://purl.org/dc/elements/1.1/"'),
]


def render(extension: str, articles: list[Article], page: Page = PAGE) -> bytes:
    """Render a feed of these articles from fragments, as in production."""
    renderer = Renderer(site_title="Site", base_url=BASE, language="en", zone=UTC)
    return renderer.render(page, extension, articles, TITLES)


def whole(extension: str, articles: list[Article], page: Page = PAGE) -> bytes:
    """Render the same feed by feedgen alone."""
    feed = feed_of(
        page, articles, site_title="Site", base_url=BASE, titles=TITLES, language="en", zone=UTC
    )
    generator = rss_atom._generator(feed, extension)
    for each in articles:
        entry = generator.add_entry(order="append")
        rss_atom._fill(entry, each, extension, base_url=feed.base_url, titles=feed.titles)
    return rss_atom._document(generator, extension)


@pytest.mark.parametrize("extension", ["rss", "atom"])
@pytest.mark.parametrize("count", range(len(AWKWARD) + 1))
def test_fragments_make_feedgens_own_bytes(extension: str, count: int) -> None:
    """Byte for byte, whatever is in the articles; an empty feed, too."""
    assert whole(extension, AWKWARD[:count]) == render(extension, AWKWARD[:count])


@pytest.mark.parametrize("extension", ["rss", "atom"])
def test_a_shell_serves_every_date(extension: str) -> None:
    """The renderer keeps a page's shell; only the date in it moves, and nothing of now."""
    renderer = Renderer(site_title="Site", base_url=BASE, language="en", zone=UTC)
    for number in (9, 3, 5):
        body = renderer.render(PAGE, extension, [full_article(number)], TITLES)
        assert whole(extension, [full_article(number)]) == body


@pytest.mark.parametrize("extension", ["rss", "atom"])
def test_a_feed_reader_reads_what_was_put_in(extension: str) -> None:
    """Order, ids, titles, dates, names, links, enclosures."""
    parsed = feedparser.parse(render(extension, AWKWARD), sanitize_html=False)
    assert not parsed.bozo
    assert "Coalition News: Friday, 22 December 2017 · Site" == parsed.feed.title
    assert [f"urn:uuid:{a.id}" for a in AWKWARD] == [entry.id for entry in parsed.entries]
    assert [a.url or f"{BASE}/articles/{a.id}" for a in AWKWARD] == [e.link for e in parsed.entries]
    assert "Arabic: كانون الأول 😀" == parsed.entries[1].title
    assert "<p>]]> ]]&gt; &lt;</p>" == parsed.entries[2].content[0].value
    assert (2017, 12, 22, 15, 41, 7) == parsed.entries[0].published_parsed[:6]
    assert {"Mira Solheim", "J. Ferreira"} == {
        name for a in parsed.entries[0].authors for name in a.values()
    } | ({"J. Ferreira"} if extension == "rss" else set())


def test_atom_enclosures_keep_rel_type_and_length() -> None:
    """feedgen alone makes second alternates of them."""
    (entry,) = etree.fromstring(render("atom", [full_article()])).iterfind(f"{ATOM}entry")
    links = [dict(link.attrib) for link in entry.iterfind(f"{ATOM}link")]
    assert [
        {"href": "http://s.example/1?a=1&b=2", "rel": "alternate", "type": "text/html"},
        {
            "href": "http://s.example/a.mp3",
            "rel": "enclosure",
            "type": "audio/mpeg",
            "length": "123",
        },
        {"href": "http://s.example/b.ogg", "rel": "enclosure", "type": "audio/ogg", "length": "5"},
    ] == links


def test_the_rss_channel_link_is_the_page() -> None:
    """Not the last link of any rel; self and alternate stand beside it."""
    (channel,) = etree.fromstring(render("rss", [full_article()]))
    assert f"{BASE}/news/media-center/coalition-news/2017/12/22" == channel.findtext("link")
    links = {link.get("rel"): link.get("href") for link in channel.iterfind(f"{ATOM}link")}
    assert f"{BASE}{PAGE.feed_path('rss')}" == links["self"]
    assert channel.findtext("link") == links["alternate"]
    assert 1 == len(channel.findall("item/enclosure"))


def test_names_are_dc_creators_in_rss() -> None:
    """And there is no <author>, which would need an e-mail address."""
    item = etree.fromstring(render("rss", [full_article()])).find("channel/item")
    assert item is not None
    names = [e.text for e in item.iterfind("{http://purl.org/dc/elements/1.1/}creator")]
    assert ["Mira Solheim", "J. Ferreira"] == names
    assert item.find("author") is None


def test_summaries_are_what_readers_take_them_for() -> None:
    """A description of RSS is HTML by convention; a summary of Atom says that it is text."""
    article = full_article(1, summary="vector<int> & more")
    rss, atom = (etree.fromstring(render(extension, [article])) for extension in ("rss", "atom"))
    assert "vector&lt;int&gt; &amp; more" == rss.findtext("channel/item/description")
    summary = atom.find(f"{ATOM}entry/{ATOM}summary")
    assert summary is not None
    assert (article.summary, "text") == (summary.text, summary.get("type", "text"))


def test_languages_are_stated() -> None:
    """The feed has the one of all entries, else the site's; each entry has its own."""
    both = [full_article(1), full_article(2, language="ar")]
    feed = etree.fromstring(render("atom", both))
    lang = "{http://www.w3.org/XML/1998/namespace}lang"
    assert ["en", "en", "ar"] == [feed.get(lang), *(e.get(lang) for e in feed.iter(f"{ATOM}entry"))]
    assert "ar" == etree.fromstring(render("rss", both[1:])).findtext("channel/language")


@pytest.mark.parametrize("page", [PAGE, Page("all"), Page("media-center", Period(2017))])
def test_an_empty_feed_is_a_feed_whose_date_does_not_move(page: Page) -> None:
    """Atom demands a date: the start of the period, or one that never moves."""
    feed = etree.fromstring(render("atom", [], page))
    expected = {PAGE: "2017-12-22", Page("all"): "2005-12-01"}.get(page, "2017-01-01")
    assert f"{expected}T00:00:00+00:00" == feed.findtext(f"{ATOM}updated")
    assert [] == feed.findall(f"{ATOM}entry")
    assert feed.findtext(f"{ATOM}author/{ATOM}name")


@pytest.mark.parametrize("extension", ["rss", "atom"])
def test_the_feed_is_not_older_than_its_entries(extension: str) -> None:
    """lastBuildDate and updated are the newest change."""
    parsed = feedparser.parse(render(extension, AWKWARD))
    newest = max(e.published_parsed for e in parsed.entries)
    assert parsed.feed.updated_parsed >= newest


@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
@pytest.mark.parametrize("field", ["title", "url", "content_html"])
def test_a_revision_that_comes_again_is_shown_as_it_is_now(extension: str, field: str) -> None:
    """Redis may lose the end of its file, and a revision then has another content."""
    renderer = Renderer(site_title="Site", base_url=BASE, language="en", zone=UTC)
    lost = full_article(1, **{field: "http://s.example/lost"})
    again = full_article(1, **{field: "http://s.example/again"})
    assert b"example/lost" in renderer.render(PAGE, extension, [lost], TITLES)
    shown = renderer.render(PAGE, extension, [again], TITLES)
    assert b"example/again" in shown
    assert b"example/lost" not in shown


def test_feed_ids_survive_another_host() -> None:
    """http to https, or a new name: the same feed and the same entries."""
    elsewhere = Renderer(site_title="Site", base_url="https://b.example", language="en", zone=UTC)
    other = etree.fromstring(elsewhere.render(PAGE, "atom", AWKWARD, TITLES))
    here = etree.fromstring(render("atom", AWKWARD))
    path = f"{ATOM}id"
    assert [e.text for e in here.iter(path)] == [e.text for e in other.iter(path)]
