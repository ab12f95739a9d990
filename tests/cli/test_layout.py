"""`dateline layout`, and the move of an archive while it is read and written to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from service.errors import DatelineError, StartFailed
from service.settings import Settings
from service.storage import keys
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.move_check import differences
from service.storage.shards import numbered
from service.storage.store import Store, of_client, open_store
from service.storage.write_stop import SETTING, WriteStop
from tests.conftest import NOON
from tests.deliver.working import registry_of
from tests.receiver import FakeReceiver
from tests.running import Running, call, running
from tests.servers import Server, connected
from tests.storage.backups import backed_up, drafts, restored, serving
from tests.waiting import wait_until


@pytest.fixture
async def server(base: Path) -> AsyncIterator[Server]:
    """The Redis to move to."""
    embedded = Embedded(binary=find_binary(), folder=base / "to", appendfsync="no")
    process = await embedded.start()
    async with connected(embedded.url) as admin:
        yield Server(embedded=embedded, admin=admin, process=process)
    await end(process)


async def test_the_shards_are_shown(store: Store, settings: Settings, base: Path) -> None:
    """Each with its tag, slot, server, events and estimates; nothing is written for it."""
    await store.articles.append(drafts(*(f"Story {n}" for n in range(30))), now=NOON)
    count = len(store.event_stream.shards)
    env = {
        "REDIS_URL": settings.redis_url,
        "SHARDS": str(count),
        "SENTINEL_PASSWORD": settings.sentinel_password,
    }
    status, out, err = await call("layout", "--json", cwd=base, **env)
    assert (0, "") == (status, err)
    report = orjson.loads(out)
    assert (count, []) == (report["shards"], report["at_work"])
    assert list(store.event_stream.shards) == [part["shard"] for part in report["parts"]]
    assert 30 == sum(part["events"] for part in report["parts"])
    total = sum(server["keys"] for server in report["servers"])
    estimated = sum(part["keys"] for part in report["parts"])
    assert 0.9 * total - 5 <= estimated <= total
    assert 30_000 < sum(part["bytes"] for part in report["parts"]) < 3_000_000
    status, out, _ = await call("layout", cwd=base, **env)
    assert 0 == status
    assert "estimates" in out


class Writer:
    """Posts articles one after the other, and notes what was answered."""

    def __init__(self, site: Running, http: aiohttp.ClientSession) -> None:
        self._site, self._http = site, http
        self.statuses: Counter[int] = Counter()
        self.kept: list[str] = []
        self.stop = False

    async def run(self) -> None:
        """Until it is stopped."""
        number = 0
        while not self.stop:
            number += 1
            title = f"Story {number}"
            fields = {"title": title, "guid": title, "content_html": f"<p>{title}.</p>"}
            async with self._http.post(
                f"{self._site.url}/api/v1/articles",
                json=fields,
                headers={"Authorization": f"Bearer {self._site.token}"},
            ) as response:
                self.statuses[response.status] += 1
                if response.status == 201:
                    self.kept.append(orjson.loads(await response.read())["id"])
                else:
                    assert "Retry-After" in response.headers
            await asyncio.sleep(0.01)


@pytest.mark.timeout(120)
async def test_an_archive_is_moved_while_it_is_read_and_written_to(
    base: Path, server: Server, receiver: FakeReceiver, http: aiohttp.ClientSession
) -> None:
    """Each article that was acknowledged is there, and was sent once or is sent by the new one;
    from the stop on posts are answered 503, while pages and readiness are as before."""
    env = {"ALLOWED_NETWORKS": "127.0.0.0/8"}
    url = server.embedded.url
    async with running(**env) as site:
        auth = {"Authorization": f"Bearer {site.token}"}
        hooks = f"{site.url}/api/v1/webhooks"
        async with http.post(hooks, json={"url": receiver.url}, headers=auth) as response:
            receiver.secret = orjson.loads(await response.read())["secret"]
        writer = Writer(site, http)
        async with asyncio.TaskGroup() as group:
            group.create_task(writer.run())
            await wait_until(lambda: has_kept(writer, 30))
            status, out, err = await call(
                "layout", "move", "--to", url, "--shards", "2", "--json",
                cwd=base, DATA_DIR=str(site.data_dir),
            )  # fmt: skip
            assert 0 == status, err
            for path in ("/readyz", "/feeds/all.rss", "/feeds/all/2026.json?limit=3", "/news/all"):
                async with http.get(site.url + path) as response:
                    assert 200 == response.status, path
            writer.stop = True
        moved = orjson.loads(out)
        status, out, _ = await call("layout", "--json", cwd=base, DATA_DIR=str(site.data_dir))
        assert "writes are refused" in orjson.loads(out)["at_work"][0]
    assert {201, 503} == writer.statuses.keys()
    assert [keys.stream(0), keys.stream(1)] == moved["streams"]
    assert "password" not in moved["moved_to"]
    assert not (site.data_dir / "layout-move").exists()
    sent_before = len(receiver.seen)
    async with running(REDIS_URL=url, SHARDS="2", **env) as site:
        for article_id in writer.kept:
            async with http.get(f"{site.url}/articles/{article_id}.json") as response:
                assert 200 == response.status

        async def are_sent() -> bool:
            return len({message["data"]["id"] for message in receiver.messages}) == len(writer.kept)

        await wait_until(are_sent)
    # What was under way when writes were stopped is sent again: at least once.
    assert len(receiver.seen) - len(writer.kept) <= 10, sent_before


async def has_kept(writer: Writer, count: int) -> bool:
    """Whether so many posts were acknowledged."""
    return len(writer.kept) >= count


async def started(source: Store, settings: Settings) -> str:
    """The URL of a server on which dateline was started before."""
    client: Any = source.client
    pool = client.connection_pool.connection_kwargs
    url = f"unix://{pool['path']}?password={pool['password']}"
    async with open_store(settings.model_copy(update={"redis_url": url, "shards": 1})):
        return url


async def test_a_move_that_fails_leaves_the_archive_as_it_was(
    base: Path, settings: Settings, server: Server
) -> None:
    """A Redis with something else in it, another number of shards, the same Redis: each is named,
    and writes are taken on."""
    await server.admin.set("other", "1")
    async with serving(base / "from", "valkey") as source:
        await source.articles.append(drafts("One"), now=NOON)
        own = await started(source, settings)
        for url, count, expected in (
            (server.embedded.url, "2", "is not empty"),
            (own, "1", "is on a server that has this archive"),
            (f"{own}&db=1", "1", "is on a server that has this archive"),
            ("http://x", "1", "DATELINE_REDIS_URL"),
            (server.embedded.url, "0", "DATELINE_SHARDS"),
        ):
            status, out, err = await call(
                "layout", "move", "--to", url, "--shards", count, cwd=base, REDIS_URL=own,
                DATA_DIR=str(base / "data"),
            )  # fmt: skip
            assert (1, "") == (status, out), err
            assert expected in err
        await source.articles.append(drafts("Two"), now=NOON)
        assert {} == await WriteStop(source.client).noted()


async def test_a_move_that_was_cut_goes_on(base: Path, server: Server, settings: Settings) -> None:
    """With the copy that is there; until then nothing starts on the archive, and `undo` gives up
    the move."""
    async with serving(base / "from", "valkey") as source:
        await source.articles.append(drafts("One", "Two"), now=NOON)
        own = await started(source, settings)
        to = f"unix://{server.embedded.folder}/redis.sock"
        await WriteStop(source.client).begin(to=to, since="2026-01-05T12:00:00Z")
        manifest = await backed_up(source, base / "data" / "layout-move")
        note = f"{manifest.id} 0 1"
        await server.admin.set(keys.RESTORING, note)
        with pytest.raises(StartFailed, match="is moved, or was moved, to unix://"):
            async with open_store(settings.model_copy(update={"redis_url": own})):
                pass
        env = {"REDIS_URL": own, "DATA_DIR": str(base / "data")}
        move = ("layout", "move", "--to", server.embedded.url, "--shards", "2")
        status, _, err = await call(*move, cwd=base, **env)
        assert 0 == status, err
        moved = of_client(server.admin, shards=numbered(2))  # type: ignore[arg-type]
        assert None not in await moved.articles.get([draft.id for draft in drafts("One", "Two")])
        assert None is await server.admin.get(keys.RESTORING)
        status, out, _ = await call("layout", "undo", cwd=base, **env)
        assert (0, "writes are taken again\n") == (status, out)
        await source.articles.append(drafts("Three"), now=NOON)
        status, out, _ = await call("layout", "undo", cwd=base, **env)
        assert (0, "nothing was stopped\n") == (status, out)


async def test_a_stop_that_a_restart_has_ended_is_noticed(server: Server) -> None:
    """A copy must not be taken for whole when writes were possible meanwhile."""
    store = of_client(server.admin)  # type: ignore[arg-type]
    stop = WriteStop(store.client)
    await server.admin.config_set(SETTING, "0")
    assert not await stop.begin(to="x", since="y")
    assert await stop.is_intact()
    assert await stop.begin(to="x", since="y")
    await server.admin.config_set(SETTING, "0")
    assert not await stop.is_intact()
    assert not await stop.begin(to="x", since="y")
    assert await stop.is_intact()
    server.process.kill()
    await server.process.wait()
    process = await server.embedded.start()
    try:
        assert not await stop.is_intact()
    finally:
        await end(process)


async def test_the_comparison_names_what_is_missing(base: Path, store: Store) -> None:
    """An article, an event, a webhook."""
    shards = store.event_stream.shards
    await store.articles.append(drafts("One", "Two"), now=NOON)
    await backed_up(store, base / "backup", shards=shards)
    more = numbered(2 * len(shards))
    async with serving(base / "copy", "valkey") as target:
        await restored(target, base / "backup", shards=more)
        copy = of_client(target.client, shards=more)
        assert [] == await differences(store, copy)
        (one,) = drafts("One")
        await target.client.unlink(keys.article(more.of(one.id), one.id))
        await target.client.unlink(keys.stream(more.of(one.id)))
        await target.client.hset(registry_of(copy, "x"), "x", "{}")
        article, *lines = await differences(store, copy)
    assert f"article {one.id} is another" == article
    assert ["events", "webhooks"] == [line.split()[1] for line in lines]


async def test_a_server_whose_settings_cannot_be_changed_is_refused(server: Server) -> None:
    """Hosted servers forbid it: then dateline has to be stopped for the copy; nothing is noted."""
    await server.admin.acl_setuser("default", commands=["-config"])
    stop = WriteStop(server.admin)  # type: ignore[arg-type]
    with pytest.raises(DatelineError, match="stop all of dateline"):
        await stop.begin(to="x", since="y")
    assert {} == await stop.noted()
