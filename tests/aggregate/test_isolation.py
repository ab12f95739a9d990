"""One bad event, view or page costs itself: faults planted in Redis and in our own code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from service.articles.article import Draft, Entry
from service.articles.compose import compose
from service.feeds.page import Page
from service.feeds.view import View, make_view
from service.settings import Settings
from service.storage import event_stream, keys
from service.storage.category_index import Limits
from service.storage.event_stream import AGGREGATE, DUPLICATES
from service.storage.store import Store
from tests.loops import at_work
from tests.old_articles import put_field
from tests.waiting import wait_until
from workers.aggregate import aggregator as aggregator_module
from workers.aggregate import duplicate_finder, group_consumer
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder

LIMITS = Limits(live=50, period=50)
NOW = datetime(2026, 11, 28, 7, tzinfo=UTC)
BAD_CATEGORY = "dateline:{0}:category:bad"


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed events are tried again at once, and twice."""
    monkeypatch.setattr(event_stream, "CLAIM_IDLE_MS", 0)
    monkeypatch.setattr(group_consumer, "SWEEP_EVERY_S", 0.1)
    monkeypatch.setattr(group_consumer, "MAX_TRIES", 2)
    monkeypatch.setattr(aggregator_module, "MAX_TRIES", 2)


def draft(name: str, category: str) -> Draft:
    """A draft in a category."""
    return compose(Entry(guid=name, title=name, categories=(category,)), source="s")


async def append(store: Store, *drafts: Draft) -> list[str]:
    """Append drafts; the ids of their articles."""
    return [receipt.id for receipt in await store.articles.append(drafts, now=NOW)]


def aggregating(store: Store, settings: Settings) -> Any:
    """An aggregate worker whose clock is ahead of the appends'."""
    later = NOW + timedelta(minutes=1)
    return at_work(Aggregator(store, settings, now=lambda: later).run)


async def shown(store: Store, category: str) -> list[str]:
    """Ids of the articles of a category's page."""
    pages = await store.category_index.entries([Page(category)], limits=LIMITS, zone=UTC)
    return pages[0].ids


async def until_shown(store: Store, category: str, *ids: str) -> None:
    """Wait until a category shows these articles."""

    async def all_are_shown() -> bool:
        return set(ids) <= set(await shown(store, category))

    await wait_until(all_are_shown)


async def dead(store: Store, count: int) -> list[Any]:
    """The dead events, once there are so many."""

    async def enough() -> bool:
        return await store.dead_events.count() == count

    await wait_until(enough)
    return await store.dead_events.all()


async def test_a_category_of_the_wrong_type_costs_its_own_articles(
    store: Store, settings: Settings, redis: Redis
) -> None:
    """They become dead events with the reason; all others are indexed, and a retry heals."""
    await redis.set(BAD_CATEGORY, "planted")
    good, bad, other = await append(
        store, draft("1", "Good"), draft("2", "Bad"), draft("3", "Other")
    )
    async with aggregating(store, settings):
        await until_shown(store, "all", good, other)
        (event,) = await dead(store, 1)
        assert (AGGREGATE, bad, 2) == (event.group, event.article_id, event.tries)
        assert "WRONGTYPE" in event.reason
        assert 0 == (await store.event_stream.backlogs())[0].pending
        (fault,) = await store.faults.all(now=NOW)
        assert ("event", f"aggregate {bad}") == (fault.kind, fault.name)
        (later,) = await append(store, draft("4", "Good"))
        await until_shown(store, "good", good, later)
        await redis.delete(BAD_CATEGORY)
        assert 1 == await store.dead_events.retry([bad], now=NOW)
        await until_shown(store, "bad", bad)
        await dead(store, 0)
        assert [] == await store.faults.all(now=NOW)


async def test_a_bug_in_the_index_step_costs_its_article(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of its batch is indexed."""
    good, bad = await append(store, draft("1", "Good"), draft("2", "Good"))
    step = aggregator_module.index_step

    def failing(article: Any, *args: Any, **options: Any) -> Any:
        if article.id == bad:
            raise RuntimeError("planted")
        return step(article, *args, **options)

    monkeypatch.setattr(aggregator_module, "index_step", failing)
    async with aggregating(store, settings):
        await until_shown(store, "all", good)
        (event,) = await dead(store, 1)
    assert (bad, "RuntimeError: planted") == (event.article_id, event.reason)


async def test_an_article_without_its_event_that_cannot_be_indexed_is_dead_too(
    store: Store, settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep of the dirty set is not held up by it."""
    monkeypatch.setattr(aggregator_module, "SWEEP_EVERY_S", 0.1)
    await redis.set(BAD_CATEGORY, "planted")
    bad, good = await append(store, draft("1", "Bad"), draft("2", "Good"))
    await redis.delete(keys.stream(0))
    async with aggregating(store, settings):
        await until_shown(store, "all", good)
        (event,) = await dead(store, 1)
    assert (bad, "") == (event.article_id, event.entry_id)
    assert [] == await redis.zrange(keys.dirty(0), 0, -1)
    await redis.delete(BAD_CATEGORY)


async def test_an_event_that_processes_die_of_is_given_up(
    store: Store, settings: Settings, redis: Redis
) -> None:
    """A note that nobody removed counts a death; innocent events beside it are processed."""
    stream = store.event_stream
    await stream.create_group(AGGREGATE)
    bad, good = await append(store, draft("1", "Bad"), draft("2", "Good"))
    events = await stream.read_group(0, AGGREGATE, "aggregate-0", count=5)
    for _ in range(group_consumer.MAX_TRIES + 1):
        await stream.read_pending(0, AGGREGATE, "aggregate-0", after="0-0", count=5)
    for number in range(group_consumer.MAX_DEATHS):
        await store.dead_events.begin_try(AGGREGATE, events[0], process=f"died-{number}")
    async with aggregating(store, settings):
        await until_shown(store, "all", good)
        (event,) = await dead(store, 1)
    assert (bad, None) == (event.article_id, event.retry_ms)
    assert "3 processes ended" in event.reason
    assert not await redis.exists(keys.event_tries(0))


async def test_faults_of_redis_are_no_deaths(store: Store) -> None:
    """A process that tries again, or sends the same call twice, is alive: it counts once."""
    await append(store, draft("1", "News"))
    (event,) = await store.event_stream.newest(0, count=1)
    begin = store.dead_events.begin_try
    assert [1, 1, 1] == [await begin(AGGREGATE, event, process="one") for _ in range(3)]
    assert [2, 2] == [await begin(AGGREGATE, event, process=name) for name in ("two", "one")]
    await store.dead_events.end_try(AGGREGATE, event)
    assert 1 == await begin(AGGREGATE, event, process="three")


async def test_an_event_that_is_indexed_after_all_is_at_fault_no_more(
    store: Store, settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has become a dead event."""
    monkeypatch.setattr(group_consumer, "MAX_TRIES", 1_000)
    await redis.set(BAD_CATEGORY, "planted")
    (bad,) = await append(store, draft("1", "Bad"))

    async def at_fault() -> list[str]:
        return [fault.name for fault in await store.faults.all(now=NOW)]

    async def is_over() -> bool:
        return not await at_fault()

    async with aggregating(store, settings):
        await wait_until(at_fault)
        await redis.delete(BAD_CATEGORY)
        await until_shown(store, "bad", bad)
        await wait_until(is_over)


async def test_dead_events_are_tried_again_more_and_more_rarely(
    store: Store, settings: Settings, redis: Redis
) -> None:
    """After ten minutes, then twice as long each time, up to a day."""
    await redis.set(BAD_CATEGORY, "planted")
    await append(store, draft("1", "Bad"))
    async with aggregating(store, settings):
        (event,) = await dead(store, 1)
        assert timedelta(minutes=10) == _delay(event)
        await store.dead_events.retry(now=NOW)

        async def is_tried() -> bool:
            (letter,) = await store.dead_events.all()
            return letter.tries > event.tries

        await wait_until(is_tried)
        (again,) = await store.dead_events.all()
    assert timedelta(minutes=80) == _delay(again)
    assert event.since == again.since
    await redis.delete(BAD_CATEGORY)


@pytest.mark.parametrize("planted", [b"{", b'{"newer": 1}', None])
async def test_dead_events_that_cannot_be_read_stop_no_events(
    store: Store, settings: Settings, redis: Redis, planted: bytes | None
) -> None:
    """One of them is of another version or broken, or their key is of the wrong type."""
    key = keys.dead_events(0)
    if planted is None:
        await redis.set(key, "planted")
    else:
        await redis.hset(key, f"{AGGREGATE} x", planted)
    async with aggregating(store, settings):
        (first,) = await append(store, draft("1", "Good"))
        await until_shown(store, "good", first)
        if planted is None:
            await until_at_fault(store, f"dead events of {AGGREGATE}")
        (second,) = await append(store, draft("2", "Good"))
        await until_shown(store, "good", second)
    await redis.delete(key)


async def until_at_fault(store: Store, name: str) -> None:
    """Wait until a loop is reported under this name."""

    async def is_reported() -> bool:
        faults = await store.faults.all(now=NOW)
        return ("loop", name) in [(fault.kind, fault.name) for fault in faults]

    await wait_until(is_reported)


def _delay(event: Any) -> timedelta:
    at = datetime.fromtimestamp(event.retry_ms / 1000, UTC)
    return at - (NOW + timedelta(minutes=1))


async def test_a_view_that_makes_our_code_raise_costs_itself(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Categories and other views get their articles."""
    for name in ("bad", "good"):
        await store.views.put(make_view({"name": name, "query": "q=fog"}, created=NOW))
    holds = View.holds

    def failing(self: View, article: Any) -> bool:
        if self.name == "bad":
            raise RuntimeError("planted")
        return holds(self, article)

    monkeypatch.setattr(View, "holds", failing)
    (article_id,) = await append(store, draft("Fog", "News"))
    async with aggregating(store, settings):
        await until_shown(store, "views/good", article_id)
        await until_shown(store, "news", article_id)
    assert [] == await shown(store, "views/bad")


async def test_views_that_cannot_be_read_cost_themselves(
    store: Store, settings: Settings, redis: Redis
) -> None:
    """What is stored under one name is broken: the others are applied."""
    await store.views.put(make_view({"name": "good", "query": "q=fog"}, created=NOW))
    await redis.hset(keys.VIEWS, "bad", b"{")
    (article_id,) = await append(store, draft("Fog", "News"))
    async with aggregating(store, settings):
        await until_shown(store, "views/good", article_id)


async def test_a_bug_in_the_duplicate_finder_costs_its_article(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are judged; the event leaves the group's pending entries."""
    good, bad = await append(store, draft("1", "Good"), draft("2", "Good"))
    sketch_of = duplicate_finder.sketch_of
    judged = []

    def failing(article: Any) -> Any:
        if article.id == bad:
            raise RuntimeError("planted")
        judged.append(article.id)
        return sketch_of(article)

    monkeypatch.setattr(duplicate_finder, "sketch_of", failing)
    async with at_work(DuplicateFinder(store, settings, now=lambda: NOW).run):
        (event,) = await dead(store, 1)
    assert (DUPLICATES, bad) == (event.group, event.article_id)
    assert good in judged
    assert 0 == (await store.event_stream.backlogs())[0].pending


async def test_an_article_that_cannot_be_read_costs_itself(
    store: Store, settings: Settings, redis: Redis
) -> None:
    """A stored document that is broken is left out of pages."""
    good, bad = await append(store, draft("1", "Good"), draft("2", "Good"))
    async with aggregating(store, settings):
        await until_shown(store, "all", good, bad)
    await put_field(redis, keys.article(0, bad), "doc", b"\x00broken")
    articles = await store.articles.get([good, bad])
    assert [good, None] == [article and article.id for article in articles]


async def test_housekeeping_that_fails_is_reported_and_done_again(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trim that raises does not end the process, and is listed until it succeeds."""
    monkeypatch.setattr(aggregator_module, "TRIM_EVERY_S", 0.05)

    async def at_fault() -> list[tuple[str, str]]:
        return [(f.kind, f.name) for f in await store.faults.all(now=datetime.now(UTC))]

    async def is_reported() -> bool:
        return [("loop", "aggregate trim")] == await at_fault()

    async def is_over() -> bool:
        return [] == await at_fault()

    async def failing(*args: Any, **options: Any) -> tuple[int, int]:
        raise RuntimeError("planted")

    async with aggregating(store, settings):
        with monkeypatch.context() as patch:
            patch.setattr(event_stream.EventStream, "trim", failing)
            await wait_until(is_reported)
            (article_id,) = await append(store, draft("1", "Good"))
            await until_shown(store, "all", article_id)
        await wait_until(is_over)


async def test_events_whose_reply_was_lost_are_processed_at_the_next_sweep(
    store: Store, settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are pending for this consumer, which never received them, and no other may claim them
    yet: it reads what it has not acknowledged."""
    monkeypatch.setattr(event_stream, "CLAIM_IDLE_MS", 3_600_000)
    stream = keys.stream(0)
    async with aggregating(store, settings):
        await until_shown(store, "all", *await append(store, draft("a", "Good")))

        async def pending() -> int:
            return int((await redis.xpending(stream, AGGREGATE))["pending"])

        async def none_is_pending() -> bool:
            return not await pending()

        await wait_until(none_is_pending)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.xgroup_setid(stream, AGGREGATE, "0")
            pipe.xreadgroup(AGGREGATE, f"{AGGREGATE}-0", {stream: ">"})
            *_, lost = await pipe.execute()
        assert lost
        await wait_until(none_is_pending)
