"""Backup and restore, on real servers of every kind that dateline runs on."""

from __future__ import annotations

import asyncio
import inspect
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from service.articles.event import position
from service.feeds.index_step import Indexed
from service.feeds.view import make_view
from service.manage import webhooks
from service.settings import Settings
from service.storage import keys
from service.storage.kept_keys import RULES, Stage, stage_of, stages_of
from service.storage.store import Store
from service.web.app import create_app
from tests.conftest import NOON, TOKEN
from tests.keys_known import known_keys, unknown_keys
from tests.loops import at_work
from tests.old_articles import as_hash, field_of
from tests.receiver import FakeReceiver
from tests.storage.backups import (
    PROGRAMS,
    backed_up,
    contents,
    drafts,
    filled,
    indexed,
    kept,
    restored,
    serving,
)
from tests.waiting import wait_until
from workers.aggregate.aggregator import Aggregator
from workers.deliver.worker import DeliverWorker

pytestmark = pytest.mark.one_shard

ROUTES = [(a, b) for a in PROGRAMS for b in PROGRAMS if "valkey" in (a, b) or a == b]


@pytest.mark.parametrize(("source", "target"), ROUTES)
async def test_everything_comes_back_on_every_server(
    source: str, target: str, settings: Settings
) -> None:
    """Equal contents: entry ids, groups, pending entries, scores, bytes, expiry."""
    with tempfile.TemporaryDirectory(prefix="dl-") as base:
        folder = Path(base, "backup")
        async with serving(Path(base, "a"), source) as store:
            await filled(store, settings)
            await backed_up(store, folder)
            before = kept(await contents(store.client))
        async with serving(Path(base, "b"), target) as store:
            await restored(store, folder)
            after = await contents(store.client)
            client: Any = store.client
            assert 0 < await client.ttl(keys.bands(1, 2)) <= 600
            assert [] == await unknown_keys(client)
    dirty = before.pop(keys.dirty(0))
    assert [m for m, _ in dirty] == [m for m, _ in after.pop(keys.dirty(0))]
    assert before == after


def example_keys() -> dict[str, str]:
    """A key of each name in keys.py."""
    examples = {n: v for n, v in vars(keys).items() if str(v).startswith("dateline:")}
    for name, function in vars(keys).items():
        if inspect.isfunction(function):
            parameters = inspect.signature(function).parameters.values()
            examples[name] = function(*(3 if p.annotation == "int" else "a/b" for p in parameters))
    for channel in ("CHANGED", "ERASED"):
        examples.pop(channel)
    return examples


@pytest.mark.parametrize("name", example_keys())
def test_every_key_has_one_row(name: str) -> None:
    """The table says of each key of keys.py whether a backup keeps it, as keys_known does of its
    TTL; what must have a TTL is left out, but for what is known only for some days."""
    key = example_keys()[name]
    stages = stages_of(key)
    (needs_ttl,) = (ttl for pattern, ttl in known_keys().items() if re.fullmatch(pattern, key))
    assert 1 == len(stages), f"kept_keys.py: {key}"
    assert not needs_ttl or stages == [Stage.LEFT_OUT] or name in ("bands", "landmarks")


def test_every_row_names_a_key() -> None:
    """Nothing is left behind by a change; and a key without a row is kept."""
    examples = example_keys().values()
    assert [] == [p for p, _ in RULES if not any(re.fullmatch(p, key) for key in examples)]
    assert stage_of("dateline:{0}:unheard-of") is Stage.LAST


async def page(store: Store, settings: Settings, path: str) -> tuple[int, str, str, bytes]:
    """Status, validators and body of a page on this store's server."""
    client: Any = store.client
    url = settings.redis_url
    if isinstance(client, Redis):
        keyword = client.connection_pool.connection_kwargs
        url = f"unix://{keyword['path']}?password={keyword['password']}"
    app = create_app(settings.model_copy(update={"redis_url": url}), token=TOKEN, now=lambda: NOON)
    async with (
        TestClient(TestServer(app), auto_decompress=False) as client,
        client.get(path, headers={"Accept-Encoding": "identity"}) as response,
    ):
        validators = [response.headers.get(name, "") for name in ("ETag", "Last-Modified")]
        return response.status, validators[0], validators[1], await response.read()


async def test_feeds_are_the_same_bytes_and_withdrawn_stays_withdrawn(
    base: Path, store: Store, target: Store, settings: Settings
) -> None:
    """Live feeds, days, tombstones, views, validators; 410; a poll brings nothing back; nothing is
    left to do for the workers."""
    view = make_view({"name": "ones", "query": "q=one"}, created=datetime(2020, 1, 1, tzinfo=UTC))
    await store.views.put(view)
    await store.articles.append(drafts("One", "Two", "Three"), now=NOON)
    await indexed(store, settings)
    await wait_for_views(store, settings)
    await store.articles.withdraw(drafts("Two")[0].id, now=NOON)
    await indexed(store, settings)
    paths = [
        "/feeds/all.rss", "/feeds/media/news.atom", "/feeds/media/2017/12/22.json",
        "/feeds/views/ones.rss", f"/articles/{drafts('One')[0].id}.json",
        f"/articles/{drafts('Two')[0].id}", "/feeds.opml",
    ]  # fmt: skip
    before = [await page(store, settings, path) for path in paths]
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    assert before == [await page(target, settings, path) for path in paths]
    assert [200, 200, 200, 200, 200, 410, 200] == [status for status, *_ in before]
    assert b"Two" not in before[0][3]
    assert b"One said" in before[3][3]
    (receipt,) = await target.articles.append(drafts("Two"), now=NOON)
    assert "unchanged" == receipt.status
    versions = await target.client.hgetall(keys.versions(0, "all"))
    await indexed(target, settings)
    assert versions == await target.client.hgetall(keys.versions(0, "all"))


async def wait_for_views(store: Store, settings: Settings) -> None:
    """Have an aggregate worker build the index of every view."""

    async def is_built() -> bool:
        built = await store.views.built()
        return bool(built) and all(progress.is_done for progress in built.values())

    async with at_work(Aggregator(store, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(is_built)


async def test_a_view_that_lost_its_index_has_none_after_a_restore(
    base: Path, store: Store, target: Store, settings: Settings
) -> None:
    """Articles name a removed or replaced view until they change; a view that is not built is
    built by the worker that comes next."""
    old = datetime(2020, 1, 1, tzinfo=UTC)
    for name in ("removed", "replaced"):
        await store.views.put(make_view({"name": name, "query": "q=one"}, created=old))
    await store.articles.append(drafts("One", "Three"), now=NOON)
    await indexed(store, settings)
    await wait_for_views(store, settings)
    removed = await store.views.get("removed")
    assert removed
    await store.views.remove(removed)
    await store.views.put(make_view({"name": "replaced", "query": "q=three"}, created=old))
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    assert 0 == await target.client.execute_command("EXISTS", keys.category(0, "views/removed"))
    assert {} == await target.views.built()
    await wait_for_views(target, settings)
    members = await target.client.zrangebyscore(keys.category(0, "views/replaced"), "-inf", "+inf")
    assert [drafts("Three")[0].id.encode()] == members


async def test_writers_at_work(
    base: Path, store: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """What is appended, changed, withdrawn, indexed and delivered during the backup: each article
    is of the revision of its newest event, indexes fit, and no cursor is ahead."""
    added = await webhooks.add(store, {"url": receiver.url}, now=NOON)
    receiver.secret = added["secret"]
    await store.articles.append(drafts(*(f"old {n}" for n in range(300))), now=NOON)
    stop = asyncio.Event()
    written = 0

    async def write() -> None:
        nonlocal written
        while not stop.is_set():
            now = datetime.now(UTC)
            n = written % 300
            await store.articles.append(drafts(f"new {written}"), now=now)
            await store.articles.append(
                drafts(f"old {n}", title=f"{written}", categories=(f"Moved/{written % 7}",)),
                now=now,
            )
            await store.articles.withdraw(drafts(f"new {written // 2}")[0].id, now=now)
            written += 1

    async with (
        at_work(Aggregator(store, settings, now=lambda: datetime.now(UTC)).run),
        at_work(DeliverWorker(store, settings, now=lambda: datetime.now(UTC)).run),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(write())

        async def has_begun() -> bool:
            return written > 20 and len(receiver.seen) > 20

        await wait_until(has_begun)
        manifest = await backed_up(store, base / "backup")
        stop.set()
    await restored(target, base / "backup")
    entries = await target.client.xrange(keys.stream(0))
    newest = {fields[b"subject"]: fields[b"id"] for _, fields in entries}
    heads = {}
    async for key in target.client.scan_iter(match=keys.article(0, "*"), count=500):
        head = orjson.loads((await as_hash(target.client, key.decode()))[b"head"])
        heads[key.decode().rpartition(":")[2].encode()] = head["event"].encode()
    assert newest == heads
    assert len(heads) > 320
    (cut,) = manifest.cuts
    assert cut == await target.event_stream.last_id(0)
    state = await target.webhooks.state(added["id"])
    assert position("0-0") < position(state.cursors[0]) <= position(cut)
    await indexed(target, settings)
    await check_indexes(target)


async def check_indexes(store: Store) -> None:
    """Every index contains the articles that it must, and no others."""
    expected: dict[str, set[bytes]] = {}
    actual: dict[str, set[bytes]] = {}
    async for key in store.client.scan_iter(match="dateline:{0}:*", count=500):
        name = key.decode()
        if name.startswith(keys.article(0, "")):
            article_id = name.rpartition(":")[2]
            (article,) = await store.articles.get([article_id])
            assert article
            idx = Indexed.of(await field_of(store.client, name, "idx"))
            assert str(article.revision) == idx.version.partition(".")[0]
            for path in idx.paths:
                expected.setdefault(path, set()).add(article_id.encode())
        elif name.startswith(keys.category(0, "")):
            members = await store.client.zrangebyscore(name, "-inf", "+inf")
            actual[name.removeprefix(keys.category(0, ""))] = set(members)
    assert expected == actual


async def test_no_webhook_is_sent_anything_twice(
    base: Path, store: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """What was delivered before the backup is not sent again; what comes after it is."""
    added = await webhooks.add(store, {"url": receiver.url}, now=NOON)
    receiver.secret = added["secret"]
    await store.articles.append(drafts("One", "Two"), now=NOON)

    async def are_sent(count: int) -> bool:
        return len(receiver.seen) >= count

    async with at_work(DeliverWorker(store, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(lambda: are_sent(2))
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    async with at_work(DeliverWorker(target, settings, now=lambda: datetime.now(UTC)).run):
        await target.articles.append(drafts("Three"), now=datetime.now(UTC))
        await wait_until(lambda: are_sent(3))
    assert ["One", "Two", "Three"] == [message["data"]["title"] for message in receiver.messages]
    assert 3 == len(receiver.seen)
