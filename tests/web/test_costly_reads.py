"""Costly reads: one at a time of a client, few of all, refused past a share; who is not limited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.errors import TooManyReads, Unavailable
from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from service.web.request.keys import COSTLY_READS
from service.web.request.problems import MEDIA_TYPE
from service.web.serving import costly_reads
from service.web.serving.costly_reads import Client, CostlyReads
from tests.conftest import AUTH, TOKEN, Clock, Publish
from tests.waiting import wait_until, within

WebClient = TestClient[Any, Any]
HERE = "127.0.0.1"


class Reads:
    """Costly reads that a test lets end."""

    def __init__(self, limit: CostlyReads) -> None:
        self._limit = limit
        self.running: list[str] = []
        self.ended = 0
        self.end = asyncio.Event()

    async def read(self, name: str, client: Client) -> None:
        """One read, which is worked on until `end` is set."""
        async with self._limit.slot(client):
            self.running.append(name)
            await self.end.wait()
        self.ended += 1


@pytest.fixture
def reads() -> Reads:
    """Reads with two slots, of a client three that wait or are worked on."""
    return Reads(CostlyReads(at_once=2, per_address=3))


async def test_of_one_client_one_read_is_worked_on_at_a_time(reads: Reads) -> None:
    """Its others wait for it; those of another client do not."""
    async with within(5), asyncio.TaskGroup() as group:
        for name in ("a1", "a2"):
            group.create_task(reads.read(name, "a"))
        group.create_task(reads.read("b1", "b"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert ["a1", "b1"] == reads.running
        reads.end.set()
    assert 3 == reads.ended


async def test_of_all_clients_few_are_worked_on(reads: Reads) -> None:
    """The third client waits for one of the two slots, in order."""
    async with within(5), asyncio.TaskGroup() as group:
        for name in ("a", "b", "c", "d"):
            group.create_task(reads.read(name, name))
        for _ in range(10):
            await asyncio.sleep(0)
        assert ["a", "b"] == reads.running
        reads.end.set()
    assert ["a", "b", "c", "d"] == reads.running


async def test_past_its_share_a_client_is_refused_and_others_are_not(reads: Reads) -> None:
    """The share counts those that wait, too, and is free again after them."""
    async with within(5), asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3"):
            group.create_task(reads.read(name, "a"))
        for _ in range(10):
            await asyncio.sleep(0)
        with pytest.raises(TooManyReads, match="at most 3") as refusal:
            await reads.read("a4", "a")
        assert "a" == refusal.value.client
        group.create_task(reads.read("b1", "b"))
        reads.end.set()
    await reads.read("a5", "a")
    assert ["a1", "b1", "a2", "a3", "a5"] == reads.running


async def test_clients_without_a_limit_wait_for_nobody(reads: Reads) -> None:
    """Requests with a token, and what the server does by itself."""
    async with within(5), asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(reads.read(name, None))
        for _ in range(10):
            await asyncio.sleep(0)
        assert list("abcdef") == reads.running
        reads.end.set()


async def test_clients_of_a_unix_socket_share_the_slots_alone(reads: Reads) -> None:
    """They cannot be distinguished, so that no share holds for them."""
    async with within(5), asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(reads.read(name, ""))
        for _ in range(10):
            await asyncio.sleep(0)
        assert ["a", "b"] == reads.running
        reads.end.set()
    assert list("abcdef") == reads.running


async def test_so_many_clients_as_no_server_has_are_refused(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that wait are bounded, for all clients together."""
    monkeypatch.setattr(costly_reads, "MAX_WAITING", 2)
    limited = Reads(CostlyReads(at_once=1, per_address=3))
    async with within(5), asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(limited.read(name, name))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await limited.read("c", "c")
        limited.end.set()


async def test_a_read_that_is_cancelled_gives_its_place_back(reads: Reads) -> None:
    """Whether it waits or is worked on."""
    for _ in range(5):
        tasks = [asyncio.ensure_future(reads.read("a", "a")) for _ in range(3)]  # noqa: TID251 -- cancelled here, which a group would take for its own end
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with pytest.raises(asyncio.CancelledError):
                await task
    reads.end.set()
    async with within(5):
        await reads.read("a", "a")
    assert 1 == reads.ended


@pytest.fixture
async def strict(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[WebClient]:
    """A server on which one address has one costly read."""
    strict = settings.model_copy(update={"costly_reads_per_address": 1})
    app = create_app(strict, token=TOKEN, now=clock)
    async with TestClient(TestServer(app)) as opened:
        yield opened


PATHS = (
    "/feeds/all.atom", "/feeds/all.rss?q=words", "/feeds/all/2017.json", "/feeds.opml", "/",
    "/news/all/2017", "/categories", "/sitemap.xml", "/sitemaps/pages.xml", "/sitemaps/2017-12.xml",
    "/news-sitemap.xml", "/api/v1/articles",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_over_its_share_gets_429_and_a_token_helps(
    strict: WebClient, publish: Publish, path: str
) -> None:
    """With Retry-After, for programs as a problem; hot pages are answered."""
    await publish()
    async with strict.get("/feeds/all.rss") as response:
        assert 200 == response.status
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(strict.app[COSTLY_READS].slot(HERE))  # type: ignore[union-attr]
        async with strict.get("/feeds/all.rss") as response:
            assert 200 == response.status
        async with strict.get(path) as response:
            assert (429, "2") == (response.status, response.headers["Retry-After"])
            if path.startswith(("/feeds", "/sitemap", "/news-sitemap", "/api")):
                assert MEDIA_TYPE == response.content_type
        for headers in ({"Authorization": "Bearer wrong-token-of-somebody"}, {"X-Token": TOKEN}):
            async with strict.get(path, headers=headers) as response:
                assert 429 == response.status
        async with strict.get(path, headers=AUTH) as response:
            assert 200 == response.status
    async with strict.get(path) as response:
        assert 200 == response.status


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/feeds.opml", {}), ("/", {}), ("/categories", {}), ("/sitemap.xml", {}),
        ("/sitemaps/pages.xml", {}), ("/sitemaps/2017-12.xml", {}), ("/news-sitemap.xml", {}),
        ("/articles/{id}", {}), ("/articles/{id}.json", {}), ("/news/all/2017", {}),
        ("/feeds/all/2017.rss", {"Sec-Fetch-Dest": "document"}), ("/feeds/all.json?q=words", {}),
    ],
)  # fmt: skip
async def test_what_is_asked_twice_is_made_once(
    client: WebClient, publish: Publish, path: str, headers: dict[str, str]
) -> None:
    """Neither rendered nor compressed again, whatever a request adds to the URL; but after a
    change."""
    article_id = await publish()
    limit = client.app[COSTLY_READS]  # type: ignore[union-attr]
    path = path.format(id=article_id)

    async def read(path: str) -> bytes:
        gzip = {"Accept-Encoding": "gzip", **headers}
        async with client.get(path, headers=gzip) as response:
            assert 200 == response.status
            return await response.read()

    first = await read(path)
    begun = limit.begun
    assert begun
    for number in range(3):
        assert first == await read(path)
        if "?" not in path and not path.startswith("/feeds/"):
            assert first == await read(f"{path}?x={number}")
    assert begun == limit.begun
    await publish("Two", categories=("Another",))

    async def is_made_again() -> bool:
        await read(path)
        return limit.begun > begun

    if article_id not in path:
        await wait_until(is_made_again)


async def test_metrics_say_how_many_costly_reads_there_were(strict: WebClient) -> None:
    """Metrics count reads that were worked on and reads that were refused."""
    limit = strict.app[COSTLY_READS]  # type: ignore[union-attr]
    async with limit.slot(HERE), strict.get("/feeds.opml") as response:
        assert 429 == response.status
    async with strict.get("/metrics") as response:
        text = await response.text()
    assert "dateline_costly_reads_total 1.0" in text
    assert "dateline_costly_reads_refused_total 1.0" in text
