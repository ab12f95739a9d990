"""Feeds say one thing in several vocabularies: each is read in every dialect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from service.articles.article import Enclosure, Entry
from service.articles.compose import compose
from service.errors import ParseFailed
from workers.ingest.parse import Document, parse

NAMESPACES = (
    'xmlns:a="http://www.w3.org/2005/Atom" xmlns:old="http://purl.org/atom/ns#" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" '
    'xmlns:media="HTTPS://search.yahoo.com/mrss#" xmlns:content="http://purl.org/rss/1.0/modules/content/"'
)
MOMENT = datetime(2024, 5, 1, 10, tzinfo=UTC)
STAMP = "2024-05-01T10:00:00Z"
PAGE = "https://quay.example/2024/pier/"


def read(body: str) -> Document:
    """The document that is parsed from a body."""
    return parse(body.encode(), url="https://quay.example/feeds/all")


def rss(item: str, *, channel: str = "", attributes: str = "") -> Document:
    """RSS with one item."""
    return read(
        f"<rss {NAMESPACES} {attributes}><channel>{channel}<item>{item}</item></channel></rss>"
    )


def rdf(item: str, *, channel: str = "", attributes: str = "") -> Document:
    """RSS 1.0 with one item."""
    return read(
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns="http://purl.org/rss/1.0/" {NAMESPACES} {attributes}>'
        f"<channel>{channel}</channel><item>{item}</item></rdf:RDF>"
    )


def atom(entry: str, *, channel: str = "", attributes: str = "") -> Document:
    """Atom with one entry."""
    return read(
        f'<feed xmlns="http://www.w3.org/2005/Atom" {NAMESPACES} {attributes}>{channel}'
        f"<entry>{entry}</entry></feed>"
    )


Read = Callable[..., Document]
every_dialect = pytest.mark.parametrize("dialect", [rss, rdf, atom])


def entry_of(document: Document) -> Entry:
    """The only entry of a document."""
    (entry,) = document.entries
    return entry


@every_dialect
@pytest.mark.parametrize(
    "title", ["<dc:title>T</dc:title>", "<a:title>T</a:title>", '<a:title type="html">T</a:title>']
)
def test_titles(dialect: Read, title: str) -> None:
    """Of a feed and of an entry."""
    document = dialect(f"{title}<dc:date>{STAMP}</dc:date>", channel=title)
    assert ("T", "T") == (document.title, entry_of(document).title)


@every_dialect
def test_the_title_of_media_comes_last(dialect: Read) -> None:
    """It is often that of the picture."""
    media = "<media:title>Picture</media:title>"
    assert "Picture" == entry_of(dialect(media)).title
    assert "T" == entry_of(dialect(f"{media}<dc:title>T</dc:title>")).title


@every_dialect
def test_identifiers(dialect: Read) -> None:
    """Dublin Core's identifies an entry that has no other."""
    identifier = "<dc:identifier>urn:x:1</dc:identifier>"
    assert "urn:x:1" == entry_of(dialect(identifier)).guid
    assert "urn:x:2" == entry_of(dialect(f"{identifier}<a:id>urn:x:2</a:id>")).guid


@every_dialect
@pytest.mark.parametrize(
    ("name", "is_update"),
    [
        ("dc:date", False), ("a:published", False), ("old:issued", False), ("old:created", False),
        ("a:updated", True), ("old:modified", True),
    ],
)  # fmt: skip
def test_dates(dialect: Read, name: str, is_update: bool) -> None:
    """An entry without a date of publication has that of its change."""
    entry = entry_of(dialect(f"<{name}>{STAMP}</{name}>"))
    assert (MOMENT, STAMP) == (entry.published, entry.raw_published)
    assert (MOMENT if is_update else None) == entry.updated


@pytest.mark.parametrize("name", ["dcterms:created", "dcterms:date", "dcterms:modified"])
def test_dates_of_dublin_core(name: str) -> None:
    """In its larger vocabulary, too."""
    assert MOMENT == entry_of(rss(f"<{name}>{STAMP}</{name}>")).published


@every_dialect
def test_languages(dialect: Read) -> None:
    """By an element or by XML's attribute; an entry may have one of its own."""
    channel = "<dc:language>fr</dc:language>"
    assert "fr" == entry_of(dialect("<dc:title>T</dc:title>", channel=channel)).language
    assert "fr" == entry_of(dialect("<dc:title>T</dc:title>", attributes='xml:lang="fr"')).language
    own = f"<dc:title>T</dc:title>{channel}"
    assert "fr" == entry_of(dialect(own, attributes='xml:lang="de"')).language


def test_files_of_atom_in_rss() -> None:
    """Beside RSS's own, each once."""
    links = (
        '<enclosure url="https://m.example/1.mp3" type="audio/mpeg" length="5"/>'
        '<a:link rel="enclosure" href="https://m.example/1.mp3"/>'
        '<a:link rel="enclosure" href="https://m.example/2.mp3" length="7"/>'
        '<a:link rel="related" href="https://m.example/3.mp3"/>'
    )
    files = entry_of(rss(links)).enclosures
    assert ["https://m.example/1.mp3", "https://m.example/2.mp3"] == [file.url for file in files]


@pytest.mark.parametrize(
    "entry",
    [
        entry_of(rss('<enclosure url="https://m.example/1.mp3" type="audio/mpeg"/>')),
        entry_of(rss('<a:link rel="enclosure" href="https://m.example/1.mp3"/>')),
        entry_of(atom('<link rel="enclosure" href="https://m.example/1.mp3"/>')),
    ],
)
def test_a_file_alone_is_an_article(entry: Entry) -> None:
    """It is its link and its title; nothing else is known."""
    draft = compose(entry, source="s")
    url = "https://m.example/1.mp3"
    assert (url, url) == (draft.url, draft.title)
    assert (Enclosure(url=url, type="audio/mpeg"),) == draft.enclosures


@pytest.mark.parametrize(
    "image",
    [
        '<itunes:image href="https://img.example/1.jpg"/>',
        '<itunes:link rel="image" href="https://img.example/1.jpg"/>',
    ],
)
def test_an_item_with_a_cover_alone(image: str) -> None:
    """It says something, so that no other parser is asked."""
    document = rss(image, attributes='xmlns:itunes="http://www.itunes.com/DTDs/Podcast-1.0.dtd"')
    assert "https://img.example/1.jpg" == entry_of(document).image
    assert document.is_whole


@pytest.mark.parametrize(
    ("item", "texts"),
    [
        ("<description>Short</description><summary>The longer one</summary>",
         ("The longer one", "Short")),
        ("<summary>Short</summary><description>The longer one</description>",
         ("The longer one", "Short")),
        ("<summary>Alone</summary>", ("Alone", "")),
        ("<description>Alone</description>", ("Alone", "")),
        ("<content:encoded>C</content:encoded><summary>S</summary>", ("C", "S")),
    ],
)  # fmt: skip
def test_two_summaries(item: str, texts: tuple[str, str]) -> None:
    """The longer is the text; none is dropped."""
    entry = entry_of(rss(item))
    assert texts == (entry.content_html, entry.summary)


def test_a_link_may_have_a_base_of_its_own() -> None:
    """XML Base 3.1, for the element alone."""
    item = f'<link xml:base="{PAGE}">../map</link><enclosure url="/1.mp3"/>'
    assert "https://quay.example/2024/map" == entry_of(rss(item)).url
    assert "../map" == entry_of(rss("<link>../map</link>")).url


def test_media_are_relative_to_their_article() -> None:
    """As its text is, unless the feed declares a base."""
    media = '<media:thumbnail url="pier.jpg"/><enclosure url="pier.mp3" type="audio/mpeg"/>'
    item = f"<title>T</title><link>{PAGE}</link>{media}"
    draft = compose(entry_of(rss(item)), source="s")
    assert (f"{PAGE}pier.jpg", f"{PAGE}pier.mp3") == (draft.image, draft.enclosures[0].url)
    declared = rss(item, attributes='xml:base="https://cdn.example/"')
    assert "https://cdn.example/pier.jpg" == compose(entry_of(declared), source="s").image


@pytest.mark.parametrize("name", ["CHANNEL", "Channel", "channel"])
def test_channels_of_1997(name: str) -> None:
    """CDF has links and dates in attributes."""
    document = read(
        f'<{name} HREF="https://quay.example/"><TITLE>Quay</TITLE><ITEM HREF="/2" '
        f'LASTMOD="{STAMP}"><TITLE>Two</TITLE><ABSTRACT>Words</ABSTRACT></ITEM></{name}>'
    )
    assert "Quay" == document.title
    (entry,) = document.entries
    assert ("/2", "Two", "Words", MOMENT) == (
        entry.url, entry.title, entry.content_html, entry.published,
    )  # fmt: skip
    assert "https://quay.example/2" == compose(entry, source="s").url


@pytest.mark.parametrize(
    "body",
    [
        "<rss><channel><title>Quay &#160; News</title></channel></rss",
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>Quay News</subtitle></feed>",
    ],
)
def test_a_broken_feed_without_entries_has_its_title(body: str) -> None:
    """It is not whole, but nothing is lost."""
    document = read(body)
    assert ("Quay News", (), False) == (document.title, document.entries, document.is_whole)


@pytest.mark.parametrize(
    "body",
    [
        "<rss><channel><title>Quay News</title>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>Quay</subtitle>",
    ],
)
def test_a_broken_feed_that_may_have_had_entries_fails(body: str) -> None:
    """It is cut before the first one."""
    with pytest.raises(ParseFailed):
        read(body)
