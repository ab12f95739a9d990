"""What feeds have besides words is kept: pictures, files, relative links, odd elements."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.articles.article import Draft, Entry
from service.articles.compose import compose
from tests.effort import cpu_s
from workers.ingest.parse import parse
from workers.ingest.parse.xml.fields import MAX_PICTURES

NAMESPACES = (
    'xmlns:media="http://search.yahoo.com/mrss/" xmlns:atom="http://www.w3.org/2005/Atom" '
    'xmlns:dc="http://purl.org/dc/elements/1.1"'
)
FEED = "https://quay.example/feeds/all.xml"


def rss(item: str, *, base: str = "") -> Entry:
    """The only item of a channel."""
    body = (
        f"<rss {NAMESPACES} {base}><channel><link>https://quay.example/</link><item>{item}</item>"
        "</channel></rss>"
    )
    (entry,) = parse(body.encode(), url=FEED).entries
    return entry


def atom(entry: str, *, base: str = "") -> Entry:
    """The only entry of a feed."""
    head = f'<feed xmlns="http://www.w3.org/2005/Atom" {NAMESPACES} {base}>'
    body = f"{head}<entry>{entry}</entry></feed>"
    (parsed,) = parse(body.encode(), url=FEED).entries
    return parsed


def kept(entry: Entry) -> Draft:
    """The article as it is kept."""
    return compose(entry, source="s", guid="1")


def media(name: str, *, description: str = "", more: str = "") -> str:
    """A picture of Media RSS."""
    return (
        f'<media:content url="https://img.example/{name}" medium="image" {more}>'
        f"<media:description>{description}</media:description></media:content>"
    )


@pytest.mark.parametrize("make", [rss, atom])
def test_pictures_follow_the_text(make: Callable[[str], Entry]) -> None:
    """Each once, with its description, unless the text shows it."""
    text = "&lt;p>Two&lt;img src='https://img.example/own.jpg'>&lt;/p>"
    pictures = media("dawn.jpg", description="At dawn") + media("dusk.jpg") + media("own.jpg")
    content = kept(
        make(f"<description>{text}</description>{pictures}<summary type='html'>{text}</summary>")
    ).content_html
    assert 3 == content.count("<img")
    assert '<img src="https://img.example/own.jpg"></p><figure>' in content
    assert "<figcaption>At dawn</figcaption>" in content
    assert 'alt="At dawn"' in content


def test_one_picture_in_several_sizes() -> None:
    """The widest one, whether a group says that they are one or their path."""
    group = media("s.jpg", more='width="100"') + media("l.jpg", more='width="900"')
    sizes = media("w.jpg?w=1400", more='width="1400"') + media("w.jpg?w=140", more='width="140"')
    content = kept(rss(f"<title>t</title><media:group>{group}</media:group>{sizes}")).content_html
    assert ["w.jpg?w=1400", "l.jpg"] == [
        part.partition('"')[0] for part in content.split("https://img.example/")[1:]
    ]


def test_pictures_that_a_program_answers_with() -> None:
    """Their parameters tell them apart, except those of sizes."""
    pictures = media("p?id=1&amp;w=1") + media("p?id=2") + media("p?w=9&amp;id=1")
    content = kept(rss(f"<title>t</title><description>a</description>{pictures}")).content_html
    assert 2 == content.count("<img")
    text = "&lt;img src='https://img.example/p?a=1&amp;amp;id=2'>"
    pictures = media("p?a=1&amp;id=2") + media("p?a=1&amp;id=3")
    item = f"<title>t</title><description>{text}</description>{pictures}"
    assert 2 == kept(rss(item)).content_html.count("<img")


def test_many_pictures_cost_little() -> None:
    """The text is searched for as many as are shown."""
    pictures = "".join(media(f"{number}.jpg") for number in range(4_000))
    item = f"<title>t</title><description>{'x' * 1_000_000}</description>{pictures}"
    assert cpu_s(rss, item) < 2
    assert MAX_PICTURES == rss(item).content_html.count("<img")


def test_long_authors_cost_little() -> None:
    """No address is looked for in what is too long for a name."""
    assert cpu_s(rss, f"<title>t</title><author>{'@' * 20_000}</author>") < 0.5


def test_formulas_with_a_prefix() -> None:
    """XHTML may have MathML in any prefix; HTML has none."""
    formula = '<m:math xmlns:m="http://www.w3.org/1998/Math/MathML"><m:mi>x</m:mi></m:math>'
    entry = atom(
        '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>'
        f"{formula}</p></div></content>"
    )
    assert "<p><math><mi>x</mi></math></p>" == kept(entry).content_html


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", "https://quay.example/2024/pier/map.png"),
        ('xml:base="https://other.example/"', "https://other.example/map.png"),
    ],
)
def test_relative_links(base: str, expected: str) -> None:
    """They are relative to the page of the article, unless the feed says otherwise."""
    image = "&lt;img src='map.png'>"
    item = f"<link>https://quay.example/2024/pier/</link><description>{image}</description>"
    assert f'<img src="{expected}">' == kept(rss(item, base=base)).content_html
    entry = f"<link href='https://quay.example/2024/pier/'/><content type='html'>{image}</content>"
    assert f'<img src="{expected}">' == kept(atom(entry, base=base)).content_html


def test_a_relative_link_of_an_item_is_relative_to_the_channel() -> None:
    """As is everything but its text."""
    item = "<title>t</title><link>/2024/pier/</link><description>&lt;a href='x'>x</description>"
    article = kept(rss(item))
    assert "https://quay.example/2024/pier/" == article.url
    assert 'href="https://quay.example/2024/pier/x"' in article.content_html


def test_odd_elements() -> None:
    """A namespace without its slash, a link as text, a length with commas."""
    entry = rss(
        "<title>t</title><dc:creator>A. Tern</dc:creator><dc:date>2024-05-01</dc:date>"
        '<enclosure url="https://m.example/a.mp3" length="62,447,386"/>'
    )
    article = kept(entry)
    assert (("A. Tern",), "2024-05-01") == (article.authors, article.raw_published)
    assert [("audio/mpeg", 62_447_386)] == [(file.type, file.length) for file in article.enclosures]
    assert 0 == rss('<enclosure url="u" length="1231.08"/>').enclosures[0].length
    assert "https://quay.example/a" == kept(atom("<title>t</title><link>/a</link>")).url


def test_a_field_that_feedparser_leaves_without_a_value() -> None:
    """It is empty, and costs no other item."""
    body = b"<rss><channel><item><title>One</title></item><item<title</body>"
    entries = parse(body, url=FEED).entries
    assert "One" == kept(entries[0]).title
    assert {str} == {type(text) for entry in entries for text in (entry.title, entry.content_html)}
