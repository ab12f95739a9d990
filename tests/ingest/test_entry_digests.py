"""What has not changed since the last poll is passed over, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from service.articles.article import Enclosure, Entry
from service.articles.encoded import EncodedArticle
from service.articles.text import Plain
from workers.ingest.documents import ParseJob, ParseReport, read_document
from workers.ingest.entry_digests import MAX_DIGESTS, EntryDigests, joined, split

ENTRY = Entry(
    guid="1", title="Crane", content_html="<p>It stands.</p>", enclosures=(Enclosure(url="u"),),
    published=datetime(2026, 1, 5, tzinfo=UTC),
)  # fmt: skip
IDENTITY = ("news.example", "1")


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"title": Plain("Crane")}, False),
        ({"title": "Cranes"}, False),
        ({"published": None}, False),
        ({"enclosures": (Enclosure(url="v"),)}, False),
        ({"tags": ("x",)}, False),
        ({"base_url": "http://news.example/"}, False),
    ],
    ids=str,
)
def test_a_digest_is_of_all_that_an_entry_says(changes: dict[str, Any], is_same: bool) -> None:
    """Also of whether a text is plain."""
    digests = EntryDigests(b"settings")
    other = replace(ENTRY, **changes)
    assert is_same == (digests.of(ENTRY, IDENTITY) == digests.of(other, IDENTITY))


def test_a_digest_is_of_what_decides_about_the_entry() -> None:
    """Its identity and the settings; and a text that is not Unicode has none."""
    digests = EntryDigests(b"settings")
    assert digests.of(ENTRY, IDENTITY) != digests.of(ENTRY, ("news.example", "2"))
    assert digests.of(ENTRY, IDENTITY) != EntryDigests(b"others").of(ENTRY, IDENTITY)
    assert b"" == digests.of(replace(ENTRY, title="\ud800"), IDENTITY)


def test_kept_digests_are_bounded() -> None:
    """And a text that a hand wrote holds none."""
    digests = [number.to_bytes(8, "big") for number in range(MAX_DIGESTS + 5)]
    assert frozenset(digests[:MAX_DIGESTS]) == split(joined(digests))
    assert frozenset(digests[:1]) == split(joined([b"", digests[0]]))
    for text in ("", "é", "x"):
        assert frozenset() == split(text)


def feed(*items: str) -> bytes:
    """A feed of these titles; the guid is the first word."""
    parts = [
        f"<item><guid>{title.split()[0]}</guid><title>{title}</title></item>" for title in items
    ]
    return f"<rss><channel><title>Quay</title>{''.join(parts)}</channel></rss>".encode()


def read(
    body: bytes, *, known: str = "", **settings: Any
) -> tuple[ParseReport, list[EncodedArticle]]:
    """The report and the articles of a document."""
    job = ParseJob(url="http://n.example/f", added_url="http://n.example/f", known=known)
    report, *parts = read_document(replace(job, **settings), body)
    assert isinstance(report, ParseReport)
    articles = [each for part in parts for each in part if isinstance(each, EncodedArticle)]
    return report, articles


@pytest.mark.parametrize(
    ("items", "settings", "titles"),
    [
        (["a one", "b two", "c three"], {}, []),
        (["d four", "a one", "b two", "c three"], {}, ["d four"]),
        (["a one", "b TWO", "c three"], {}, ["b TWO"]),
        (["c three"], {}, []),
        (["a one"], {"categories": ("News",)}, ["a one"]),
        (["a one"], {"zone": "Europe/Berlin"}, ["a one"]),
        (["a one"], {"rules": [{"tag": "x"}]}, ["a one"]),
    ],
)
def test_only_what_changed_is_composed(
    items: list[str], settings: dict[str, Any], titles: list[str]
) -> None:
    """An entry, or a setting of its source; its article is the same as without what is known."""
    _, first = read(feed("a one", "b two", "c three"))
    known = joined(article.entry_digest for article in first)
    report, articles = read(feed(*items), known=known, **settings)
    whole_report, whole = read(feed(*items), **settings)
    wanted = [each for each in whole if any(f'"title":"{t}"'.encode() in each.doc for t in titles)]
    assert wanted == articles
    assert len(items) - len(titles) == len(split(report.known))
    assert report.ids == whole_report.ids
