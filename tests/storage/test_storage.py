"""Storage on a real Redis: the atomic append above all, and what its readers build on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.exceptions import ResponseError

from service.articles.article import Article, Detail, Draft, Entry
from service.articles.compose import compose
from service.articles.times import to_ms
from service.errors import InvalidSettings, StartFailed, Unavailable
from service.settings import Settings
from service.storage import articles as articles_module
from service.storage import client, keys
from service.storage.shards import ONE, numbered
from service.storage.store import Store, of_client, open_store
from tests.conftest import DAY, NOON, Publish
from tests.running import free_port


def draft(guid: str = "g", **fields: Any) -> Draft:
    """A draft with few fields."""
    made = {"title": "t", "content_html": "<p>x</p>", "categories": ("A/B",), **fields}
    return compose(Entry(guid=guid, **made), source="s")


def home(store: Store) -> int:
    """The shard of `draft()`."""
    return store.event_stream.shards.of(draft().id)


def neighbours(store: Store, count: int) -> list[Draft]:
    """So many drafts that are in this shard."""
    drafts = (draft(str(n)) for n in range(1_000))
    there = [d for d in drafts if store.event_stream.shards.of(d.id) == home(store)]
    return there[:count]


async def length(store: Store) -> int:
    """Number of events in all shards."""
    return sum([await store.event_stream.length(n) for n in store.event_stream.shards])


async def append(store: Store, *drafts: Draft, now: datetime = NOON, **options: Any) -> list[str]:
    """Append drafts, and return the status of each."""
    return [r.status for r in await store.articles.append(drafts, now=now, **options)]


async def only(store: Store) -> Article:
    """The one article there is."""
    (found,) = await store.articles.get([draft().id])
    assert found
    return found


async def test_an_article_and_its_event_are_there_together(store: Store) -> None:
    """The event's data is the article; the CloudEvent's attributes are fields of the entry."""
    (receipt,) = await store.articles.append([draft()], now=NOON)
    ((_, fields),) = await store.client.xrange(keys.stream(home(store)))
    assert {
        b"specversion": b"1.0",
        b"id": receipt.event_id.encode(),
        b"source": b"/articles",
        b"type": b"dateline.article.published.v1",
        b"subject": receipt.id.encode(),
        b"time": b"2026-01-05T12:00:00.000Z",
        b"datacontenttype": b"application/json",
    } == {name: value for name, value in fields.items() if name != b"data"}
    article = await only(store)
    assert article == Article.from_json(fields[b"data"])
    assert orjson.loads(article.to_json()) == orjson.loads(fields[b"data"])


async def test_unchanged_updated_and_what_moves(store: Store) -> None:
    """Only a change is a revision and an event; first_seen stays, updated moves."""
    assert ["created"] == await append(store, draft())
    later = NOON + timedelta(hours=1)
    assert ["unchanged"] == await append(store, draft(), now=later)
    assert ["updated"] == await append(store, draft(title="T"), now=later)
    article = await only(store)
    assert (2, NOON, NOON, later) == (
        article.revision,
        article.first_seen,
        article.published,
        article.updated,
    )
    assert 2 == await length(store)


async def test_a_call_that_is_sent_twice_is_done_once(store: Store) -> None:
    """What redis-py does after a lost reply: the same bytes again, the same answer."""
    sent: list[tuple[list[Any], list[Any]]] = []
    script = store.articles._append

    async def recording(keys: list[Any], args: list[Any]) -> Any:
        sent.append((keys, args))
        return await script(keys=keys, args=args)

    store.articles._append = recording  # type: ignore[assignment]  # the real script, listened to
    await append(store, *neighbours(store, 2))
    ((key_names, argv),) = sent
    again = await script(keys=key_names, args=argv)
    assert [b"created", b"created"] == [answer[0] for answer in again]
    assert 2 == await length(store)


async def test_concurrent_appends_of_one_article_make_one(store: Store) -> None:
    """Twenty clients at once: created once, one event."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(append(store, draft())) for _ in range(20)]
    statuses = [status for task in tasks for status in task.result()]
    assert (1, 19) == (statuses.count("created"), statuses.count("unchanged"))
    assert 1 == await length(store)


async def test_one_article_twice_in_a_call_is_taken_in_order(store: Store) -> None:
    """The second sees the first."""
    statuses = await append(store, draft(), draft("2"), draft(title="T"), draft(title="T"))
    assert ["created", "created", "updated", "unchanged"] == statuses


async def test_large_calls_are_cut_into_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By count and by bytes; the answers are in order all the same."""
    monkeypatch.setattr(articles_module, "MAX_BATCH", 7)
    monkeypatch.setattr(articles_module, "MAX_BATCH_BYTES", 20)
    drafts = [draft(str(n)) for n in range(40)]
    receipts = await store.articles.append(drafts, now=NOON)
    assert [d.id for d in drafts] == [receipt.id for receipt in receipts]
    assert 40 == await length(store)
    assert [] == await store.articles.append([], now=NOON)


@pytest.mark.parametrize(
    ("published", "updated", "expected"),
    [
        (None, None, (NOON, NOON)),
        (NOON - timedelta(days=1), None, (NOON - timedelta(days=1), NOON - timedelta(days=1))),
        (NOON + timedelta(days=1), None, (NOON, NOON)),
        (NOON - timedelta(days=2), NOON - timedelta(days=1),
         (NOON - timedelta(days=2), NOON - timedelta(days=1))),
        (NOON - timedelta(days=2), NOON + timedelta(days=1), (NOON - timedelta(days=2), NOON)),
    ],
)  # fmt: skip
async def test_dates_are_clamped(
    store: Store,
    published: datetime | None,
    updated: datetime | None,
    expected: tuple[datetime, datetime],
) -> None:
    """Never later than when it was first seen; what a source does not say is decided here."""
    await append(store, draft(published=published, updated=updated))
    article = await only(store)
    assert expected == (article.published, article.updated)
    later = NOON + timedelta(days=9)
    assert ["unchanged"] == await append(store, draft(published=published), now=later)


@pytest.mark.parametrize(
    ("forms", "statuses", "title"),
    [
        ([(Detail.FEED, "f"), (Detail.TEASER, "t")], ["created", "unchanged"], "f"),
        ([(Detail.TEASER, "t"), (Detail.FEED, "f"), (Detail.TEASER, "t")],
         ["created", "updated", "unchanged"], "f"),
        ([(Detail.PAGE, "p"), (Detail.FEED, "f"), (Detail.FEED, "f"), (Detail.FEED, "f2"),
          (Detail.PAGE, "p")],
         ["created", "unchanged", "unchanged", "updated", "unchanged"], "f2"),
        ([(Detail.PAGE, "p"), (Detail.TEASER, "t"), (Detail.TEASER, "t2")],
         ["created", "unchanged", "unchanged"], "p"),
        ([(Detail.FEED, "same"), (Detail.PAGE, "same"), (Detail.PAGE, "p")],
         ["created", "unchanged", "updated"], "p"),
    ],
)  # fmt: skip
async def test_forms_do_not_overwrite_each_other_in_turn(
    store: Store, forms: list[tuple[Detail, str]], statuses: list[str], title: str
) -> None:
    """A form is compared with itself; a teaser never replaces a text, an edit of another does."""
    for (form, text), status in zip(forms, statuses, strict=True):
        assert [status] == await append(store, draft(title=text, detail=form))
    assert title == (await only(store)).title


async def test_withdrawn_and_back(store: Store) -> None:
    """Only `revive` brings it back; twice withdrawn is once."""
    await append(store, draft())
    article_id = draft().id
    first = await store.articles.withdraw(article_id, now=NOON)
    second = await store.articles.withdraw(article_id, now=NOON)
    assert first
    assert second
    assert ("withdrawn", "unchanged") == (first.status, second.status)
    assert ["unchanged"] == await append(store, draft(title="changed"))
    assert "withdrawn" == (await only(store)).status
    assert ["updated"] == await append(store, draft(), revive=True)
    assert ("live", 3) == ((await only(store)).status, (await only(store)).revision)
    assert None is await store.articles.withdraw("nobody", now=NOON)


async def test_a_wrong_type_fails_before_anything_is_written(store: Store) -> None:
    """A script does not roll back: all reads come first."""
    first, second = neighbours(store, 2)
    await store.client.set(keys.article(home(store), second.id), "not a hash")
    with pytest.raises(ResponseError):
        await store.articles.append([first, second], now=NOON)
    assert [None] == await store.articles.get([first.id])
    assert 0 == await length(store)


async def test_titles_are_the_first_spelling(store: Store) -> None:
    """Of each step of each path."""
    await append(store, draft("1", categories=("Media Center/News",)))
    await append(store, draft("2", categories=("media-center/NEWS",)))
    assert {"media-center": "Media Center", "media-center/news": "News"} == (
        await store.articles.category_titles()
    )
    assert {"media-center": "Media Center"} == await store.articles.titles_of(["media-center", "x"])


async def test_shards_share_the_work_and_hide_it(store: Store) -> None:
    """Articles, streams and indexes are spread; reading puts them together."""
    sharded = of_client(store.client, shards=numbered(3))
    drafts = [draft(str(n), published=NOON - timedelta(hours=n)) for n in range(30)]
    await sharded.articles.append(drafts, now=NOON)
    lengths = [await sharded.event_stream.length(shard) for shard in range(3)]
    assert 30 == sum(lengths)
    assert all(lengths)
    assert [d.id for d in drafts] == [
        a.id for a in await sharded.articles.get([d.id for d in drafts]) if a
    ]
    assert {"a", "a/b"} == (await sharded.articles.category_titles()).keys()
    found = [i async for chunk in sharded.articles.all_ids() for i in chunk]
    assert {d.id for d in drafts} == set(found)


async def test_leases_have_one_holder(store: Store) -> None:
    """Renewed by its token; the epoch rises at each change of hands only."""
    first = await store.leases.take("x", token="a", ttl_ms=60_000)
    assert first
    assert None is await store.leases.take("x", token="b", ttl_ms=60_000)
    assert first == await store.leases.take("x", token="a", ttl_ms=60_000, held=first)
    await store.client.delete(keys.lease("x"))  # lapsed while its holder was stopped
    assert first == await store.leases.take("x", token="a", ttl_ms=60_000, held=first)
    await store.leases.give_up(first)
    second = await store.leases.take("x", token="b", ttl_ms=60_000)
    assert second
    assert second.epoch > first.epoch
    await store.leases.give_up(first)
    assert None is await store.leases.take("x", token="a", ttl_ms=60_000, held=first)


@pytest.fixture
async def config(store: Store) -> AsyncIterator[Any]:
    """CONFIG SET, undone at the end."""
    before = {n: (await store.client.config_get(n))[n] for n in ("appendonly", "maxmemory-policy")}
    yield store.client.config_set
    for name, value in before.items():
        await store.client.config_set(name, value)


@pytest.mark.parametrize(
    ("name", "value"), [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")]
)
async def test_a_redis_that_would_lose_articles_is_refused(
    settings: Settings, config: Any, name: str, value: str
) -> None:
    """Unless the operator says so."""
    await config(name, value)
    with pytest.raises(InvalidSettings, match=name):
        async with open_store(settings):
            pass
    async with open_store(settings.model_copy(update={"allow_volatile_redis": True})):
        pass


async def test_another_number_of_shards_is_refused(store: Store, settings: Settings) -> None:
    """All names depend on it."""
    async with open_store(settings):
        pass
    count = settings.shards
    with pytest.raises(InvalidSettings, match=f"the archive was written with {count}"):
        async with open_store(settings.model_copy(update={"shards": count + 1})):
            pass


async def test_no_redis_is_one_clear_error(settings: Settings) -> None:
    """At the start of a command."""
    gone = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}"})
    with pytest.raises(StartFailed, match="Redis cannot serve now: Error 111 connecting to"):
        async with open_store(gone):
            pass


async def test_redis_out_of_memory_accepts_nothing(store: Store) -> None:
    """The script is refused as a whole: 503, not half an article."""
    await append(store, draft("1"))
    await store.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable), client.redis_errors_as_unavailable():
            await store.articles.append([draft("2")], now=NOON)
        assert [None] == await store.articles.get([draft("2").id])
    finally:
        await store.client.config_set("maxmemory", 0)
    assert 1 == await length(store)


def test_shards_of_names_never_change() -> None:
    """Stored data depends on it: these are the values of the first release."""
    assert [0, 3, 1] == [ONE.of("x"), numbered(8).of("a"), numbered(8).of("b")]


async def test_pages_between_times(store: Store) -> None:
    """The list of the API: newest first, half-open."""
    now = datetime.now(UTC)
    await store.client.zadd(
        keys.category(home(store), "all"),
        {f"n{n}": to_ms(now - timedelta(hours=n)) for n in range(5)},
    )
    found = await store.category_index.between(
        "all", since=now - timedelta(hours=3), until=now, limit=9
    )
    assert ["n1", "n2", "n3"] == found


async def test_a_burst_waits_for_connections_and_is_not_refused(store: Store) -> None:
    """More callers at once than a process has connections."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(store.sources.count()) for _ in range(500)]
    assert [0] * 500 == [task.result() for task in tasks]


@pytest.mark.usefixtures("aggregating")
async def test_the_nearest_days_with_articles(store: Store, publish: Publish) -> None:
    """Before a moment and from it on; None where no day has articles."""
    day = DAY.replace(hour=0)
    for days in (-3, 0, 5):
        await publish(str(days), published=day + timedelta(days=days))
    older = await store.category_index.neighbour("all", day, newer=False)
    assert day - timedelta(days=3) == older
    assert day == await store.category_index.neighbour("all", day, newer=True)
    assert None is await store.category_index.neighbour("all", day - timedelta(days=3), newer=False)
    assert None is await store.category_index.neighbour("all", day + timedelta(days=6), newer=True)
