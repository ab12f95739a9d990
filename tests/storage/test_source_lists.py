"""Sources by their URLs, and lists of many of them in parts."""

from __future__ import annotations

from typing import Any

import pytest

from service.articles.times import to_ms
from service.errors import InvalidInput, NotFound
from service.manage import sources
from service.sources.schedule import Poll
from service.sources.source import Source, make_source
from service.storage import keys
from service.storage.claims import Finished
from service.storage.layout import migrate
from service.storage.shards import ONE, Shards, claim_shards, numbered
from service.storage.store import Store, of_client
from tests.conftest import NOON
from tests.storage.test_source_moves import claim

NOW_MS = to_ms(NOON)


@pytest.fixture(params=[ONE, numbered(3)], ids=["1", "3"])
async def sharded(store: Store, request: pytest.FixtureRequest) -> Store:
    """The store with one shard, or three."""
    shards: Shards = request.param
    await store.client.flushdb()
    return of_client(store.client, shards=await claim_shards(store.client, shards))


async def add_many(store: Store, count: int) -> set[str]:
    """Sources on a host each; their ids."""
    added = [
        make_source({"url": f"http://h{number}.example/f"}, created=NOON) for number in range(count)
    ]
    await store.sources.add_all(added, due_ms=NOW_MS)
    return {source.id for source in added}


async def ids_in_parts(store: Store, limit: int) -> list[str]:
    """Ids of all sources, read in parts."""
    ids, after = [], ""
    while True:
        part, after = await store.sources.part(after=after, limit=limit)
        assert len(part) <= limit
        ids += [source.id for source in part]
        if not after:
            return ids


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_a_list_in_parts_has_each_source_once(sharded: Store, limit: int) -> None:
    """Whatever the limit is; what cannot be read is passed."""
    ids = await add_many(sharded, 300)
    await sharded.client.hset(keys.sources(0), "odd", "{")
    listed = await ids_in_parts(sharded, limit)
    assert (ids, 300) == ({*listed}, len(listed))


async def test_sources_that_are_added_meanwhile_hide_no_other(sharded: Store) -> None:
    """The hash grows between two parts."""
    ids = await add_many(sharded, 40)
    part, after = await sharded.sources.part(after="", limit=9)
    listed = {source.id for source in part}
    await add_many(sharded, 600)
    while after:
        part, after = await sharded.sources.part(after=after, limit=9)
        listed |= {source.id for source in part}
    assert ids <= listed


@pytest.mark.parametrize("after", ["x", "9.0.", "0.-1.", "0.0.zz", "0.0", f"0.{2**64}.", "-1.0."])
async def test_what_no_list_contains_is_refused(sharded: Store, after: str) -> None:
    """It names the parameter."""
    with pytest.raises(InvalidInput, match="after"):
        await sharded.sources.part(after=after, limit=9)


async def commands(store: Store) -> int:
    """How many commands the server has run."""
    client: Any = store.client
    return sum(stat["calls"] for stat in (await client.info("commandstats")).values())


async def test_to_add_a_source_costs_the_same_however_many_there_are(sharded: Store) -> None:
    """Also to add a known one, and to find one by its URL."""
    costs = []
    for count in (1, 2_000):
        await add_many(sharded, count)
        before = await commands(sharded)
        url = f"http://new{count}.example/"
        source, is_new = await sources.add(sharded, {"url": url}, now=NOON)
        assert is_new
        assert (source, False) == await sources.add(sharded, {"url": url}, now=NOON)
        assert source == await sources.find(sharded, url)
        costs.append(await commands(sharded) - before)
    # The first time, scripts are loaded.
    assert costs[1] <= costs[0]


async def moved(store: Store, path: str = "new") -> Source:
    """A source whose poll found that it has moved to another host."""
    await sources.add(store, {"url": "http://old.example/f"}, now=NOON)
    (held,) = await claim(store)
    source = held.source.moved(f"http://new.example/{path}", "moved")
    finished = Finished(claim=held, poll=Poll(), due_ms=NOW_MS, source=source)
    await store.claims.finish([finished], now_ms=NOW_MS)
    return source


async def test_a_source_that_moved_is_known_by_both_urls(sharded: Store) -> None:
    """Neither adds it again, before and after it is in its new shard; both find it."""
    source = await moved(sharded)
    for _ in range(2):
        for url in ("http://old.example/f", "http://new.example/new"):
            assert source == await sources.find(sharded, url)
            added, is_new = await sources.add(sharded, {"url": url}, now=NOON)
            assert (source.id, False) == (added.id, is_new)
            source = added
        await claim(sharded)
    assert 1 == await sharded.sources.count()
    assert await sharded.sources.remove(source.id)
    with pytest.raises(NotFound):
        await sources.find(sharded, "http://new.example/new")
    left = [await sharded.client.hlen(keys.sources_urls(n)) for n in sharded.sources.shards]
    assert not any(left)


async def test_a_url_that_a_source_has_left_is_free(sharded: Store) -> None:
    """The source that went on from there is not taken for one that is added there."""
    await moved(sharded)
    await claim(sharded)
    (held,) = await claim(sharded, now_ms=NOW_MS + 61_000)
    source = held.source.moved("http://third.example/f", "moved")
    finished = Finished(claim=held, poll=Poll(), due_ms=NOW_MS, source=source)
    await sharded.claims.finish([finished], now_ms=NOW_MS)
    added, is_new = await sources.add(sharded, {"url": "http://new.example/new"}, now=NOON)
    assert (True, "http://new.example/new") == (is_new, added.url)
    assert source == await sources.find(sharded, "http://third.example/f")


async def test_urls_of_the_version_before_are_noted(sharded: Store) -> None:
    """By the layout's step."""
    source = await moved(sharded)
    for shard in sharded.sources.shards:
        await sharded.client.delete(keys.sources_urls(shard))
    await sharded.client.hset(keys.LAYOUT, "version", "2")
    await migrate(sharded.client)
    assert source == await sources.find(sharded, source.url)


async def test_an_export_in_parts_is_one_document(sharded: Store) -> None:
    """Which adds the same sources again; one without sources is a document, too."""
    assert [] == await sources.add_all(sharded, await sources.exported(sharded), now=NOON)
    ids = await add_many(sharded, 450)
    document = await sources.exported(sharded)
    assert 1 == document.count(b"<body>") == document.count(b"</opml>")
    for source_id in ids:
        await sharded.sources.remove(source_id)
    answers = await sources.add_all(sharded, document, now=NOON)
    assert ids == {answer["id"] for answer in answers if answer["status"] == "created"}
