"""Erased articles: nothing but a tombstone remains, wherever their text had come."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestClient

from service.articles.aliases import canonical
from service.articles.article import Article, Enclosure, Entry
from service.articles.compose import compose
from service.articles.encoded import encode
from service.articles.event import Event
from service.errors import InvalidInput, NotFound
from service.feeds.formats import FORMATS
from service.feeds.view import make_view
from service.manage import erasure, private_feeds, sources, webhooks
from service.settings import Settings
from service.storage import keys
from service.storage.dead_events import dead_event
from service.storage.duplicates import Trace
from service.storage.rendered_pages import Rendered
from service.storage.store import Store
from service.web.serving.response import PreparedPage
from tests.conftest import AUTH, DAY, Get
from tests.deliver.working import QUICK, delivering
from tests.loops import at_work
from tests.old_articles import as_hash
from tests.receiver import FakeReceiver
from tests.storage.backups import contents
from tests.traces import traces
from tests.waiting import wait_until
from tests.web.token_calls import add
from workers.aggregate import erasures as second_pass
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder
from workers.aggregate.erasures import SecondPass

Client = TestClient[Any, Any]
MARK = "zanzibarquux"
PATH = "media-center/coalition-news"
FEEDS = [f"/feeds/{path}.{extension}" for path in (PATH, f"{PATH}/2017/12/22", "views/one", "all")
         for extension in FORMATS]  # fmt: skip


def marked(number: int = 1, **fields: Any) -> Any:
    """An article with MARK in every field that holds text."""
    url = f"https://{MARK}.example/{MARK}-{number}"
    return compose(
        Entry(
            **{
                "guid": f"{url}#guid",
                "url": url,
                "title": f"The {MARK} {number}",
                "summary": f"About a {MARK}",
                "content_html": f"<p>Once a {MARK} said: {MARK}.</p>" * 30,
                "authors": (f"Jane {MARK}",),
                "tags": (MARK,),
                "language": "en",
                "image": f"https://{MARK}.example/{MARK}.jpg",
                "enclosures": (Enclosure(url=f"https://{MARK}.example/{MARK}.mp3"),),
                "attribution": f"{MARK} Times",
                "raw_published": f"{MARK} o'clock",
                "categories": ("Media Center/Coalition News",),
                "published": DAY,
                **fields,
            }
        ),
        source="https://quay.example/feed",
    )


def now() -> datetime:
    """The clock of the workers."""
    return datetime.now(UTC)


@asynccontextmanager
async def aggregating(store: Store, settings: Settings) -> AsyncIterator[None]:
    """An aggregate worker and a finder of duplicates at work."""
    async with (
        at_work(Aggregator(store, settings, now=now).run),
        at_work(DuplicateFinder(store, settings, now=now).run),
    ):
        yield


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """A receiver that fails, and repeats what it got."""
    return web.Response(status=500, body=await request.read())


async def settled(store: Store) -> None:
    """Wait until all that was appended is in the indexes, and compared."""

    async def is_done() -> bool:
        dirty = await store.articles.dirty(before=now() + timedelta(days=9))
        behind = [b for b in await store.event_stream.backlogs() if b.pending or b.lag]
        return not dirty and not behind

    await wait_until(is_done)


async def has_some(read: Callable[[], Awaitable[object]]) -> None:
    """Wait until a call returns something."""
    await wait_until(read)


async def spread(store: Store, settings: Settings, get: Get) -> str:
    """Have the text of an article come wherever it can; the id of the article."""
    await store.views.put(make_view({"name": "one", "query": f"tag={MARK}"}, created=now()))
    (first,) = await store.articles.append([marked(content_html=f"<p>Old {MARK}.</p>")], now=now())
    (second,) = await store.articles.append([marked()], now=now())
    await store.articles.append([marked(2, tags=(), content_html="<p>x</p>")], now=now())
    assert first.id == second.id
    await settled(store)
    private = await private_feeds.add_private(store, {"category": PATH}, settings, now=now())
    for path in [*FEEDS, f"/news/{PATH}", "/", f"/articles/{first.id}"]:
        assert MARK.encode() in await get(path), path
    assert MARK.encode() in await get(private["url"].removeprefix(settings.base_url))
    await plant(store, first.id)
    return first.id


async def plant(store: Store, article_id: str) -> None:
    """Text in what faults, polls and hubs leave."""
    letter = dead_event(
        group="aggregate", article_id=article_id, entry_id="", reason=MARK, tries=1, now=now()
    )
    await store.dead_events.put(letter)
    await store.faults.report("page", "all.rss", ValueError(MARK), now=now())
    source, _ = await sources.add(store, {"url": "https://quay.example/feed"}, now=now())
    poll = replace(await store.sources.poll(source.id), result=f"1 articles, 1 rejected ({MARK})")
    await store.client.hset(keys.sources_polls(0), source.id, orjson.dumps(poll))
    assert await store.our_subscriptions.push(source.id, MARK.encode(), "text/xml", host="x")


async def is_forgotten() -> bool:
    """Whether no object of servers and workers in this process holds the text any more."""
    gc.collect()
    known = (Article, Event, Rendered, PreparedPage)
    return not any(
        MARK in repr(thing.__dict__ if isinstance(thing, PreparedPage) else thing)
        for thing in gc.get_objects()
        if isinstance(thing, known)
    )


async def test_no_text_is_left_anywhere(
    store: Store, settings: Settings, client: Client, get: Get, receiver: FakeReceiver
) -> None:
    """In no key of Redis, and in no page of a server, however the text had come there."""
    settings = settings.model_copy(update=QUICK)
    async with (
        RawTestServer(echo) as echoing,
        aggregating(store, settings),
        delivering(store, settings),
    ):
        url = str(echoing.make_url("/"))
        failing = await webhooks.add(store, {"url": url, "on_failure": "skip"}, now=now())
        batch = {"url": url + "b", "on_failure": "skip", "batch": 10}
        batches = await webhooks.add(store, batch, now=now())
        receiver.secret = (await webhooks.add(store, {"url": receiver.url}, now=now()))["secret"]
        article_id = await spread(store, settings, get)
        other_id = marked(2).id
        for webhook in (failing, batches):
            await has_some(lambda: store.webhooks.dead_letters(webhook["id"], limit=9))  # noqa: B023
        before = {name.split(":")[2] for name in await traces(store.client, MARK)}
        assert {"article", "events", "rendered", "attempts", "faults", "sources"} <= before
        assert "pushes" in before

        for each in (article_id, other_id):
            path = f"/api/v1/articles/{each}?erase=true"
            async with client.delete(path, headers=AUTH) as response:
                assert 200 == response.status, await response.text()
        await store.views.remove(make_view({"name": "one", "query": f"tag={MARK}"}, created=now()))
        await settled(store)
        await has_some(lambda: told(receiver, other_id))
        for path in FEEDS:
            if "views" not in path:
                assert MARK.encode() not in await get(path)
        assert b'ref="urn:uuid:' + article_id.encode() in await get(f"/feeds/{PATH}.atom")
        for path in (f"/articles/{article_id}", f"/api/v1/articles/{article_id}"):
            assert MARK.encode() not in await get(path, status=410)
        await SecondPass(store, settings, now=lambda: now() + timedelta(hours=1)).run()
        assert [] == await traces(store.client, MARK)
        await wait_until(is_forgotten)


async def told(receiver: FakeReceiver, article_id: str) -> bool:
    """Whether a receiver got to know that an article was erased."""
    articles = [message["data"] for message in receiver.messages]
    return any(a["id"] == article_id and a.get("erased") and not a["title"] for a in articles)


async def test_an_erasure_that_was_cut_is_completed(store: Store, settings: Settings) -> None:
    """Only the order was written, and the aggregate worker does the rest; nothing is left of the
    order, and the same command again changes nothing."""
    (receipt,) = await store.articles.append([marked()], now=now())
    await store.erasures.order([receipt.id], now=now() - timedelta(hours=1))
    await SecondPass(store, settings, now=now).run()
    assert [] == await traces(store.client, MARK)
    assert 0 == await store.erasures.count()
    before = await contents(store.client)
    done = await erasure.erase(store, [receipt.id], now=now())
    assert ("unchanged", 2) == (done.articles[0].status, done.articles[0].revision)
    await SecondPass(store, settings, now=lambda: now() + timedelta(hours=1)).run()
    after = await contents(store.client)
    assert before == after


async def test_an_order_is_not_ended_before_its_time(store: Store, settings: Settings) -> None:
    """What still has the text in memory may write it for a while."""
    (receipt,) = await store.articles.append([marked()], now=now())
    await erasure.erase(store, [receipt.id], now=now())
    await SecondPass(store, settings, now=now).run()
    assert 1 == await store.erasures.count()
    await SecondPass(store, settings, now=lambda: now() + second_pass.AFTER * 9).run()
    assert 0 == await store.erasures.count()


async def test_nothing_brings_it_back(store: Store, client: Client) -> None:
    """Not a poll, not under another guid, and not a push, which is answered 410."""
    aliases = ((b"sssomething", b""),)
    (receipt,) = await store.articles.append([encode(marked(), aliases=aliases)], now=now())
    await erasure.erase(store, [receipt.id], now=now())
    again = encode(marked(guid="another"), aliases=aliases)
    for draft in (marked(), marked(title="New"), again):
        (refused,) = await store.articles.append([draft], now=now(), revive=True)
        assert (receipt.id, "erased") == (refused.id, refused.status)
    push = {"source": marked().source, "guid": marked().guid, "title": "Back again"}
    async with client.post("/api/v1/articles", json=push, headers=AUTH) as response:
        assert 410 == response.status
    async with client.post("/api/v1/articles", json=[push], headers=AUTH) as response:
        (item,) = await response.json()
    assert ("rejected", 410) == (item["status"], item["error"]["status"])
    assert [] == await traces(store.client, MARK)


async def test_unknown_ids_erase_nothing(store: Store) -> None:
    """All are named, and the known one stays."""
    (receipt,) = await store.articles.append([marked()], now=now())
    unknown = marked(2).id
    with pytest.raises(NotFound, match=unknown):
        await erasure.erase(store, [receipt.id, unknown], now=now())
    (article,) = await store.articles.get([receipt.id])
    assert article is not None
    assert "live" == article.status
    assert 0 == await store.erasures.count()


async def test_a_withdrawn_article_is_erased_too(store: Store) -> None:
    """With one more event, so that receivers erase it as well."""
    (receipt,) = await store.articles.append([marked()], now=now())
    await store.articles.withdraw(receipt.id, now=now())
    done = await erasure.erase(store, [receipt.id], now=now())
    shard = store.event_stream.shards.of(receipt.id)
    (event,) = await store.event_stream.newest(shard, count=9)
    assert ("erased", event.id) == (done.articles[0].status, done.articles[0].event_id)
    assert "dateline.article.withdrawn.v1" == event.type
    assert event.is_erasure
    assert [PATH] == orjson.loads(event.data)["categories"]
    assert 2 == done.deleted.events


async def test_a_receiver_that_is_behind_never_gets_the_text(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """What failed and waits for another try is dropped from memory; a selection by words, which
    cannot judge an erased article, lets its withdrawal through."""
    settings = settings.model_copy(update=QUICK)
    fields = {"url": receiver.url, "query": f"q={MARK}"}
    webhook = await webhooks.add(store, fields, now=now())
    receiver.secret = webhook["secret"]
    await receiver.close()
    async with delivering(store, settings):
        (receipt,) = await store.articles.append([marked()], now=now())

        async def has_failed() -> int:
            return (await store.webhooks.state(webhook["id"])).failures

        await wait_until(has_failed)
        await erasure.erase(store, [receipt.id], now=now())
        await receiver.open()
        await has_some(lambda: told(receiver, receipt.id))
    assert [True] == [message["data"]["erased"] for message in receiver.messages]


async def test_copies_of_other_sources_are_named(store: Store, settings: Settings) -> None:
    """They are other articles: who erases one must know of the others. The copy is shown again
    meanwhile, and takes the place of the first with its URL."""
    mine = marked()
    theirs = replace(mine, source="https://other.example/feed", guid="theirs")
    async with aggregating(store, settings):
        await store.articles.append([mine], now=now())
        await settled(store)
        await store.articles.append([theirs], now=now() + timedelta(seconds=1))

        async def is_marked() -> bool:
            (article,) = await store.articles.get([theirs.id])
            return bool(article and article.duplicate_of)

        await wait_until(is_marked)
        done = await erasure.erase(store, [mine.id], now=now())
        assert [theirs.id] == list(done.copies)

        async def is_released() -> bool:
            return not await is_marked()

        await wait_until(is_released)
    trace = Trace(article_id=mine.id, link=canonical(mine.url), landmarks=())
    assert [(theirs.id,)] == [o.of_link for o in await store.duplicates.note([trace], now_ms=0)]


async def test_only_admins_erase(client: Client, store: Store) -> None:
    """A token that publishes withdraws; 400 for what is neither true nor false."""
    (receipt,) = await store.articles.append([marked()], now=now())
    desk = {"Authorization": f"Bearer {(await add(client, scope='publish'))['token']}"}
    path = f"/api/v1/articles/{receipt.id}"
    for query, headers, status in (
        ("?erase=true", desk, 403), ("?erase=yes", AUTH, 400), ("?erase=true", AUTH, 200),
        ("?erase=true", AUTH, 200),
    ):  # fmt: skip
        async with client.delete(path + query, headers=headers) as response:
            assert status == response.status
            answer = await response.json()
    assert ("unchanged", []) == (answer["status"], answer["copies"])
    assert {"events", "pages", "attempts", "dead_events"} == answer["deleted"].keys()
    async with client.delete("/api/v1/articles/nothing?erase=true", headers=AUTH) as response:
        assert 404 == response.status


@pytest.mark.parametrize(
    "typed", ["{id}", "urn:uuid:{id}", "http://news.example/articles/{id}.json", " {ID}/ "]
)
def test_ids_are_read_as_people_copy_them(typed: str) -> None:
    """From a feed, from the address bar; what has no id is refused by name."""
    article_id = marked().id
    text = typed.format(id=article_id, ID=article_id.upper())
    assert article_id == erasure.article_id_of(text)
    with pytest.raises(InvalidInput, match="is not the id"):
        erasure.article_id_of(text[:-9])


async def test_an_article_that_cannot_be_erased_costs_itself(
    store: Store, settings: Settings
) -> None:
    """The other order ends; its own stays, and is tried again once it can be done."""
    ids = [r.id for r in await store.articles.append([marked(), marked(2)], now=now())]
    name = keys.article(store.event_stream.shards.of(ids[0]), ids[0])
    client: Any = store.client
    fields = await as_hash(client, name)
    await client.delete(name)
    await client.set(name, "another type")
    await store.erasures.order(ids, now=now() - timedelta(hours=1))
    await SecondPass(store, settings, now=now).run()
    assert [ids[0]] == await store.erasures.ordered(before=now())
    assert ids[0] in {fault.name for fault in await store.faults.all(now=now())}
    await client.delete(name)
    await client.hset(name, mapping=fields)
    await SecondPass(store, settings, now=now).run()
    assert 0 == await store.erasures.count()
    assert [] == await traces(store.client, MARK)


async def test_articles_of_earlier_releases_are_erased(store: Store) -> None:
    """Their documents are not compressed, and their heads have fewer fields."""
    draft = marked()
    head = {
        "revision": 3, "hash": "a" * 32, "published": "2017-12-22T16:41:07.000Z",
        "updated": "2017-12-22T16:41:07.000Z", "first_seen": "2017-12-22T16:41:07.000Z",
        "status": "live", "event": f"{draft.id}_3", "call": "", "forms": {"1": "a" * 32},
    }  # fmt: skip
    name = keys.article(store.event_stream.shards.of(draft.id), draft.id)
    await store.client.hset(name, mapping={"doc": draft.to_doc(), "head": orjson.dumps(head)})
    done = await erasure.erase(store, [draft.id], now=now())
    assert ("erased", 4) == (done.articles[0].status, done.articles[0].revision)
    (article,) = await store.articles.get([draft.id])
    assert (True, "withdrawn", (PATH,)) == (article.erased, article.status, article.categories)
    assert [] == await traces(store.client, MARK)
