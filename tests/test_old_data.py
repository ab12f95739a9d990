"""What an older version or a hand wrote into Redis: every output is read by strict parsers, and has
the articles that can be read.

Each test ruins one noun's stored values in many ways at once.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient

from service.settings import Settings
from service.sources.source import make_source
from service.storage import keys
from service.storage.claims import Claimant, Finished
from service.storage.compression import compressed, plain
from service.storage.store import Store
from tests import strict_outputs
from tests.conftest import TOKEN
from tests.deliver.working import delivering, registry_of, subscribe
from tests.loops import at_work
from tests.odd_archive import Archive, private_path, view_path
from tests.odd_documents import COMMON
from tests.old_articles import as_hash, put_field
from tests.receiver import FakeReceiver
from tests.running import call
from tests.waiting import wait_until, within
from workers.ingest.intake import Intake
from workers.ingest.parser_pool import open_parser_pool
from workers.ingest.push_consumer import PushConsumer
from workers.runtime import now

Client = TestClient[Any, Any]
# JSON values as bytes: some are not valid JSON, some of a wrong type, some only odd.
ODD_VALUES = (
    b'"a\\u000bb\\u0000"', b'"a\\ud83d"', b'"a\xff\xfeb"', b'"a\x0bb"', b'"e\\u000bn \\ufffe"',
    b'""',
)  # fmt: skip
WRONG_VALUES = (b"null", b"5", b"-1e400", b"true", b"[]", b"{}", b"[null]", b'[{"url": 5}]', b"")
_PUSHED: Mapping[str, object] = {
    "title": "Victim", "url": "http://s.example/1", "summary": "S", "content_html": "<p>Words.</p>",
    "authors": ["A"], "categories": [COMMON], "tags": ["T"], "language": "en",
    "image": "http://s.example/i.png", "attribution": "B",
    "enclosures": [{"url": "http://s.example/a.mp3", "type": "audio/mpeg", "length": 1}],
    "published": "2026-01-04T10:00:00Z",
}  # fmt: skip
_FIELD = rb'"%b":("(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^,}]*)'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Pages as long as they may be."""
    return settings.model_copy(update={"page_size": 1_000})


@pytest.fixture
async def archive(client: Client, store: Store, aggregating: None) -> AsyncIterator[Archive]:
    """An archive with an ordinary article; everything is read at the end of a test, after another
    ordinary article came."""
    archive = Archive(client, store)
    await archive.take_ordinary()
    view, private = await view_path(client, store), await private_path(client)
    yield archive
    await archive.take_ordinary()
    await archive.check(view, private)


async def victims(archive: Archive, count: int) -> list[str]:
    """Ids of new articles, indexed, whose stored values may be ruined."""
    records = [{**_PUSHED, "guid": f"victim {number}"} for number in range(count)]
    ids = await archive.push(records)
    await archive.until_indexed()
    return ids


def spoiled(doc: bytes, name: str, value: bytes) -> bytes:
    """A JSON object with another value of a field; without the field for an empty value."""
    field = re.compile(_FIELD % name.encode() + b",?")
    assert field.search(doc), name
    replaced = b'"%b":%b,' % (name.encode(), value) if value else b""
    return field.sub(lambda _: replaced, doc, count=1).replace(b",}", b"}")


async def test_odd_characters_in_stored_articles_harm_no_output(
    archive: Archive, store: Store
) -> None:
    """In every field of both stored forms: the article itself is shown, too."""
    names = [
        "source", "guid", "url", "title", "summary", "content_html", "language", "image",
        "attribution", "raw_published",
    ]  # fmt: skip
    pairs = [(name, value) for name in names for value in ODD_VALUES]
    lists = [b"[%b]" % value for value in ODD_VALUES]
    pairs += [(name, value) for name in ("authors", "tags") for value in lists]
    pairs += [
        ("enclosures", b'[{"url":%b,"type":%b,"length":1}]' % (value, value))
        for value in ODD_VALUES
    ]
    ids = await victims(archive, len(pairs))
    for number, (article_id, (name, value)) in enumerate(zip(ids, pairs, strict=True)):
        key = keys.article(0, article_id)
        doc = (await as_hash(store.client, key))[b"doc"]
        odd = spoiled(plain(doc), name, value)
        await store.client.hset(key, "doc", compressed(odd) if number % 2 else odd)
    archive.taken.update(ids)


async def test_wrong_types_in_stored_articles_cost_themselves(
    archive: Archive, store: Store, settings: Settings
) -> None:
    """In every field of `doc` and `head`, and in place of either."""
    doc_names = [
        "id", "source", "guid", "url", "title", "summary", "content_html", "authors", "categories",
        "tags", "language", "image", "enclosures", "attribution", "raw_published",
    ]  # fmt: skip
    head_names = ["revision", "hash", "published", "updated", "first_seen", "status", "event"]
    odd_dates = (b'"0001-01-01T00:00:00.000Z"', b'"9999-12-31T23:59:59.999Z"', b'"yesterday"')
    ruined = [("doc", name, value) for name in doc_names for value in WRONG_VALUES]
    ruined += [("head", name, value) for name in head_names for value in WRONG_VALUES]
    ruined += [("head", name, value) for name in head_names[2:5] for value in odd_dates]
    ruined += [
        (field, "", value)
        for field in ("doc", "head", "idx")
        for value in (b"", b"{}", b"[]", b"null", b"\xff\x00", b"{", b"x y z")
    ]
    ids = await victims(archive, len(ruined))
    for number, (article_id, (field, name, value)) in enumerate(zip(ids, ruined, strict=True)):
        key = keys.article(0, article_id)
        stored = (await as_hash(store.client, key))[field.encode()]
        spoilt = spoiled(plain(stored), name, value) if name else value
        is_packed = field == "doc" and number % 2
        await store.client.hset(key, field, compressed(spoilt) if is_packed else spoilt)
    await archive.take_ordinary()
    await archive.until_indexed()
    await archive.check()
    await check_prints_json("export", settings)
    # Each heals with its next revision.
    fields = [{**_PUSHED, "title": "Changed", "guid": f"victim {n}"} for n in range(len(ids))]
    archive.taken.update(await archive.push(fields))


async def check_prints_json(command: str, settings: Settings) -> list[Any]:
    """A command prints lines of JSON and nothing else on stdout; the lines, decoded."""
    status, out, err = await call(
        *command.split(), cwd=settings.data_dir, REDIS_URL=settings.redis_url
    )
    assert 0 == status, err
    return [strict_outputs.json_value(line.encode(), where=command) for line in out.splitlines()]


async def test_odd_entries_of_the_stream_are_passed_over(
    archive: Archive, store: Store, settings: Settings, client: Client, receiver: FakeReceiver
) -> None:
    """Events with odd characters are sent on without them, what is not an event to nobody."""
    await subscribe(store, receiver, batch=10)
    await victims(archive, 1)
    ((_, whole),) = await store.client.xrevrange(keys.stream(0), count=1)
    data = whole[b"data"]
    odd = [{b"data": spoiled(data, "title", value)} for value in ODD_VALUES]
    odd += [{b"data": spoiled(data, "language", value)} for value in WRONG_VALUES]
    odd += [{b"data": value} for value in (b"", b"{", b"[]", b"null", b"\xff", b"5", b"{}")]
    odd += [{b"data": orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2)}]
    odd += [
        {name: value}
        for name in (b"id", b"type", b"subject", b"time")
        for value in (b"", b"a\nb: c", b"\xff\r\n", b"x" * 10_000)
    ]
    for fields in odd:
        entry = {k.decode(): v for k, v in {**whole, **fields}.items()}
        await store.client.xadd(keys.stream(0), entry)
    await store.client.xadd(keys.stream(0), {"x": "y"})
    await archive.take_ordinary()
    last = (await store.event_stream.newest(0, count=1))[0]
    stream = bytearray()
    async with within(20), client.get("/events?last-event-id=0-0") as response:
        while last.id.encode() not in stream or not stream.endswith(b"\n\n"):
            stream += await response.content.readany()
    for frame in strict_outputs.event_frames(stream.decode()):
        assert {"id", "event", "data"} == frame.keys() - {"retry"}
        strict_outputs.json_value(frame["data"].encode(), where="/events")
    async with delivering(store, settings):

        async def is_delivered() -> bool:
            return last.id in receiver.events

        await wait_until(is_delivered)
    for event in await check_prints_json("tail --no-follow -n 100 --json", settings):
        assert event["data"]["id"] == event["subject"] or len(event["subject"]) != 36


async def test_odd_indexes_and_categories_harm_no_output(archive: Archive, store: Store) -> None:
    """Members, scores, periods, versions, paths and titles that dateline never writes."""
    redis = store.client
    names = [b"\xff", b"a\x0bb", b"a/\xed\xa0\x80", b"", b"all", b"views/x", b"A B", b"2017"]
    for number, name in enumerate(names):
        await redis.hset(keys.categories(0), name, b"Title %d" % number)
        await redis.hset(keys.categories(0), f"odd-{number}", name + b"\x00\xff\xef\xbf\xbe")
        await redis.hset(keys.versions(0, "all"), name, b"1")
        await redis.hset(keys.versions(0, "all"), f"2016-0{number}", name)
    for category in ("all", "news"):
        members = {b"\xff": 1e12, b"a\x0b": 2e12, b"": 1e13, b"huge": 1e300, b"low": -1e300}
        members |= {b"inf": float("inf"), b"-inf": float("-inf"), b"half": 1.5e12 + 0.5}
        await redis.execute_command(
            "ZADD",
            keys.category(0, category),
            *(part for member, score in members.items() for part in (score, member)),
        )
    await redis.hset(keys.counters(0), b"\xff odd", b"many")
    assert b"dateline" in await archive.get("/metrics")


WEBHOOKS = "webhooks"


def _key_of(store: Store, key: str, field: str) -> str:
    """The key that has a field: that of a webhook is of its partition."""
    return registry_of(store, field) if key == WEBHOOKS else key


@pytest.mark.timeout(60)
async def test_odd_settings_of_operators_harm_no_output(
    archive: Archive, store: Store, settings: Settings, client: Client, receiver: FakeReceiver
) -> None:
    """Stored sources, views, webhooks and the like cost themselves; the others work."""
    redis = store.client
    nouns = {
        keys.sources(0): {"id": "x", "url": "http://s.example/f", "title": "T"},
        keys.sources_polls(0): {"etag": "x"},
        keys.VIEWS: {
            "name": "x", "title": "T", "category": "all", "query": "", "private": False,
            "created": "2026-01-01T00:00:00.000Z",
        },
        keys.VIEWS_BUILT: {"examined": 1, "done": True},
        keys.PRIVATE_FEEDS: {"id": "x", "category": "all", "label": "L", "created": "2026"},
        WEBHOOKS: {
            "id": "x", "url": receiver.url, "keys": [{"secret": "whsec_AAAA"}],
            "selection": {"categories": []},
        },
        keys.TOKENS: {"id": "x", "name": "x"},
        keys.SUBSCRIBERS: {"id": "x", "callback": "http://s.example/", "topic": "t"},
        keys.subscriptions(0): {"id": "x", "topic": "t"},
    }  # fmt: skip
    for key, fields in nouns.items():
        whole = orjson.dumps(fields)
        values = [b"", b"5", b"[]", b"{}", b"{", b"\xff", b"null", whole]
        values += [spoiled(whole, name, value) for name in fields for value in WRONG_VALUES]
        values += [spoiled(whole, name, value) for name in fields for value in ODD_VALUES]
        for number, value in enumerate(values):
            await redis.hset(_key_of(store, key, f"odd{number}"), f"odd{number}", value)
        await redis.hset(_key_of(store, key, "a"), b"\xff\x0b", whole)
    await redis.incr(keys.VIEWS_CHANGED)
    await subscribe(store, receiver)
    for path in ("sources", "views", "webhooks", "private-feeds", "tokens", "subscribers"):
        strict_outputs.json_value(await archive.get(f"/api/v1/{path}"), where=path)
    strict_outputs.xml_root(await archive.get("/api/v1/sources.opml"), where="sources.opml")
    basic = {"Authorization": "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()}
    async with client.get("/webhooks", headers=basic) as response:
        assert 200 == response.status
        strict_outputs.page_ids(await response.read(), where="/webhooks")
    assert b"dateline" in await archive.get("/metrics")
    for command in ("sources list", "webhooks list", "status"):
        await check_prints_json(f"{command} --json", settings)
    async with delivering(store, settings):
        await archive.take_ordinary()

        async def is_delivered() -> bool:
            return bool(receiver.events)

        await wait_until(is_delivered)


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"5", b"null", b'{"n":"x","f":{}}', b'{"n":1,"f":[1]}', b'{"n":1}', b"\xff"],
)
async def test_an_odd_host_stops_no_poll(store: Store, value: bytes) -> None:
    """Its sources are claimed as if it were new; no other source waits for it."""
    for host in ("127.0.0.1", "127.0.0.2"):
        source = make_source({"url": f"http://{host}/"}, created=datetime(2026, 1, 5, tzinfo=UTC))
        await store.sources.add(source, due_ms=0)
    await store.client.hset(keys.sources_hosts(0), "127.0.0.1", value)
    worker = Claimant(ordinal=0, token="t")
    claims, _ = await store.claims.claim(
        claimant=worker, now_ms=1, limit=9, lapse_ms=10, spacing_ms=0
    )
    assert {"127.0.0.1", "127.0.0.2"} == {claim.source.host for claim in claims}
    finished = [Finished(claim=claim, poll=claim.poll, due_ms=99) for claim in claims]
    await store.client.hset(keys.sources_hosts(0), "127.0.0.1", value)
    await store.claims.finish(finished, now_ms=2)
    assert ([], 99) == await store.claims.claim(
        claimant=worker, now_ms=3, limit=9, lapse_ms=12, spacing_ms=0
    )


async def test_a_ruined_queue_of_pushes_ends_no_worker(store: Store, settings: Settings) -> None:
    """Polls go on beside it; pushes do, too, once it can be read."""
    await store.client.set(keys.pushes(0), b"not a stream")

    async def names() -> list[str]:
        return [fault.name for fault in await store.faults.all(now=now())]

    async def is_reported() -> bool:
        return await names() == ["pushes"]

    async def is_over() -> bool:
        return await names() == []

    async with open_parser_pool(1) as pool:
        intake = Intake(store, settings, pool, now=now)
        async with at_work(PushConsumer(store, intake, ordinal=0, now=now).run):
            await wait_until(is_reported)
            await store.client.delete(keys.pushes(0))
            await wait_until(is_over)


@pytest.mark.parametrize("head", [b'{"erased":true', b'{"revision":null,"erased":true}'])
async def test_an_erased_article_stays_erased(archive: Archive, store: Store, head: bytes) -> None:
    """Also if its head cannot be read any more: no push brings its text back."""
    (article_id,) = await victims(archive, 1)
    await store.articles.erase(article_id, now=now())
    await archive.until_indexed()
    (erased,) = await store.articles.get([article_id])
    assert erased
    assert "" == erased.title
    await put_field(store.client, keys.article(0, article_id), "head", head)
    await archive.push([{**_PUSHED, "title": "Again", "guid": "victim 0"}])
    assert [None] == await store.articles.get([article_id])
