"""The hub against real callbacks: every MUST and SHOULD of WebSub for hubs, and the cases 100 to
106 of the W3C's test suite for them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, TestClient, TestServer

from service import saved
from service.articles import to_ms
from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from tests.conftest import AUTH, NOON, TOKEN, wait_until
from tests.deliver.working import delivering, publish
from workers.aggregate import Aggregator
from workers.deliver import deliverer, subscriber, subscribers
from workers.runtime import now

Client = TestClient[Any, Any]
TOPIC = "http://news.example/feeds/all.rss"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A hub that waits for little."""
    return settings.model_copy(update={"hub_debounce_s": 0.3})


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired subscriptions are ended soon."""
    monkeypatch.setattr(deliverer, "SAVE_EVERY_S", 0.05)
    monkeypatch.setattr(subscribers, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(subscriber, "CONFIRM_AGAIN_S", (0.05, 0.05))


class Callback:
    """A subscriber: confirms as told, and remembers what came."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        """Of every GET, in its order."""
        self.contents: list[tuple[bytes, dict[str, str]]] = []
        """(body, headers) of every POST."""
        self.confirms = True
        self.status = 200
        """Of the answers to contents."""
        self.answers: list[web.Response] = []
        """To the next GETs, instead of the challenge."""
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens, with a query of its own."""
        return f"http://127.0.0.1:{self._port}/callback?its=own"

    async def modes(self, *expected: str) -> list[dict[str, str]]:
        """Queries, once there are those of these modes."""

        async def there() -> bool:
            return [query["hub.mode"] for query in self.queries] == [*expected]

        await wait_until(there)
        return self.queries

    async def came(self, count: int) -> list[tuple[bytes, dict[str, str]]]:
        """Contents, once there are so many."""

        async def there() -> bool:
            return len(self.contents) >= count

        await wait_until(there)
        return self.contents

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            self.contents.append((await request.read(), dict(request.headers)))
            return web.Response(status=self.status)
        self.queries.append(
            {name: values[0] for name, values in parse_qs(request.query_string).items()}
        )
        if self.answers:
            return self.answers.pop(0)
        if self.queries[-1]["hub.mode"] == "denied":
            return web.Response()
        return web.Response(text=self.queries[-1]["hub.challenge"] if self.confirms else "no")

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    """A subscriber that is up."""
    async with Callback() as opened:
        yield opened


@asynccontextmanager
async def hub(store: Store, settings: Settings) -> AsyncIterator[Client]:
    """Server, aggregate and deliver worker, with something published before."""
    await publish(store, "Before")
    ended = asyncio.Event()
    app = create_app(settings, token=TOKEN)
    async with asyncio.TaskGroup() as group, TestClient(TestServer(app)) as client:
        group.create_task(Aggregator(store, settings, now=now).run(ended))
        async with delivering(store, settings):
            yield client
        ended.set()


async def ask(client: Client, callback: Callback, status: int = 202, /, **fields: object) -> str:
    """A request as subscribers make it; the answer's text."""
    form = {
        "hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": TOPIC,
        **{f"hub.{name}": str(value) for name, value in fields.items()},
    }  # fmt: skip
    async with client.post("/hub", data=form) as response:
        text = await response.text()
        assert status == response.status, text
        assert response.headers["Content-Type"].startswith("text/plain")
        return text


async def subscribed(client: Client, store: Store, callback: Callback, **fields: object) -> None:
    """A subscription that is confirmed."""
    before = len(await store.subscribers.all())
    await ask(client, callback, **fields)

    async def there() -> bool:
        return len(await store.subscribers.all()) > before

    await wait_until(there)


async def test_100_a_subscriber_is_asked_and_sent_the_whole_topic(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Challenge, lease and its own query; then the feed's full bytes, type and one Link header."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback)
        (query,) = callback.queries
        assert ("subscribe", TOPIC, "own") == (query["hub.mode"], query["hub.topic"], query["its"])
        assert "864000" == query["hub.lease_seconds"]
        assert len(query["hub.challenge"]) >= 32
        await publish(store, "News")
        ((body, headers),) = await callback.came(1)
        async with client.get("/feeds/all.rss") as response:
            assert body == await response.read()
            assert headers["Content-Type"] == response.headers["Content-Type"]
    link = headers["Link"]
    assert re.fullmatch(r'<http://news.example/hub>; rel="hub", <[^>]+>; rel="self"', link)
    assert TOPIC in link
    assert "X-Hub-Signature" not in headers


@pytest.mark.parametrize("method", ["", "sha256", "sha384", "sha512"])
async def test_101_contents_are_signed_with_the_secret(
    store: Store, settings: Settings, callback: Callback, method: str
) -> None:
    """SHA-256 unless asked otherwise; the secret is nowhere in what we show."""
    asked = {"signature_method": method} if method else {}
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, secret="hush hush", **asked)
        await publish(store, "News")
        ((body, headers),) = await callback.came(1)
        async with client.get("/api/v1/subscribers", headers=AUTH) as response:
            assert "hush" not in await response.text()
    name, _, digest = headers["X-Hub-Signature"].partition("=")
    assert (method or "sha256") == name
    assert hmac.new(b"hush hush", body, getattr(hashlib, name)).hexdigest() == digest


async def test_102_what_is_not_known_is_ignored(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Parameters of other versions, of nobody, and some that look like ours."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, verify="async", verify_token="x", foo="bar")
        await publish(store, "News")
        await callback.came(1)


async def test_103_a_second_request_overrides_the_first_once_confirmed(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """By topic and callback: one subscription; a refused renewal leaves it as it was."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, secret="first")
        callback.confirms = False
        await ask(client, callback, secret="refused")
        await callback.modes("subscribe", "subscribe")
        await publish(store, "One")
        await callback.came(1)
        callback.confirms = True
        await ask(client, callback, secret="second", lease_seconds=7_200)
        queries = await callback.modes("subscribe", "subscribe", "subscribe")
        assert "7200" == queries[-1]["hub.lease_seconds"]

        async def renewed() -> bool:
            return [s.secret for s in (await store.subscribers.all()).values()] == ["second"]

        await wait_until(renewed)
        await publish(store, "Two")
        contents = await callback.came(2)
    secrets = [b"first", b"second"]
    for (body, headers), secret in zip(contents, secrets, strict=True):
        digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
        assert f"sha256={digest}" == headers["X-Hub-Signature"]


async def test_104_who_unsubscribes_is_asked_and_then_left_alone(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Without a yes it goes on; with one nothing comes any more, and nothing is kept."""
    async with hub(store, settings) as client, Callback() as other:
        await subscribed(client, store, callback)
        await subscribed(client, store, other)
        callback.confirms = False
        await ask(client, callback, mode="unsubscribe")
        queries = await callback.modes("subscribe", "unsubscribe")
        assert "hub.lease_seconds" not in queries[-1]
        await publish(store, "One")
        await callback.came(1)
        callback.confirms = True
        await ask(client, callback, mode="unsubscribe")

        async def gone() -> bool:
            return len(await store.subscribers.all()) == 1

        await wait_until(gone)
        await other.came(1)
        await publish(store, "Two")
        await other.came(2)
        assert 1 == len(callback.contents)
        await ask(client, callback, 404, mode="unsubscribe")
    keys = [key async for key in store.client.scan_iter(match="*endpoint:sub_*")]
    assert 1 == len(keys)


async def test_105_plain_text_of_others_is_for_an_open_hub(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Fetched at a ping by hub.topic or hub.url, and sent with its own type; refused by default."""
    documents = {"text": "First."}

    async def serve(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=documents["text"])

    async with RawTestServer(serve) as site:
        topic = str(site.make_url("/note.txt"))
        async with hub(store, settings) as client:
            assert "topic" in await ask(client, callback, 400, topic=topic)
            assert "open" in await ask(client, callback, 400, mode="publish", topic=topic)
        opened = settings.model_copy(update={"hub_open": True})
        async with hub(store, opened) as client:
            await subscribed(client, store, callback, topic=topic)
            await ask(client, callback, mode="publish", topic=topic)
            ((body, headers),) = await callback.came(1)
            assert (b"First.", "text/plain; charset=utf-8") == (body, headers["Content-Type"])
            assert f"<{topic}>" in headers["Link"]
            documents["text"] = "Second."
            await ask(client, callback, mode="publish", topic="", url=topic)
            assert b"Second." == (await callback.came(2))[1][0]


@pytest.mark.parametrize("extension", ["json", "atom"])
async def test_106_other_formats_come_as_themselves(
    store: Store, settings: Settings, callback: Callback, extension: str
) -> None:
    """JSON Feed and Atom, with their media types."""
    topic = f"http://news.example/feeds/news.{extension}"
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, topic=topic)
        await publish(store, "News one")
        ((body, headers),) = await callback.came(1)
        async with client.get(f"/feeds/news.{extension}") as response:
            assert headers["Content-Type"] == response.headers["Content-Type"]
    assert b"News one" in body


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"mode": "nope"}, "hub.mode"), ({"mode": ""}, "hub.mode"),
        ({"callback": "ftp://x/"}, "hub.callback"), ({"callback": ""}, "hub.callback"),
        ({"callback": "http://a:b@127.0.0.1/"}, "hub.callback"),
        ({"topic": ""}, "hub.topic"), ({"topic": "http://other.example/feed"}, "hub.topic"),
        ({"topic": "http://news.example/feeds/All.rss"}, "hub.topic"),
        ({"topic": "http://news.example/feeds/all.rss?lang=EN"}, "hub.topic"),
        ({"topic": "http://news.example/feeds/all.pdf"}, "hub.topic"),
        ({"topic": "http://news.example/private/x.rss"}, "hub.topic"),
        ({"secret": "x" * 200}, "hub.secret"), ({"lease_seconds": "soon"}, "hub.lease_seconds"),
        ({"lease_seconds": "-1"}, "hub.lease_seconds"), ({"lease_seconds": "0"}, "hub.lease"),
        ({"signature_method": "md5"}, "hub.signature_method"),
        ({"mode": "publish", "topic": ""}, "hub.topic"),
    ],
)  # fmt: skip
async def test_wrong_requests_are_answered_with_the_reason(
    client: Client, callback: Callback, fields: dict[str, object], match: str
) -> None:
    """400 and plain text that names the parameter, never the secret; nobody is asked."""
    text = await ask(client, callback, 400, **fields)
    assert match in text
    assert "xxx" not in text
    assert [] == callback.queries


async def test_topics_that_do_not_exist_are_refused(client: Client, callback: Callback) -> None:
    """404, at once."""
    for topic in ("http://news.example/feeds/none.rss", "http://news.example/feeds/views/x.rss"):
        await ask(client, callback, 404, topic=topic)


@pytest.mark.parametrize(
    ("answer", "times"),
    [(web.Response(text="wrong"), 1), (web.Response(status=404), 1),
     (web.Response(status=302, headers={"Location": "/"}), 1)],
)  # fmt: skip
async def test_a_callback_that_does_not_confirm_is_not_subscribed(
    store: Store, settings: Settings, callback: Callback, answer: web.Response, times: int
) -> None:
    """Another status, another body, a redirect (never followed): the state does not change."""
    callback.answers = [answer] * times
    async with hub(store, settings) as client:
        await ask(client, callback)
        await callback.modes("subscribe")

        async def settled() -> bool:
            return not await store.subscribers.all_asked()

        await wait_until(settled)
        assert {} == await store.subscribers.all()
    assert [] == [key async for key in store.client.scan_iter(match="*hub:host*")]


async def test_a_callback_that_was_away_is_asked_again(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """5xx is not a no."""
    callback.answers = [web.Response(status=503), web.Response(status=500)]
    async with hub(store, settings) as client:
        await subscribed(client, store, callback)
    await callback.modes("subscribe", "subscribe", "subscribe")
    challenges = {query["hub.challenge"] for query in callback.queries}
    assert 3 == len(challenges)


async def test_leases_end(store: Store, settings: Settings, callback: Callback) -> None:
    """Always, whatever is asked for; what has expired is sent nothing and forgotten."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, lease_seconds=10**10)
        assert "2592000" == callback.queries[0]["hub.lease_seconds"]
        (kept,) = (await store.subscribers.all()).values()
        assert kept.expires_ms < to_ms(now()) + 2_592_000_001
    ended = type(kept)(
        callback=kept.callback, topic=kept.topic, secret="", method="sha256", expires_ms=1
    )
    await store.client.hset("dateline:{0}:subscribers", kept.id, ended.to_json())
    async with hub(store, settings) as client:
        await publish(store, "News")

        async def forgotten() -> bool:
            return not await store.subscribers.all()

        await wait_until(forgotten)
    assert [] == callback.contents


async def test_failures_are_retried_with_what_the_topic_is_then(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """A subscription survives them, also a change of workers; 410 ends it."""
    callback.status = 500
    async with hub(store, settings) as client:
        await subscribed(client, store, callback)
        await publish(store, "News")
        await callback.came(2)
    callback.status = 200
    count = len(callback.contents)
    async with hub(store, settings) as client:
        assert b"News" in (await callback.came(count + 1))[-1][0]
        callback.status = 410
        await publish(store, "Last")

        async def forgotten() -> bool:
            return not await store.subscribers.all()

        await wait_until(forgotten)


async def test_a_burst_is_one_distribution(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """All that comes within HUB_DEBOUNCE_S."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback)
        for i in range(10):
            await publish(store, f"News {i}")
        ((body, _),) = await callback.came(1)
        await asyncio.sleep(0.6)
        assert 1 == len(callback.contents)
    assert all(f"News {i}".encode() in body for i in range(10))


async def test_only_topics_that_changed_are_sent(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """A view, a day, and a selection are topics; one without news is silent."""
    await saved.put(store, {"name": "fog", "query": "q=fog"}, now=NOON)
    async with hub(store, settings) as client, Callback() as view, Callback() as selection:
        await subscribed(client, store, callback)
        await subscribed(client, store, view, topic="http://news.example/feeds/views/fog.rss")
        await subscribed(
            client, store, selection, topic="http://news.example/feeds/all.json?q=storm"
        )
        await publish(store, "Fog again")
        assert b"Fog again" in (await view.came(1))[0][0]
        await callback.came(1)
        await publish(store, "Storm")
        assert b"Storm" in (await selection.came(1))[0][0]
        await callback.came(2)
        assert (1, 1) == (len(view.contents), len(selection.contents))
        await saved.remove(store, "fog")
        denied = (await view.modes("subscribe", "denied"))[-1]
        assert denied["hub.reason"]
        assert "http://news.example/feeds/views/fog.rss" == denied["hub.topic"]


async def test_subscriptions_are_capped(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Per host and in all; a renewal is always let in."""
    tight = settings.model_copy(update={"hub_max_per_host": 1, "hub_max_subscribers": 2})
    async with hub(store, tight) as client, Callback() as second, Callback() as third:
        await subscribed(client, store, callback)
        await ask(client, callback, 429, topic="http://news.example/feeds/all.json")
        await subscribed(client, store, second)
        await ask(client, third, 503)
        await ask(client, callback)
        (kept, _) = (await store.subscribers.all()).values()
        async with client.delete(f"/api/v1/subscribers/{kept.id}", headers=AUTH) as response:
            assert 204 == response.status
        await ask(client, third)


async def test_callbacks_inside_are_not_reached(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """The same guard as for fetches and webhooks."""
    guarded = settings.model_copy(update={"allowed_networks": ()})
    async with hub(store, guarded) as client:
        await ask(client, callback)

        async def settled() -> bool:
            return not await store.subscribers.all_asked()

        await wait_until(settled)
    assert [] == callback.queries
