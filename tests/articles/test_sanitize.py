"""Cleaning: what is kept, what goes, and that nothing hostile gets through."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from service.articles import sanitize, text, urls
from service.articles.text import Plain, line, markup_balance, normalized, paragraphs, plain_text
from tests.effort import assert_linear

BASE = "http://s.example/a/b.html"
ALL = "".join(map(chr, range(0xD800))) + "".join(map(chr, range(0xE000, 0x110000)))


VIDEO = '<video src="http://s.example/a/v.mp4" controls=""></video>'


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
        ("<iframe src='javascript:x'></iframe><p>a</p>", "<p>a</p>"),
        ("<iframe src='javascript:x' /> <p>a</p>", "<p>a</p>"),
        ("<p>a</p><script src='x.js'/><p>b</p>", "<p>a</p><p>b</p>"),
        ("<p>a</p><OBJECT data='javascript:x'><p>b</p>", "<p>a</p><p>b</p>"),
        ("<p>a</p><Script src='x.js'/><p>b</p>", "<p>a</p><p>b</p>"),
        ("<![CDATA[<p>a</p>]]><p>b</p>", "<p>a</p><p>b</p>"),
        ("<p>a[b[0]]>c</p>", "<p>a[b[0]]&gt;c</p>"),
        ("<pre>\n\n a</pre>", "<pre>\n\n a</pre>"),
        ("<pre>\n a</pre>", "<pre> a</pre>"),
        ("<q cite='javascript:x'>a</q>", "<q>a</q>"),
        ("<q title='t' cite='/x?a=1&amp;b=2'>a cite=\"b\"</q>",
         '<q title="t" cite="http://s.example/x?a=1&amp;b=2">a cite="b"</q>'),
        ("<p>a</p><object><p>b</p></object>", "<p>a</p><p>b</p>"),
        ("<video src='v.mp4'/>a", f"{VIDEO}a"),
        ("<form action='javascript:x'><p>a</p></form>", ""),
        ("<svg><a xlink:href='javascript:x'>a</a></svg><p>b</p>", "<p>b</p>"),
        ("<video poster='javascript:x' src='v.mp4' autoplay></video>", VIDEO),
        ("<p>a</p><style>p{}</style>", "<p>a</p>"),
        ("<p> </p>\n<div></div>", ""),
        ("", ""),
        ("plain & simple", "plain &amp; simple"),
        ("<p>a\x00\x0b\ufffe\ud800b</p>", "<p>ab</p>"),
        ("<p>cafe\u0301</p>", "<p>caf\u00e9</p>"),
        ("<p>a&#1;&#x1f;&#xfffe;b cafe&#769;</p>", "<p>ab caf\u00e9</p>"),
        ("<p>a\r\nb</p>", "<p>a\nb</p>"),
        ("<p>&nbsp;</p>", ""),
        ("<div><p><br></p></div><hr>", ""),
        ("<p title='5 > 3 < 4'>a</p>", '<p title="5 &gt; 3 &lt; 4">a</p>'),
        ("<a href='mailto:a@b.example'>m</a>", '<a href="mailto:a@b.example" rel="noopener">m</a>'),
        ("<a href='ftp://x.example/'>f</a>", '<a rel="noopener">f</a>'),
        ("<img src='data:image/png;base64,AA'>", ""),
        ("<section>a</section><section>b</section>", "<div>a</div><div>b</div>"),
        ("<address>a</address><center>b</center>", "<div>a</div><div>b</div>"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>",
         "<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>"),
        ("<math><mi><style><img src=x onerror=a></style></mi></math>", ""),
        ("<p id='a'>b</p>", "<p>b</p>"),
        ("<figure><img src='i.png' alt='A'><figcaption>c</figcaption></figure>",
         '<figure><img src="http://s.example/a/i.png" alt="A"><figcaption>c</figcaption></figure>'),
        ("<input><button>b</button>", "b"),
        ("<table><tr><td colspan='2'>a</td></tr></table>",
         '<table><tbody><tr><td colspan="2">a</td></tr></tbody></table>'),
    ],
)  # fmt: skip
def test_html(markup: str, expected: str) -> None:
    """One kind of thing each."""
    assert expected == sanitize.html(markup, base_url=BASE)


def test_relative_urls_without_a_base_go() -> None:
    """They would lead to wherever the feed is read."""
    assert '<a rel="noopener">a</a>' == sanitize.html("<a href='x.html'>a</a><img src='y.png'>")


@pytest.mark.parametrize(
    "base", ["", "x", "http://[x", "http://", "http://a b/", "https://x:99999/"]
)
def test_a_base_that_is_no_url_is_none(base: str) -> None:
    """Relative links are lost then, but the article is not."""
    assert '<a rel="noopener">a</a>' == sanitize.html("<a href='x.html'>a</a>", base_url=base)


@pytest.mark.parametrize(
    "markup",
    [
        "<div>" * 5_000 + "words",
        "<div></b>" * 5_000 + "words",
        "<div><!--</div>-->" * 5_000 + "words",
        "<div title='></div>'>" * 5_000 + "words",
        "<p " + "a='1' " * 30_000 + ">words</p>",
        "<p " + " ".join(f"a{i}" for i in range(30_000)) + ">words</p>",
        "<p x='>'" + "".join(f'a{i}="1"' for i in range(30_000)) + ">words</p>",
        "<script>1</script>" + "<p>" * 13_000 + "words",
        "words" + "<!--" * 13_000,
        "words" + "<frameset>" * 500,
        ("<p " + " ".join(f"a{i}" for i in range(9_000)) + ">words</p>") * 9,
    ],
    ids=["deep", "stray ends", "ends in comments", "ends in attributes", "attributes", "bare",
         "without spaces", "tags", "comments", "frames", "attributes of many"],
)  # fmt: skip
def test_excessive_markup_keeps_its_words_only(markup: str) -> None:
    """Without asking nh3, which is quadratic here."""
    made = sanitize.html(markup)
    assert "words" in made
    assert made.count("<") == made.count("<p>") + made.count("</p>")


@pytest.mark.parametrize(
    "markup",
    [
        "<div/>" * 50_000,
        "<p " + " ".join(f"a{i}" for i in range(100_000)) + ">",
        "&" * 1_000_000,
        "&a " * 200_000,
        "<" * 1_000_000,
        "<a " * 200_000,
        "=" * 30_000 + "<p " * 200_000,
        "<!--" * 200_000,
        "<script" * 100_000,
        "<p>" + "".join(f"<b title={i}>" for i in range(200)) + "</p>" + "<p>x</p>" * 20_000,
        "<table>" + "".join(f"<b title={i}>" for i in range(190)) + "x<tr>" * 5_000,
        "<img " + "width " * 20_000 + ">",
        "<img data-srcset='" + "a" * 200_000 + " " + "1w, " * 100_000 + "'>",
        "<object>" * 5_000 + "<embed>" * 5_000,
        "<picture><source srcset=a>" * 5_000,
        "<noscript><img>" * 5_000,
        "<" + "a" * 200_000,
        "&" * 100_001 + "<" + "a" * 100_000,
        "<img" + " " * 200_000,
        "<math></math>" + "data-" * 40_000,
        "<img srcset src='" + "blank-" * 30_000 + "'>",
        "<!--" * 25_000 + "-->" + "x" * 100_000,
    ],
)
def test_hostile_markup_takes_linear_time(markup: str) -> None:
    """Each of these was quadratic in nh3, in lxml or in a pattern of ours; the size of the result
    is bounded, too."""
    made = sanitize.html(markup)
    assert len(made) < max(8 * len(markup), sanitize.MAX_CHARS_MADE)
    for work in (plain_text, line):
        assert len(work(markup)) <= len(markup)
    for work in (sanitize.html, plain_text, line):
        assert_linear(work, markup)


def test_long_articles_are_not_excessive() -> None:
    """Thousands of tags side by side, void ones among them, are an article."""
    markup = "<p>a<br>b</p>" * 2_000 + "<ul>" + "<li>x</li>" * 500 + "</ul>"
    assert 2_000 == sanitize.html(markup).count("<p>")


def test_long_and_short_articles_are_cleaned_alike() -> None:
    """The detour of long ones through lxml changes no more than nh3 does: text at the top, open
    and void tags, entities, tables, links, what is not Latin."""
    piece = (
        "text &amp; &lt; <p>é “ü” <a href='/x?a=1&amp;b=2'>l</a><br>نص<ul><li>a<li>b</ul>"
        "<table><tr><td>1<td>2</table><img src='i.png' alt='&quot;'><pre>\n a\n  b</pre>"
        "<script>1 < 2</script><o:p></o:p><h2 onclick='x'>h</h2>tail "
    )
    short = sanitize.html(piece, base_url=BASE)
    late = short.replace("<img ", f"<img {sanitize._LATE} ")
    assert f"{short} {f'{late} ' * 39}".strip() == sanitize.html(piece * 40, base_url=BASE)


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<p>a<br>b</p>", "a\nb"),
        ("<p>a\n  b&nbsp;&amp; c</p>", "a b & c"),
        ("<ul><li>a</li><li>b <b>c</b></li></ul>", "a\n\nb c"),
        ("a  b", "a b"),
        ("<p>5 &lt; 6</p>", "5 < 6"),
        ("<p>&amp;lt; &eacute; &#8217;</p>", "&lt; é ’"),
        ("<p>&amp;lt; &quot;</p>", '&lt; "'),
        ("<table><tbody><tr><td>a</td><td>b</td></tr><tr><th>c</th></tr></tbody></table>",
         "a b\n\nc"),
        ("<p>a</p><hr>\n\n<h2>b</h2>c<br><br>d", "a\n\nb\n\nc\n\nd"),
        ("<p>a <br> b</p>", "a\nb"),
        ("<figure><img alt='x'><figcaption>c</figcaption></figure>d", "c\n\nd"),
        ("a<!-- b --><wbr>c", "ac"),
        ("<p>  </p>", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_plain_text(markup: str, expected: str) -> None:
    """The text has the words, paragraph by paragraph."""
    assert expected == plain_text(markup)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \n b ", "a b"),
        ("<b>Bold</b> &amp; plain", "Bold & plain"),
        ("Tom &amp;amp; Ann", "Tom & Ann"),
        ("AT&T", "AT&T"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("a<!-- no -->b", "ab"),
        ("a<!-- no -->b<!-- no", "ab"),
        ("a\x00\u0007b", "ab"),
        ("a\ud800&#7;b\ufffe", "ab"),
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("a<br/>b", "a b"),
        ("H<sub>2</sub>O", "H2O"),
        ("&lt;i&gt;a&lt;/i&gt;", "a"),
        ("Why &lt;dialog&gt; is <em>enough</em>", "Why <dialog> is enough"),
        ("Vec<u8> against <b>List</b><Byte>", "Vec<u8> against List<Byte>"),
        (Plain("a &amp; <b>b</b>"), "a &amp; <b>b</b>"),
        ("I <3 you", "I <3 you"),
        ("cafe\u0301\u00a0&nbsp;x", "café x"),
        ("כותרת", "כותרת"),
    ],
)
def test_line(text: str, expected: str) -> None:
    """Titles and names become one line of plain text."""
    assert expected == line(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://x.example/a?b=1&c=%20#d", "http://x.example/a?b=1&c=%20#d"),
        (" c.html ", "http://s.example/a/c.html"),
        ("//x.example/y", "http://x.example/y"),
        ("http://x.example/é ü", "http://x.example/%C3%A9%20%C3%BC"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://straße.example/", "http://xn--strae-oqa.example/"),
        ("http://ＱＵＡＹ。example/", "http://quay.example/"),
        ("http://\U0001f6a2.example/", "http://xn--068h.example/"),
        ("http://x.example:8080/", "http://x.example:8080/"),
        ("http://[::1]/", "http://[::1]/"),
        ("HTTP://X.Example/A", "http://x.example/A"),
        ("http://x.example/a\tb\nc", "http://x.example/abc"),
        ("http://x.example/100% sure%zz", "http://x.example/100%25%20sure%25zz"),
        ("http://x.example/?a[]=<1>", "http://x.example/?a%5B%5D=%3C1%3E"),
        ("http://x_y.example./", "http://x_y.example./"),
        ("http://exa mple.example/", ""),
        ('http://x".example/', ""),
        ("http://a<b>.example/", ""),
        ("http://x.example\\@y.example/", ""),
        ("http://" + "a" * 64 + ".example/", ""),
        ("http://[x", ""),
        ("mailto:a@b.example", ""),
        ("https:///x", ""),
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
    assert expected == urls.url(text, base_url=BASE)


@pytest.mark.parametrize(
    "base", ["http://s.example", "http://s.example?a=/b", "http://s.example/c/d?a", BASE]
)
def test_a_path_of_a_site(base: str) -> None:
    """It is joined to the root, whatever follows that."""
    assert "http://s.example/x/y" == urls.url("/x/y", base_url=base)


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["When to use <picture>"], False),
        (["Vec<u8> against List<Byte>", "AT&T"], False),
        (["5 < 6"], False),
        (["How <details> opens", "Tom &amp; Ann"], False),
        (["How <details> opens", "Tom &amp; Ann", "A <b>bold</b> one"], True),
        (["Tom &amp; Ann"], True),
        (["a<br>b"], True),
        (["a <img src='b'>"], True),
        (["Why &lt;dialog&gt; is <em>enough</em>"], True),
        (["a <script>b</script>"], True),
        (["a <!-- b"], True),
        ([], False),
    ],
)
def test_is_markup(titles: list[str], expected: bool) -> None:
    """All titles of a document decide; what may be either does not count."""
    assert expected is (markup_balance(titles) > 0)


@pytest.mark.parametrize("mark", ["\u0338", "&#x338;", "\u0327\u0338"])
def test_no_tag_is_combined_with_the_text_after_it(mark: str) -> None:
    """Or what follows `>` would become attributes: as Unicode is composed anew wherever a text is
    taken in, the result is composed already."""
    made = sanitize.html(f"<p>{mark} onclick=alert(1) <b>a</b></p>")
    assert unicodedata.normalize("NFC", made).startswith("<p>")
    assert made.count(">") == unicodedata.normalize("NFC", made).count(">")
    assert "onclick=alert(1) a" in plain_text(made)
    assert paragraphs("\u0338a") == unicodedata.normalize("NFC", paragraphs("\u0338a"))
    assert "<p>a \u2260 b &gt;&#824;</p>" == sanitize.html("<p>a =\u0338 b &gt;\u0338</p>")


def test_marks_are_put_in_order_in_linear_time() -> None:
    """Unicode sorts the marks on a letter; after some, one that joins nothing stands between."""
    marks = "\u0301\u0327" * 40_000
    assert_linear(normalized, f"e{marks}")
    few = unicodedata.normalize("NFC", "e" + "\u0301\u0327" * 10)
    assert few == normalized("e" + "\u0301\u0327" * 10)
    made = normalized(f"e{marks}")
    assert made == normalized(made)
    assert unicodedata.is_normalized("NFC", made[:1_000])
    assert [] == [c for c in re.findall(f"[{text._NOT_MARKS}]", ALL) if unicodedata.combining(c)]
    korean = "\u1112\u1161\u11ab" * 1_000
    assert unicodedata.normalize("NFC", korean) == normalized(korean)


def test_paragraphs() -> None:
    """Plain text as markup, escaped, line by line."""
    assert "<p>a<br>b</p>\n<p>&lt;c&gt; &amp; d</p>" == paragraphs("a\nb\n\n\n<c> & d\n")


@given(st.text())
def test_whatever_comes_xml_can_hold_it(text: str) -> None:
    """No text breaks a feed: every result can be the text of an XML element, in NFC."""
    for made in (line(text), sanitize.html(text), plain_text(sanitize.html(text))):
        element = etree.Element("x")
        element.text = made
        assert unicodedata.is_normalized("NFC", made)


@given(st.from_regex(r"https?://[a-z.-]{1,9}[a-z](/[a-z0-9/:@?=&.~_-]{0,9})?", fullmatch=True))
def test_a_url_twice_is_the_same(text: str) -> None:
    """Whether it takes the short way or the long one."""
    once = urls.url(text)
    assert once == urls.url(once)
    assert once == urls.url(f"{text}#").rstrip("#")


@given(st.text(alphabet="<>/&;#=\"' abpbr!-1x\n\x01\u0338\u0327"))
def test_tag_soup(text: str) -> None:
    """Whatever brackets do, the result is stable and fit for XML."""
    once = sanitize.html(text, base_url=BASE)
    assert once == sanitize.html(once, base_url=BASE)
    assert unicodedata.is_normalized("NFC", once)
    etree.Element("x").text = once + plain_text(once) + line(text)


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """What is clean stays as it is."""
    once = sanitize.html(text, base_url=BASE)
    assert once == sanitize.html(once, base_url=BASE)


WORDS = "word " * 30_000
NAMES = " ".join(f"a{n}=1" for n in range(30_000))


@pytest.mark.parametrize(
    ("markup", "is_huge"),
    [
        (f"<p>{WORDS}</p>", False),
        (f"<div class='a' id=b hidden><p title=\"it's\" >{WORDS}<br/>{WORDS}</p>", False),
        (f"<p>It's \"{WORDS}</p>", False),
        (f"<p {NAMES}>", True),
        (f"<p>{WORDS}<p {NAMES}>", True),
        (f"<p a='>' {NAMES}>", True),
        (f"<p a=x' b='>{NAMES}>", True),
        (f"<p a='><b>' {NAMES}>", True),
        (f"<p a=\"'\" b='>{NAMES}>", True),
        (f"<!-- > {NAMES} -->", True),
        (f"<p a='b'c='>{NAMES}>", True),
    ],
)
def test_words_are_no_attributes(markup: str, is_huge: bool) -> None:
    """A long text without a tag in it keeps its markup; whatever quotes may hide counts."""
    assert is_huge is sanitize.has_huge_tag(markup)


@pytest.mark.parametrize("tag", ["a=b ", "a = ", " ", "a", "a='b' "])
def test_tags_are_looked_at_in_linear_time(tag: str) -> None:
    """However they are written, and whether they end or not."""
    assert_linear(sanitize.has_huge_tag, "<p " + tag * (2_000_000 // len(tag)) + '"> a')
