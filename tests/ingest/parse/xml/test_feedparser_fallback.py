"""The last resort: feeds that no repair makes well-formed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.articles.article import Enclosure, Entry
from service.errors import ParseFailed
from workers.ingest.parse import Document, parse
from workers.ingest.parse.xml import feedparser_fallback

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
    """Title, language, address; not whole, so that its validators are not kept."""
    document = broken("<title>x</title>")
    assert ("A & B", "nb", URL, False) == (
        document.title,
        document.language,
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
