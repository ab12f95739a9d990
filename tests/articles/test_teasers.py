"""Which texts of feeds are cut, in the words of many publishers."""

from __future__ import annotations

import time

import pytest

from service.articles.article import Entry
from service.articles.teasers import cuts_its_texts, is_cut, is_short


@pytest.mark.parametrize(
    "text",
    [
        "The ferry left at noon and [&#8230;]",
        "<p>The ferry left at noon and [&hellip;]</p>",
        "<p>The ferry left […]</p>\n<p>The post <a href='x'>Ferry</a> appeared first on "
        "<a href='y'>Blog</a>.</p>",
        "The ferry left at noon and…",
        "The ferry left at noon and ...",
        "The ferry left at noon (more…)",
        '<p>The ferry left at noon. <a href="x">Read more</a></p>',
        '<p>The ferry left. <a href="x" class="more">Continue reading <span>Ferry</span> →</a></p>',
        "Die Fähre fuhr. Weiterlesen »",
        "Le ferry est parti. Lire la suite",
        "El ferry salió. Leer más…",
        "Паром ушёл. Читать далее →",
        "フェリーが出た。続きを読む",
        "渡轮离开。 阅读全文",
        "<p>Words</p>" * 300 + "<p>and then [&#8230;]</p>",
    ],
)
def test_texts_that_are_cut(text: str) -> None:
    """By how they end, whatever markup is around it."""
    assert is_cut(Entry(content_html=text))
    assert is_cut(Entry(summary=text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The ferry left at noon.",
        "He said: “wait…” and went home.",
        "To read more about ferries, see our archive. It has everything.",
        "No more ferries will leave.",
        "There is much more to it than that, as the harbour master said on Friday",
        "<p>Read more books.</p><p>That is all.</p>",
    ],
)
def test_texts_that_are_whole(text: str) -> None:
    """Words such as `more` in a sentence cut nothing."""
    assert not is_cut(Entry(content_html=text))


def test_a_feed_is_known_to_cut_by_its_entries() -> None:
    """Half of them; one alone only by words or brackets that say so."""
    cut, whole = Entry(content_html="Words and…"), Entry(content_html="Words.")
    assert cuts_its_texts([cut, whole])
    assert not cuts_its_texts([cut, whole, whole])
    assert not cuts_its_texts([])
    assert not cuts_its_texts([cut])
    assert cuts_its_texts([Entry(content_html="Words […]")])


def test_short_texts() -> None:
    """By their words, and not by their markup."""
    assert is_short(Entry(summary="Words. " * 100))
    assert is_short(Entry(content_html='<p class="a very long name of a class">x</p>' * 20))
    assert not is_short(Entry(content_html="Words. " * 300))
    assert not is_short(Entry(content_html="<b>Word</b> " * 10_000))


@pytest.mark.parametrize(
    "piece", ["<", "&", "read more ", ". more ", "[…] ", "The post ", "> ", "…"]
)
def test_no_text_takes_long(piece: str) -> None:
    """The time is short whatever the text repeats."""
    started_s = time.process_time()
    for _ in range(20):
        is_cut(Entry(content_html=piece * 50_000))
    assert time.process_time() - started_s < 2
