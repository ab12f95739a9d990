"""Pages that are no K2 pages: one article each, or a clear no."""

from __future__ import annotations

from contextlib import suppress

import pytest

from service.articles.article import Entry
from service.errors import ParseFailed
from tests.effort import assert_linear
from workers.ingest.parse import parse

TEXT = "<p>" + "The ferry sails again. " * 6 + "</p>"


def one(
    head: str, body: str, *, url: str = "http://p.example/a/1", content_type: str = ""
) -> Entry:
    """The one article of a page."""
    page = f"<html><head>{head}</head><body>{body}</body></html>"
    (entry,) = parse(page.encode(), url=url, content_type=content_type).entries
    return entry


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<script type="application/ld+json">{"@type": "NewsArticle", "headline": "L"}</script>'
         '<meta property="og:title" content="O">', "L"),
        ('<meta property="og:title" content="O"><title>T</title>', "O"),
        ("<title> T\n t </title>", "T t"),
        ('<script type="application/ld+json">{"@graph": [5, {"@type": [{}, "BlogPosting"],'
         ' "headline": "G"}]}</script>', "G"),
        ('<script type="application/ld+json">not JSON</script><title>T</title>', "T"),
        ('<script type="application/ld+json">{"@type": [{}]}</script><title>T</title>', "T"),
        ('<script type="application/ld+json">{"@graph": {"@type": "Article"}}</script>'
         "<title>T</title>", "T"),
        ('<script type="application/ld+json">[{"@type": "Article", "headline": ["x"]}]</script>'
         "<title>T</title>", "T"),
    ],
)  # fmt: skip
def test_the_title(head: str, expected: str) -> None:
    """Of JSON-LD, else OpenGraph, else the page; what has the wrong type is passed over."""
    assert expected == one(head, f"<article>{TEXT}</article>").title


def test_a_heading_is_a_title_and_no_text() -> None:
    """It would stand there twice."""
    entry = one("<title>T - Site</title>", f"<main><h1>The <b>ferry</b></h1>{TEXT}</main>")
    assert "The ferry" == entry.title
    assert "ferry</b>" not in entry.content_html


@pytest.mark.parametrize(
    "body",
    [
        f"<main>menu</main><article>short</article><div itemprop='articleBody'>{TEXT}</div>",
        f"<article>short</article><article>{TEXT}</article>",
        f"<div><main><nav>Menu <nav>more</nav></nav>{TEXT}<form>x</form></main></div>",
    ],
)
def test_the_text(body: str) -> None:
    """The first of itemprop, article, main with more than a teaser's text, without navigation."""
    assert TEXT.strip() == one("<title>T</title>", body).content_html


@pytest.mark.parametrize(
    "body",
    ["", "<p>words</p>" * 5, "<article>short</article>", "<main><nav>" + "x " * 99 + "</nav>"],
)  # fmt: skip
def test_a_page_without_an_article(body: str) -> None:
    """A clear no rather than the menu as an article."""
    with pytest.raises(ParseFailed, match="without an article"):
        one("<title>T</title>", body)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<link rel="canonical" href="/b">', "http://p.example/b"),
        ('<base href="http://o.example/d/"><link rel="canonical" href="c">', "http://o.example/d/c"),
        ('<base href="http://[x"><link rel="canonical" href="http://[y">', "http://p.example/a/1"),
        ('<meta property="og:url" content="http://p.example/o">', "http://p.example/o"),
        ("", "http://p.example/a/1"),
    ],
)  # fmt: skip
def test_the_address(head: str, expected: str) -> None:
    """The link that the page names, resolved; a value that is not a link is skipped."""
    assert expected == one(f"<title>T</title>{head}", f"<article>{TEXT}</article>").url


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<title>Café</title>", "text/html; charset=iso-8859-1"),
        ("<meta charset='iso-8859-1'><title>Café</title>", ""),
        ("<title>Café</title>", "text/html; charset=undefined"),
        ("<title>Café</title>", "text/html; charset=nonsense"),
    ],
)
def test_utf_8_is_believed_before_its_label(body: str, content_type: str) -> None:
    """Servers put a charset on everything."""
    assert "Café" == one(body, f"<article>{TEXT}</article>", content_type=content_type).title


def test_utf_16_and_windows_1252() -> None:
    """The first by its mark; the second by its label, of which Latin-1 is another name."""
    page = f"<html><head><title>Café “x”</title></head><body><article>{TEXT}</article>"
    for body, content_type in (
        (page.encode("utf-16"), ""),
        (page.encode("cp1252"), "text/html; charset=ISO-8859-1"),
        (page.encode("cp1252"), ""),
    ):
        (entry,) = parse(body, url="http://p.example/", content_type=content_type).entries
        assert "Café “x”" == entry.title


@pytest.mark.parametrize(
    "body",
    [
        "<div>" * 100_000 + TEXT,
        "<p " + " ".join(f"a{i}" for i in range(100_000)) + ">" + TEXT,
        "<ul class='breadcrumb'>" + "<li>x" * 20_000,
    ],
    ids=["deep", "attributes", "steps"],
)
def test_hostile_pages_take_linear_time(body: str) -> None:
    """lxml stops at 256 levels by itself, and is not shown a tag of 100,000 attributes."""

    def work(text: str) -> None:
        with suppress(ParseFailed):
            one("<title>T</title>", text)

    assert_linear(work, body)


def test_forbidden_characters_cost_themselves() -> None:
    """Also where a part of the page that is not its text is cut out before them."""
    words = "Words of the article. " * 10
    page = f"<h1>T&#2;</h1><article><nav>menu</nav>&#1;\x02{words}</article>"
    (entry,) = parse(page.encode(), url="https://quay.example/a").entries
    assert "T" == entry.title
    assert words.strip() == entry.content_html.strip()
