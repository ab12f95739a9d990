"""A Redis that is stopped (SIGSTOP): every request is answered soon, and nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest

from service.settings import Settings
from service.storage.heartbeat import Heartbeat
from service.storage.store import Store, open_store
from service.web.request.keys import REDIS_WATCH
from service.web.routes import ROUTES
from service.web.serving import page_cache, readiness, redis_watch
from tests.conftest import TOKEN, Clock
from tests.servers import Server, serving
from tests.waiting import let_pass, stand_still, wait_until, within
from tests.web.token_calls import Client, call, server

ONE = {"guid": "1", "title": "One", "categories": ["News"]}
BODIES = {
    "/api/v1/articles": orjson.dumps(ONE),
    "/api/v1/sources": b'{"url":"http://one.example/"}',
    "/api/v1/webhooks": b'{"url":"http://one.example/"}',
    "/api/v1/tokens": b'{"name":"desk","scope":"publish"}',
    "/api/v1/private-feeds": b'{"category":"news"}',
    "/hub": b"hub.mode=subscribe&hub.topic=http://news.example/feeds/all.rss"
    b"&hub.callback=http://a.example/",
}
SENTENCE = "the request may have been stored: send it again"
_BASIC = "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server process's application on a Redis of its own."""

    client: Client
    redis: Server
    store: Store

    def stop(self) -> None:
        """Let Redis answer nothing, and keep its connections."""
        self.redis.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let Redis go on."""
        self.redis.process.send_signal(signal.SIGCONT)

    async def is_noticed(self, *, silent: bool) -> None:
        """Wait until the server knows."""
        assert self.client.app

        async def is_known() -> bool:
            assert self.client.app
            return self.client.app[REDIS_WATCH].is_silent is silent

        await wait_until(is_known)


@pytest.fixture
async def site(settings: Settings, clock: Clock) -> AsyncIterator[Site]:
    """A server whose limits are short, but in their order."""
    async with serving() as redis:
        settings = settings.model_copy(update={"redis_url": redis.embedded.url, "recheck_s": 0.01})
        async with (
            open_store(settings, check=False) as store,
            server(settings, clock, token=TOKEN) as client,
        ):
            yield Site(client=client, redis=redis, store=store)
            if redis.process.returncode is None:
                redis.process.send_signal(signal.SIGCONT)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can wait for."""
    monkeypatch.setattr(redis_watch, "SILENCE_S", 0.5)
    monkeypatch.setattr(redis_watch, "BEAT_EVERY_S", 0.05)
    monkeypatch.setattr(redis_watch, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(redis_watch, "GRACE_S", 0.4)
    monkeypatch.setattr(readiness, "BUDGET_S", 0.2)
    monkeypatch.setattr(page_cache, "RECHECK_BUDGET_S", 0.2)


@pytest.mark.usefixtures("short")
async def test_a_push_in_a_stall_is_answered_and_can_be_sent_again(site: Site) -> None:
    """In flight when Redis stops, or sent later: 503 with Retry-After and what to do. Both times it
    is one article in the end."""
    assert 201 == (await call(site.client, "POST", "articles", {"title": "Before"}))[0]
    site.stop()
    async with within(5):
        for _ in range(2):
            async with site.client.post(
                "/api/v1/articles", json=ONE, headers={"Authorization": f"Bearer {TOKEN}"}
            ) as response:
                assert 503 == response.status
                assert "5" == response.headers["Retry-After"]
                problem = await response.json(content_type=None)
                assert SENTENCE in problem["detail"]
    site.resume()
    await site.is_noticed(silent=False)
    status, answer = await call(site.client, "POST", "articles", ONE)
    assert (status, answer["status"]) in ((201, "created"), (200, "unchanged"))
    assert 1 == answer["revision"]
    ids = [i async for chunk in site.store.articles.all_ids() for i in chunk]
    assert 2 == len(ids)


@pytest.mark.usefixtures("short")
async def test_every_route_is_answered_in_a_stall(site: Site) -> None:
    """With what is held, or with 503 and Retry-After: nothing waits for the timeouts of Redis, also
    when more requests wait than there are connections."""
    await call(site.client, "POST", "articles", ONE)
    async with site.client.get("/feeds/all.rss") as response:
        assert 200 == response.status
    site.stop()
    odd = []

    async def send(method: str, path: str) -> None:
        authorization = _BASIC if path.startswith("/webhooks") else f"Bearer {TOKEN}"
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        if path == "/hub":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = BODIES.get(path, b"{}")
        async with site.client.request(method, path, headers=headers, data=body) as response:
            await response.read()
            is_told = response.status == 503 and "Retry-After" in response.headers
            if response.status >= 500 and not is_told:
                odd.append((method, path, response.status))
            statuses[method, path] = response.status

    statuses: dict[tuple[str, str], int] = {}
    async with within(6), asyncio.TaskGroup() as group:
        for route in ROUTES:
            path = re.sub(r"\{[^}]+\}", "x", route.path)
            group.create_task(send(route.method, path))
        for number in range(100):
            group.create_task(send("GET", f"/feeds/k{number}.rss"))
    assert [] == odd
    for path in BODIES:
        assert 503 == statuses["POST", path], path
    assert 503 == statuses["GET", "/events"]
    assert 503 == statuses["GET", "/metrics"]
    async with site.client.get("/feeds/all.rss") as response:
        assert 200 == response.status


@pytest.mark.usefixtures("short")
async def test_a_stream_of_events_outlives_a_stall(site: Site) -> None:
    """Its response has begun: it waits, and goes on."""
    async with site.client.get("/events") as response:
        assert (await response.content.readline()).startswith(b"retry:")
        site.stop()
        await site.is_noticed(silent=True)
        await let_pass(3 * redis_watch.GRACE_S)
        site.resume()
        await site.is_noticed(silent=False)
        assert 201 == (await call(site.client, "POST", "articles", ONE))[0]
        async with within(5):
            while b'"title":"One"' not in await response.content.readline():
                pass


async def test_a_redis_that_is_slow_is_waited_for(site: Site) -> None:
    """A second without an answer is no fault; the push is accepted, and nothing is said."""
    await site.redis.admin.execute_command("CLIENT", "PAUSE", "1000", "ALL")
    assert 201 == (await call(site.client, "POST", "articles", ONE))[0]
    assert site.client.app
    assert not site.client.app[REDIS_WATCH].is_silent


async def test_a_redis_that_is_away_is_not_silent(site: Site) -> None:
    """It refuses, so that commands end by themselves; the push is answered 503."""
    site.redis.process.kill()
    await site.redis.process.wait()
    async with within(5):
        assert 503 == (await call(site.client, "POST", "articles", ONE))[0]
    assert site.client.app
    assert not site.client.app[REDIS_WATCH].is_silent


async def test_a_loop_that_stood_still_is_not_the_silence_of_redis(settings: Settings) -> None:
    """The answer has come, and is read before the time that has passed counts."""
    async with Heartbeat(settings) as heartbeat, within(5):
        assert not await heartbeat.is_silent(within_s=1)
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(heartbeat.is_silent(within_s=0.2))
            await asyncio.sleep(0)
            stand_still(0.5)
        assert not beat.result()
