"""One bad page or article costs itself; a Redis that stalls or is full is said to be so."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from service.feeds.page import Page
from service.feeds.writer import Renderer
from service.settings import Settings
from service.storage.client import connect
from service.storage.store import Store
from service.web.request.keys import CACHE
from service.web.serving import page_cache
from tests.conftest import Clock, Publish
from tests.waiting import wait_until

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


async def test_a_redis_that_stalls_keeps_nobody_waiting(
    client: Client, publish: Publish, redis: Redis, settings: Settings
) -> None:
    """A held page is served after the budget for its re-check, and readiness is known in two
    seconds."""
    await publish("One")
    held = await fetch(client, "/feeds/all.rss")
    other = connect(settings.redis_url, shards=1)
    await other.execute_command("CLIENT", "PAUSE", 4_000, "ALL")
    start = time.monotonic()
    try:
        # As if its time were over: it is confirmed before it is served again.
        client.server.app[CACHE].forget_all()  # type: ignore[attr-defined]  # served here
        assert held == await fetch(client, "/feeds/all.rss")
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
