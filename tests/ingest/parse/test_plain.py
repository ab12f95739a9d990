"""Plain text and markup: each is read as what it is, whatever its format calls it."""

from __future__ import annotations

import pytest

from service.articles.compose import compose
from service.articles.input import entry_from_json
from workers.ingest.parse import parse

ATOM = '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/">'


def titles(body: str) -> list[str]:
    """The titles of a document as they are kept."""
    return [compose(entry, source="s").title for entry in parse(body.encode()).entries]


def text(body: str) -> str:
    """The text of the only article of a document as it is kept."""
    (entry,) = parse(body.encode()).entries
    return compose(entry, source="s").content_html


def rss(*items: str) -> str:
    """A channel of these items."""
    return f"<rss><channel>{''.join(f'<item>{item}</item>' for item in items)}</channel></rss>"


def test_titles_of_atom() -> None:
    """Their type says what they are."""
    entries = [
        '<title type="text">When to use &lt;picture&gt; and when Option&lt;T&gt;</title>',
        '<title type="html">Why &amp;lt;dialog&amp;gt; is &lt;em&gt;enough&lt;/em&gt;</title>',
        "<title>vector&lt;int&gt;</title>",
    ]
    body = ATOM + "".join(f"<entry>{entry}<id>{entry}</id></entry>" for entry in entries)
    assert [
        "When to use <picture> and when Option<T>",
        "Why <dialog> is enough",
        "vector<int>",
    ] == titles(f"{body}</feed>")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["How &lt;details&gt; opens", "Q &amp; A"], ["How <details> opens", "Q & A"]),
        (["Q &amp;amp; A", "A &lt;b&gt;bold&lt;/b&gt; one"], ["Q & A", "A bold one"]),
        (["<![CDATA[vector<int>]]>"], ["vector<int>"]),
    ],
)
def test_titles_of_rss(items: list[str], expected: list[str]) -> None:
    """The channel shows whether it escapes its titles once or twice."""
    assert expected == titles(rss(*(f"<title>{item}</title>" for item in items)))


def test_titles_of_json_feeds() -> None:
    """They are plain, except where all show that they are not."""
    feed = '{"version":"https://jsonfeed.org/version/1.1","items":[{"id":"1","title":"%s"}]}'
    assert ["Vec<u8> against List<Byte>"] == titles(feed % "Vec<u8> against List<Byte>")
    assert ["Tom & Ann’s"] == titles(feed % "Tom &amp; Ann&#8217;s")


def test_pushes() -> None:
    """What a client pushes as a text is one."""
    pushed = {
        "title": "How <details> opens", "summary": "a &amp; b <i>c</i>", "tags": ["C<T>"],
        "authors": ["A <b>"], "attribution": "<T>",
    }  # fmt: skip
    draft = compose(entry_from_json(pushed), source="s")
    assert (pushed["title"], pushed["summary"]) == (draft.title, draft.summary)
    assert (("C<T>",), ("A <b>",), "<T>") == (draft.tags, draft.authors, draft.attribution)
    assert "<p>a &amp;amp; b &lt;i&gt;c&lt;/i&gt;</p>" == draft.content_html


LINES = "<p>The gull is white<br>the pier is long</p>\n<p>the tide at 5 &lt; 6</p>"


@pytest.mark.parametrize(
    "body",
    [
        '{"version":"https://jsonfeed.org/version/1.1","items":[{"id":"1","content_text":'
        '"The gull is white\\nthe pier is long\\n\\nthe tide at 5 < 6"}]}',
        f"{ATOM}<entry><id>1</id><media:group><media:description>The gull is white\n"
        "the pier is long\n\nthe tide at 5 &lt; 6</media:description></media:group></entry></feed>",
        f"{ATOM}<entry><id>1</id><summary>The gull is white\nthe pier is long\n\n"
        "the tide at 5 &lt; 6</summary></entry></feed>",
        rss(
            "<description>The gull is white\nthe pier is long\n\nthe tide at 5 &lt; 6</description>"
        ),
    ],
    ids=["content_text", "media:description", "summary", "description"],
)
def test_lines_stay_lines(body: str) -> None:
    """Of every text that is plain."""
    assert LINES == text(body)


def test_a_description_of_one_line_is_markup() -> None:
    """RSS says so, and its references are resolved."""
    assert "Fog &amp; rain é" == text(
        rss("<description>Fog &amp;amp; rain &amp;eacute;</description>")
    )
