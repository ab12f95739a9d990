"""Cleaning: what is kept, what goes, and that nothing hostile gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from service import clean

BASE = "http://s.example/a/b.html"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>a</p><script>alert(1)</script>", "<p>a</p>"),
        ("<p onclick='x()' style='x' class='y' title='t'>a</p>", '<p title="t">a</p>'),
        ("<a href='javascript:alert(1)'>a</a>", '<a rel="noopener">a</a>'),
        ("<a href='java\tscript:alert(1)'>a</a>", '<a rel="noopener">a</a>'),
        ("<a href='c.html'>a</a>", '<a href="http://s.example/a/c.html" rel="noopener">a</a>'),
        ("<img src='/i.png' onerror='x()'>", '<img src="http://s.example/i.png">'),
        ("<p>a<img src='http://t.example/p.gif' width='1' height='1'></p>", "<p>a</p>"),
        ("<p>a<img src='http://t.example/p.gif' height='0'></p>", "<p>a</p>"),
        ("<iframe src='http://x.example'></iframe><p>a</p>", "<p>a</p>"),
        ("<form action='javascript:x'><p>a</p></form>", ""),
        ("<svg><a xlink:href='javascript:x'>a</a></svg><p>b</p>", "<p>b</p>"),
        ("<video poster='javascript:x' src='v.mp4'></video>", '<video src="http://s.example/a/v.mp4"></video>'),
        ("<p>a</p><style>p{}</style>", "<p>a</p>"),
        ("<p> </p>\n<div></div>", ""),
        ("", ""),
        ("plain & simple", "plain &amp; simple"),
        ("<p>a\x00\x0b\ufffe\ud800b</p>", "<p>ab</p>"),
        ("<p>cafe\u0301</p>", "<p>caf\u00e9</p>"),
        ("<table><tr><td colspan='2'>a</td></tr></table>",
         '<table><tbody><tr><td colspan="2">a</td></tr></tbody></table>'),
    ],
)  # fmt: skip
def test_html(markup: str, expected: str) -> None:
    """One kind of thing each."""
    assert expected == clean.html(markup, base_url=BASE)


def test_relative_urls_without_a_base_go() -> None:
    """They would lead to wherever the feed is read."""
    assert '<a rel="noopener">a</a><img>' == clean.html("<a href='x.html'>a</a><img src='y.png'>")


@pytest.mark.parametrize(
    "markup",
    ["<div>" * 5_000 + "words", "<p " + "a='1' " * 30_000 + ">words</p>"],
    ids=["deep", "attributes"],
)
def test_excessive_markup_keeps_its_words_only(markup: str) -> None:
    """Without asking nh3, which is quadratic here."""
    assert "<p>words</p>" == clean.html(markup)


def test_long_articles_are_not_excessive() -> None:
    """Thousands of tags side by side, void ones among them, are an article."""
    markup = "<p>a<br>b</p>" * 2_000 + "<ul>" + "<li>x</li>" * 500 + "</ul>"
    assert 2_000 == clean.html(markup).count("<p>")


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<p>a<br>b</p>", "a\nb"),
        ("<p>a\n  b&nbsp;&amp; c</p>", "a b & c"),
        ("<ul><li>a</li><li>b <b>c</b></li></ul>", "a\n\nb c"),
        ("a  b", "a b"),
        ("<p>5 &lt; 6</p>", "5 < 6"),
        ("", ""),
    ],
)
def test_plain_text(markup: str, expected: str) -> None:
    """Words, paragraph by paragraph."""
    assert expected == clean.plain_text(markup)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \n b ", "a b"),
        ("<b>Bold</b> &amp; plain", "Bold & plain"),
        ("Tom &amp;amp; Ann", "Tom & Ann"),
        ("AT&T", "AT&T"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("a<!-- no -->b", "ab"),
        ("a\x00\u0007b", "ab"),
        ("כותרת", "כותרת"),
    ],
)
def test_line(text: str, expected: str) -> None:
    """Titles and names."""
    assert expected == clean.line(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://x.example/a?b=1&c=%20#d", "http://x.example/a?b=1&c=%20#d"),
        (" c.html ", "http://s.example/a/c.html"),
        ("//x.example/y", "http://x.example/y"),
        ("http://x.example/é ü", "http://x.example/%C3%A9%20%C3%BC"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://x.example:8080/", "http://x.example:8080/"),
        ("http://[::1]/", "http://[::1]/"),
        ("http://user:pass@x.example/", ""),
        ("ftp://x.example/", ""),
        ("javascript:alert(1)", ""),
        ("http://x.example:bad/", ""),
        ("http://x..example/", ""),
        ("", ""),
        ("http://x.example/" + "a" * 5_000, ""),
    ],
)
def test_url(text: str, expected: str) -> None:
    """Absolute, ASCII, http(s), without a user name; or nothing."""
    assert expected == clean.url(text, base_url=BASE)


def test_paragraphs() -> None:
    """Plain text as markup, escaped."""
    assert "<p>a b</p>\n<p>&lt;c&gt; &amp; d</p>" == clean.paragraphs("a\nb\n\n\n<c> & d\n")


@given(st.text())
def test_whatever_comes_xml_can_hold_it(text: str) -> None:
    """No text breaks a feed: every result fits into an XML element, NFC."""
    for made in (clean.line(text), clean.html(text), clean.plain_text(clean.html(text))):
        element = etree.Element("x")
        element.text = made
        assert unicodedata.is_normalized("NFC", made)


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """What is clean stays as it is."""
    once = clean.html(text, base_url=BASE)
    assert once == clean.html(once, base_url=BASE)
