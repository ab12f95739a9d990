"""What a good publisher does, tested on the documents as they are served.

The rules are those of the specifications that each test names; the parsers that read our feeds are
those of other projects.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import atoma
import fastfeedparser
import feedparser
import orjson
import pytest
from aiohttp.test_utils import TestClient
from lxml import etree

from service.articles.article import Enclosure
from service.feeds.formats import FORMATS
from service.storage.store import Store
from tests.conftest import DAY, Get, Publish
from tests.served import CLOSED, LIVE, NS, Read, one
from tests.waiting import wait_until

Client = TestClient[Any, Any]
RICH: dict[str, Any] = {
    "url": "https://quay.example/fog?a=1&b=2",
    "summary": "Fog in the harbour",
    "authors": ("Mira Solheim", "J. Ferreira"),
    "tags": ("Fog", "Ferries"),
    "language": "en",
    "image": "https://quay.example/fog.jpg",
    "enclosures": (
        Enclosure(url="https://quay.example/fog.mp3", type="audio/mpeg", length=123),
        Enclosure(url="https://quay.example/fog.ogg", type="audio/ogg", length=45),
    ),
}


async def test_rss_profile(get: Get, publish: Publish) -> None:
    """RSS follows the Advisory Board's profile, Media RSS and RSS 1.0 modules."""
    article_id = await publish("Fog", **RICH)
    root = etree.fromstring(await get(f"{LIVE}.rss"))
    assert "Coalition News · Tern Gazette" == one(root, "channel/title")
    assert "http://news.example/news/media-center/coalition-news" == one(root, "channel/link")
    assert "en" == one(root, "channel/language")
    assert "https://www.rssboard.org/rss-specification" == one(root, "channel/docs")
    assert one(root, "channel/ttl").isdigit()
    image = "channel/image"
    assert one(root, f"{image}/title") == one(root, "channel/title")
    assert one(root, f"{image}/link") == one(root, "channel/link")
    assert "http://news.example/static/icon-144.png" == one(root, f"{image}/url")
    (item,) = root.findall("channel/item")
    assert f"urn:uuid:{article_id}" == one(item, "guid")
    assert "false" == one(item, "guid/@isPermaLink")
    assert "https://quay.example/fog?a=1&b=2" == one(item, "link")
    assert "Fri, 22 Dec 2017 16:41:07 +0000" == one(item, "pubDate")
    assert "Fog in the harbour" == one(item, "description")
    assert one(item, "content:encoded").startswith("<p>Some words.</p>")
    names = [element.text for element in item.findall("dc:creator", NS)]
    assert ["Mira Solheim", "J. Ferreira"] == names
    assert ("audio/mpeg", "123") == (one(item, "enclosure/@type"), one(item, "enclosure/@length"))
    assert "https://quay.example/fog.ogg" == one(item, "media:content/@url")
    assert "https://quay.example/fog.jpg" == one(item, "media:thumbnail/@url")
    terms = [element.text for element in item.findall("category")]
    assert ["Media Center/Coalition News", "Fog", "Ferries"] == terms


async def test_atom(get: Get, publish: Publish) -> None:
    """RFC 4287 4.1: all required elements are there, and links differ in rel or type."""
    article_id = await publish("Fog", **RICH)
    root = etree.fromstring(await get(f"{LIVE}.atom"))
    assert one(root, "a:id").startswith("urn:uuid:")
    assert one(root, "a:updated") == one(root, "a:entry/a:updated")
    assert "Tern Gazette" == one(root, "a:author/a:name")
    assert "http://news.example/static/icon-144.png" == one(root, "a:icon") == one(root, "a:logo")
    own = f"http://news.example{LIVE}.atom"
    assert own == one(root, "a:link[@rel='self']/@href")
    (entry,) = root.findall("a:entry", NS)
    assert f"urn:uuid:{article_id}" == one(entry, "a:id")
    assert "2017-12-22T16:41:07+00:00" == one(entry, "a:published")
    assert one(entry, "a:updated").startswith("2017-12-22T16:41:07.")
    names = [element.text for element in entry.findall("a:author/a:name", NS)]
    assert ["Mira Solheim", "J. Ferreira"] == names
    assert "html" == one(entry, "a:content/@type")
    for holder in (root, entry):
        links = holder.xpath("a:link[@rel='alternate']", namespaces=NS)
        kinds = [(link.get("type"), link.get("hreflang")) for link in links]
        assert len(set(kinds)) == len(kinds) == 1
    files = entry.xpath("a:link[@rel='enclosure']/@length", namespaces=NS)
    assert ["123", "45"] == files
    assert "https://quay.example/fog.jpg" == one(entry, "media:thumbnail/@url")


async def test_json_feed(get: Get, publish: Publish) -> None:
    """JSON Feed 1.1: version first, ids as strings, hubs, attachments, and our extension."""
    article_id = await publish("Fog", **RICH, attribution="Harbour Board")
    body = await get(f"{LIVE}.json")
    assert body.startswith(b'{"version":"https://jsonfeed.org/version/1.1",')
    feed = orjson.loads(body)
    assert [{"type": "WebSub", "url": "http://news.example/hub"}] == feed["hubs"]
    assert f"http://news.example{LIVE}.json" == feed["feed_url"]
    assert "http://news.example/news/media-center/coalition-news" == feed["home_page_url"]
    (item,) = feed["items"]
    assert f"urn:uuid:{article_id}" == item["id"]
    assert [{"name": "Mira Solheim"}, {"name": "J. Ferreira"}] == item["authors"]
    assert [123, 45] == [file["size_in_bytes"] for file in item["attachments"]]
    assert "Harbour Board" == item["_dateline"]["attribution"]


async def test_an_atom_entrys_updated_is_its_own(get: Get, publish: Publish) -> None:
    """W3C DuplicateUpdated: articles of the same date have different `updated` times."""
    midnight = datetime(2017, 12, 22, tzinfo=UTC)
    for name in ("One", "Two", "Three"):
        await publish(name, published=midnight)
    root = etree.fromstring(await get(f"{CLOSED}.atom"))
    stamps = [element.text for element in root.findall("a:entry/a:updated", NS)]
    assert 3 == len(set(stamps))
    assert one(root, "a:updated") == max(map(str, stamps))


async def test_links_in_headers_and_document_are_the_same(client: Client, publish: Publish) -> None:
    """WebSub 4: headers and document have the same links: one self, at least one hub."""
    await publish()
    await publish("before", published=DAY - timedelta(days=3))
    for extension in FORMATS:
        async with client.get(f"{CLOSED}.{extension}") as response:
            links = re.findall(r'<([^>]*)>; rel="([^"]*)"', response.headers["Link"])
            body = await response.read()
        headers = {rel: url for url, rel in links}
        assert len(headers) == len(links)
        assert "http://news.example/hub" == headers["hub"]
        assert f"http://news.example{CLOSED}.{extension}" == headers["self"]
        if extension == "json":
            assert headers["self"] == orjson.loads(body)["feed_url"]
            continue
        feed = Read(body, extension)
        for rel in ("self", "hub", "current"):
            assert headers[rel] == feed.link(rel)


@pytest.mark.parametrize("extension", ["rss", "atom"])
async def test_in_a_browser_a_feed_is_readable(
    client: Client, publish: Publish, extension: str
) -> None:
    """Browsers get XML with a link to the HTML page; others get the feed as its media type."""
    await publish()
    path = f"{LIVE}.{extension}"
    twin = b'<a href="http://news.example/news/media-center/coalition-news">'
    async with client.get(path, headers={"Sec-Fetch-Dest": "document"}) as response:
        assert "application/xml" == response.content_type
        assert response.headers["Cache-Control"].startswith("private")
        body = await response.read()
        assert twin in body
        assert b'<?xml-stylesheet type="text/css" href="/static/feed.css"?>' in body
        etree.fromstring(body)
        tag = response.headers["ETag"]
    for kind, status in (("document", 304), ("empty", 200)):
        conditional = {"Sec-Fetch-Dest": kind, "If-None-Match": tag}
        async with client.get(path, headers=conditional) as response:
            assert status == response.status
    for headers in ({}, {"Sec-Fetch-Dest": "empty"}):
        async with client.get(path, headers=headers) as response:
            assert f"application/{extension}+xml" == response.content_type
            assert twin not in await response.read()
    async with client.get("/static/feed.css") as response:
        assert (200, "text/css") == (response.status, response.content_type)


async def test_scripts_of_other_sites(client: Client, publish: Publish) -> None:
    """CORS: scripts may read responses with their ETag, and send conditional headers."""
    await publish()
    path = f"{LIVE}.json"
    async with client.get(path) as response:
        tag = response.headers["ETag"]
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"If-None-Match": tag})):
        async with client.request(method, path, headers=headers) as response:
            assert "*" == response.headers["Access-Control-Allow-Origin"]
            assert "ETag" in response.headers["Access-Control-Expose-Headers"]
    async with client.options(path) as response:
        assert 204 == response.status
        assert "If-None-Match" in response.headers["Access-Control-Allow-Headers"]
    async with client.delete(path) as response:
        assert (405, {"GET", "HEAD", "OPTIONS"}) == (
            response.status, {name.strip() for name in response.headers["Allow"].split(",")},
        )  # fmt: skip


async def test_ranges_are_ignored(client: Client, publish: Publish) -> None:
    """RFC 9110 14.2: a range request gets the whole feed, so that no reader gets half of it."""
    await publish()
    async with client.get(f"{LIVE}.rss", headers={"Range": "bytes=0-9"}) as response:
        assert 200 == response.status
        assert (await response.read()).endswith(b"</rss>")


TRICKY = [
    ("كانون الأول 😀 December", "<p>نص عربي and Latin “quotes” 🏳️‍🌈</p>"),
    ("a < b && c ]]> d &amp;", "<p>x ]]&gt; y <code>&lt;b&gt;</code></p>"),
    ("", "<p>Only a text. No title at all.</p>"),
    ("日本語のタイトル", "<p>本文</p>"),
]


@pytest.mark.parametrize("extension", ["rss", "atom"])
async def test_other_parsers_read_the_same(get: Get, publish: Publish, extension: str) -> None:
    """feedparser, fastfeedparser and atoma read the same entries from our feeds."""
    for number, (title, content) in enumerate(TRICKY):
        await publish(
            title, guid=str(number), content_html=content, url=f"https://s.example/{number}?a&b=1",
            published=DAY + timedelta(minutes=number), enclosures=RICH["enclosures"],
        )  # fmt: skip
    body = await get(f"{CLOSED}.{extension}")
    ours = orjson.loads(await get(f"{CLOSED}.json"))
    expected = [
        (
            item["id"], item["title"], item["url"], item["content_html"],
            datetime.fromisoformat(item["date_published"]),
        )
        for item in ours["items"]
    ]  # fmt: skip
    assert 4 == len(expected)
    assert expected == by_feedparser(body)
    assert expected == by_fastfeedparser(body)
    assert expected == by_atoma(body, extension)


Fields = list[tuple[str, str, str, str, datetime]]


def by_feedparser(body: bytes) -> Fields:
    """The entries that feedparser reads without its sanitiser, which would change the content."""
    read = feedparser.parse(body, sanitize_html=False, resolve_relative_uris=False)
    assert not read.bozo
    return [
        (e.id, e.title, e.link, e.content[0].value, datetime(*e.published_parsed[:6], tzinfo=UTC))
        for e in read.entries
    ]


def by_fastfeedparser(body: bytes) -> Fields:
    """The entries that the parser of Kagi's Small Web reads."""
    return [
        (e["id"], e["title"], e["link"], e["content"][0]["value"], _moment(e["published"]))
        for e in fastfeedparser.parse(body).entries
    ]


def by_atoma(body: bytes, extension: str) -> Fields:
    """The entries that the parser of the feed reader Feedsubs reads."""
    if extension == "rss":
        return [
            (i.guid, i.title, i.link, i.content_encoded, i.pub_date)
            for i in atoma.parse_rss_bytes(body).items
        ]
    return [
        (e.id_, e.title.value, e.links[0].href, e.content.value, e.published)
        for e in atoma.parse_atom_bytes(body).entries
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def test_a_day_of_thousands(get: Get, store: Store, publish: Publish) -> None:
    """A day of more articles than a page of a month has each of them exactly once."""
    from service.articles.article import Entry
    from service.articles.compose import compose

    drafts = [
        compose(
            Entry(guid=str(n), title=f"No. {n}", categories=("Many",), published=DAY), source="s"
        )
        for n in range(2_500)
    ]
    await store.articles.append(drafts, now=datetime.now(UTC))

    async def indexed() -> bool:
        return 2_500 == await store.category_index.count("many")

    await wait_until(indexed, timeout_s=60)
    for extension in FORMATS:
        feed = Read(await get(f"/feeds/many/2017/12/22.{extension}"), extension)
        assert (2_500, 2_500) == (len(feed.ids), len(set(feed.ids)))


async def test_an_empty_feed_is_valid_and_stays_the_same(
    client: Client, get: Get, publish: Publish
) -> None:
    """A feed without articles is valid, and its bytes do not depend on the current time."""
    await publish()
    for path in (f"{LIVE}.atom?q=nothing", f"{LIVE}/2016/02/29.atom"):
        root = etree.fromstring(await get(path))
        assert [] == root.findall("a:entry", NS)
        assert "1990" < one(root, "a:updated") < "2018"
        assert one(root, "a:id").startswith("urn:uuid:")
    for extension in FORMATS:
        tags = set()
        for _ in range(2):
            async with client.get(f"{LIVE}/2016/02/29.{extension}") as response:
                tags.add(response.headers["ETag"])
        assert 1 == len(tags)


async def test_near_misses_of_every_kind_lead_to_the_one_true_url(
    client: Client, publish: Publish
) -> None:
    """Other spellings of a path (final slash, upper case, missing zero) are redirected by 308."""
    await publish()
    for path, true in (
        (f"{LIVE}.rss/", f"{LIVE}.rss"),
        ("/feeds/Media-Center/Coalition-News.ATOM", f"{LIVE}.atom"),
        (f"{LIVE}/2017/12/3.json", f"{LIVE}/2017/12/03.json"),
    ):
        async with client.get(path, allow_redirects=False) as response:
            assert (308, true) == (response.status, response.headers["Location"])
