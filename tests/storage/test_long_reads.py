"""Reading much from storage: long ranges, many articles, all categories; in parts, and whole."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.articles.times import to_ms
from service.feeds.page import Page, Period
from service.feeds.query import PageCursor
from service.storage import articles as articles_module
from service.storage import category_index, keys
from service.storage.shards import ONE, Shards, spread
from service.storage.store import Store, of_client
from tests.conftest import NOON
from tests.storage.test_storage import append, draft


@pytest.mark.parametrize("shards", [ONE, spread(3)], ids=len)
async def test_long_ranges_are_read_in_parts_and_lose_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, shards: Shards
) -> None:
    """Whole days, and pages by a cursor: also where most articles have one time."""
    monkeypatch.setattr(category_index, "READ_AT_ONCE", 4)
    sharded = of_client(store.client, shards=shards)
    names = [f"{n:08x}-0000-5000-8000-000000000000" for n in range(30)]
    scores = {name: to_ms(NOON) - (n // 20) * 60_000 for n, name in enumerate(names)}
    for number, shard in enumerate(shards):
        members = dict(list(scores.items())[number :: len(shards)])
        await store.client.zadd(keys.category(shard, "all"), members)
    in_order = sorted(scores, key=lambda name: (scores[name], name), reverse=True)
    day = Page("all", Period.of(NOON, UTC))
    limits = category_index.Limits(live=7, period=9)
    (whole,) = await sharded.category_index.entries([day], limits=limits, zone=UTC)
    assert in_order == whole.ids
    for page, size in ((Page("all"), 7), (Page("all", Period(NOON.year)), 9)):
        (entries,) = await sharded.category_index.entries([page], limits=limits, zone=UTC)
        assert (in_order[:size], True) == (entries.ids, entries.is_cut)
    for limit in (1, 3, 7, 40):
        read: list[str] = []
        before = None
        while part := await sharded.category_index.between(
            "all", since=None, until=None, limit=limit, before=before
        ):
            read += part
            before = PageCursor(scores[part[-1]], part[-1])
        assert in_order == read


async def test_days_with_articles_of_a_month(store: Store) -> None:
    """In the site's zone, whatever their number."""
    zone = ZoneInfo("Pacific/Auckland")
    moments = [
        datetime(2026, 1, 31, 23, 59, tzinfo=zone), datetime(2026, 2, 1, tzinfo=zone),
        datetime(2026, 2, 28, 23, 59, tzinfo=zone), datetime(2026, 3, 1, tzinfo=zone),
    ]  # fmt: skip
    await store.client.zadd(
        keys.category(store.event_stream.shards.tags[-1], "all"),
        {f"n{n}": to_ms(moment) for n, moment in enumerate(moments)},
    )
    february = Period(2026, 2)
    assert {1, 28} == await store.category_index.month_days("all", february, zone)


async def test_many_and_long_articles_are_read_as_few_and_short_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In several round trips, decoded in a thread; in order, with gaps where ids are unknown."""
    drafts = [draft(str(n)) for n in range(7)]
    await store.articles.append(drafts, now=NOON)
    ids = [d.id for d in drafts]
    ids.insert(3, "unknown")
    directly = await store.articles.get(ids)
    monkeypatch.setattr(articles_module, "READ_AT_ONCE", 2)
    monkeypatch.setattr(articles_module, "DECODED_AT_ONCE_BYTES", 0)
    assert directly == await store.articles.get(ids)
    assert [None if i == "unknown" else i for i in ids] == [a and a.id for a in directly]


@pytest.mark.one_shard
async def test_the_number_of_categories_says_whether_there_are_new_ones(store: Store) -> None:
    """Of each shard; an article in known categories changes nothing."""
    await append(store, draft("1", categories=("A/B",)))
    counts = await store.articles.category_counts()
    await append(store, draft("2", categories=("A/B",)))
    assert (2,) == counts == await store.articles.category_counts()
    await append(store, draft("3", categories=("A/C",)))
    assert (3,) == await store.articles.category_counts()
