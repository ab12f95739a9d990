"""Documents in every form that dateline takes, with odd texts in their fields.

A document is a list of articles, each a dict of field → text. Which fields a form has is in FIELDS.
Texts may hold any code point, also lone surrogates: JSON has them as escapes, XML and HTML as
references or as bytes that are not valid UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape

SITE = "http://s.example"
COMMON = "News"
"""The category of every article."""
RIGHT_TO_LEFT, ISOLATE = "\u202e", "\u2067"
# What was seen to break something, here or elsewhere.
ODD_TEXTS = (
    "", " ", "\x00", "a\x0bb", "\x1b[31mred", "\x7f", "a\x85b", "\x92", "\ud83d", "a\udfffb",
    "\ud83d\ud83d", "\ufdd0", "a\ufffeb", "\uffff", "\U0001fffe", "\U0010ffff",
    "e" + "\u0301" * 600, f"{RIGHT_TO_LEFT}gnp.exe", f"{ISOLATE}x", "\ufeff", "\u200b", "\u2028",
    "a\r\nb", "\r", "\t\t", "\n\n", "<b>", "</p></div></article></body>", "]]>", "<!--",
    "<![CDATA[", "&#11;", "&#x0;", "&#xD800;", "&amp;#1;", "&bogus;", "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>", "../../etc/passwd", "%00%ff%ED%A0%80", "{{ 7*7 }}",
    "data: x\n\nevent: y", "id: 1\rdata: z", "javascript:alert(1)", "http://[", "http://a b/",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0410\u030a", "\u1112\u1161\u11ab", "\ufb01",
    "\u0130stanbul", "\u0640" * 200, "x" * 5_000, "\U0001f600" * 1_000, "/" * 50, "a/" * 20, "-1",
    "9" * 400, "1e400", "NaN", "null", "0000-00-00", "9999-12-31T23:59:59Z", "\u0663\u0660",
    "=cmd|'/c calc'!A1", "\\", "\\ud800", "\\u0000", "urn:uuid:", "\u00ad", "\u115f", "\U000e0041",
    "\U0001d15e", "\u0344", "\ufa10",
)  # fmt: skip
_RECORD = (
    "source", "guid", "url", "title", "summary", "content_html", "content_text", "author", "name",
    "category", "tag", "language", "image", "enclosure", "enclosure_type", "attribution",
    "published", "raw_published", "updated", "person",
)  # fmt: skip
FIELDS: Mapping[str, Sequence[str]] = {
    "push": _RECORD,
    "ndjson": _RECORD,
    "json-feed": (
        "guid", "url", "title", "summary", "content_html", "content_text", "author", "tag",
        "language", "image", "enclosure", "enclosure_type", "published", "updated", "feed_title",
    ),
    "k2-json": (
        "url", "title", "content_html", "author", "category", "tag", "language", "image",
        "published", "updated", "feed_title",
    ),
    "rss": (
        "guid", "url", "title", "summary", "content_html", "author", "name", "category", "tag",
        "language", "image", "enclosure", "enclosure_type", "published", "updated", "feed_title",
        "person", "duration",
    ),
    "atom": (
        "guid", "url", "title", "summary", "content_html", "author", "category", "language",
        "image", "enclosure", "enclosure_type", "published", "updated", "feed_title",
    ),
    "html": (
        "url", "title", "summary", "content_html", "author", "category", "language", "image",
        "published", "updated",
    ),
}  # fmt: skip
Article = Mapping[str, str]


def record(article: Article) -> dict[str, object]:
    """An article in dateline's own JSON; fields that it does not name are ordinary or missing."""
    plain = {name: article[name] for name in article if name in _OWN}
    fields: dict[str, object] = {"title": "Ordinary", **plain}
    fields["categories"] = [COMMON, *_values(article, "category")]
    fields["tags"] = _values(article, "tag")
    names = [{"name": name} for name in _values(article, "name")]
    fields["authors"] = [*_values(article, "author"), *names]
    if "enclosure" in article or "enclosure_type" in article:
        url = article.get("enclosure", f"{SITE}/a.mp3")
        fields["enclosures"] = [{"url": url, "type": article.get("enclosure_type", "audio/mpeg")}]
    if "person" in article:
        persons = [{"name": article["person"], "role": article["person"]}]
        fields["podcast"] = {"author": article["person"], "persons": persons}
    return fields


def _values(article: Article, field: str) -> list[str]:
    return [article[field]] if field in article else []


_OWN = frozenset(_RECORD) - {
    "author", "name", "category", "tag", "enclosure", "enclosure_type", "person",
}  # fmt: skip


def _ndjson(articles: Sequence[Article], _: Callable[[str], str]) -> str:
    return "\n".join(json.dumps(record(article)) for article in articles) + "\n"


def _json_feed(articles: Sequence[Article], _: Callable[[str], str]) -> str:
    items = []
    for number, article in enumerate(articles):
        items.append(
            {
                "id": article.get("guid", f"{SITE}/json/{number}"),
                "title": article.get("title", "Ordinary"),
                "url": article.get("url"),
                "summary": article.get("summary"),
                "content_html": article.get("content_html"),
                "content_text": article.get("content_text"),
                "authors": [{"name": article.get("author")}],
                "tags": [COMMON, article.get("tag")],
                "language": article.get("language"),
                "image": article.get("image"),
                "attachments": [
                    {"url": article.get("enclosure"), "mime_type": article.get("enclosure_type")}
                ],
                "date_published": article.get("published"),
                "date_modified": article.get("updated"),
            }
        )
    title = _any_of(articles, "feed_title")
    return json.dumps(
        {"version": "https://jsonfeed.org/version/1.1", "title": title, "items": items}
    )


def _k2_json(articles: Sequence[Article], _: Callable[[str], str]) -> str:
    items = [
        {
            "link": article.get("url", f"/k2/{number}"),
            "title": article.get("title", "Ordinary"),
            "introtext": article.get("content_html", "<p>Words.</p>"),
            "author": {"name": article.get("author", "")},
            "category": {"name": article.get("category", COMMON)},
            "tags": [{"name": article.get("tag", "")}],
            "language": article.get("language", ""),
            "image": article.get("image", ""),
            "created": article.get("published", ""),
            "modified": article.get("updated", ""),
        }
        for number, article in enumerate(articles)
    ]
    site = {"url": SITE, "name": _any_of(articles, "feed_title")}
    return json.dumps({"site": site, "items": items})


def _rss(articles: Sequence[Article], written: Callable[[str], str]) -> str:
    def items(number: int, article: Article) -> str:
        def element(name: str, field: str, ordinary: str = "") -> str:
            return f"<{name}>{written(article.get(field, ordinary))}</{name}>"

        url, media = (_quoted(article.get(name, "")) for name in ("enclosure", "enclosure_type"))
        image = _quoted(article.get("image", ""))
        return "".join(
            [
                "<item>",
                element("title", "title", "Ordinary"),
                element("link", "url"),
                element("guid", "guid", f"{SITE}/rss/{number}"),
                element("description", "summary", "A summary."),
                element("content:encoded", "content_html", "<p>Words.</p>"),
                element("author", "author"),
                element("dc:creator", "name"),
                f"<category>{COMMON}</category>",
                element("category", "category"),
                element("itunes:keywords", "tag"),
                element("dc:language", "language"),
                element("pubDate", "published"),
                element("atom:updated", "updated"),
                f'<enclosure url="{url}" type="{media}" length="1"/>',
                f'<media:thumbnail url="{image}"/>',
                element("itunes:author", "person"),
                element("itunes:duration", "duration"),
                f'<podcast:transcript url="{url}" type="{media}"/>',
                element("podcast:person", "person"),
                "</item>",
            ]
        )

    inner = "".join(items(number, article) for number, article in enumerate(articles))
    title = written(_any_of(articles, "feed_title"))
    return (
        '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:atom="http://www.w3.org/2005/Atom"'
        ' xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
        ' xmlns:podcast="https://podcastindex.org/namespace/1.0"'
        ' xmlns:media="http://search.yahoo.com/mrss/">'
        f"<channel><title>{title}</title>{inner}</channel></rss>"
    )


def _atom(articles: Sequence[Article], written: Callable[[str], str]) -> str:
    def entry(number: int, article: Article) -> str:
        def element(name: str, field: str, ordinary: str = "", attributes: str = "") -> str:
            return f"<{name}{attributes}>{written(article.get(field, ordinary))}</{name}>"

        def attribute(field: str, ordinary: str = "") -> str:
            return _quoted(article.get(field, ordinary))

        return "".join(
            [
                f'<entry xml:lang="{attribute("language", "en")}">',
                element("title", "title", "Ordinary"),
                element("id", "guid", f"{SITE}/atom/{number}"),
                element("summary", "summary", "A summary."),
                element("content", "content_html", "<p>Words.</p>", ' type="html"'),
                f"<author>{element('name', 'author')}</author>",
                element("published", "published"),
                element("updated", "updated"),
                f'<category term="{COMMON}"/><category term="{attribute("category", "x")}"/>',
                f'<link href="{attribute("url")}"/>',
                f'<link rel="enclosure" href="{attribute("enclosure")}"'
                f' type="{attribute("enclosure_type")}"/>',
                f'<media:thumbnail url="{attribute("image")}"/>',
                "</entry>",
            ]
        )

    inner = "".join(entry(number, article) for number, article in enumerate(articles))
    return (
        '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/">'
        f"<title>{written(_any_of(articles, 'feed_title'))}</title>{inner}</feed>"
    )


def _html(articles: Sequence[Article], written: Callable[[str], str]) -> str:
    (article,) = articles

    def meta(name: str, field: str, ordinary: str = "") -> str:
        return f'<meta property="{name}" content="{_quoted(article.get(field, ordinary))}">'

    return "".join(
        [
            f'<!doctype html><html lang="{_quoted(article.get("language", "en"))}"><head>',
            meta("og:type", "", "article"),
            meta("og:title", "title", "Ordinary"),
            meta("og:description", "summary"),
            meta("og:url", "url"),
            meta("og:image", "image"),
            meta("author", "author"),
            meta("article:section", "category", COMMON),
            meta("article:published_time", "published"),
            meta("article:modified_time", "updated"),
            f"<title>{written(article.get('title', 'Ordinary'))}</title></head><body><article>",
            article.get("content_html", ""),
            f"<p>{'Some words of an ordinary article. ' * 5}</p></article></body></html>",
        ]
    )


def _any_of(articles: Sequence[Article], field: str) -> str:
    return next((article[field] for article in articles if field in article), "A title")


def _quoted(text: str) -> str:
    return escape(text)


def escaped(text: str) -> str:
    """Write a text with the references that XML requires."""
    return escape(text, quote=False)


def referenced(text: str) -> str:
    """Write each character as a numeric reference, those that XML forbids too."""
    return "".join(f"&#{ord(character)};" for character in text)


def marked(text: str) -> str:
    """Write a text as a CDATA section."""
    return f"<![CDATA[{text}]]>"


WRITINGS: Sequence[Callable[[str], str]] = (escaped, referenced, marked)
_FORMS: Mapping[str, Callable[[Sequence[Article], Callable[[str], str]], str]] = {
    "ndjson": _ndjson, "json-feed": _json_feed, "k2-json": _k2_json, "rss": _rss, "atom": _atom,
    "html": _html,
}  # fmt: skip


def document(form: str, articles: Sequence[Article], *, written: Callable[[str], str]) -> bytes:
    """The bytes of a document; HTML holds one article."""
    return _FORMS[form](articles, written).encode("utf-8", "surrogatepass")
