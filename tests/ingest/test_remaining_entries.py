"""What has not changed since the last poll is passed over, and nothing else is."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from service.articles.encoded import EncodedArticle
from service.sources.known_entries import (
    article_ids_in,
    joined,
    known_entries,
    records_in,
    to_bytes,
    with_article,
)
from workers.ingest.documents import ParseJob, read_document
from workers.ingest.parse_report import ParseReport

URL = "http://n.example/f"
RSS = "<rss version='2.0'><channel><title>Quay</title>{head}{items}</channel></rss>"
RDF = (
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'"
    " xmlns='http://purl.org/rss/1.0/'><channel rdf:about='http://n.example/'><title>Quay</title>"
    "<items><rdf:Seq>{list}</rdf:Seq></items>{head}</channel>{items}</rdf:RDF>"
)
ATOM = "<feed xmlns='http://www.w3.org/2005/Atom'><title>Quay</title>{head}{items}</feed>"
JSON = '{{"version":"https://jsonfeed.org/version/1.1","title":"Quay"{head},"items":[{items}]}}'


def rss(*items: str, head: str = "") -> bytes:
    """A feed of these titles; the guid is the first word."""
    return RSS.format(head=head, items="\n".join(map(item, items))).encode()


def item(title: str) -> str:
    """An item; words that are addresses are its link."""
    guid, *words = title.split()
    link = next((f"<link>{word}</link>" for word in words if "://" in word), "")
    return (
        f"<item><guid isPermaLink='false'>{guid}</guid><title>{title}</title>{link}"
        f"<description>Of {title}</description></item>"
    )


def rdf(*items: str, head: str = "") -> bytes:
    """RSS 1.0, which lists its items in front of them."""
    names = "".join(f"<rdf:li rdf:resource='http://n.example/{each[0]}'/>" for each in items)
    elements = "".join(
        f"<item rdf:about='http://n.example/{each[0]}'><title>{each}</title>"
        f"<link>http://n.example/{each[0]}</link></item>"
        for each in items
    )
    return RDF.format(head=head, list=names, items=elements).encode()


def atom(*items: str, head: str = "") -> bytes:
    """An Atom feed."""
    entries = "".join(
        f"<entry><id>urn:{each[0]}</id><title>{each}</title><content>Of {each}</content></entry>"
        for each in items
    )
    return ATOM.format(head=head, items=entries).encode()


def json_feed(*items: str, head: str = "") -> bytes:
    """A JSON Feed."""
    objects = ",".join(
        f'{{"id":"{each[0]}","title":"{each}","content_text":"Of {each}"}}' for each in items
    )
    return JSON.format(head=head, items=objects).encode()


def read(
    body: bytes, *, known: str | None = "", **settings: Any
) -> tuple[ParseReport, list[EncodedArticle]]:
    """The report and the articles of a document."""
    job = ParseJob(url=URL, added_url=URL, known=known)
    report, *parts = read_document(replace(job, **settings), body)
    assert isinstance(report, ParseReport)
    articles = [each for part in parts if isinstance(part, list) for each in part]
    return report, articles


def remembered(articles: list[EncodedArticle]) -> list[bytes]:
    """What is remembered of them, as it is after they were appended."""
    return [
        with_article(a.known, a.id, form=a.form, content_hash=a.content_hash, full_hash=a.full_hash)
        for a in articles
        if a.known
    ]


def known_of(body: bytes, **settings: Any) -> str:
    """What is known after a document."""
    return base64.b64encode(joined(remembered(read(body, **settings)[1]))).decode()


def looked_at(before: bytes, after: bytes, **settings: Any) -> list[str]:
    """Titles of the articles of the second document that are composed. They are those that they
    are without the first."""
    report, articles = read(after, known=known_of(before), **settings)
    _, whole = read(after, known=None, **settings)
    plain = [replace(each, known=b"") for each in articles]
    assert all(each in whole for each in plain)
    assert len(whole) == len(report.passed_over) + len(articles)
    return [title_of(each) for each in articles]


def title_of(article: EncodedArticle) -> str:
    """The title in its document."""
    return article.doc.split(b'"title":"')[1].split(b'"')[0].decode()


@pytest.mark.parametrize("feed", [rss, rdf, atom, json_feed])
@pytest.mark.parametrize(
    ("items", "titles"),
    [
        (["a one", "b two", "c three"], []),
        (["d four", "a one", "b two", "c three"], ["d four"]),
        (["a one", "b TWO", "c three"], ["b TWO"]),
        (["c three"], []),
        (["c three", "a one"], []),
    ],
)
def test_only_what_changed_is_composed(feed: Any, items: list[str], titles: list[str]) -> None:
    """Also where the order changes, or entries leave."""
    assert titles == looked_at(feed("a one", "b two", "c three"), feed(*items))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<lastBuildDate>Mon</lastBuildDate>", "<lastBuildDate>Tue</lastBuildDate>"),
        ("<pubDate>Mon</pubDate>\n", "<pubDate>Tue</pubDate> "),
        ("<!-- 0.1 s -->", "<!-- 0.2 s -->"),
    ],
)
def test_what_says_nothing_of_entries_may_change(before: str, after: str) -> None:
    """Dates of the feed, comments and spaces."""
    assert [] == looked_at(rss("a one", head=before), rss("a one", head=after))


@pytest.mark.parametrize(
    ("head", "settings"),
    [
        ("<language>de</language>", {}),
        ("<author>A. Quill</author>", {}),
        ("<!-- -->", {"categories": ("News",)}),
        ("<!-- -->", {"zone": "Europe/Berlin"}),
        ("<!-- -->", {"rules": [{"tag": "x"}]}),
        ("<!-- -->", {"url": "http://other.example/f"}),
        ("<!-- -->", {"full_text": "always"}),
    ],
)
def test_what_says_something_of_entries_has_all_composed(
    head: str, settings: dict[str, Any]
) -> None:
    """Of the feed, or of its source."""
    assert ["a one"] == looked_at(rss("a one"), rss("a one", head=head), **settings)


@pytest.mark.parametrize(
    ("before", "after", "titles"),
    [
        # Another entry takes the guid, the link, or the title of one that is known.
        (["a one http://x.example/1"], ["a two http://x.example/2"], 2),
        (["a one http://x.example/1"], ["b two http://x.example/1"], 2),
        (["a one http://x.example/1"], ["b two http://x.example/2"], 1),
        # Those that share one from the beginning are never known.
        (["a one", "a two", "b three"], ["c four"], 3),
    ],
)
def test_what_others_could_change_is_judged_with_them(
    before: list[str], after: list[str], titles: int
) -> None:
    """So each entry is identified as it is without what is known."""
    assert titles == len(looked_at(rss(*before), rss(*before, *after)))


def test_titles_are_read_as_those_that_are_known() -> None:
    """One title alone would be taken as plain."""
    before = ["a &amp;lt;b&amp;gt;X&amp;lt;/b&amp;gt; &amp;amp;amp; Y", "b R&amp;amp;D"]
    whole = read(rss("c &lt;Z", *before), known=None)[1]
    _, (new,) = read(rss("c &lt;Z", *before), known=known_of(rss(*before)))
    assert whole[0] == replace(new, known=b"")


@pytest.mark.parametrize(
    "body",
    [
        rss("a one").replace(b"</channel>", b""),
        rss("a one").replace(b"Of a one", b"<![CDATA[ </item> ]]>"),
        rss("a one").replace(b"<title>Quay", b"<!-- <item> --><title>Quay"),
        rss("a one", "b two").replace(b"<title>b two</title>", b"<title>b"),
        b"<?xml version='1.0' encoding='windows-1251'?>" + rss("a one"),
        rss("a \xe9").decode("utf-8").encode("latin-1"),
        rss("a one").decode().encode("utf-16"),
        rss("a one").replace(b"item>", b"Item>"),
        b"<html><body><article><h1>a one</h1></article></body></html>",
        b'{"items": [1, {"id": "a", "title": "one", "content_text": "x"}]}',
        b'{"items": {}}',
        b"<rss",
    ],
    ids=range(12),
)
def test_nothing_is_known_of_what_cannot_be_told_apart(body: bytes) -> None:
    """Broken feeds, other charsets, tags that are none."""
    assert "" == known_of(body)


def test_kept_records_are_bounded() -> None:
    """And a value of another version or of a hand holds none."""
    (article,) = read(rss("a one"))[1]
    (record,) = remembered([article])
    assert [record] == list(map(to_bytes, known_entries(record))) == records_in(record)
    assert [article.id] * 2 == article_ids_in(record * 2)
    assert 1_000 == len(records_in(joined([record] * 1_005)))
    for value in (b"", b"x", b"[]"):
        assert [] == records_in(value)
