"""One bad page or article costs itself; a Redis that stalls or is full is said to be so."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from service.articles.article import Entry
from service.articles.compose import compose
from service.feeds.page import Page
from service.feeds.view import make_view
from service.feeds.writer import Renderer
from service.settings import Settings
from service.storage import keys
from service.storage.client import connect
from service.storage.store import Store
from service.web import app as app_module
from service.web.request.keys import CACHE, STOP
from service.web.serving import event_broadcast, page_cache
from tests.conftest import NOON, Clock, Publish
from tests.waiting import let_pass, wait_until, within

Client = TestClient[Any, Any]
FORMATS = ("rss", "atom", "json")


async def fetch(client: Client, path: str) -> tuple[int, bytes]:
    """(status, body)."""
    async with client.get(path) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("extension", FORMATS)
async def test_a_page_that_cannot_be_rendered_costs_itself(
    client: Client, publish: Publish, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch,
    extension: str,
) -> None:  # fmt: skip
    """500 there, 200 elsewhere; it is listed as a fault until it can be rendered."""
    monkeypatch.setattr(page_cache, "FAILED_S", 0.0)
    await publish("One", categories=("Bad",))
    await publish("Two", categories=("Good",))
    render = Renderer.render

    def failing(self: Renderer, page: Page, *args: Any, **options: Any) -> bytes:
        if page.category == "bad":
            raise RuntimeError("planted")
        return render(self, page, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Renderer, "render", failing)
        assert 500 == (await fetch(client, f"/feeds/bad.{extension}"))[0]
        for path in ("all", "good"):
            assert 200 == (await fetch(client, f"/feeds/{path}.{extension}"))[0]
        (fault,) = await store.faults.all(now=clock())
        assert ("page", "RuntimeError: planted") == (fault.kind, fault.reason)
        _, ready = await fetch(client, "/readyz")
        assert {"page": 1} == orjson.loads(ready)["faults"]

    async def is_well() -> bool:
        return (await fetch(client, f"/feeds/bad.{extension}"))[0] == 200

    await wait_until(is_well)
    assert [] == await store.faults.all(now=clock())


@pytest.mark.parametrize("extension", FORMATS)
async def test_an_article_that_cannot_be_rendered_costs_itself(
    client: Client, publish: Publish, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch,
    extension: str,
) -> None:  # fmt: skip
    """Its pages are served without it."""
    bad = await publish("Bad one")
    await publish("Good one")
    fragment = Renderer._fragment

    def failing(self: Renderer, article: Any, *args: Any) -> bytes:
        if article.id == bad:
            raise RuntimeError("planted")
        return fragment(self, article, *args)

    monkeypatch.setattr(Renderer, "_fragment", failing)
    status, body = await fetch(client, f"/feeds/all.{extension}")
    assert 200 == status
    assert b"Good one" in body
    assert b"Bad one" not in body
    assert ("article", bad) in [(f.kind, f.name) for f in await store.faults.all(now=clock())]


@pytest.mark.parametrize("path", ["/feeds/all.rss", "/feeds/views/words.rss", "/news/views/words"])
async def test_a_redis_that_stalls_keeps_nobody_waiting(
    client: Client, store: Store, publish: Publish, settings: Settings, path: str
) -> None:
    """A held page is served after the budget for its re-check, and readiness is known in two
    seconds."""
    await store.views.put(make_view({"name": "words", "query": "q=words"}, created=NOON))
    await publish("One")
    held = await fetch(client, path)
    assert 200 == held[0]
    other = connect(settings.redis_url, shards=1)
    await other.execute_command("CLIENT", "PAUSE", 4_000, "ALL")
    start = time.monotonic()
    try:
        # As if its time were over: it is confirmed before it is served again.
        client.server.app[CACHE].forget_all()  # type: ignore[attr-defined]  # served here
        assert held == await fetch(client, path)
        assert time.monotonic() - start < 3
        ready_start = time.monotonic()
        assert 503 == (await fetch(client, "/readyz"))[0]
        assert time.monotonic() - ready_start < 3
    finally:
        await other.aclose()

    async def is_ready() -> bool:
        return (await fetch(client, "/readyz"))[0] == 200

    await wait_until(is_ready)
    assert time.monotonic() - start > 3


@pytest.mark.parametrize(
    "key",
    [keys.FAULTS, keys.counters(0), keys.dead_events(0), keys.stream(0), keys.category(0, "all")],
)
async def test_a_key_of_the_wrong_type_blinds_no_health_check(
    client: Client, redis: Redis, key: str
) -> None:
    """What it would say is missing; the server is ready, and tells the rest."""
    await redis.set(key, "planted")
    status, ready = await fetch(client, "/readyz")
    assert 200 == status, ready
    status, metrics = await fetch(client, "/metrics")
    assert 200 == status
    assert b"dateline_hot_total" in metrics
    assert metrics.count(b"# HELP") >= 5
    await redis.delete(key)


async def test_a_broken_stream_does_not_end_the_server(
    client: Client, store: Store, clock: Clock, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, and events go on when it is mended."""
    monkeypatch.setattr(event_broadcast, "RECONNECT_S", 0.01)

    async def append(title: str) -> None:
        draft = compose(Entry(guid=title, title=title, categories=("News",)), source="s")
        await store.articles.append([draft], now=datetime.now(UTC))

    async def is_reported() -> bool:
        faults = await store.faults.all(now=clock())
        return ("loop", "server events") in [(fault.kind, fault.name) for fault in faults]

    async with client.get("/events") as response, within(10):
        await append("One")
        await response.content.readuntil(b'"title":"One"')
        # What was missed is read by its handler, which ends with an error of its own.
        await let_pass(0.1)
        await redis.set(keys.stream(0), "planted")
        await wait_until(is_reported)
        await redis.delete(keys.stream(0))
        await append("Two")
        await response.content.readuntil(b'"title":"Two"')
    assert not client.server.app[STOP].is_set()  # type: ignore[attr-defined]  # served here


async def test_an_odd_event_costs_no_reader_of_a_category(
    client: Client, store: Store, redis: Redis
) -> None:
    """Another program wrote it: what it calls categories is not a list."""
    for data in (b'{"categories": 5}', b'{"categories": [5]}', b"[]", b"{"):
        fields = {"id": "x", "type": "t", "subject": "x", "time": "x", "data": data}
        await redis.xadd(keys.stream(0), fields)
    draft = compose(Entry(guid="1", title="One", categories=("News",)), source="s")
    await store.articles.append([draft], now=datetime.now(UTC))
    path, start = "/events?category=news", {"Last-Event-ID": "0-0"}
    async with client.get(path, headers=start) as response, within(10):
        await response.content.readuntil(b'"title":"One"')


async def test_a_full_redis_still_serves(
    client: Client, store: Store, publish: Publish, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that nobody had read before is rendered, though it cannot be shared; that its readers
    cannot be noted costs nothing else."""
    await publish("One")
    await redis.config_set("maxmemory", 1)
    app = client.server.app  # type: ignore[attr-defined]  # served here
    try:
        for path in ("/feeds/all.rss", "/feeds/media-center.json", "/"):
            assert 200 == (await fetch(client, path))[0]
        monkeypatch.setattr(app[CACHE], "take_reads", lambda: {(Page("all"), "rss")})
        await app_module.note_readers(app)
    finally:
        await redis.config_set("maxmemory", 0)
    assert [] == await store.faults.all(now=datetime.now(UTC))


async def test_a_full_redis_is_not_ready(client: Client, redis: Redis) -> None:
    """Writing is part of readiness; the live probe is another matter."""
    assert 200 == (await fetch(client, "/readyz"))[0]
    await redis.config_set("maxmemory", 1)
    try:

        async def is_not_ready() -> bool:
            return (await fetch(client, "/readyz"))[0] == 503

        await wait_until(is_not_ready)
        assert 200 == (await fetch(client, "/livez"))[0]
    finally:
        await redis.config_set("maxmemory", 0)
