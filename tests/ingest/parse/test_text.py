"""Pages saved as text: where an article begins, what its category is, what is only text."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.articles.article import Entry
from service.errors import ParseFailed
from tests.effort import assert_linear
from workers.ingest.parse import parse

FILTER = "Items filtered by date: Monday, 5 January 2026"


def entries(text: str) -> tuple[Entry, ...]:
    """The articles of a page."""
    return parse(text.encode()).entries


@pytest.mark.parametrize(
    ("breadcrumb", "expected"),
    [
        (f"Home Media Center Harbour News {FILTER}", "Media Center/Harbour News"),
        (f"Home Harbour News {FILTER}", "Harbour News"),
        (f"Home / Media Center / Harbour News / {FILTER}", "Media Center/Harbour News"),
        (f"Home » Media Center » Harbour News » {FILTER}", "Media Center/Harbour News"),
        (f"HOME Media Center Harbour News {FILTER}", "Media Center/Harbour News"),
        (f"Accueil Media Center Harbour News {FILTER}", "Media Center/Harbour News"),
        (f"Homes Abroad Harbour News {FILTER}", "Harbour News"),
        (f"Home Media Center {FILTER}", "Harbour News"),
        (FILTER, "Harbour News"),
        ("", "Harbour News"),
    ],
)
def test_the_category(breadcrumb: str, expected: str) -> None:
    """A breadcrumb without dividers is split by what the page says its category is."""
    (entry,) = entries(f"Harbour News\n5 January 2026 In Harbour News\n\nWords.\n\n{breadcrumb}\n")
    assert (expected,) == entry.categories


def test_the_day_is_midnight_in_the_zone() -> None:
    """The raw words are kept beside it."""
    body = "News\n5 January 2026 In News\n\nWords."
    (entry,) = parse(body.encode(), zone=ZoneInfo("Asia/Damascus")).entries
    assert datetime(2026, 1, 4, 21, tzinfo=UTC) == entry.published
    assert "5 January 2026" == entry.raw_published


def test_paragraphs_are_escaped_and_nothing_is_invented() -> None:
    """No title, no guid, no link: those are made from the text later."""
    (entry,) = entries(
        "News\r\n5 January 2026 In News\r\n\r\n5 < 6 & <b>\r\ngo on\r\n\r\nEnd (Source: X)\r\n"
    )
    assert "<p>5 &lt; 6 &amp; &lt;b&gt; go on</p>\n<p>End (Source: X)</p>" == entry.content_html
    assert ("", "", "", "") == (entry.title, entry.guid, entry.url, entry.attribution)


@pytest.mark.parametrize(
    "line",
    [
        "4 January 2026 in Tern Bay they met again, and said so.",
        "4 January 2026 in" + " a paragraph that names no category" * 4,
        "On 4 January 2026 In News",
        "4 January 2026",
        "4 January In News",
    ],
)
def test_text_that_looks_like_a_day_line(line: str) -> None:
    """It is text: a sentence ends with a full stop, a category is short."""
    (entry,) = entries(f"News\n5 January 2026 In News\n\nWords.\n\n{line}\n\nMore.\n")
    assert line in entry.content_html


def test_a_day_that_is_none_keeps_its_article() -> None:
    """The article has no date, and keeps the words of the day line."""
    (entry,) = entries("31 February 2026 In News\n\nWords.")
    assert (None, "31 February 2026") == (entry.published, entry.raw_published)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str) -> None:
    """What editors save as "text"."""
    body = "Café\n5 January 2026 In Café\n\nDéjà vu “x”.".encode(encoding)
    (entry,) = parse(body).entries
    assert (("Café",), "<p>Déjà vu “x”.</p>") == (entry.categories, entry.content_html)


def test_no_page_that_we_know() -> None:
    """The message says what is missing."""
    with pytest.raises(ParseFailed, match="'22 December 2017 In Coalition News'"):
        parse(b"Dear editor,\n\nplease find attached")


@pytest.mark.parametrize(
    "text",
    [
        "5 January 2026 In a" + " " * 200_000 + "b\n",
        "5 January" + " " * 200_000 + "2026\n",
        "5 January 2026 In News\n" * 20_000,
        "Home " * 100_000,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    """Long lines are text before any pattern is tried on them."""

    def work(part: str) -> None:
        with suppress(ParseFailed):
            entries(part)

    assert_linear(work, text)
