"""One story from several sources: found, marked, hidden where its original is shown."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.article import Article, Draft
from service.articles.duplicates import sketch_of
from service.articles.event import Event, position
from service.articles.times import to_ms
from service.settings import Settings
from service.storage import keys
from service.storage.duplicates import Trace
from service.storage.event_stream import DUPLICATES
from service.storage.store import Store
from service.storage.trace_buckets import link_bucket, link_field, link_shard
from tests.articles.test_duplicates import MOMENT, PRODUCT, draft, edited, halved, text
from tests.loops import at_work
from tests.waiting import wait_until
from workers.aggregate import aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder


@pytest.fixture
async def finding(
    store: Store, settings: Settings, aggregating: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """The duplicate finder at work, beside an aggregate worker."""
    finder = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC))
    async with at_work(finder.run):
        yield


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps run every 0.2 s."""
    monkeypatch.setattr(aggregator, "SWEEP_EVERY_S", 0.2)


async def append(store: Store, *drafts: Draft) -> list[str]:
    """Ids; each append at a later time, so that the first is seen first."""
    ids = []
    for found in drafts:
        now = datetime.now(UTC)
        ids += [receipt.id for receipt in await store.articles.append([found], now=now)]
        await asyncio.sleep(0.002)
    return ids


async def stored(store: Store, article_id: str) -> Article:
    """An article as it is stored."""
    (article,) = await store.articles.get([article_id])
    assert article
    return article


async def shown(store: Store, category: str, *ids: str) -> None:
    """Wait until exactly these are in a category."""

    async def same() -> bool:
        members: list[bytes] = []
        for shard in store.event_stream.shards:
            members += await store.client.zrange(keys.category(shard, category), 0, -1)  # type: ignore[attr-defined]
        return {member.decode() for member in members} == set(ids)

    await wait_until(same)


async def newest(store: Store, count: int) -> list[Event]:
    """The newest events of each shard, at most so many, in the order of their time."""
    stream = store.event_stream
    events = [e for shard in stream.shards for e in await stream.newest(shard, count=count)]
    return sorted(events, key=lambda event: position(event.entry_id))


async def settled(store: Store) -> None:
    """Wait until every event was judged."""

    async def done() -> bool:
        # Redis 6.2 knows no lag. In this order: the newest may be read and not judged yet.
        for shard in store.event_stream.shards:
            newest = await store.event_stream.last_id(shard)
            if await store.event_stream.needed_from(shard, DUPLICATES) != newest:
                return False
        backlogs = await store.event_stream.backlogs()
        return {0} == {b.pending for b in backlogs if b.group == DUPLICATES}

    await wait_until(done)


@pytest.mark.usefixtures("finding")
async def test_one_link_is_one_story(store: Store) -> None:
    """Whatever the words, and however the link is decorated; the publisher's own stands."""
    copy, own, other = await append(
        store,
        draft("http://planet.example/f", text(1), url="http://news.example/a?utm_source=planet"),
        draft("news.example", text(2), url="https://www.news.example/a/"),
        draft("http://planet.example/f", text(3), url="http://news.example/b", guid="2"),
    )
    await settled(store)
    await shown(store, "news", own, other)
    await shown(store, "all", own, other)
    assert own == (await stored(store, copy)).duplicate_of
    assert "" == (await stored(store, own)).duplicate_of


@pytest.mark.usefixtures("finding")
@pytest.mark.parametrize("change", [str, edited, halved])
async def test_nearly_the_same_words_are_one_story(
    store: Store, change: Callable[[str], str]
) -> None:
    """Of two sources; the one that was seen first stands."""
    body = text(7)
    first, second = await append(
        store, draft("a.example", body), draft("b.example", change(body), guid="2")
    )
    await settled(store)
    await shown(store, "news", first)
    assert first == (await stored(store, second)).duplicate_of
    assert (1, 1) == (
        (await stored(store, second)).revision,
        (await stored(store, second)).duplicate_revision,
    )


@pytest.mark.usefixtures("finding")
async def test_a_copy_is_shown_where_its_original_is_not(store: Store) -> None:
    """Hidden in `all` and in what they share, shown in its own; back when the original goes."""
    body = text(8)
    first, second = await append(
        store,
        draft("a.example", body, category="Media/News"),
        draft("b.example", body, category="Media/Wire", guid="2"),
    )
    await shown(store, "all", first)
    await shown(store, "media", first)
    await shown(store, "media/wire", second)
    await store.articles.withdraw(first, now=datetime.now(UTC))
    await shown(store, "all", second)
    await shown(store, "media", second)

    async def is_free() -> bool:
        return not (await stored(store, second)).duplicate_of

    # The finder takes the mark away after the index has changed.
    await wait_until(is_free)


@pytest.mark.usefixtures("finding")
async def test_an_edit_moves_the_marks(store: Store) -> None:
    """An edit of the original hides the copy in its new categories; a copy with other words is an
    article again."""
    body = text(9)
    first, second = await append(
        store, draft("a.example", body, category="One"), draft("b.example", body, category="Two")
    )
    await shown(store, "two", second)
    await append(store, draft("a.example", body, category="Two"))
    await shown(store, "two", first)
    await append(store, draft("b.example", text(10), category="Two"))
    await shown(store, "two", first, second)


@pytest.mark.usefixtures("finding")
async def test_one_source_has_no_duplicates(store: Store) -> None:
    """What a publisher says twice is two articles; so are short texts, and other stories."""
    body = text(11)
    ids = await append(
        store,
        draft("a.example", body),
        draft("a.example", body, guid="2"),
        draft("b.example", "<p>Fog.</p>", guid="3"),
        draft("c.example", "<p>Fog.</p>", guid="4"),
        *(draft(f"s{n}.example", text(100 + n), guid="5") for n in range(30)),
    )
    await settled(store)
    assert [""] * len(ids) == [(await stored(store, i)).duplicate_of for i in ids]


async def test_an_event_that_is_judged_twice_changes_nothing(
    store: Store, settings: Settings
) -> None:
    """That happens after a kill between the mark and the ack."""
    body = text(12)
    _, second = await append(
        store, draft("a.example", body, category="A/B"), draft("b.example", body, guid="2")
    )
    finder = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC))
    events = await newest(store, 9)
    for _ in range(3):
        for event in events:
            await finder._judge_events([event])
            await finder._judge_all([event.subject])
    assert 1 == (await stored(store, second)).duplicate_revision
    assert ("all", "a", "a/b") == (await stored(store, second)).hidden_in


@pytest.mark.usefixtures("finding")
async def test_sources_that_discuss_one_page_are_not_duplicates(store: Store) -> None:
    """Weeks apart; a third that comes within a day of the second is one with it, not the first."""
    old = replace(draft("a.example", "<p>Out.</p>", url=PRODUCT), title="Maker shows a phone")
    new = replace(
        draft("b.example", "<p>Mine.</p>", url=PRODUCT, guid="2"), title="Battery test",
        published=MOMENT + timedelta(days=30),
    )  # fmt: skip
    third = replace(
        draft("c.example", "<p>See b.</p>", url=f"{PRODUCT}?utm_source=c", guid="3"),
        title="Seen elsewhere", published=MOMENT + timedelta(days=30, hours=2),
    )  # fmt: skip
    first, second, last = await append(store, old, new, third)
    await settled(store)
    assert ["", "", second] == [
        (await stored(store, i)).duplicate_of for i in (first, second, last)
    ]


async def test_copies_are_found_wherever_they_are(store: Store, settings: Settings) -> None:
    """In one batch of events, in the one before, three days ago, and after a kill between the note
    and the mark."""
    moment = datetime.now(UTC)
    first, second, third, late = await append(
        store,
        *(draft(f"{n}.example", text(30), guid=str(n)) for n in range(3)),
        draft("9.example", edited(text(30)), guid="9"),
    )
    finder = DuplicateFinder(store, settings, now=lambda: moment)
    events = await newest(store, 9)
    by_id = {event.subject: event for event in events}
    await finder._judge_events([by_id[first], by_id[second]])
    await finder._judge_events([by_id[third]])
    moment += timedelta(days=3)
    restarted = DuplicateFinder(store, settings, now=lambda: moment)
    article = await stored(store, late)
    await store.duplicates.note(
        [Trace(article_id=late, link="", landmarks=sketch_of(article).landmarks())],
        now_ms=to_ms(moment),
    )
    await restarted._judge_events([by_id[late]])
    ids = (first, second, third, late)
    assert ["", *[first] * 3] == [(await stored(store, i)).duplicate_of for i in ids]


async def test_links_of_the_version_before_are_read(store: Store) -> None:
    """It kept one article for each link, and no more of it is lost when the article leaves."""
    one, other = (str(uuid.UUID(int=n)) for n in (1, 2))
    field = link_field("quay.example/fog")
    number = link_bucket(field)
    bucket = keys.urls(link_shard(number, store.event_stream.shards), number)
    await store.client.hset(bucket, field, uuid.UUID(one).bytes)
    trace = Trace(article_id=other, link="quay.example/fog", landmarks=())
    for _ in range(2):
        (owners,) = await store.duplicates.note([trace], now_ms=0)
        assert (one,) == owners.of_link
    await store.duplicates.leave([(other, "quay.example/fog", "")])
    assert uuid.UUID(one).bytes == await store.client.hget(bucket, field)
    await store.duplicates.leave([(one, "quay.example/fog", "")])
    assert not await store.client.exists(bucket)


async def test_the_cost_of_an_article_is_bounded(store: Store, settings: Settings) -> None:
    """However many texts of a small vocabulary there are, few are read to judge one more."""
    drafts = [
        draft(f"{n}.example", "<p>" + "fog on the quay again today " * 5 + text(n, 60), guid="1")
        for n in range(200)
    ]
    for each in drafts:
        await store.articles.append([each], now=datetime.now(UTC))
    finder = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC))
    events = await newest(store, 200)
    before = (await store.client.info("stats"))["total_net_output_bytes"]
    for event in events:
        await finder._judge_events([event])
    bytes_read = (await store.client.info("stats"))["total_net_output_bytes"] - before
    assert bytes_read <= 200 * 2_000
