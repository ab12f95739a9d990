"""Polls pass over what is stored as it was, and over nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from service.settings import Settings
from service.sources.known_entries import article_ids_in
from service.storage import keys
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import add, again, polled, polling
from tests.ingest.test_remaining_entries import rss
from tests.old_articles import field_of, put_field


@pytest.fixture
def appended(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many articles each call appended."""
    counts: list[int] = []
    append = store.articles.append

    async def counted(drafts: Any, **options: Any) -> Any:
        counts.append(len(drafts))
        return await append(drafts, **options)

    monkeypatch.setattr(type(store.articles), "append", staticmethod(counted))
    return counts


async def known_of(store: Store, source_id: str) -> list[str]:
    """Ids of the articles whose entries are known of a source."""
    stored = await store.client.hget(keys.sources_known(0), source_id) or b""
    return article_ids_in(stored)


async def ids_in(store: Store) -> list[str]:
    """Ids of all articles."""
    return sorted([i async for chunk in store.articles.all_ids() for i in chunk])


async def test_a_poll_appends_what_changed(
    store: Store, settings: Settings, clock: Clock, appended: list[int]
) -> None:
    """The rest is counted as unchanged. After a change of the category all is looked at."""
    async with FakeSite() as site, polling(store, settings, clock):
        site.put("/f", rss("a one", "b two"))
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "2 articles, 2 new")
        site.put("/f", rss("c three", "a one", "b two"))
        await again(store, clock, source_id, "3 articles, 1 new")
        site.put("/f", rss("c three", "a one", "b 2"))
        await again(store, clock, source_id, "3 articles, 1 new")
        site.put("/f", rss("c three", "a one"))
        await again(store, clock, source_id, "2 articles, 0 new")
        assert [2, 1, 1] == appended
        await store.sources.start_afresh(source_id)
        await again(store, clock, source_id, "2 articles, 0 new")
        assert [2, 1, 1, 2] == appended


async def test_what_redis_has_lost_comes_back(
    store: Store, settings: Settings, clock: Clock, appended: list[int]
) -> None:
    """An article that is missing, and one at an earlier state; also where only the end of the
    articles was lost, and what is known of them was not."""
    async with FakeSite() as site, polling(store, settings, clock):
        site.put("/f", rss("a one", "b two", "c three"))
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "3 articles, 3 new")
        ids = await known_of(store, source_id)
        lost, older, _ = ids
        before = await field_of(store.client, article_key(store, older), "head")
        site.put("/f", rss("a one", "b 2", "c three"))
        await again(store, clock, source_id, "3 articles, 1 new")
        await store.client.delete(article_key(store, lost))
        await put_field(store.client, article_key(store, older), "head", before)
        site.put("/f", rss("a one", "b 2", "c three", "d four"))
        await again(store, clock, source_id, "4 articles, 3 new")
        assert [3, 1, 3] == appended
        assert 4 == len(await ids_in(store))


async def test_withdrawn_articles_stay_so(
    store: Store, settings: Settings, clock: Clock, appended: list[int]
) -> None:
    """As without what is known: one that was erased is looked at, and refused."""
    async with FakeSite() as site, polling(store, settings, clock):
        site.put("/f", rss("a one", "b two"))
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "2 articles, 2 new")
        ids = await known_of(store, source_id)
        await store.articles.withdraw(ids[0], now=clock())
        await store.articles.erase(ids[1], now=clock())
        site.put("/f", rss("a one", "b two", "c three"))
        await again(store, clock, source_id, "3 articles, 1 new")
        assert [2, 2] == appended
        articles = await store.articles.get(ids[:2])
        assert ["withdrawn"] * 2 == [article and article.status for article in articles]


@pytest.mark.parametrize("ruin", ["type", "value", "article"])
async def test_what_a_hand_wrote_costs_the_work_that_it_saves(
    store: Store, settings: Settings, clock: Clock, appended: list[int], ruin: str
) -> None:
    """A key of another type, a value that cannot be read, an article of another type."""
    async with FakeSite() as site, polling(store, settings, clock):
        site.put("/f", rss("a one", "b two"))
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "2 articles, 2 new")
        ids = await known_of(store, source_id)
        if ruin == "article":
            await store.client.delete(article_key(store, ids[0]))
        elif ruin == "type":
            await store.client.delete(keys.sources_known(0))
            await store.client.psetex(keys.sources_known(0), 60_000, b"x")
        else:
            await store.client.hset(keys.sources_known(0), source_id, b"[]")
        site.put("/f", rss("a one", "b two", "c three"))
        await again(
            store, clock, source_id,
            "3 articles, 2 new" if ruin == "article" else "3 articles, 1 new",
        )  # fmt: skip
        assert [2, 2 if ruin == "article" else 3] == appended
        if ruin != "type":
            assert 3 == len(await known_of(store, source_id))


async def test_what_is_known_goes_with_its_source(
    store: Store, settings: Settings, clock: Clock
) -> None:
    """It is deleted with the source, and not before."""
    async with FakeSite() as site, polling(store, settings, clock):
        site.put("/f", rss("a one"))
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "1 articles, 1 new")
    assert 1 == len(await known_of(store, source_id))
    await store.sources.remove(source_id)
    assert [] == await known_of(store, source_id)


def article_key(store: Store, article_id: str) -> str:
    """The key of an article."""
    shards = store.event_stream.shards
    return keys.article(shards.of(article_id), article_id)
