"""Archives, tombstones and deltas, with which feed readers miss nothing (RFC 5005, 6721, 3229)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import feedparser
import orjson
import pytest
from aiohttp.test_utils import TestClient
from lxml import etree

from service.feeds.formats import FORMATS
from service.storage.store import Store
from tests.conftest import Clock, Get, Publish
from tests.served import CLOSED, LIVE, Read, one
from tests.waiting import wait_until

Client = TestClient[Any, Any]


@pytest.mark.parametrize("extension", FORMATS)
async def test_who_follows_the_archive_gets_every_article_once(
    client: Client, get: Get, publish: Publish, clock: Clock, extension: str
) -> None:
    """RFC 5005 4: the links from the live feed lead through the documents of all articles."""
    ids = set()
    for days in (0, 1, 2, 5, 40):
        for name in ("a", "b"):
            published = clock() - timedelta(days=days, minutes=5 if name == "a" else 9)
            ids.add(await publish(f"{days}{name}", published=published))
    ids_read: list[str] = []
    archives, path = [], f"{LIVE}.{extension}"
    while path:
        feed = Read(await get(path), extension)
        ids_read += feed.ids
        archives.append(feed.is_archive)
        path = feed.link("prev-archive").removeprefix("http://news.example")
        async with client.get(path or "/feeds/all.rss") as response:
            assert 200 == response.status
    assert {f"urn:uuid:{article_id}" for article_id in ids} == set(ids_read)
    assert [False, True, True, True, True] == archives[:1] + archives[-4:]


@pytest.mark.parametrize("extension", FORMATS)
async def test_closed_days_are_chained_both_ways(
    client: Client, get: Get, publish: Publish, clock: Clock, extension: str
) -> None:
    """Archives of past days link to each other and to the live feed; today is not an archive."""
    days = [clock() - timedelta(days=n) for n in (0, 1, 3)]
    for number, day in enumerate(days):
        await publish(str(number), published=day)
    today, newer, older = (f"http://news.example{LIVE}/{day:%Y/%m/%d}.{extension}" for day in days)
    live = f"http://news.example{LIVE}.{extension}"

    async def links(url: str) -> tuple[bool, str, str, str]:
        feed = Read(await get(url.removeprefix("http://news.example")), extension)
        rels = ("prev-archive", "next-archive", "current")
        return feed.is_archive, *(feed.link(rel) for rel in rels)  # type: ignore[return-value]

    assert (False, newer, "", "") == await links(live)
    assert (False, newer, "", live) == await links(today)
    assert (True, older, "", live) == await links(newer)
    assert (True, "", newer, live) == await links(older)
    async with client.get(newer.removeprefix("http://news.example")) as response:
        assert f'<{older}>; rel="prev-archive"' in response.headers["Link"]
    # When today has ended, the archive before it links to it.
    clock.move(days=1)
    await publish("later", published=days[0])
    assert (True, older, today, live) == await links(newer)


async def test_a_busy_day_is_in_the_chain_before_it_ends(
    get: Get, publish: Publish, clock: Clock
) -> None:
    """The live feed links to today once it cannot hold all of today's articles."""
    for number in range(4):
        await publish(str(number), published=clock() - timedelta(minutes=number))
    feed = Read(await get("/feeds/all.atom"), "atom")
    assert "" == feed.link("prev-archive")
    for number in range(50):
        await publish(f"more {number}", published=clock() - timedelta(minutes=number))
    feed = Read(await get("/feeds/all.atom"), "atom")
    day = f"{clock():%Y/%m/%d}"
    assert f"http://news.example/feeds/all/{day}.atom" == feed.link("prev-archive")


async def test_withdrawn_articles_leave_tombstones(
    get: Get, store: Store, publish: Publish
) -> None:
    """Atom (RFC 6721) and JSON have tombstones until the article is published again."""
    await publish("Stays")
    article_id = await publish("Goes")
    await store.articles.withdraw(article_id, now=datetime(2026, 1, 5, 12, tzinfo=UTC))

    async def count() -> bool:
        return 1 == await store.category_index.count("all")

    await wait_until(count)
    for path in (LIVE, CLOSED, "/feeds/all/2017"):
        root = etree.fromstring(await get(f"{path}.atom"))
        assert f"urn:uuid:{article_id}" == one(root, "at:deleted-entry/@ref")
        assert "2026-01-05T12:00:00+00:00" == one(root, "at:deleted-entry/@when")
        feed = orjson.loads(await get(f"{path}.json"))
        expected = [{"id": f"urn:uuid:{article_id}", "when": "2026-01-05T12:00:00.000Z"}]
        assert expected == feed["_dateline"]["deleted"]
        assert article_id.encode() not in await get(f"{path}.rss")
    assert b"deleted-entry" not in await get("/feeds/all/2016.atom")
    await store.articles.append(
        [await draft_of(store, article_id)], now=datetime.now(UTC), revive=True
    )

    async def back() -> bool:
        return 2 == await store.category_index.count("all")

    await wait_until(back)
    assert b"deleted-entry" not in await get(f"{LIVE}.atom")


async def draft_of(store: Store, article_id: str) -> Any:
    """The draft that publishes a withdrawn article again."""
    from service.articles.article import Detail, Entry
    from service.articles.compose import compose

    (article,) = await store.articles.get([article_id])
    assert article is not None
    entry = Entry(
        guid=article.guid, title=article.title, content_html=article.content_html,
        categories=article.categories, published=article.published, detail=Detail.RECORD,
    )  # fmt: skip
    return compose(entry, source=article.source)


@pytest.mark.parametrize("extension", FORMATS)
async def test_deltas(client: Client, publish: Publish, extension: str) -> None:
    """RFC 3229 10: 226 with the entries that are new since a known version, 200 for any other."""
    for number in range(5):
        await publish(f"Old {number}")
    path = f"{LIVE}.{extension}"
    async with client.get(path) as response:
        first = response.headers["ETag"]
    new_id = await publish("New")
    conditional = {"A-IM": "feed", "If-None-Match": f'"other", {first}'}
    async with client.get(path, headers=conditional) as response:
        assert (226, "feed", first.replace("-br", "").replace("-gzip", "")) == (
            response.status, response.headers["IM"],
            response.headers["Delta-Base"].replace("-br", ""),
        )  # fmt: skip
        assert response.headers["Cache-Control"].startswith("no-store, im")
        second = response.headers["ETag"]
        assert [f"urn:uuid:{new_id}"] == Read(await response.read(), extension).ids
    # The ETag of a difference is that of the whole feed.
    async with client.get(path, headers={"A-IM": "feed", "If-None-Match": second}) as response:
        assert 304 == response.status
    newer_id = await publish("Newer")
    async with client.get(path, headers={"A-IM": "x, feed", "If-None-Match": first}) as response:
        ids = Read(await response.read(), extension).ids
        assert {f"urn:uuid:{new_id}", f"urn:uuid:{newer_id}"} == set(ids)
    others = ({"A-IM": "feed", "If-None-Match": '"x"'}, {"If-None-Match": first}, {"A-IM": "feed"},
              {"A-IM": "vcdiff", "If-None-Match": first})  # fmt: skip
    for headers in others:
        async with client.get(path, headers=headers) as response:
            assert 200 == response.status
            assert 7 == len(Read(await response.read(), extension).ids)
    async with client.head(path, headers=conditional) as response:
        assert 200 == response.status


async def test_feedparser_takes_deltas(client: Client, publish: Publish) -> None:
    """feedparser gets 304 and differences with the headers that it sends by itself."""
    await publish("Old 1")
    await publish("Old 2")
    await publish("Old 3")
    url = str(client.make_url(f"{LIVE}.atom"))
    first = await _parsed(url)
    assert (200, 3) == (first.status, len(first.entries))
    again = await _parsed(url, etag=first.etag, modified=first.modified)
    assert (304, 0) == (again.status, len(again.entries))
    await publish("New")
    delta = await _parsed(url, etag=first.etag)
    assert (226, ["New"]) == (delta.status, [entry.title for entry in delta.entries])


async def _parsed(url: str, **validators: str) -> Any:
    import asyncio

    return await asyncio.to_thread(feedparser.parse, url, **validators)
