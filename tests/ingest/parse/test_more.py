"""What feeds and pages say beside their articles; sitemaps, extraction, odd old dialects."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.articles import sanitize
from service.articles.article import Detail
from service.articles.text import line
from service.errors import ParseFailed
from service.sources.outcome import Hints
from workers.ingest.parse import Document, FeedLink, parse

URL = "http://x.example/feed"


def read(body: str, url: str = URL) -> Document:
    """The document that is parsed from a body."""
    return parse(body.encode(), url=url)


def rss(channel: str = "", item: str = "<title>T</title>") -> Document:
    """RSS 2.0 with every namespace that is known."""
    return read(
        '<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom" '
        'xmlns:sy="http://purl.org/rss/1.0/modules/syndication/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:media="http://search.yahoo.com/mrss/" '
        'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" '
        'xmlns:georss="http://www.georss.org/georss" '
        'xmlns:thr="http://purl.org/syndication/thread/1.0" '
        'xmlns:xhtml="http://www.w3.org/1999/xhtml">'
        f"<channel><title>C</title>{channel}<item><guid>1</guid>{item}</item></channel></rss>"
    )


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("<ttl>60</ttl>", Hints(interval_s=3_600)),
        ("<ttl> 90 </ttl><sy:updatePeriod>hourly</sy:updatePeriod>", Hints(interval_s=5_400)),
        ("<sy:updatePeriod>Daily</sy:updatePeriod><sy:updateFrequency>4</sy:updateFrequency>",
         Hints(interval_s=21_600)),
        ("<sy:updatePeriod>weekly</sy:updatePeriod><sy:updateFrequency>0</sy:updateFrequency>",
         Hints(interval_s=604_800)),
        ("<ttl>soon</ttl><sy:updatePeriod>never</sy:updatePeriod>", Hints()),
        ("<skipHours><hour>0</hour><hour>24</hour><hour>7 GMT</hour><hour>25</hour><hour>x</hour>"
         "</skipHours>", Hints(skip_hours=(0, 7))),
        ("<skipDays><day>sunday</day><day>Monday</day><day>Someday</day></skipDays>",
         Hints(skip_days=(0, 6))),
        ('<atom:link rel="hub" href="http://h.example/"/><atom:link rel="self" href="/f"/>',
         Hints(hub="http://h.example/", topic="http://x.example/f")),
        ('<atom:link rel="http://www.iana.org/assignments/relation/hub" href="/hub"/>'
         '<atom:link rel="alternate self" href="http://x.example/g"/>',
         Hints(hub="http://x.example/hub", topic="http://x.example/g")),
        ('<atom:link rel="hub" href="javascript:1"/><atom:link rel="self" href="mailto:x"/>',
         Hints()),
    ],
)  # fmt: skip
def test_hints_of_rss(channel: str, expected: Hints) -> None:
    """ttl, sy:, skipHours, skipDays, hub and self; nonsense is no hint."""
    assert expected == rss(channel).hints


def test_hints_of_the_others() -> None:
    """Atom's links, JSON Feed's hubs, link elements of a page."""
    links = '<link rel="hub" href="http://h.example/"/><link rel="self" href="http://x.example/f"/>'
    expected = Hints(hub="http://h.example/", topic="http://x.example/f")
    atom = f'<feed xmlns="http://www.w3.org/2005/Atom">{links}<entry><id>1</id></entry></feed>'
    assert expected == read(atom).hints
    hubs = '[{"type": "rssCloud", "url": "x"}, {"type": "WebSub", "url": "http://h.example/"}]'
    feed = (
        '{"version": "https://jsonfeed.org/version/1.1", "title": "T", "items": [], '
        f'"feed_url": "http://x.example/f", "hubs": {hubs}}}'
    )
    assert expected == read(feed).hints
    text = f"<article>{'word ' * 60}</article>"
    page = f"<html><head><title>T</title>{links}</head><body>{text}</body></html>"
    assert expected == read(page).hints


def test_alternates_of_a_page() -> None:
    """Feeds in their order, those of comments last, once each; JSON only if it says feed."""
    page = (
        "<html><head><base href='/a/'>"
        '<link rel="alternate" type="application/rss+xml" title="Comments" href="c.rss">'
        '<link rel="ALTERNATE home" type="application/atom+xml; charset=utf-8" href="f.atom">'
        '<link rel="alternate" type="application/json" href="/wp-json/posts/1">'
        '<link rel="alternate" type="application/json" href="/feed.json" title="JSON">'
        '<link rel="alternate" type="text/html" hreflang="de" href="/de">'
        '<link rel="stylesheet" type="text/css" href="/s.css">'
        '<link rel="alternate" type="application/rss+xml" href="javascript:1">'
        '<link rel="alternate" type="application/atom+xml" href="f.atom">'
        "</head><body>Hi</body></html>"
    )
    document = read(page, "http://x.example/")
    assert ("html-guess", ()) == (document.kind, document.entries)
    assert (
        FeedLink(url="http://x.example/a/f.atom"),
        FeedLink(url="http://x.example/feed.json", title="JSON"),
        FeedLink(url="http://x.example/a/c.rss", title="Comments"),
    ) == document.alternates


@pytest.mark.parametrize("mark", ["id='k2Container'", "class='x catItemView groupLeading'"])
def test_a_k2_list_has_machine_forms(mark: str) -> None:
    """Its own address with another format, and without a page number."""
    page = f"<html><body><div {mark}>x</div></body></html>"
    document = read(page, "http://x.example/news?task=date&year=2017&start=20")
    assert [
        "http://x.example/news?task=date&year=2017&format=feed",
        "http://x.example/news?task=date&year=2017&format=json",
    ] == [link.url for link in document.alternates]


def test_pages_are_told_from_articles() -> None:
    """What says that it is one, and what only looks like one."""
    text = f"<article>{'Word of the harbour. ' * 20}</article>"
    for head, kind in (
        ('<meta property="og:type" content="article">', "html"),
        ('<script type="application/ld+json">{"@type": "NewsArticle"}</script>', "html"),
        ('<meta property="og:type" content="website">', "html-guess"),
    ):
        page = f"<html><head><title>T</title>{head}</head><body>{text}</body></html>"
        assert kind == read(page).kind


def test_an_unmarked_page_is_extracted() -> None:
    """By trafilatura: the text, without menu and footer."""
    text = "".join(f"<p>{'The ferry sails at noon, and again at four. ' * 4}{n}</p>" for n in "abc")
    page = (
        "<html><head><title>Ferries</title></head><body>"
        '<div class="menu"><ul><li><a href="/1">Home</a></li><li><a href="/2">More</a></li></ul>'
        f'</div><div class="post-content"><h1>Ferries</h1>{text}</div>'
        '<div class="footer">Imprint | Privacy</div></body></html>'
    )
    document = read(page)
    (entry,) = document.entries
    assert ("html-guess", "Ferries", Detail.PAGE) == (document.kind, entry.title, entry.detail)
    assert "again at four" in entry.content_html
    assert "Imprint" not in entry.content_html


def test_news_sitemaps() -> None:
    """Pages that are news are articles without text; the others are counted."""
    news = (
        "<news:news><news:publication><news:name>T</news:name><news:language>en</news:language>"
        "</news:publication><news:publication_date>2026-01-05T10:00:00Z</news:publication_date>"
        "<news:title>Crane &amp; quay</news:title><news:keywords>crane, quay,</news:keywords>"
        "</news:news>"
    )
    document = read(
        '<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
        'xmlns:news="http://www.google.com/schemas/sitemap-news/0.9" '
        'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">'
        f"<url><loc>http://x.example/1</loc>{news}"
        "<image:image><image:loc>http://x.example/1.jpg</image:loc></image:image></url>"
        "<url><loc>http://x.example/2</loc></url></urlset>"
    )
    (entry,), (reject,) = document.entries, document.rejects
    assert ("sitemap", "http://x.example/1", "Crane & quay", Detail.TEASER) == (
        document.kind, entry.guid, entry.title, entry.detail,
    )  # fmt: skip
    assert (("crane", "quay"), "en", "http://x.example/1.jpg") == (
        entry.tags, entry.language, entry.image,
    )  # fmt: skip
    assert datetime(2026, 1, 5, 10, tzinfo=UTC) == entry.published
    assert "1 pages without" in reject.reason


def test_other_sitemaps() -> None:
    """A sitemap without news is a clear error; an index leads to the news sitemaps in it."""
    with pytest.raises(ParseFailed, match="of which none is news"):
        read("<urlset><url><loc>http://x.example/</loc></url></urlset>")
    index = "<sitemapindex><sitemap><loc>/pages.xml</loc></sitemap>{}</sitemapindex>"
    with pytest.raises(ParseFailed, match="none of news"):
        read(index.format(""))
    document = read(index.format("<sitemap><loc>/news.xml</loc></sitemap>"))
    assert [FeedLink(url="http://x.example/news.xml")] == list(document.alternates)


def test_a_channel_without_items_is_not_a_feed() -> None:
    """Unless it has a title."""
    with pytest.raises(ParseFailed, match="no items"):
        read(
            '<?xml version="1.0"?><CHANNEL HREF="http://x.example/"><ABSTRACT>C</ABSTRACT></CHANNEL>'
        )


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("<author>d@x.example (A. Tern)</author>", "A. Tern"),
        ("<author>A. Tern (d@x.example)</author>", "A. Tern"),
        ("<author>A. Tern &lt;d@x.example&gt;</author>", "A. Tern"),
        ("<author>A. Tern</author>", "A. Tern"),
        ("<author>d@x.example</author>", "d@x.example"),
        ("<atom:author><atom:name>A. Tern</atom:name></atom:author>", "A. Tern"),
        ("<itunes:author>A. Tern</itunes:author>", "A. Tern"),
        ("<dc:creator>A. Tern</dc:creator><author>x@x.example (A. Tern)</author>", "A. Tern"),
    ],
)
def test_authors_of_rss(item: str, expected: str) -> None:
    """Names, however they are written."""
    (entry,) = rss(item=item).entries
    assert (expected,) == entry.authors


def test_media_in_a_group() -> None:
    """Pictures stand for the entry, sound and film belong to it."""
    (entry,) = rss(
        item="<media:group><media:content url='http://x.example/1.mp3' type='audio/mpeg' "
        "fileSize='9'/><media:thumbnail url='http://x.example/1.jpg'/></media:group>"
        "<georss:point>1 2</georss:point><thr:total>3</thr:total><x:y xmlns:x='urn:x'>z</x:y>"
    ).entries
    (enclosure,) = entry.enclosures
    assert ("http://x.example/1.mp3", "audio/mpeg", 9) == (
        enclosure.url, enclosure.type, enclosure.length,
    )  # fmt: skip
    assert "http://x.example/1.jpg" == entry.image


def test_other_ways_to_carry_the_text() -> None:
    """xhtml:body and atom:content in RSS."""
    body = "<xhtml:body><xhtml:p>Hi <xhtml:b>all</xhtml:b></xhtml:p></xhtml:body>"
    (entry,) = rss(item=body).entries
    assert "<p>Hi <b>all</b></p>" == sanitize.html(entry.content_html)
    (entry,) = rss(item='<atom:content type="html">&lt;p&gt;Hi&lt;/p&gt;</atom:content>').entries
    assert "<p>Hi</p>" == entry.content_html


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ('<category term="t" label="Label"/>', "Label"),
        ('<category term="media-center/news" label="News"/>', "media-center/News"),
        ('<category term="media-center/news" label="Other"/>', "Other"),
        ('<category term="a/b"/>', "a/b"),
        ("<category>Text</category>", "Text"),
    ],
)
def test_categories_of_atom(element: str, expected: str) -> None:
    """The label is for people; a term that is its path keeps the path."""
    feed = f'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id>{element}</entry></feed>'
    (entry,) = read(feed).entries
    assert (expected,) == entry.categories


@pytest.mark.parametrize("root", ["feed", 'feed xmlns="http://purl.org/echo/"'])
def test_atom_before_it_had_its_name(root: str) -> None:
    """Without a namespace, or in one of its first drafts."""
    name = root.split(" ")[0]
    (entry,) = read(f"<{root}><entry><id>1</id><title>T</title></entry></{name}>").entries
    assert ("1", "T") == (entry.guid, entry.title)


@pytest.mark.parametrize("attribute", ['mode="base64"', 'type="application/octet-stream"'])
def test_coded_text(attribute: str) -> None:
    """Atom 0.3 by its mode, RFC 4287 4.1.3.3 by its media type; what is no text is left out."""
    feed = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id>{}</entry></feed>'
    text = feed.format(f"<title>T</title><content {attribute}>PGI+SGk8L2I+</content>")
    assert "<b>Hi</b>" == read(text).entries[0].content_html
    picture = feed.format(f"<title>T</title><content {attribute}>/9j/4A==</content>")
    assert "" == read(picture).entries[0].content_html


def test_entities_that_a_feed_declares_itself() -> None:
    """Short and plain ones; nothing that grows, nothing from outside."""
    declared = (
        '<!ENTITY site "http://x.example/"><!ENTITY a "&site;&site;"><!ENTITY b SYSTEM "file:///x">'
    )
    item = "<item><guid>&site;1</guid><title>&a;|&b;</title></item>"
    feed = f"<!DOCTYPE rss [{declared}]><rss><channel>{item}</channel></rss>"
    (entry,) = read(feed).entries
    assert ("http://x.example/1", "&a;|&b;") == (entry.guid, entry.title)


def test_scripts_in_titles() -> None:
    """Scripts are neither run nor read as words."""
    title = "Safe&lt;script&gt;alert(1)&lt;/script&gt; words&lt;!-- and no end"
    (entry,) = rss(item=f"<title>{title}</title>").entries
    assert "Safe words" == line(entry.title)


def test_json_feeds_of_any_version() -> None:
    """An object with items is a feed; K2's has a site."""
    document = read('{"version": "1.0", "title": "T", "items": [{"id": 7, "content_text": "Hi"}]}')
    assert ("json-feed", "T", "7") == (document.kind, document.title, document.entries[0].guid)
