"""Retention at work: what goes, what stays, and that nothing shows or brings back what went."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient

from service.articles.article import Draft, Entry
from service.articles.compose import compose
from service.articles.retention import RetentionPolicy
from service.articles.times import to_rfc3339
from service.feeds.page import Page
from service.feeds.view import make_view
from service.manage import erasure, retention
from service.settings import Settings
from service.storage import keys
from service.storage.category_index import Limits
from service.storage.duplicates import Mark, Trace
from service.storage.event_stream import AGGREGATE
from service.storage.store import Store
from tests.conftest import AUTH, Get
from tests.loops import at_work
from tests.storage.backups import backed_up, restored
from tests.waiting import wait_until
from workers.aggregate import aggregator as aggregator_module
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder

Client = TestClient[Any, Any]
TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def now() -> datetime:
    """The clock of the workers."""
    return datetime.now(UTC)


def day(ago: int) -> datetime:
    """Noon, so many days ago."""
    return TODAY - timedelta(days=ago)


def path_of(ago: int) -> str:
    """The date of that day as it is in paths."""
    return f"{day(ago):%Y/%m/%d}"


def draft(name: str, ago: int, *paths: str, **fields: Any) -> Draft:
    """An article that was published so many days ago."""
    entry = Entry(
        **{
            "guid": name,
            "title": name,
            "content_html": f"<p>{name}.</p>",
            "categories": paths or ("News",),
            "published": day(ago),
            **fields,
        }
    )
    return compose(entry, source="s")


async def append(store: Store, *drafts: Draft) -> list[str]:
    """Take the articles in; their ids."""
    receipts = await store.articles.append(drafts, now=now())
    return [receipt.id for receipt in receipts]


@asynccontextmanager
async def keeping(store: Store, settings: Settings, policy: str) -> AsyncIterator[None]:
    """An aggregate worker with a policy."""
    settings = settings.model_copy(update={"retention": RetentionPolicy.parse(policy)})
    async with at_work(Aggregator(store, settings, now=now).run):
        yield


async def settled(store: Store) -> None:
    """Wait until all that was appended is in the indexes."""

    async def is_done() -> bool:
        return not await store.articles.dirty(before=now() + timedelta(days=9))

    await wait_until(is_done)


async def passed(store: Store, settings: Settings, policy: str) -> int:
    """Have one pass done; the number of articles that it removed."""
    async with keeping(store, settings, policy):

        async def is_done() -> bool:
            last = await store.removals.last_pass()
            return last is not None and last.policy == str(RetentionPolicy.parse(policy))

        await wait_until(is_done)
    last = await store.removals.last_pass()
    assert last is not None
    return last.removed


async def titles(store: Store) -> list[str]:
    """Of all articles that there are, by any status."""
    ids = [article_id async for chunk in store.articles.all_ids() for article_id in chunk]
    return sorted(article.title for article in await store.articles.get(ids) if article)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look soon whether a pass is due."""
    monkeypatch.setattr(aggregator_module, "RETENTION_EVERY_S", 0.05)
    monkeypatch.setattr(aggregator_module, "SWEEP_EVERY_S", 0.05)


async def indexed(store: Store, settings: Settings, *drafts: Draft) -> list[str]:
    """Take the articles in and index them; their ids."""
    async with keeping(store, settings, ""):
        ids = await append(store, *drafts)
        await settled(store)
    return ids


async def test_everything_is_kept_by_default(store: Store, settings: Settings) -> None:
    """There is no pass at all."""
    async with at_work(Aggregator(store, settings, now=now).run):
        await append(store, draft("old", 9_000))
        await settled(store)
    assert ["old"] == await titles(store)
    assert await store.removals.last_pass() is None


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("100d", ["both", "fresh", "kept", "young"]),
        ("100d, archive=keep", ["archived", "both", "fresh", "kept", "young"]),
        ("news=100d", ["archived", "bare", "both", "fresh", "kept", "young"]),
        ("news/local=1d", ["archived", "bare", "both", "fresh", "old"]),
        ("2 articles", ["fresh", "young"]),
        # Of the archive's own page, the newest is that which is in both.
        ("2 articles, archive=1 article", ["both", "fresh", "young"]),
        ("30d 1 article", ["fresh"]),
    ],
)
async def test_rules(store: Store, settings: Settings, policy: str, expected: list[str]) -> None:
    """By age, by number, by both, for all and by category; a preview says the same before."""
    await indexed(
        store, settings, draft("fresh", 1), draft("young", 3, "News/Local"),
        draft("kept", 5, "News/Local"), draft("old", 200), draft("both", 90, "News", "Archive"),
        draft("archived", 300, "Archive/1999"), draft("bare", 150, "Nowhere"),
    )  # fmt: skip
    before = await retention.preview(store, RetentionPolicy.parse(policy), now=now())
    assert 7 - len(expected) == before.removed
    assert 7 - len(expected) == await passed(store, settings, policy)
    assert expected == await titles(store)
    assert len(expected) == await store.category_index.count("all")


async def test_pages_follow(store: Store, settings: Settings, client: Client, get: Get) -> None:
    """Feeds, days, their neighbours, calendar, sitemaps and views; addresses answer 410."""
    await store.views.put(make_view({"name": "all-news", "query": "q=day"}, created=now()))
    ids = await indexed(store, settings, *(draft(f"day {ago}", ago) for ago in (9, 8, 3, 2)))
    paths = [
        "/feeds/news.json", "/feeds/news.atom", f"/feeds/news/{path_of(8)}.json", "/news/news", "/",
        f"/feeds/news/{path_of(3)}.json", "/feeds/views/all-news.json", "/feeds/all.rss",
    ]  # fmt: skip
    old = {path: await get(path) for path in paths}
    async with client.get(paths[0]) as response:
        etag = response.headers["ETag"]
    assert path_of(8) in orjson.loads(old[paths[5]])["next_url"]
    assert 2 == await passed(store, settings, "5d")

    async def is_new() -> bool:
        return b"day 9" not in await get(paths[0])

    await wait_until(is_new)
    for path in paths:
        body = await get(path)
        assert b"day 9" not in body, path
        assert b"day 8" not in body, path
    assert [] == orjson.loads(await get(paths[2]))["items"]
    assert "next_url" not in orjson.loads(await get(paths[5]))
    assert not (await get(f"/sitemaps/{day(8):%Y-%m-%d}.xml")).count(b"<loc>")
    await get(paths[0], If_None_Match=etag)
    for article_id, status in zip(ids, (410, 410, 200, 200), strict=True):
        await get(f"/articles/{article_id}", status=status)
        await get(f"/articles/{article_id}.json", status=status)
        await get(f"/api/v1/articles/{article_id}", status=status)
    shown = orjson.loads(await get("/api/v1/articles"))["articles"]
    assert ["day 2", "day 3"] == [article["title"] for article in shown]


async def test_a_poll_does_not_bring_it_back(store: Store, settings: Settings) -> None:
    """Nor under another guid, nor after a restore; a client that sends it does, and then it is
    there again, as any article."""
    old = draft("old", 9)
    await indexed(store, settings, old)
    assert 1 == await passed(store, settings, "5d")
    (receipt,) = await store.articles.append([old], now=now(), readmit=False)
    assert ("removed", 0, "") == (receipt.status, receipt.revision, receipt.event_id)
    changed = replace(old, title="changed", content_hash="x" * 32)
    (receipt,) = await store.articles.append([changed], now=now(), readmit=False)
    assert "removed" == receipt.status
    (receipt,) = await store.articles.append([old], now=now())
    assert ("created", 1) == (receipt.status, receipt.revision)
    assert not await store.removals.contains(old.id)
    (receipt,) = await store.articles.append([old], now=now(), readmit=False)
    assert "unchanged" == receipt.status


async def test_a_push_brings_it_back(store: Store, settings: Settings, client: Client) -> None:
    """Until the next pass: its publisher wants it."""
    push = {"guid": "p", "title": "P", "published": to_rfc3339(day(9)), "categories": ["News"]}
    async with client.post("/api/v1/articles", json=push, headers=AUTH) as response:
        assert 201 == response.status
    await settled_once(store, settings)
    assert 1 == await passed(store, settings, "5d")
    async with client.post("/api/v1/articles", json=push, headers=AUTH) as response:
        assert 201 == response.status


async def settled_once(store: Store, settings: Settings) -> None:
    """Have a worker index what is there."""
    async with keeping(store, settings, ""):
        await settled(store)


async def test_marks_are_in_a_backup(store: Store, settings: Settings, tmp_path: Any) -> None:
    """So a poll after the restore does not bring back what was removed before it."""
    old = draft("old", 9)
    await indexed(store, settings, old)
    await passed(store, settings, "5d")
    await backed_up(store, tmp_path / "backup")
    await store.client.execute_command("FLUSHDB")
    await restored(store, tmp_path / "backup")
    (receipt,) = await store.articles.append([old], now=now(), readmit=False)
    assert "removed" == receipt.status
    assert await store.removals.last_pass() is not None


async def test_withdrawn_ones_go_too(store: Store, settings: Settings, get: Get) -> None:
    """With their tombstones in feeds; one that was erased keeps its tombstone."""
    async with keeping(store, settings, ""):
        withdrawn, erased, _ = await append(
            store, draft("withdrawn", 9), draft("erased", 9), draft("new", 1)
        )
        await settled(store)
        await store.articles.withdraw(withdrawn, now=now())
        await store.articles.erase(erased, now=now())
        await settled(store)
    assert withdrawn.encode() in await get("/feeds/news.atom")
    assert 1 == await passed(store, settings, "5d")
    feed = await get("/feeds/news.atom")
    assert withdrawn.encode() not in feed
    assert erased.encode() in feed
    (receipt,) = await store.articles.append([draft("erased", 9)], now=now(), revive=True)
    assert "erased" == receipt.status


async def test_what_was_removed_can_be_erased(store: Store, settings: Settings) -> None:
    """Its events are deleted, and nothing takes it in again: not even its publisher."""
    old = draft("old", 9)
    await indexed(store, settings, old)
    await passed(store, settings, "5d")
    shard = store.event_stream.shards.of(old.id)
    assert 1 == await store.event_stream.length(shard)
    done = await erasure.erase(store, [old.id], now=now())
    assert ("erased", 0) == (done.articles[0].status, done.articles[0].revision)
    assert 0 == await store.event_stream.length(shard)
    (receipt,) = await store.articles.append([old], now=now(), revive=True)
    assert "erased" == receipt.status


async def test_an_event_that_is_late_does_not_bring_it_back(
    store: Store, settings: Settings
) -> None:
    """It was pending in the group while the article was removed: no index has it afterwards."""
    await indexed(store, settings, draft("old", 9))
    await passed(store, settings, "5d")
    before = await store.client.execute_command("KEYS", "dateline:*:category:*")
    shard = store.event_stream.shards.of(draft("old", 9).id)
    await store.client.execute_command("XGROUP SETID", keys.stream(shard), AGGREGATE, "0")
    await store.client.zadd(keys.dirty(shard), {draft("old", 9).id: 1})
    async with keeping(store, settings, ""):
        await append(store, draft("new", 1))
        await settled(store)
    assert [] == before
    assert ["new"] == await titles(store)
    assert 1 == await store.category_index.count("all")


async def test_copies_are_shown_again(store: Store, settings: Settings) -> None:
    """A copy of another source that its category keeps for longer; and the URL is free for it."""
    url = "https://quay.example/fog"
    mine = draft("mine", 9, url=url)
    theirs = replace(draft("theirs", 9, "Archive", url=url), source="https://other.example/")
    async with at_work(DuplicateFinder(store, settings, now=now).run):
        await indexed(store, settings, mine)
        (copy_id,) = await append(store, theirs)

        async def is_copy() -> bool:
            (article,) = await store.articles.get([copy_id])
            return bool(article and article.duplicate_of == mine.id)

        await wait_until(is_copy)
    assert 1 == await passed(store, settings, "5d, archive=keep")
    await settled_once(store, settings)
    assert not await is_copy()
    (entries,) = await store.category_index.entries(
        [Page("all")], limits=Limits(live=9, period=9), zone=settings.timezone
    )
    assert [copy_id] == entries.ids
    newer = Trace(article_id=draft("newer", 1).id, link="quay.example/fog", landmarks=())
    (owners,) = await store.duplicates.note([newer], now_ms=0)
    assert (copy_id,) == owners.of_link
    assert {} == await store.duplicates.twins_of([mine.id])


async def test_hidden_copies_go_as_well(store: Store, settings: Settings) -> None:
    """Though no index of `all` has them; their original forgets them."""
    mine = draft("mine", 9, "Archive")
    hidden = draft("hidden", 9)
    await indexed(store, settings, mine, hidden)
    mark = Mark(article_id=hidden.id, original=mine.id, hidden_in=("all", "news"))
    await store.duplicates.mark_all([mark])
    await settled_once(store, settings)
    assert 1 == await store.category_index.count("all")
    assert {mine.id: [hidden.id]} == await store.duplicates.twins_of([mine.id])
    assert 1 == await passed(store, settings, "5d, archive=keep")
    assert ["mine"] == await titles(store)
    assert {} == await store.duplicates.twins_of([mine.id])
