"""The log of changed pages: complete, or known to be incomplete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

import pytest

from service.articles.article import Draft
from service.feeds.index_step import index_step, removal_step
from service.feeds.view import make_view
from service.storage import keys
from service.storage.shards import ONE, Shards, spread
from service.storage.store import Store, of_client
from tests.conftest import NOON
from tests.storage.test_storage import draft


async def publish(store: Store, *drafts: Draft) -> list[str]:
    """Append and index articles, without an announcement; their ids."""
    receipts = await store.articles.append(drafts, now=NOON)
    ids = [receipt.id for receipt in receipts]
    await index(store, ids)
    return ids


async def index(store: Store, ids: Sequence[str]) -> None:
    """Bring the indexes to the present revisions of these articles."""
    before = await store.articles.indexed(ids)
    articles = await store.articles.get(ids)
    steps = [
        index_step(article, idx, stamp_ms=1, zone=UTC)
        for article, (idx, _) in zip(articles, before, strict=True)
        if article
    ]
    assert all(await store.articles.index([step for step in steps if step]))


def on(day: str, *categories: str) -> set[tuple[str, str]]:
    """The pages that an article of a day is on."""
    periods = ["live", *("-".join(day.split("-")[:n]) for n in (1, 2, 3))]
    return {(category, period) for category in categories for period in periods}


@pytest.mark.parametrize("shards", [ONE, spread(3)], ids=len)
async def test_every_change_is_read_once(store: Store, shards: Shards) -> None:
    """Of new, moved and removed articles: the pages they are on, and those they were on."""
    sharded = of_client(store.client, shards=shards)
    ends, changes = await sharded.page_changes.after({})
    assert changes is None
    ids = await publish(sharded, *(draft(str(n), published=NOON) for n in range(9)))
    ends, changes = await sharded.page_changes.after(ends)
    assert on("2026-01-05", "all", "a", "a/b") == changes
    ends, changes = await sharded.page_changes.after(ends)
    assert frozenset() == changes
    earlier = NOON - timedelta(days=1)
    await publish(sharded, draft("0", title="another", published=earlier, categories=("C",)))
    ends, changes = await sharded.page_changes.after(ends)
    assert on("2026-01-05", "all", "a", "a/b") | on("2026-01-04", "all", "c") == changes
    ((idx, head),) = await sharded.articles.indexed([ids[1]])
    (article,) = await sharded.articles.get([ids[1]])
    assert article
    step = removal_step(article, idx, stamp_ms=2, zone=UTC)
    assert [True] == await sharded.removals.remove([(step, head)], now=NOON)
    _, changes = await sharded.page_changes.after(ends)
    assert on("2026-01-05", "all", "a", "a/b") == changes


async def test_what_is_cut_or_lost_is_noticed(store: Store) -> None:
    """Entries that were trimmed before they were read, and a log that is shorter than before."""
    await publish(store, draft("a"))
    ends, _ = await store.page_changes.after({})
    await publish(store, draft("b"))
    later, changes = await store.page_changes.after(ends)
    assert changes
    client: Any = store.client
    await client.xtrim(keys.page_changes(0), maxlen=1, approximate=False)
    assert None is (await store.page_changes.after(ends))[1]
    assert frozenset() == (await store.page_changes.after(later))[1]
    await client.delete(keys.page_changes(0))
    ends, changes = await store.page_changes.after(later)
    assert changes is None
    await publish(store, draft("c"))
    assert (await store.page_changes.after(ends))[1]


async def test_a_long_log_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """To about PAGE_CHANGES_MAX entries, whatever is published."""
    monkeypatch.setattr(keys, "PAGE_CHANGES_MAX", 10)
    await publish(store, *(draft(str(n)) for n in range(400)))
    assert 10 <= await store.client.xlen(keys.page_changes(0)) < 250


async def test_the_pages_of_a_view_that_is_changed_are_noted(store: Store) -> None:
    """Its index is deleted, and its pages are empty until it is built."""
    view = make_view({"name": "v", "query": "q=x"}, created=NOON)
    for path in (keys.versions(0, view.path), keys.versions(0, "all")):
        await store.client.hset(path, "live", "5")
        await store.client.hset(path, "2026", "5")
    ends, _ = await store.page_changes.after({})
    await store.views.put(view)
    _, changes = await store.page_changes.after(ends)
    assert {(view.path, "live"), (view.path, "2026")} == changes


async def test_a_log_of_another_type_fails_no_article(store: Store) -> None:
    """A hand made it a string: pages are confirmed one by one then."""
    await store.client.execute_command("SET", keys.page_changes(0), "planted")
    await publish(store, draft("a"))
    assert 1 == await store.category_index.count("all")
    await store.client.delete(keys.page_changes(0))
