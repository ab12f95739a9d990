"""Documents of kinds that the field has sent, from their bytes to all that readers see: RSS, Atom,
JSON Feed and the page. What must be there is in all of them, and what must not be is in none.
"""

from __future__ import annotations

from datetime import UTC

import orjson
import pytest
from lxml import etree

from service.articles.article import LIVE, Article, Draft
from service.articles.times import to_rfc3339
from service.feeds.page import Page
from service.feeds.writer import Renderer
from service.web.html.story import story_of
from tests.composing import NOON, compose_all
from tests.served import NS
from workers.ingest.parse import parse

URL = "https://pier.example/feed"
PAGE = "https://pier.example/2024/05/mole/"


def item(text: str, *, more: str = "", link: str = PAGE) -> str:
    """RSS with one item, whose description is this markup."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" '
        'xmlns:media="http://search.yahoo.com/mrss/"><channel><title>Mole notes</title>'
        f"<link>https://pier.example/</link><item><guid>m-1</guid><title>A mole</title><link>{link}"
        f"</link><description><![CDATA[{text}]]></description>{more}</item></channel></rss>"
    )


def articles(body: bytes, *, content_type: str = "text/xml") -> list[Article]:
    """The articles of a document, as an archive would keep them."""
    document = parse(body, url=URL, content_type=content_type)
    drafts, rejects = compose_all(document, name="feed", url=URL)
    assert [] == rejects
    return [_kept(draft) for draft in drafts]


def _kept(draft: Draft) -> Article:
    moment = to_rfc3339(draft.published or NOON)
    decided = {"published": moment, "updated": moment, "first_seen": moment, "status": LIVE}
    more = {"revision": 1, "content_hash": draft.content_hash}
    return Article.from_dict(orjson.loads(draft.to_doc()) | decided | more)


def shown(article: Article) -> dict[str, str]:
    """Output → the text that a reader of it gets, as HTML."""
    renderer = Renderer(site_title="Site", base_url="http://n.example", language="en", zone=UTC)
    bodies = {
        extension: renderer.render(Page("all"), extension, [article], {})
        for extension in ("rss", "atom", "json")
    }
    rss, atom = (etree.fromstring(bodies[extension]) for extension in ("rss", "atom"))
    (one,) = orjson.loads(bodies["json"])["items"]
    return {
        # Without a summary, the text is the description.
        "rss": rss.findtext("channel/item/content:encoded", "", NS)
        or rss.findtext("channel/item/description", ""),
        "atom": atom.findtext("a:entry/a:content", "", NS),
        "json": one["content_html"],
        "page": str(story_of(article, {}, UTC).content),
    }


IMG = "https://img.example"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
TEXTS = {
    "a placeholder before data-src": (
        item(f'<p>Tug</p><img src="{PIXEL}" data-src="{IMG}/tug.jpg">'), [f"{IMG}/tug.jpg"],
        ["data:image"],
    ),
    "data-srcset alone": (
        item(f'<img data-srcset="{IMG}/s.jpg 320w, {IMG}/l.jpg 1200w">'), [f'src="{IMG}/l.jpg"'],
        [f"{IMG}/s.jpg"],
    ),
    "a picture in noscript": (
        item(f'<img class="lazy"><noscript><img src="{IMG}/bell.jpg"></noscript>'),
        [f'src="{IMG}/bell.jpg"'], ["noscript"],
    ),
    "srcset alone": (item(f'<img srcset="{IMG}/1.jpg 1x, {IMG}/2.jpg 2x">'), [f'src="{IMG}/2.jpg"'],
                     ["srcset"]),
    "a player": (
        item('<p>Race:</p><iframe src="https://www.youtube.com/embed/zYxWvUtSrQp?rel=0"></iframe>'),
        ["Race:", "https://www.youtube.com/watch?v=zYxWvUtSrQp"], ["iframe"],
    ),
    "nothing but a player": (
        item('<iframe src="https://player.vimeo.com/video/987654321"></iframe>'),
        ["https://vimeo.com/987654321"], ["iframe"],
    ),
    "an object with a fallback": (
        item(f'<object data="{IMG}/plan.pdf"><a href="{IMG}/plan.pdf">Plan</a></object>'),
        [f'href="{IMG}/plan.pdf"', "Plan</a>"], ["object"],
    ),
    "pictures of Media RSS": (
        item("<p>Two</p>", more="".join(
            f'<media:content url="{IMG}/{name}.jpg" medium="image">'
            f"<media:description>At {name}</media:description></media:content>"
            for name in ("dawn", "dusk")
        )),
        [f"{IMG}/dawn.jpg", f"{IMG}/dusk.jpg", "At dawn", "At dusk"], [],
    ),
    "footnotes and relative links": (
        item('<p>Twice<sup id="r:1"><a href="#n:1">1</a></sup>, <a href="../map/">map</a>'
             '<img src="mole.jpg"></p><ol><li id="n:1">In 1911 <a href="#r:1">b</a></li></ol>'),
        [f'href="{PAGE}#n:1"', 'n:1">In 1911', 'href="https://pier.example/2024/05/map/"',
         f'src="{PAGE}mole.jpg"'],
        ['id="n:1"'],
    ),
    "blocks": (
        item("<section>One ends.</section><section>Two</section><aside>Three</aside>"),
        ["One ends.</div><div>Two</div><div>Three"], [],
    ),
    "references to nothing": (item("a&#0;b &#xD800;c"), ["ab c"], ["\ufffd"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts_arrive_in_every_output(name: str) -> None:
    """Pictures, players, links and blocks are in every output."""
    document, wanted, unwanted = TEXTS[name]
    (article,) = articles(document.encode())
    for output, text in shown(article).items():
        assert [] == [each for each in wanted if each not in text], output
        assert [] == [each for each in unwanted if each in text], output


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ('{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "1", "title": "P", '
         '"content_text": "White gull\\nlong mole\\n\\nnight tide"}]}',
         ["White gull<br>long mole", "<p>night tide</p>"]),
        ('<feed xmlns="http://www.w3.org/2005/Atom" xmlns:m="http://search.yahoo.com/mrss/"><entry>'
         "<id>1</id><title>P</title><m:group><m:description>Table: https://t.example/\n"
         "Map: 5 &lt; 6\n\n00:00 Start</m:description></m:group></entry></feed>",
         ["Table: https://t.example/<br>Map: 5 &lt; 6", "<p>00:00 Start</p>"]),
    ],
    ids=["JSON Feed", "Media RSS"],
)  # fmt: skip
def test_lines_stay_lines(document: str, lines: list[str]) -> None:
    """Of plain texts, in every output."""
    (article,) = articles(document.encode(), content_type="")
    for output, text in shown(article).items():
        assert [] == [line for line in lines if line not in text], output


@pytest.mark.parametrize(
    ("title", "document"),
    [
        ("Where <dialog> ends and Set<T> begins",
         '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id><title type="text">Where '
         "&lt;dialog&gt; ends and Set&lt;T&gt; begins</title></entry></feed>"),
        ("Why <dialog> ends",
         '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id><title type="html">Why '
         "&amp;lt;dialog&amp;gt; &lt;i&gt;ends&lt;/i&gt;</title></entry></feed>"),
        ("Set<u8> or Map<K>",
         '{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "1", "title": '
         '"Set<u8> or Map<K>", "content_html": "<p>c</p>"}]}'),
        ("How <details> opens", '[{"title": "How <details> opens", "content_html": "<p>c</p>"}]'),
    ],
    ids=["Atom text", "Atom HTML", "JSON Feed", "push"],
)  # fmt: skip
def test_titles_keep_their_brackets(title: str, document: str) -> None:
    """In every format that a reader decodes once."""
    (article,) = articles(document.encode(), content_type="")
    renderer = Renderer(site_title="Site", base_url="http://n.example", language="en", zone=UTC)
    for extension, path in (("rss", "channel/item/title"), ("atom", "a:entry/a:title")):
        body = renderer.render(Page("all"), extension, [article], {})
        assert title == etree.fromstring(body).findtext(path, "", NS)
    (one,) = orjson.loads(renderer.render(Page("all"), "json", [article], {}))["items"]
    assert (title, title) == (one["title"], story_of(article, {}, UTC).title)


@pytest.mark.parametrize(
    ("label", "codec", "title"),
    [
        ("gb2312", "gb18030", "镕堃新闻"), ("Shift_JIS", "cp932", "①港㈱髙"),
        ("EUC-KR", "cp949", "똠방각하 뷁"), ("cp-1251", "cp1251", "Новости порта"),
    ],
)  # fmt: skip
def test_charsets_are_those_of_browsers(label: str, codec: str, title: str) -> None:
    """A label means the larger charset that browsers read it as."""
    document = item("x").replace("UTF-8", label).replace("A mole", title)
    (article,) = articles(document.encode(codec))
    assert title == article.title


@pytest.mark.parametrize("before", ["<br />\n<b>Warning</b>: $x in <b>/srv/f.php</b>\n\n", "\n\n"])
@pytest.mark.parametrize("after", ["\n<script>var t=1;</script>\n<!-- cached -->\nArray()\n", ""])
def test_junk_around_a_feed_costs_nothing(before: str, after: str) -> None:
    """What programs print before and behind it."""
    (article,) = articles(f"{before}{item('x')}{after}".encode())
    assert "A mole" == article.title
