"""Articles that selectors name, in pages, XML and JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.articles.article import Detail, Entry
from service.errors import ParseFailed
from service.sources.select import checked_select
from workers.ingest.parse import Document, parse

URL = "http://x.example/board/"


def read(body: str | bytes, *, content_type: str = "", **select: str) -> Document:
    """A document, read with selectors."""
    data = body.encode() if isinstance(body, str) else body
    zone = ZoneInfo("Europe/Berlin")
    chosen = checked_select(select)
    return parse(data, url=URL, content_type=content_type, zone=zone, select=chosen)


def one(item: str, **select: str) -> Entry:
    """The entry of a page with one item."""
    (entry,) = read(f"<html><body><li>{item}</li></body></html>", items="li", **select).entries
    return entry


PAGE = """<html><head><title>Harbour board</title><base href="/news/"></head><body>
<article><h2>Ferry <b>A &amp; B</b><br>sails</h2><a href="1?x=1">more</a>
 <time datetime="2026-01-05T10:00+01:00">5.1.</time><p>Fog &amp; <i>wind</i>.</p><p>Calm.</p>
 <span class="by">Ann</span><span class="by">Bo</span><em>Ferries</em><img data-src="/i/1.jpg">
</article>
<article><h2>Two</h2><a href="//y.example/2">more</a></article>
<a rel="next" href="?page=2">older</a></body></html>"""


def test_a_page() -> None:
    """Every field, as people mean it: href, datetime, the markup of a text, the picture itself."""
    document = read(
        PAGE, items="article", title="h2", link="a", date="time", content="p", author=".by",
        category="em", image="img", next_page="a[rel=next]",
    )  # fmt: skip
    first, second = document.entries
    assert ("selected", "Harbour board") == (document.kind, document.title)
    assert "http://x.example/news/?page=2" == document.next_url
    assert ("Ferry A & B sails", "http://x.example/news/1?x=1") == (first.title, first.url)
    assert first.url == first.guid
    assert datetime(2026, 1, 5, 9, 0, tzinfo=UTC) == first.published
    assert "2026-01-05T10:00+01:00" == first.raw_published
    assert "Fog &amp; <i>wind</i>.\nCalm." == first.content_html
    assert (("Ann", "Bo"), ("Ferries",)) == (first.authors, first.categories)
    assert ("http://x.example/i/1.jpg", Detail.FEED) == (first.image, first.detail)
    assert ("http://y.example/2", None, "") == (second.url, second.published, second.content_html)
    assert Detail.TEASER == second.detail


JSON = """{"data": {"posts": [
 {"headline": "Vec<u8>", "path": "/p/1", "at": 1767603600000, "by": [{"name": "Ann"}, "Bo"],
  "body": "<p>x</p>", "picture": {"url": "/i.png"}, "tags": [{"label": "Fog"}, {"label": "Ice"}]},
 {"headline": "Two", "path": "/p/2", "body": "One line.\\n\\nTwo"}]}, "next": "/board/?page=2"}"""


def test_json() -> None:
    """Numbers are epochs, objects have names and URLs; a text without tags is plain."""
    document = read(
        JSON, items="$.data.posts[*]", title="$.headline", link="$.path", date="$.at",
        content="$.body", author="$.by[*]", category="$.tags[*]", image="$.picture",
        next_page="$.next",
    )  # fmt: skip
    first, second = document.entries
    assert "http://x.example/board/?page=2" == document.next_url
    assert ("Vec<u8>", "http://x.example/p/1") == (first.title, first.url)
    assert datetime(2026, 1, 5, 9, 0, tzinfo=UTC) == first.published
    assert (("Ann", "Bo"), ("Fog", "Ice")) == (first.authors, first.categories)
    assert ("<p>x</p>", "http://x.example/i.png") == (first.content_html, first.image)
    assert "<p>One line.</p>\n<p>Two</p>" == second.content_html


def test_xml_of_any_kind() -> None:
    """Namespaces do not matter, upper case does; markup in texts is escaped, as in feeds."""
    body = """<?xml version="1.0"?><x:list xmlns:x="u:x"><x:Item><x:Title>A &amp;amp; B</x:Title>
      <x:Link>http://x.example/1</x:Link><pubDate>Mon, 05 Jan 2026 10:00:00 GMT</pubDate>
      <Text>&lt;p&gt;hi&lt;/p&gt;</Text></x:Item></x:list>"""
    (entry,) = read(
        body, items="Item", title="Title", link="Link::text", date="pubDate", content="Text"
    ).entries
    assert ("A &amp; B", "<p>hi</p>") == (entry.title, entry.content_html)
    assert datetime(2026, 1, 5, 10, 0, tzinfo=UTC) == entry.published


def test_a_feed_may_be_read_with_selectors() -> None:
    """For what its format has no field for; link, guid and date are what they are in feeds."""
    body = """<rss version="2.0"><channel><item><title>One</title><link>http://x.example/1</link>
      <description>d</description></item></channel></rss>"""
    (entry,) = read(body, items="//item", title="title", link="link", content="description").entries
    assert ("One", "http://x.example/1", "<p>d</p>") == (entry.title, entry.url, entry.content_html)


@pytest.mark.parametrize(
    ("item", "select", "field", "expected"),
    [
        ("<a href='1'><b>T</b></a>", {"link": "b"}, "url", f"{URL}1"),
        ("<a href=' 1 '>T</a>", {"link": "a::attr(href)"}, "url", f"{URL}1"),
        ("<div><a href='1'></a></div>", {"link": "div"}, "url", f"{URL}1"),
        ("T", {"title": "xpath:."}, "title", "T"),
        ("<h2>H<sub>2</sub>O<div>now</div></h2>", {"title": "h2"}, "title", "H2O now"),
        ("<h2>&lt;b&gt; tag</h2>", {"title": "h2"}, "title", "<b> tag"),
        ("<h2><script>x()</script>T</h2>", {"title": "h2"}, "title", "T"),
        ("<h2> </h2><h2>Second</h2>", {"title": "h2"}, "title", "Second"),
        ("<i>10/12/2025</i>", {"title": "i", "date": "i", "date_format": "%d/%m/%Y"},
         "published", datetime(2025, 12, 9, 23, tzinfo=UTC)),
        ("<i>2025-12-10T00:00Z</i>", {"title": "i", "date": "i", "date_format": "%d/%m/%Y"},
         "published", datetime(2025, 12, 10, tzinfo=UTC)),
        ("<i>soon</i>", {"title": "i", "date": "i"}, "raw_published", "soon"),
        ("<i>soon</i><i>22.12.2017</i>", {"title": "i", "date": "i"}, "raw_published",
         "22.12.2017"),
        ("<div><time datetime='2017-12-22'>x</time></div>", {"title": "time", "date": "div"},
         "raw_published", "2017-12-22"),
        ("<i style='background: url(&quot;/p.jpg&quot;)'>x</i>", {"title": "i", "image": "i"},
         "image", "http://x.example/p.jpg"),
        ("<a href='/page'><img src='a.gif' srcset='b.jpg 2x'>x</a>",
         {"title": "a", "image": "a"}, "image", f"{URL}a.gif"),
        ("<i>x</i>", {"title": "i", "image": "i"}, "image", ""),
    ],
)  # fmt: skip
def test_what_a_selected_value_is(
    item: str, select: dict[str, str], field: str, expected: Any
) -> None:
    """Of an element that which its field needs, else its text."""
    assert expected == getattr(one(item, **select), field)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("<h2>T</h2>", "select.link 'a' selects no link in it"),
        ("<h2>T</h2><a>no address</a>", "selects no link"),
        ("<h2>T</h2><a href='javascript:x()'>x</a>", "is not an http(s) URL"),
        ("<h2>T</h2><a href='http://[x/'>x</a>", "is not an http(s) URL"),
        ("<h2>T</h2><a href='mailto:a@b.example'>x</a>", "is not an http(s) URL"),
    ],
)
def test_items_without_a_link_are_rejects(item: str, reason: str) -> None:
    """Each with its reason; the others are articles."""
    body = f"<html><li>{item}</li><li><h2>Good</h2><a href='/1'>x</a></li></html>"
    document = read(body, items="li", title="h2", link="a")
    assert ["Good"] == [entry.title for entry in document.entries]
    (reject,) = document.rejects
    assert ("item 1", True) == (reject.where, reason in reject.reason)


@pytest.mark.parametrize(
    ("body", "select", "expected"),
    [
        ("<li><a href='/1'>One</a></li><li><a href='/2'>Two</a></li>",
         {"items": "//a/@href", "link": "xpath:.", "title": "xpath:."}, ["/1", "/2"]),
        ("<li><b>One</b></li><li><b>Two</b></li>", {"items": "//li", "title": "//b"},
         ["One", "Two"]),
        ('["/1", "/2"]', {"items": "$[*]", "link": "$", "title": "$"}, ["/1", "/2"]),
        ('[{"a": "One"}, 5, null, "{\\"a\\": 1}"]', {"items": "$[*]", "title": "$.a"}, ["One"]),
    ],
)  # fmt: skip
def test_items_of_all_kinds(body: str, select: dict[str, str], expected: list[str]) -> None:
    """Texts, too; a path from the root means the item, and a text of JSON is not JSON."""
    page = body if body.startswith("[") else f"<html>{body}</html>"
    assert expected == [entry.title for entry in read(page, **select).entries]


def test_empty_items_are_rejects() -> None:
    """Where no link is asked for, there must be a title or a text."""
    document = read("<html><li>x</li><li><b>T</b></li></html>", items="li", title="b")
    assert (1, "nothing is selected in it: x") == (
        len(document.entries), document.rejects[0].reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "items", "reason"),
    [
        (PAGE, "section", "select.items 'section' selects nothing"),
        (PAGE, "$[*]", "is not JSON, but the selectors of its source are for JSON"),
        (JSON, "li", "is JSON, but the selectors of its source are for a page"),
        ("{broken", "$[*]", "is not JSON"),
        ("[]", "$[*]", "selects nothing"),
        ("<?xml version='1.0'?>", "a", "XML that cannot be read"),
    ],
)
def test_documents_that_are_something_else(body: str, items: str, reason: str) -> None:
    """A page that has changed must be noticed: it fails, with the selector."""
    with pytest.raises(ParseFailed, match=reason):
        read(body, items=items, title="$.a" if items.startswith("$") else "h2")


def test_a_page_in_another_charset() -> None:
    """The charset is found as for pages without selectors."""
    body = "<html><meta charset='windows-1251'><li>Новости</li></html>".encode("cp1251")
    assert "Новости" == read(body, items="li", title="xpath:.").entries[0].title


@pytest.mark.parametrize("link", ["", "/board/", "http://x.example/board/", "javascript:x()"])
def test_a_next_page_is_another_page(link: str) -> None:
    """Not this one once more, and not a script."""
    body = f"<html><li>T</li><b><a href='{link}'>more</a></b></html>"
    assert "" == read(body, items="li", title="xpath:.", next_page="b a").next_url
