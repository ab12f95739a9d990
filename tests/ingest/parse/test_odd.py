"""What feeds do that no specification foresaw, and feeds of our own when they are read again."""

from __future__ import annotations

from datetime import UTC

import pytest

from service.articles import text
from service.articles.article import Enclosure, Entry
from service.feeds.page import Page
from service.feeds.writer import Renderer
from tests.composing import article, compose_all
from workers.ingest.parse import Document, parse

URL = "http://x.example/feed"
FEEDBURNER = 'xmlns:feedburner="http://rssnamespace.org/feedburner/ext/1.0"'


def read(body: str) -> Document:
    """The document that is parsed from a body."""
    return parse(body.encode(), url=URL)


def rss(item: str, *, channel: str = "", root: str = "") -> str:
    """RSS with one item."""
    return f"<rss {root}><channel>{channel}<item><guid>1</guid>{item}</item></channel></rss>"


def atom(entry: str, *, feed: str = "") -> str:
    """Atom with one entry."""
    return (
        f'<feed xmlns="http://www.w3.org/2005/Atom" {FEEDBURNER}>{feed}'
        f"<entry><title>T</title>{entry}</entry></feed>"
    )


def one(body: str) -> Entry:
    """The one entry of a document."""
    (entry,) = read(body).entries
    return entry


@pytest.mark.parametrize(
    "body",
    [
        rss("<link>http://p.example/1</link>"
            "<feedburner:origLink>http://x.example/1</feedburner:origLink>", root=FEEDBURNER),
        atom('<id>1</id><link href="http://p.example/1"/>'
             "<feedburner:origLink>http://x.example/1</feedburner:origLink>"),
        atom("<id>http://x.example/1</id>"),
        rss("<link>1</link>", root='xml:base="http://x.example/"'),
        rss("<link>/1</link>", channel="<link>http://x.example/</link>"),
    ],
    ids=["proxy", "proxy in Atom", "id", "base of the root", "site"],
)  # fmt: skip
def test_links(body: str) -> None:
    """Not that of a proxy which counts clicks; an id that is a URL is better than none."""
    (draft,), _ = compose_all(read(body), name="x", url=URL)
    assert "http://x.example/1" == draft.url


def test_enclosures_behind_a_proxy() -> None:
    """They are the publisher's; a picture among them stands for the entry."""
    origin = "<feedburner:origEnclosureLink>http://x.example/1.mp3</feedburner:origEnclosureLink>"
    files = (
        '<enclosure url="http://p.example/1.mp3" type="audio/mpeg" length="9"/>'
        '<enclosure url="http://x.example/1.jpg" type="image/jpeg"/>'
    )
    entry = one(rss(files + origin, root=FEEDBURNER))
    assert ["http://x.example/1.mp3", "http://x.example/1.jpg"] == [
        enclosure.url for enclosure in entry.enclosures
    ]
    assert "http://x.example/1.jpg" == entry.image


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (atom("", feed="<author><name>F</name></author>"), ("F",)),
        (atom("<author><name>E</name></author>", feed="<author><name>F</name></author>"), ("E",)),
        (atom("<source><author><name>S</name></author></source>",
              feed="<author><name>F</name></author>"), ("S",)),
        (atom("<author><name></name><email>e@x.example</email></author>"), ("e@x.example",)),
        (atom("<author><uri>http://x.example/</uri></author>"), ()),
        (rss("", channel='<a:author xmlns:a="http://www.itunes.com/dtds/podcast-1.0.dtd">P'
                 "</a:author><webMaster>w@x.example</webMaster>"), ("P",)),
        (rss('<g:author xmlns:g="http://www.google.com/schemas/play-podcasts/1.0">G</g:author>'),
         ("G",)),
        ('{"version": "https://jsonfeed.org/version/1.1", "authors": [{"name": "F"}], '
         '"items": [{"id": "1"}]}', ("F",)),
        ('{"version": "https://jsonfeed.org/version/1.1", "authors": [{"name": "F"}], '
         '"items": [{"id": "1", "author": {"name": "E"}}]}', ("E",)),
    ],
)  # fmt: skip
def test_authors(body: str, expected: tuple[str, ...]) -> None:
    """Of the entry, else of what it was taken from, else of its feed (RFC 4287 4.2.1)."""
    assert expected == one(body).authors


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("<description>d</description><content>c</content>", ("d", "c")),
        ('<i:subtitle xmlns:i="http://www.itunes.com/dtds/podcast-1.0.dtd">s</i:subtitle>',
         ("", "s")),
        ('<g:description xmlns:g="http://www.google.com/schemas/play-podcasts/1.0">p'
         "</g:description>", ("", "p")),
    ],
)  # fmt: skip
def test_texts(item: str, expected: tuple[str, str]) -> None:
    """Elements that RSS has not, and podcasts' own where there is nothing else."""
    entry = one(rss(item))
    assert expected == (entry.summary, entry.content_html)


def test_markup_that_is_not_escaped() -> None:
    """Elements in a description are its markup."""
    item = '<description>See <a href="/2">the <b>quay</b></a> &amp; more<br/></description>'
    (draft,), _ = compose_all(read(rss(item)), name="x", url=URL)
    assert (
        'See <a href="http://x.example/2" rel="noopener">the <b>quay</b></a> &amp; more<br>'
        == draft.content_html
    )


def test_categories_of_both_kinds() -> None:
    """Categories of RSS and subjects of Dublin Core; one that cannot be a category is left out, and
    the article stays."""
    item = (
        "<title>T</title><category>Quay</category><category>***</category>"
        '<dc:subject xmlns:dc="http://purl.org/dc/elements/1.1/">Cranes</dc:subject>'
    )
    (draft,), rejects = compose_all(read(rss(item)), name="x", url=URL)
    assert (["quay", "cranes"], []) == ([c.path for c in draft.categories], rejects)


def test_an_article_without_a_word() -> None:
    """A picture and a link are published, too: its address is its title."""
    item = '<link>http://x.example/1</link><description>&lt;img src="/1.jpg"&gt;</description>'
    (draft,), _ = compose_all(read(rss(item)), name="x", url=URL)
    assert ("http://x.example/1", '<img src="http://x.example/1.jpg">') == (
        draft.title,
        draft.content_html,
    )


def test_text_that_is_not_coded() -> None:
    """Its media type says that it would be (RFC 4287 4.1.3.3)."""
    entry = one(atom('<content type="application/json">{"a": 1}</content>'))
    assert '<p>{"a": 1}</p>' == entry.content_html


def test_windows_1252_taken_for_latin_1() -> None:
    """C1 characters are the quotes and dashes that somebody meant."""
    entry = one(rss("<title>\x93Quay\x94 \x96 it\x92s&#146; a \x85\x81</title>"))
    assert "“Quay” – it’s’ a …" == text.line(entry.title)


@pytest.mark.parametrize(
    "body",
    [
        "<rss><channel>{}</channel></rss>",
        '<!-- x --><!-- y -->\n<?xml version="1.0"?>\n<rss><channel>{}</channel></rss>',
        "<rss version=2.0 x='a=b'><channel>{}</channel></rss>",
    ],
    ids=["prefixes", "declaration", "bare values"],
)
def test_faults_that_are_repaired(body: str) -> None:
    """Prefixes that are not declared, a declaration in the second place, values without quotes."""
    item = (
        "<item><title>T</title><dc:creator>A. Tern</dc:creator><x:y>z</x:y>"
        "<content:encoded>C</content:encoded><media:thumbnail url='http://x.example/1.jpg'/></item>"
    )
    document = read(body.format(item))
    (entry,) = document.entries
    assert ("T", ("A. Tern",), "C", "http://x.example/1.jpg", True) == (
        entry.title, entry.authors, entry.content_html, entry.image, document.is_whole,
    )  # fmt: skip


def test_what_feedparser_gives_up_is_recovered() -> None:
    """As far as it can be; its end may be missing."""
    body = (
        "<rss:rss><rss:channel><rss:item x=><rss:title>T</rss:title>"
        "<rss:link>http://x.example/1</rss:link></rss:item></rss:channel>"
    )
    document = read(body)
    (entry,) = document.entries
    assert ("rss", False, "T", "http://x.example/1") == (
        document.kind, document.is_whole, entry.title, entry.url,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('<entry xmlns="http://www.w3.org/2005/Atom" xml:base="http://x.example/"><link href="1"/>'
         "<title>T</title></entry>", "atom"),
        ('<a:entry xmlns:a="http://purl.org/atom/ns#"><a:link rel="alternate" href="/1"/>'
         "<a:title>T</a:title></a:entry>", "atom"),
        ('<Channel xmlns="http://purl.org/net/rss1.1#"><items><item><link>/1</link>'
         "<title>T</title></item></items></Channel>", "rss"),
        ("<br />\n<b>Warning</b>: x.php<br />\n<?xml version='1.0'?><rss><channel><item><link>/1"
         "</link><title>T</title></item></channel></rss>\n<!-- 3 ms -->", "rss"),
        ("Notice: x\n<rss><channel><item><link>/1</link><title>T</title></item></channel></rss>",
         "rss"),
        ('<!DOCTYPE html><html><body><feed xmlns="http://www.w3.org/2005/Atom"><entry>'
         '<link href="/1"/><title>T</title></entry></feed></body></html>', "atom"),
        ("<rss><channel><item><link>/1</link><title>T</title><descr", "rss"),
    ],
    ids=["entry", "entry 0.3", "RSS 1.1", "warning", "notice", "in HTML", "cut"],
)  # fmt: skip
def test_documents_that_are_feeds_all_the_same(body: str, kind: str) -> None:
    """An entry alone, items one level deeper, a feed in or behind something else, half a feed."""
    document = read(body)
    (draft,), _ = compose_all(document, name="x", url=URL)
    assert (kind, "T", "http://x.example/1") == (document.kind, draft.title, draft.url)


@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
def test_feeds_of_our_own(extension: str) -> None:
    """Categories come back with the same paths, and our site is not taken as an author."""
    titles = {
        "media-center": "Media Center",
        "media-center/quay-news": "Quay News",
        "no-2017": "2017",
    }
    written = article(
        id="00000000-0000-5000-8000-000000000001", source="http://s.example",
        url="http://s.example/1", title="T & U", summary="S", content_html="<p>C</p>",
        categories=("media-center/quay-news", "no-2017"), language="en",
        enclosures=(Enclosure(url="http://s.example/a.mp3", type="audio/mpeg", length=9),),
    )  # fmt: skip
    renderer = Renderer(site_title="Site", base_url="http://d.example", language="en", zone=UTC)
    body = renderer.render(Page("all"), extension, [written], titles)
    (draft,), rejects = compose_all(parse(body, url=URL), name="x", url=URL)
    assert [] == rejects
    assert (written.categories, "Quay News", (), written.enclosures) == (
        tuple(c.path for c in draft.categories), draft.categories[0].titles[-1],
        draft.authors, draft.enclosures,
    )  # fmt: skip
    assert (written.title, written.published, written.content_html) == (
        draft.title, draft.published, draft.content_html,
    )  # fmt: skip


def test_tags_of_our_own_json() -> None:
    """Each item says which of its tags are categories."""
    item = '{"id": "1", "tags": ["Quay News", "Fog"], "_dateline": {"categories": ["a/quay-news"]}}'
    entry = one(f'{{"version": "https://jsonfeed.org/version/1.1", "items": [{item}]}}')
    assert (("a/Quay News",), ("Fog",)) == (entry.categories, entry.tags)


@pytest.mark.parametrize(
    ("entry", "field", "expected"),
    [
        ('<link xml:base="http://o.example/a/" href="1"/>', "url", "http://o.example/a/1"),
        ("<author>Desk (d@x.example)</author>", "authors", ("Desk",)),
        ('<category term="*/*" label="***"/>', "categories", ("***",)),
    ],
)
def test_atom_by_those_who_did_not_read_it(entry: str, field: str, expected: object) -> None:
    """Feeds that break RFC 4287 are read, and so are feeds that use all of it."""
    assert expected == getattr(one(atom(entry)), field)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('<title mode="base64" type="text/html">UXVheQ==</title>', "Quay"),
        ('<title type="text">5 &lt; 6 &lt;b&gt;bold&lt;/b&gt;</title>', "5 < 6 <b>bold</b>"),
        ("<title>5 &lt; 6 &lt;b&gt;bold&lt;/b&gt;</title>", "5 < 6 bold"),
        ('<title type="html">5 &amp;lt; 6 &lt;b&gt;bold&lt;/b&gt;</title>', "5 < 6 bold"),
    ],
)
def test_titles_of_atom(title: str, expected: str) -> None:
    """In whatever form, they come out as words."""
    body = f'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id>{title}</entry></feed>'
    assert expected == text.line(one(body).title)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
         'xmlns="http://purl.org/rss/1.0/"><item rdf:about="1"><title>T</title></itm>', "rdf"),
        ('<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>T</title></entr>', "atom"),
        ("<rss version='2.0'><channel><item><title>T</title></itm>", "rss"),
    ],
)  # fmt: skip
def test_kinds_of_broken_feeds(body: str, kind: str) -> None:
    """A broken feed has the kind of a whole one: polling depends on it."""
    document = parse(body.encode(), url=URL, content_type="application/xml; charset=utf-8")
    assert (kind, ["T"], False) == (
        document.kind, [entry.title for entry in document.entries], document.is_whole,
    )  # fmt: skip


def test_an_id_of_atom_in_rss_is_no_link() -> None:
    """It is an identity, and only RSS's own guid is a link unless it says no."""
    item = '<a:id xmlns:a="http://www.w3.org/2005/Atom">http://x.example/1</a:id><title>T</title>'
    (entry,) = read(f"<rss><channel><item>{item}<content/></item></channel></rss>").entries
    assert ("http://x.example/1", "") == (entry.guid, entry.url)


def test_an_hour_of_any_length_costs_no_article() -> None:
    """Python refuses to read a number of 5,000 digits."""
    hours = f"<skipHours><hour>01{'0' * 5_000}</hour><hour>7</hour></skipHours>"
    document = read(rss("<title>T</title>", channel=hours))
    assert ["T"] == [entry.title for entry in document.entries]
    assert (7,) == document.hints.skip_hours
