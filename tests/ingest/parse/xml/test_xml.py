"""Feeds in XML: dialects and their fields, addresses, K2's wrappers, repairs, hostile input."""

from __future__ import annotations

from contextlib import suppress

import pytest

from service.articles import sanitize
from service.articles.article import Entry
from service.errors import ParseFailed
from tests.composing import compose_all
from tests.effort import assert_linear
from workers.ingest.parse import Document, parse

ATOM = "http://www.w3.org/2005/Atom"
URL = "http://s.example/dir/feed"


def rss(item: str, *, channel: str = "<link>http://s.example/</link>", attributes: str = "") -> str:
    """A feed with one item."""
    return (
        f'<rss version="2.0" xmlns:atom="{ATOM}" {attributes}><channel><title>t</title>{channel}'
        f"<item>{item}</item></channel></rss>"
    )


def atom(entry: str, *, feed: str = "", namespace: str = ATOM, attributes: str = "") -> str:
    """A feed with one entry."""
    return (
        f'<feed xmlns="{namespace}" {attributes}><title>t</title>{feed}'
        f"<entry><id>1</id><title>e</title>{entry}</entry></feed>"
    )


def document(body: str | bytes, **options: str) -> Document:
    """The document that is parsed from a body at URL."""
    data = body.encode() if isinstance(body, str) else body
    return parse(data, **{"url": URL, **options})  # type: ignore[arg-type]


def one(body: str | bytes, **options: str) -> Entry:
    """The one entry of a document."""
    (entry,) = document(body, **options).entries
    return entry


@pytest.mark.parametrize(
    ("body", "url", "expected"),
    [
        (rss("<guid>1</guid>"), URL, URL),
        (rss("<guid>1</guid>"), "", "http://s.example/"),
        (rss("<guid>1</guid>", channel='<atom:link rel="self" href="http://o.example/f"/>'), URL,
         "http://o.example/f"),
        (rss("<guid>1</guid>", channel='<atom:link rel="self" href="/f"/>'), URL, "http://s.example/f"),
        (rss("<guid>1</guid>", channel='<atom:link rel="self"/>'), URL, URL),
        (rss("<guid>1</guid>", channel='<atom:link rel="self" href="http://[x"/>'), URL, URL),
        (atom("", feed='<link rel="self" href="f"/>'), URL, "http://s.example/dir/f"),
        (atom("", feed='<link rel="self" href="http://[x"/>'), URL, URL),
        (atom("", feed='<link href="http://a.example/"/>'), "", "http://a.example/"),
        (atom("", attributes='xml:base="http://[x"', feed='<link rel="self" href="/f"/>'), URL,
         "http://s.example/f"),
    ],
)  # fmt: skip
def test_the_address_of_a_feed(body: str, url: str, expected: str) -> None:
    """Its self link, resolved; else where it came from; else what it is about."""
    assert expected == document(body, url=url).url


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rss("<title>x</title><link>/a</link>", channel="<link>/</link>"), "http://s.example/a"),
        (rss("<title>x</title><link>a</link>", channel="<link>http://o.example/x/</link>"),
         "http://o.example/x/a"),
        (rss("<title>x</title><link>http://[x</link>"), ""),
        (rss('<title>x</title><atom:link href="http://s.example/b"/>'), "http://s.example/b"),
        (atom('<link rel="edit" href="/e"/><link href="/a"/>'), "http://s.example/a"),
        (atom('<link href="a"/>', attributes='xml:base="/x/"'), "http://s.example/x/a"),
        (atom('<link href="http://[x"/>'), ""),
    ],
)  # fmt: skip
def test_the_address_of_an_article(body: str, expected: str) -> None:
    """Resolved against bases of all levels; without a valid link the article stays."""
    (draft,), rejects = compose_all(document(body), name="x", url=URL)
    assert (expected, []) == (draft.url, rejects)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (atom('<content type="html">&lt;p&gt;a &amp;amp; b&lt;/p&gt;</content>'),
         "<p>a &amp; b</p>"),
        (atom('<content type="text">5 &lt; 6</content>'), "<p>5 &lt; 6</p>"),
        (atom("<content>5 &lt; 6</content>"), "<p>5 &lt; 6</p>"),
        (atom('<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">a<br/><p>b</p>c'
              "</div></content>"), "a<br><p>b</p>c"),
        (atom('<content type="xhtml"><h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>b '
              "<h:em>c</h:em></h:p></h:div></content>"), "<p>b <em>c</em></p>"),
        (atom('<content src="/x.html" type="text/html"/><summary>s</summary>'), "<p>s</p>"),
        (atom("<summary>s</summary>"), "<p>s</p>"),
        (atom('<content type="text/html" mode="escaped">&lt;p&gt;a&lt;/p&gt;</content>',
              namespace="http://purl.org/atom/ns#"), "<p>a</p>"),
        (atom('<content type="application/xhtml+xml" mode="xml"><p xmlns="http://www.w3.org/1999/xhtml">'
              "a</p></content>", namespace="http://purl.org/atom/ns#"), "a"),
        (rss("<description>&lt;p&gt;a&lt;/p&gt;</description>"), "<p>a</p>"),
        (rss("<description><![CDATA[<p>a & b</p>]]></description>"), "<p>a &amp; b</p>"),
    ],
)  # fmt: skip
def test_content(body: str, expected: str) -> None:
    """Text constructs and contents of each type, as they come out of cleaning."""
    (draft,), _ = compose_all(document(body), name="x", url=URL)
    assert expected == draft.content_html.replace("\n", "")


@pytest.mark.parametrize(
    "namespace", [ATOM, "https://www.w3.org/2005/Atom", "http://purl.org/atom/ns#", ""]
)
def test_namespaces_of_atom(namespace: str) -> None:
    """The right one, one with a typing error, the old one, none."""
    assert "e" == one(atom("", namespace=namespace)).title


@pytest.mark.parametrize(
    "namespace",
    ["http://blogs.law.harvard.edu/tech/rss", "http://backend.userland.com/rss2", "http://x.example/"],
)  # fmt: skip
def test_rss_in_a_namespace(namespace: str) -> None:
    """RSS 2.0 has none, and feeds put it into several."""
    assert "a" == one(rss("<title>a</title>", attributes=f'xmlns="{namespace}"')).title


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ('<div class="K2FeedIntroText"><div><p>a</p></div></div>', "<div><p>a</p></div>"),
        ('<div class="K2FeedIntroText">a</div><div class="K2FeedFullText"><div>b</div></div>\n',
         "a\n<div>b</div>"),
        ('<div class="K2FeedImage"><img src="x"/></div><div class="K2FeedIntroText">a</div>'
         '<div class="K2FeedTags"><ul><li>t</li></ul><div class="clr"></div></div>'
         '<div class="K2FeedAttachments"><ul></ul></div>', "a"),
        ('<div class="K2FeedImage">only</div>', '<div class="K2FeedImage">only</div>'),
        ("<p>no K2</p>", "<p>no K2</p>"),
    ],
)  # fmt: skip
def test_k2_wrappers(blocks: str, expected: str) -> None:
    """Intro and full text come out of their blocks, however nested; the other blocks go."""
    assert expected == one(rss(f"<description><![CDATA[{blocks}]]></description>")).content_html


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("a & b", "a & b"),
        ("a & &#128512; &#x1F600; &#x2019;", "a & 😀 😀 ’"),
        ("a & &#0;&#x1F;&#xD800;&#xFFFE;&#x110000;b", "a & b"),
        ("a & &eacute;&nbsp;&hellip;", "a & é …"),
        ("a & &AMP;&LT;b", "a & &<b"),
        ("a & &#" + "9" * 5_000 + ";", "a & &#" + "9" * 5_000 + ";"),
        ("a\x0b & b", "a & b"),
        ("a & <![CDATA[b & c ]] > d]]> e & f", "a & b & c ]] > d e & f"),
        ("a & <![CDATA[&eacute;]]>", "a & &eacute;"),
    ],
)
def test_repair(title: str, expected: str) -> None:
    """Bare ampersands, named and forbidden references; in CDATA an ampersand is an ampersand."""
    assert expected == " ".join(one(rss(f"<title>{title}</title>")).title.split())


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (rss("<title>é & b</title>").encode(), "text/xml; charset=iso-8859-1", "é & b"),
        (rss("<title>é & b</title>").encode("cp1252"), "text/xml; charset=iso-8859-1", "é & b"),
        (rss("<title>“é” & b</title>").encode("cp1252"), "", "“é” & b"),
        (rss("<title>ééé b|</title>").encode().replace(b"|", b"\xc3"), "", "ééé b\ufffd"),
        (rss("<title>日本</title>").encode("iso-2022-jp"), "text/xml; charset=iso-2022-jp", "日本"),
        (b'<?xml version="1.0" encoding="utf-16"?>' + rss("<title>x</title>").encode(), "", "x"),
        (('<?xml version="1.0" encoding="utf-16"?>' + rss("<title>é</title>")).encode("utf-16"), "",
         "é"),
        (b"\xef\xbb\xbf\n" + rss("<title>é</title>").encode(), "", "é"),
        (rss("<title>a & b</title>").encode(), "text/xml; charset=idna", "a & b"),
    ],
)  # fmt: skip
def test_charsets(body: bytes, content_type: str, expected: str) -> None:
    """Labels are believed where the bytes do not tell better."""
    title = one(body, content_type=content_type).title
    # ISO-2022 is well-formed ASCII to an XML parser, and only its declaration could say more.
    assert title == expected or "iso-2022" in content_type


def test_one_bad_item_costs_only_itself() -> None:
    """An item of nothing is refused when it is composed; the other is taken."""
    body = rss("<title>a</title></item><item><guid> </guid>")
    drafts, rejects = compose_all(document(body), name="x", url=URL)
    assert (["a"], 1) == ([draft.title for draft in drafts], len(rejects))


def test_a_guid_that_is_no_url_is_still_a_guid() -> None:
    """Brackets that hold no IPv6 address end no import."""
    (draft,), _ = compose_all(
        document(rss("<title>a</title><guid>http://[x</guid>")), name="x", url=URL
    )
    assert ("http://[x", URL) == (draft.guid, draft.source)


BOMB = (
    '<!DOCTYPE r [<!ENTITY a "' + "a" * 5_000 + '"><!ENTITY b "' + "&a;" * 1_000 + '">'
    '<!ENTITY c SYSTEM "file:///etc/passwd"><!ENTITY % d SYSTEM "http://127.0.0.1:1/x">%d;]>'
)


@pytest.mark.parametrize("prologue", ["", "<!--" + "x" * 5_000 + "-->"], ids=["first", "late"])
def test_entities_are_not_expanded(prologue: str) -> None:
    """Neither our own table nor the parser's knows what a DOCTYPE declares."""
    body = prologue + BOMB + rss("<title>x&b;&c;y</title>", attributes='about="&b;"')
    with suppress(ParseFailed):
        assert one(body).title in ("xy", "x&b;&c;y")


@pytest.mark.parametrize(
    "body",
    [
        rss("<title>a & b</title><description>" + "<![CDATA[" * 200_000 + "</description>"),
        rss("<description>" + '&lt;div class="K2FeedIntroText"&gt;' * 60_000 + "</description>"),
        rss("<title>" + "&lt;!--" * 200_000 + "</title>"),
        rss("<title>" + "&lt;a " * 200_000 + "</title>"),
        rss("<title>x " + " ".join(f"a{i}='b'" for i in range(150_000)) + "<"),
        rss("<title>x</title>" + "<a>" * 500_000),
        rss("<title>x</title>" + "<a>" * 20_000),
        "<!DOCTYPE a [" + "] " * 500_000,
        "<!DOCTYPE " * 100_000,
        rss("<item " + " ".join(f"a{i}='b'" for i in range(100_000)) + "/>"),
        rss("<item x='" + "b" * 11_000_000 + "'/>"),
    ],
    ids=["cdata", "k2", "comments", "tags", "attributes", "open", "open a little", "doctype",
         "doctypes", "whole attributes", "long attribute"],
)  # fmt: skip
def test_hostile_feeds_take_linear_time(body: str) -> None:
    """Each was quadratic in some parser or pattern."""

    def work(text: str) -> None:
        with suppress(ParseFailed):
            compose_all(document(text), name="x", url=URL)

    assert_linear(work, body)


def test_feedparser_is_not_shown_huge_tags() -> None:
    """It takes 20 s over 150,000 attributes; a broken feed is not worth that."""
    count = sanitize.MAX_ATTRIBUTES + 1
    with pytest.raises(ParseFailed, match="attributes"):
        document(rss("<x " + " ".join(f"a{i}='b'" for i in range(count)) + ">"))


def test_roots_that_are_no_feeds_and_feeds_without_a_channel() -> None:
    """The first are refused by name; items are found in the second all the same."""
    with pytest.raises(ParseFailed, match="<xml>"):
        document("<xml/>")
    assert "a" == one("<rss><item><title>a</title></item></rss>").title
    assert "a" == one("<channel><item><title>a</title></item></channel>").title
