"""Categories with slugs of the version before: renamed with all that they have, and redirected."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from aiohttp.test_utils import TestClient

from service.articles.article import Draft, Entry
from service.articles.categories import Category
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys
from service.storage.category_renames import _rename_articles, rename_categories
from service.storage.duplicates import Mark
from service.storage.shards import claim_shards
from service.storage.store import Store, open_store
from tests.conftest import DAY, TOKEN, Get
from tests.old_articles import all_as_hashes
from tests.waiting import wait_until

Client = TestClient[Any, Any]
# Titles → paths, as the version before stored them.
FORMER = {("C++",): "c", ("İstanbul",): "i̇stanbul", ("C++", "R+D"): "c/r-d", ("❤️",): "\ufe0f"}


def draft(guid: str, *titles: str, path: str = "") -> Draft:
    """An article in a category, under its former path unless another one is given."""
    entry = Entry(guid=guid, title=guid, content_html=f"<p>{guid}.</p>", published=DAY)
    category = Category(path=path or FORMER[titles], titles=titles)
    return replace(compose(entry, source="press"), categories=(category,))


@pytest.fixture
async def ids(store: Store, aggregating: None) -> dict[str, str]:
    """Guid → id, of an archive that the version before has written and indexed; one article was
    withdrawn, one is a duplicate that is hidden."""
    drafts = [
        draft("plus", "C++"), draft("below", "C++", "R+D"), draft("port", "İstanbul"),
        draft("love", "❤️"), draft("gone", "C++"), draft("copy", "C++"),
        draft("other", "News", path="news"),
    ]  # fmt: skip
    await claim_shards(store.client, store.event_stream.shards)
    receipts = await store.articles.append(drafts, now=datetime.now(UTC))
    await indexed(store)  # A withdrawal is shown where the article was.
    by_guid = {each.guid: receipt.id for each, receipt in zip(drafts, receipts, strict=True)}
    mark = Mark(article_id=by_guid["copy"], original=by_guid["plus"], hidden_in=("all", "c"))
    await store.duplicates.mark_all([mark])
    await store.articles.withdraw(by_guid["gone"], now=datetime.now(UTC))
    await indexed(store)
    await all_as_hashes(store.client)
    return by_guid


async def indexed(store: Store) -> None:
    """Wait until no index is behind."""

    async def done() -> bool:
        behind = [await store.client.zcard(keys.dirty(n)) for n in store.event_stream.shards]
        return not any(behind)

    await wait_until(done)


async def titles_at(get: Get, path: str) -> set[str]:
    """Titles in a JSON feed."""
    return {item["title"] for item in orjson.loads(await get(path))["items"]}


async def test_all_that_is_stored_is_under_the_new_path(
    client: Client, store: Store, get: Get, ids: dict[str, str]
) -> None:
    """Live, hidden and withdrawn articles, titles and days; once more changes nothing."""
    for _ in range(2):
        await rename_categories(store.client)
        assert {"plus", "below"} == await titles_at(get, "/feeds/c-plus-plus.json")
        assert {"below"} == await titles_at(get, "/feeds/c-plus-plus/r-d.json")
        assert {"port"} == await titles_at(get, "/feeds/istanbul.json")
        assert {"love"} == await titles_at(get, f"/feeds/{quote('❤')}/{DAY:%Y/%m/%d}.json")
        assert b"deleted-entry" in await get("/feeds/c-plus-plus.atom")
        articles = dict(zip(ids, await store.articles.get(list(ids.values())), strict=True))
        assert ("c-plus-plus",) == articles["gone"].categories
        assert ("all", "c-plus-plus") == articles["copy"].hidden_in
        assert ("istanbul",) == articles["port"].categories
        titles = await store.articles.category_titles()
        assert {
            "c-plus-plus": "C++", "c-plus-plus/r-d": "R+D", "istanbul": "İstanbul", "❤": "❤️",
            "news": "News",
        } == titles  # fmt: skip
        for former in FORMER.values():
            for n in store.event_stream.shards:
                names = (keys.category(n, former), keys.versions(n, former), keys.gone(n, former))
                assert 0 == await store.client.exists(*names)
    assert b"<h1" in await get("/news/istanbul")


@pytest.mark.usefixtures("ids")
async def test_it_is_a_step_of_the_layout(settings: Settings, store: Store) -> None:
    """The first process of this version does it at its start."""
    await claim_shards(store.client, store.event_stream.shards)
    await store.client.hset(keys.LAYOUT, "version", "1")
    async with open_store(settings) as opened:
        assert "c-plus-plus" == await opened.category_renames.of("c")
        assert "" == await opened.category_renames.of("news")
        assert "C++" == (await opened.articles.category_titles())["c-plus-plus"]


async def test_articles_that_are_edited_meanwhile_keep_their_edits(
    store: Store, ids: dict[str, str]
) -> None:
    """Another process appends while this one renames: nothing of either is lost."""

    async def edit() -> None:
        for number in range(200):
            edited = replace(
                draft("port", "İstanbul"), title=f"Edit {number}", content_hash=str(number)
            )
            await store.articles.append([edited], now=datetime.now(UTC))

    shard = store.event_stream.shards.of(ids["port"])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(edit())
        for _ in range(20):
            await _rename_articles(store.client, shard, {"i̇stanbul": "istanbul"})
    await _rename_articles(store.client, shard, {"i̇stanbul": "istanbul"})
    (article,) = await store.articles.get([ids["port"]])
    assert article
    assert ("Edit 199", ("istanbul",)) == (article.title, article.categories)


async def test_renamed_articles_are_indexed_as_before(
    store: Store, get: Get, ids: dict[str, str]
) -> None:
    """Edits, withdrawals and marks move them out of the category that they are in now."""
    await rename_categories(store.client)
    edited = replace(draft("port", "Ankara", path="ankara"), content_hash="another")
    await store.articles.append([edited], now=datetime.now(UTC))
    await store.articles.withdraw(ids["plus"], now=datetime.now(UTC))
    await store.duplicates.mark_all([Mark(article_id=ids["copy"])])
    await indexed(store)
    assert set() == await titles_at(get, "/feeds/istanbul.json")
    assert {"port"} == await titles_at(get, "/feeds/ankara.json")
    assert {"below", "copy"} == await titles_at(get, "/feeds/c-plus-plus.json")


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("/feeds/c.{}", "/feeds/c-plus-plus.{}"),
        ("/feeds/C.{}?limit=5", "/feeds/c-plus-plus.{}?limit=5"),
        ("/feeds/c/r-d/2017/12.{}", "/feeds/c-plus-plus/r-d/2017/12.{}"),
        ("/feeds/i̇stanbul.{}", "/feeds/istanbul.{}"), ("/feeds/İstanbul.{}", "/feeds/istanbul.{}"),
        ("/feeds/\ufe0f.{}", "/feeds/❤.{}"), ("/news/c/2017", "/news/c-plus-plus/2017"),
        ("/news/i̇stanbul", "/news/istanbul"),
        ("/api/v1/articles?category=c", "/api/v1/articles?category=c-plus-plus"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
@pytest.mark.usefixtures("ids")
async def test_former_paths_are_redirected(
    client: Client, store: Store, former: str, present: str, extension: str
) -> None:
    """Feeds in all formats, pages, days, and lists of the API: 308, and there is the new one."""
    await rename_categories(store.client)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path, _, query = former.format(extension).partition("?")
    url = quote(path) + (f"?{query}" if query else "")
    async with client.get(url, headers=headers, allow_redirects=False) as response:
        assert 308 == response.status
        expected, _, query = present.format(extension).partition("?")
        assert quote(expected) + (f"?{query}" if query else "") == response.headers["Location"]
    async with client.get(url, headers=headers) as response:
        assert 200 == response.status


@pytest.mark.usefixtures("ids")
async def test_a_former_path_can_be_a_category_again(
    client: Client, store: Store, get: Get
) -> None:
    """C comes after C++ had its slug: each has its articles, and nothing is redirected."""
    await rename_categories(store.client)
    entries = [
        Entry(guid=title, title=title, content_html="<p>X.</p>", categories=(title,), published=DAY)
        for title in ("C", "C++", "C#")
    ]
    await store.articles.append([compose(e, source="new") for e in entries], now=datetime.now(UTC))
    await indexed(store)
    assert {"C"} == await titles_at(get, "/feeds/c.json")
    assert {"C#"} == await titles_at(get, "/feeds/c-sharp.json")
    assert {"C++", "plus", "below"} == await titles_at(get, "/feeds/c-plus-plus.json")
    assert 404 == (await client.get("/feeds/c/r-d/x.json")).status


@pytest.mark.usefixtures("ids")
async def test_settings_name_the_new_path(client: Client, store: Store) -> None:
    """Lists get it beside the former one, single categories instead of it; a bad value stays."""
    rows = {
        keys.FORMER_ENDPOINTS: {
            "selection": {"categories": ["c", "news"], "query": "any=c,x&all=c"}
        },
        keys.TOKENS: {"categories": ["i̇stanbul"]}, keys.VIEWS: {"category": "c", "query": "none=c"},
        keys.PRIVATE_FEEDS: {"category": "c/r-d"}, keys.sources(0): {"category": "c", "url": "x"},
    }  # fmt: skip
    for name, fields in rows.items():
        await store.client.hset(name, "1", orjson.dumps(fields))
        await store.client.hset(name, "bad", b"\xff{")
    await rename_categories(store.client)
    renamed = {name: orjson.loads(await store.client.hget(name, "1") or b"") for name in rows}
    assert {
        keys.FORMER_ENDPOINTS: {
            "selection": {
                "categories": ["c", "news", "c-plus-plus"],
                "query": "any=c,c-plus-plus,x&all=c-plus-plus",
            }
        },
        keys.TOKENS: {"categories": ["i̇stanbul", "istanbul"]},
        keys.VIEWS: {"category": "c-plus-plus", "query": "none=c,c-plus-plus"},
        keys.PRIVATE_FEEDS: {"category": "c-plus-plus/r-d"},
        keys.sources(0): {"category": "c-plus-plus", "url": "x"},
    } == renamed
    assert b"\xff{" == await store.client.hget(keys.VIEWS, "bad")
    for name in rows:
        await store.client.delete(name)
