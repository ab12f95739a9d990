"""The aggregate worker on a real stream: indexes, versions, announcements, what falls through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.article import Detail, Entry
from service.articles.compose import compose
from service.feeds.index_step import index_step
from service.feeds.page import Page, Period
from service.manage import webhooks
from service.settings import Settings
from service.storage import keys
from service.storage.category_index import Limits
from service.storage.event_stream import AGGREGATE
from service.storage.store import Store
from tests.loops import at_work
from tests.waiting import wait_until
from workers.aggregate import aggregator as aggregator_module
from workers.aggregate.aggregator import Aggregator

LIMITS = Limits(live=50, period=50)
DAY = datetime(2017, 12, 22, 16, 41, tzinfo=UTC)
CATEGORY = "media-center/coalition-news"


def draft(name: str, *, published: datetime = DAY, category: str = "Media Center/Coalition News"):  # type: ignore[no-untyped-def]
    """A draft known by its name; the same name is the same article."""
    entry = Entry(
        guid=name, title=name, content_html=f"<p>{published} {category}</p>",
        categories=(category,), published=published, detail=Detail.RECORD,
    )  # fmt: skip
    return compose(entry, source="s")


@asynccontextmanager
async def aggregator(store: Store, settings: Settings) -> AsyncIterator[None]:
    """One at work, whose clock is ahead of the appends'."""
    worker = Aggregator(store, settings, now=lambda: datetime.now(UTC) + timedelta(minutes=1))
    async with at_work(worker.run):
        yield


async def ids(store: Store, page: str, period: Period = Period()) -> list[str]:  # noqa: B008 -- frozen
    """Ids of the articles that a page shows, newest first."""
    pages = await store.category_index.entries([Page(page, period)], limits=LIMITS, zone=UTC)
    return pages[0].ids


async def append(store: Store, *drafts) -> list[str]:  # type: ignore[no-untyped-def]
    """Append these drafts and return the ids of their articles."""
    return [r.id for r in await store.articles.append(drafts, now=datetime.now(UTC))]


@pytest.mark.usefixtures("aggregating")
async def test_an_article_is_in_its_category_and_all_above(store: Store) -> None:
    """Category, parents, `all`, each live and by year, month and day."""
    expected = await append(store, draft("a"))
    for page in (CATEGORY, "media-center", "all"):
        for period in Period(2017, 12, 22).enclosing():

            async def there(page: str = page, period: Period = period) -> list[str]:
                return await ids(store, page, period)

            assert expected == await wait_until(there)
    assert [] == await ids(store, "all", Period(2017, 12, 21))


@pytest.mark.usefixtures("aggregating")
async def test_an_edit_moves_it_and_leaves_nothing_behind(store: Store) -> None:
    """Another category and another day: gone from the old pages, whose versions rise."""
    (article_id,) = await append(store, draft("a"))
    old = Page(CATEGORY, Period(2017, 12, 22))

    async def there() -> list[str]:
        return await ids(store, CATEGORY)

    await wait_until(there)
    before = await store.category_index.version(old)
    await append(store, draft("a", published=DAY + timedelta(days=1), category="Sports"))

    async def moved() -> bool:
        return [article_id] == await ids(store, "sports")

    await wait_until(moved)
    assert [] == await ids(store, CATEGORY)
    assert [article_id] == await ids(store, "all", Period(2017, 12, 23))
    assert (await store.category_index.version(old)).changed_ms > before.changed_ms


@pytest.mark.usefixtures("aggregating")
async def test_a_withdrawn_article_is_on_no_page(store: Store) -> None:
    """Withdrawal takes it out everywhere; the category stays known."""
    (article_id,) = await append(store, draft("a"))

    async def there() -> bool:
        return bool(await ids(store, "all"))

    await wait_until(there)
    await store.articles.withdraw(article_id, now=datetime.now(UTC))

    async def gone() -> bool:
        return not await ids(store, "all")

    await wait_until(gone)
    assert CATEGORY in await store.articles.category_titles()


async def test_changes_are_announced(store: Store, settings: Settings) -> None:
    """Servers are notified of every page that changed, after the change."""
    async with store.rendered_pages.announcements() as announcements, aggregator(store, settings):
        await append(store, draft("a"))
        async for announcement in announcements:
            if changes := announcement.changes:
                break
    assert (CATEGORY, "2017-12-22") in changes
    assert ("all", "live") in changes
    assert 12 == len(changes)


async def test_what_died_half_done_is_done_again(store: Store, settings: Settings) -> None:
    """Events read and never acknowledged (kill -9) are indexed at the next start."""
    await store.event_stream.create_group(AGGREGATE)
    expected = await append(store, draft("a"))
    taken = await store.event_stream.read_group(0, AGGREGATE, "aggregate-0", count=10)
    assert 1 == len(taken)
    async with aggregator(store, settings):

        async def there() -> list[str]:
            return await ids(store, "all")

        assert expected == await wait_until(there)

        async def acknowledged() -> bool:
            return 0 == (await store.event_stream.backlogs())[0].pending

        await wait_until(acknowledged)


async def test_a_deleted_stream_loses_no_article(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Articles whose events were trimmed unread are indexed from the dirty set."""
    monkeypatch.setattr(aggregator_module, "SWEEP_EVERY_S", 0.05)
    expected = await append(store, draft("a"))
    await store.client.delete("dateline:{0}:events")
    async with aggregator(store, settings):

        async def there() -> list[str]:
            return await ids(store, CATEGORY)

        assert expected == await wait_until(there)
        assert [] == await store.articles.dirty(before=datetime.now(UTC) + timedelta(hours=1))
    assert 1 == (await store.counters())["articles_swept"]


async def test_a_dirty_id_without_article_is_forgotten(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that somebody deleted by hand does not keep the sweep busy forever."""
    monkeypatch.setattr(aggregator_module, "SWEEP_EVERY_S", 0.05)
    await store.client.zadd("dateline:{0}:dirty", {"nobody": 0})
    async with aggregator(store, settings):

        async def forgotten() -> bool:
            return not await store.client.zcard("dateline:{0}:dirty")

        await wait_until(forgotten)


@pytest.mark.usefixtures("aggregating")
async def test_garbage_on_the_stream_is_acknowledged(store: Store) -> None:
    """An entry that nobody can read neither stops nor spins the worker."""
    fields = {"id": "x", "type": "t", "subject": "s", "time": "t", "data": "{"}
    await store.client.xadd("dateline:{0}:events", fields)
    expected = await append(store, draft("a"))

    async def there() -> list[str]:
        return await ids(store, "all")

    assert expected == await wait_until(there)

    async def settled() -> bool:
        return [(0, 0)] == [(b.pending, b.lag or 0) for b in await store.event_stream.backlogs()]

    await wait_until(settled)


async def test_over_the_cap_all_events_go_and_that_is_counted(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STREAM_MAX_ENTRIES limits the stream even if events are unread; articles are indexed."""
    monkeypatch.setattr(aggregator_module, "TRIM_EVERY_S", 0.05)
    monkeypatch.setattr(aggregator_module, "SWEEP_EVERY_S", 0.05)
    await append(store, *(draft(f"n{i}") for i in range(700)))
    short = settings.model_copy(update={"stream_max_entries": 100, "stream_retention_s": 1e9})
    async with aggregator(store, short):

        async def counted() -> bool:
            return (await store.counters()).get("stream_dropped_over_cap", 0) > 0

        await wait_until(counted)
        assert await store.event_stream.length(0) < 700

        async def all_there() -> bool:
            return 700 == await store.category_index.count("all")

        await wait_until(all_there)


async def test_below_the_cap_trimming_stops_at_what_a_webhook_still_needs(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the retention only what no consumer of ours and no webhook needs is trimmed; Redis trims
    whole nodes of 100 entries."""
    monkeypatch.setattr(aggregator_module, "TRIM_EVERY_S", 0.05)
    await append(store, *(draft(f"old{i}") for i in range(250)))
    webhook = await webhooks.add(store, {"url": "http://x.example/"}, now=datetime.now(UTC))
    await append(store, *(draft(f"n{i}") for i in range(250)))
    brief = settings.model_copy(update={"stream_retention_s": 0.001})

    async def trimmed_to(length: int) -> bool:
        return await store.event_stream.length(0) <= length

    async with aggregator(store, brief):

        async def all_there() -> bool:
            return 500 == await store.category_index.count("all")

        await wait_until(all_there)
        await wait_until(lambda: trimmed_to(300))
        assert await store.event_stream.length(0) >= 250
        await webhooks.remove(store, webhook["id"])
        await wait_until(lambda: trimmed_to(100))


async def test_pages_that_are_read_are_rendered_ahead(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recently read page is rendered ahead under its new version; other pages are not."""
    monkeypatch.setattr(aggregator_module, "SWEEP_EVERY_S", 0.05)
    page = Page("all")
    await store.rendered_pages.note_reads(
        [(page, "rss")], now=datetime.now(UTC) + timedelta(minutes=1)
    )
    async with aggregator(store, settings):
        appended = 0

        async def ready() -> bool:
            nonlocal appended
            appended += 1
            await append(store, draft(f"n{appended}"))
            return await store.rendered_pages.load(page, "rss") is not None

        await wait_until(ready)
    assert await store.rendered_pages.load(page, "atom") is None


async def test_an_event_whose_article_is_lost_leaves_nothing_in_the_indexes(
    store: Store, settings: Settings
) -> None:
    """Redis lost the end of its file after a worker had read the event: the article is not indexed,
    and when it is sent again, with another category and date, it is indexed as it is now."""
    (article_id,) = await append(store, draft("a"))
    (event,) = await store.event_stream.newest(0, count=1)
    await store.client.delete(keys.article(0, article_id))
    worker = Aggregator(store, settings, now=lambda: datetime.now(UTC))
    await worker._apply([event])
    assert [] == await ids(store, "all")
    assert not await store.client.exists(keys.article(0, article_id))
    await append(store, draft("a", published=DAY + timedelta(days=1), category="Sports"))
    await worker._apply([event])
    assert [article_id] == await ids(store, "sports")
    assert [article_id] == await ids(store, "all", Period(2017, 12, 23))
    assert [] == await ids(store, CATEGORY)
    worker._renderer.close()


async def test_a_step_for_an_article_that_is_lost_meanwhile_is_not_applied(store: Store) -> None:
    """Between the reading of an article and its step it is lost, or has another content."""
    (article_id,) = await append(store, draft("a"))
    (article,) = await store.articles.get([article_id])
    assert article
    step = index_step(article, b"", stamp_ms=1, zone=UTC)
    assert step
    await store.client.delete(keys.article(0, article_id))
    assert [False] == await store.articles.index([step])
    await append(store, draft("a", category="Sports"))
    assert [False] == await store.articles.index([step])
    assert [] == await ids(store, "all")
    await store.client.delete(keys.article(0, article_id))
    await append(store, draft("a"))
    assert [True] == await store.articles.index([step])
