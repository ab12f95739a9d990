"""The last resort: feeds that no repair makes well-formed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from lxml import etree

from service.articles.article import Enclosure, Entry
from service.errors import ParseFailed
from service.feeds import opml
from tests.composing import compose_all
from workers.ingest.parse import Document, parse
from workers.ingest.parse.xml import feedparser_fallback
from workers.ingest.parse.xml.fields import local_name, rename

URL = "http://x.example/feed"


def broken(item: str) -> Document:
    """An RSS feed whose last tags are missing."""
    body = (
        f"<rss version='2.0'><channel><title>A &amp;amp; B</title><language>nb</language>"
        f"<link>http://x.example/</link><item>{item}</item>"
    )
    return parse(body.encode(), url=URL)


def one(item: str) -> Entry:
    """The one entry of a document."""
    (entry,) = broken(item).entries
    return entry


def test_the_feed() -> None:
    """Title and address; not whole, so that its validators are not kept."""
    document = broken("<title>x</title>")
    assert ("A & B", URL, False) == (
        document.title,
        document.url,
        document.is_whole,
    )


@pytest.mark.parametrize(
    ("item", "field", "expected"),
    [
        ("<title>x</title><guid isPermaLink='false'>g</guid>", "guid", "g"),
        ("<title>x</title><link>http://x.example/1</link>", "url", "http://x.example/1"),
        ("<title>x</title><description>&lt;p&gt;a</description>", "content_html", "<p>a"),
        ("<title>x</title><pubDate>Fri, 22 Dec 2017 16:41:07 CEST</pubDate>", "published",
         datetime(2017, 12, 22, 14, 41, 7, tzinfo=UTC)),
        ("<title>x</title><pubDate>0000-00-00</pubDate>", "published", None),
        ("<title>x</title><pubDate>0000-00-00</pubDate>", "raw_published", "0000-00-00"),
        ("<title>x</title><category>A</category><category>B</category>", "categories", ("A", "B")),
        ("<title>x</title><author>a@example.org (Pia)</author>", "authors", ("Pia",)),
        ("<title>x</title><enclosure url='http://x.example/a' type='audio/mpeg'/>", "enclosures",
         (Enclosure(url="http://x.example/a", type="audio/mpeg"),)),
        ("<title>x</title>", "base_url", "http://x.example/"),
        ("<title>x</title>", "updated", None),
    ],
)  # fmt: skip
def test_items(item: str, field: str, expected: object) -> None:
    """One field each; dates by our own table, which knows CEST."""
    assert expected == getattr(one(item), field)


def test_too_large_to_be_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and tags are bounded, for its time is not."""
    monkeypatch.setattr(feedparser_fallback, "MAX_TAGS", 8)
    with pytest.raises(ParseFailed, match="tags"):
        broken("<title>x</title>")
    monkeypatch.setattr(feedparser_fallback, "MAX_BYTES", 50)
    with pytest.raises(ParseFailed, match="bytes"):
        broken("<title>x</title>")


def test_no_feed_at_all() -> None:
    """What feedparser finds nothing in is refused."""
    with pytest.raises(ParseFailed, match="nor a feed"):
        parse(b"<rss><channel><title>x</channel>")


@pytest.mark.parametrize(
    "body",
    [
        "<rss><channel><image><width</width></image><item><title>T</title>",
        "<rss xmlns:g='http://www.opengis.net/gml'><channel><item><title>T</title></g:pos></item>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>T</title><summary type=>"
        "<content ty&#0;pe='html'>x</content></entry></f<![CDATA[eed>",
        "<rss version='2.0'><channel><item><title>T</tittem</link><description>x</description>"
        "</item></channel></rss>",
        "<rss><channel><item><title>T</title><guid>http://ep://d.example</guid></item>",
        "<rdf:RDF><item><title>T</title><infion:=x></item></rdf:RDF",
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>T</title><updaT11:09:53>x</entry",
        "<x:feed><x:entry><x:title>T</title></x:entry></x:feed>",
    ],
)
def test_what_no_parser_expects_is_read_or_refused(body: str) -> None:
    """Ends without a beginning, names that are none, values that are missing: never a crash."""
    with suppress(ParseFailed):
        document = parse(body.encode(), url=URL)
        drafts, rejects = compose_all(document, name="feed", url=URL)
        assert len(document.entries) == len(drafts) + len(rejects)


def test_names_in_a_recovered_tree() -> None:
    """A prefix that nothing declares is a part of the name there."""
    recovering = etree.XMLParser(recover=True)
    root = etree.fromstring(b"<rdf:RDF><x:item/></rdf:RDF>", recovering)
    assert ["RDF", "item"] == [local_name(element) for element in root.iter()]
    rename(root, "channel")
    rename(root[0], "not a name")
    assert ["channel", "x:item"] == [element.tag for element in root.iter()]


@pytest.mark.parametrize("name", ["x:opml", "opml"])
def test_a_list_of_feeds_may_be_recovered_too(name: str) -> None:
    """With a prefix that nothing declares, and a bare ampersand."""
    body = f"<{name}><body><outline xmlUrl='http://a.example/?a&b' text='A'/></body></{name}>"
    assert ["http://a.example/?a&b"] == [feed.url for feed in opml.read(body.encode())]
