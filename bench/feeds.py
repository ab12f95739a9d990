"""Feeds to measure with: made up, but shaped like those that newsrooms publish.

Seeded, so that each run reads the same bytes: RSS with content:encoded, of K2, with escaped teasers
only; Atom with HTML and with XHTML; JSON Feed; markup with links, images, lists, entities, tracking
parameters; titles and dates in the spellings that occur.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from xml.sax.saxutils import escape as xml

import orjson

ENTRIES = 50
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
WORDS = [
    "harbour", "ferry", "tide", "the", "of", "quay", "council", "said", "winter", "boats", "pilot",
    "a", "crane", "fog", "and", "lights", "in", "mayor", "café", "naïve", "to", "ships", "rope",
    "for", "harbour-master", "storm", "“quoted”", "it’s", "1,200", "tonnes", "–", "with",
]  # fmt: skip
CATEGORIES = ("Media Center/Harbour News", "Council", "Weather", "Sport", "Opinion & Letters")


def words(chance: random.Random, count: int) -> str:
    """So many words."""
    return " ".join(chance.choices(WORDS, k=count))


def body(chance: random.Random, count: int) -> str:
    """Markup with about so many words, as the block editor of WordPress writes it."""
    pieces = []
    while count > 0:
        size = min(count, chance.randint(25, 60))
        count -= size
        text, number = words(chance, size), chance.randint(1, 9_999)
        link = (
            f'<a href="/story/{number}?utm_source=rss&amp;id=2" target="_blank" '
            f'rel="noreferrer noopener">{words(chance, 3)}</a>'
        )
        pieces.append(
            f'<p class="wp-block-paragraph">{text[:40]} <strong>Tom &amp; Ann</strong>&nbsp;said '
            f"<em>{text[40:60]}</em>{text[60:]} {link}.</p>\n"
        )
    pieces.insert(1, _picture(chance.randint(1, 9_999)))
    pieces.append('<img src="https://count.example/pixel.gif" width="1" height="1" alt="">')
    return "\n".join(pieces)


def _picture(number: int) -> str:
    sizes = ", ".join(f"/img/{number}-{width}.jpg {width}w" for width in (1024, 300, 768))
    return (
        f'<figure class="wp-block-image size-large"><img loading="lazy" decoding="async" '
        f'width="1024" height="683" src="/img/{number}-1024.jpg" alt="The quay" '
        f'class="wp-image-{number}" srcset="{sizes}" sizes="(max-width: 1024px) 100vw, 1024px" />'
        f'<figcaption class="wp-element-caption">The quay in <a href="/fog">fog</a></figcaption>'
        "</figure>"
    )


def rss(number: int, chance: random.Random) -> bytes:
    """RSS 2.0 as WordPress writes it."""
    site = f"https://news{number}.example"
    items = "".join(
        f"<item><title>{xml(words(chance, 8))}</title><link>{site}/{n}/story</link>"
        f"<dc:creator><![CDATA[A. Tern]]></dc:creator>"
        f"<pubDate>{format_datetime(START - timedelta(hours=n))}</pubDate>"
        f"<category><![CDATA[{chance.choice(CATEGORIES)}]]></category>"
        f'<guid isPermaLink="false">{site}/?p={n}</guid>'
        f"<description><![CDATA[{words(chance, 30)} [&#8230;]]]></description>"
        f"<content:encoded><![CDATA[{body(chance, 200)}]]></content:encoded></item>"
        for n in range(ENTRIES)
    )
    return _rss(site, items)


def k2(number: int, chance: random.Random) -> bytes:
    """RSS 2.0 of a K2 list: the text in K2's own divs, relative links, an author with a mail."""
    site = f"https://k2{number}.example"
    items = "".join(
        f"<item><title>{xml(words(chance, 8))}</title>"
        f"<link>{site}/media/item/{n}-{'-'.join(words(chance, 3).split()).lower()}</link>"
        f'<guid isPermaLink="true">{site}/media/item/{n}-story</guid>'
        f'<description><![CDATA[<div class="K2FeedImage"><img src="/media/k2/{n}_S.jpg" alt="" />'
        f'</div><div class="K2FeedIntroText"><p>{words(chance, 40)}</p></div>'
        f'<div class="K2FeedFullText"><p>{words(chance, 80)}</p><p>{words(chance, 60)}</p></div>'
        f'<div class="K2FeedTags"><ul><li>quay</li><li>tide</li></ul></div>]]></description>'
        f"<author>desk@news.example (A. Tern)</author><category>Harbour News</category>"
        f"<pubDate>{format_datetime(START - timedelta(hours=n))}</pubDate></item>"
        for n in range(ENTRIES)
    )
    return _rss(site, items)


def teasers(number: int, chance: random.Random) -> bytes:
    """RSS 2.0 with escaped descriptions and nothing else."""
    site = f"https://short{number}.example"
    items = "".join(
        f"<item><title>{xml(words(chance, 8))}</title><link>{site}/{n}</link>"
        f"<pubDate>{START - timedelta(hours=n):%a, %d %b %Y %H:%M:%S} EST</pubDate>"
        f"<category>{xml(chance.choice(CATEGORIES))}</category>"
        f"<guid>{site}/{n}</guid>"
        f"<description>{escape(body(chance, 120))}</description></item>"
        for n in range(ENTRIES)
    )
    return _rss(site, items)


def _rss(site: str, items: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<channel><title>Tern</title><link>{site}/</link><description/><language>en</language>"
        f"<ttl>60</ttl>{items}</channel></rss>"
    ).encode()


def atom(number: int, chance: random.Random) -> bytes:
    """Atom with escaped HTML, and with XHTML in every third entry."""
    site = f"https://atom{number}.example"
    entries = "".join(
        f"<entry><title>{xml(words(chance, 8))}</title><id>tag:atom{number}.example,2026:{n}</id>"
        f'<link href="{site}/{n}"/><author><name>B. Tern</name></author>'
        f"<published>{START - timedelta(hours=n):%Y-%m-%dT%H:%M:%S}+01:00</published>"
        f"<updated>{START - timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}</updated>"
        f'<category term="{xml(chance.choice(CATEGORIES))}"/>{_content(n, chance)}</entry>'
        for n in range(ENTRIES)
    )
    return (
        f'<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en"><title>Tern</title>'
        f'<id>{site}/</id><link rel="self" href="{site}/feed"/>'
        f"<updated>2026-01-05T12:00:00Z</updated>{entries}</feed>"
    ).encode()


def _content(number: int, chance: random.Random) -> str:
    if number % 3:
        return f'<content type="html">{escape(body(chance, 200))}</content>'
    text = xml(words(chance, 200))
    return (
        '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">'
        f"<p>{text}</p></div></content>"
    )


def json_feed(number: int, chance: random.Random) -> bytes:
    """JSON Feed 1.1."""
    site = f"https://json{number}.example"
    return orjson.dumps(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": "Tern",
            "home_page_url": f"{site}/",
            "items": [
                {
                    "id": f"{site}/{n}",
                    "url": f"{site}/{n}",
                    "title": words(chance, 8),
                    "content_html": body(chance, 200),
                    "date_published": f"{START - timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}",
                    "tags": [chance.choice(CATEGORIES)],
                }
                for n in range(ENTRIES)
            ],
        }
    )


_MIX: tuple[Callable[[int, random.Random], bytes], ...] = (
    rss, k2, rss, atom, rss, teasers, json_feed, k2, rss, atom,
)  # fmt: skip


def feeds(count: int, *, first: int = 0, xml_only: bool = False) -> list[bytes]:
    """So many feeds of ENTRIES each, no two articles the same."""
    kinds = [kind for kind in _MIX if not (xml_only and kind is json_feed)]
    return [kinds[n % len(kinds)](n, random.Random(n)) for n in range(first, first + count)]
