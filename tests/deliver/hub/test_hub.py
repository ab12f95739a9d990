"""The hub against real callbacks: every MUST and SHOULD of WebSub for hubs, and the cases 100 to
106 of the W3C's test suite for them."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from aiohttp import web

from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.websub.hub import TopicSubscription
from tests.conftest import AUTH
from tests.deliver.hub.callback import TOPIC, Callback, Client, ask, hub, subscribed
from tests.deliver.working import publish
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("hasty")


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


async def test_a_topic_whose_category_was_renamed_is_pushed(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Under the address that was subscribed to, and it can be subscribed to anew."""
    await publish(store, "Old", category="C++")
    await store.client.hset(keys.CATEGORIES_RENAMED, "c", "c-plus-plus")
    topic = "http://news.example/feeds/c.rss"
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, topic=topic)
        await publish(store, "News", category="C++")
        ((body, headers),) = await callback.came(1)
        async with client.get("/feeds/c-plus-plus.rss") as response:
            assert body == await response.read()
    assert topic in headers["Link"]


async def test_102_what_is_not_known_is_ignored(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Parameters of other versions, unknown ones, and some that look like ours."""
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
            return [s.secret for s in (await store.hub_subscriptions.all()).values()] == ["second"]

        await wait_until(renewed)
        await publish(store, "Two")
        contents = await callback.came(2)
    secrets = [b"first", b"second"]
    for (body, headers), secret in zip(contents, secrets, strict=True):
        digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
        assert f"sha256={digest}" == headers["X-Hub-Signature"]


async def test_104_an_unsubscription_is_confirmed_and_ends_the_pushes(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Unconfirmed it changes nothing; confirmed, nothing is pushed or stored any more."""
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
            return len(await store.hub_subscriptions.all()) == 1

        await wait_until(gone)
        await other.came(1)
        await publish(store, "Two")
        await other.came(2)
        assert 1 == len(callback.contents)
        await ask(client, callback, 404, mode="unsubscribe")
    endpoints = [key async for key in store.client.scan_iter(match="*endpoint:sub_*")]
    assert 1 == len(endpoints)


async def test_105_topics_of_other_sites_are_refused(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """A subscription that an earlier version took while its hub was open is denied and ended."""
    topic = "http://other.example/note.txt"
    old = TopicSubscription(
        callback=callback.url, topic=topic, secret="", method="sha256", expires_ms=10**14
    )
    async with hub(store, settings) as client:
        assert "not a feed" in await ask(client, callback, 400, topic=topic)
        assert "not a feed" in await ask(client, callback, 400, mode="publish", topic=topic)
        await ask(client, callback, mode="publish", topic="", url=TOPIC)
    await store.client.hset(keys.SUBSCRIBERS, old.id, old.to_json())
    async with hub(store, settings):
        (denied,) = await callback.modes("denied")
        assert topic == denied["hub.topic"]

        async def ended() -> bool:
            return not await store.hub_subscriptions.ids()

        await wait_until(ended)
    assert [] == callback.contents


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
        ({"topic": "http://["}, "hub.topic"),
        ({"mode": "publish", "topic": "http://["}, "hub.topic"),
        ({"topic": "http://news.example/feeds/all.rss?q=["}, "hub.topic"),
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
    """400 and plain text that names the parameter, never the secret; no callback is asked."""
    text = await ask(client, callback, 400, **fields)
    assert match in text
    assert "xxx" not in text
    assert [] == callback.queries


async def test_topics_that_do_not_exist_are_refused(client: Client, callback: Callback) -> None:
    """The request itself is answered with 404."""
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
            return not await store.client.hlen(keys.HUB_ASKED)

        await wait_until(settled)
        assert {} == await store.hub_subscriptions.all()
    assert [] == [key async for key in store.client.scan_iter(match=keys.hub_host("*"))]


async def test_a_callback_that_was_away_is_asked_again(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """5xx is not a refusal: it is asked twice more."""
    callback.answers = [web.Response(status=503), web.Response(status=500)]
    async with hub(store, settings) as client:
        await subscribed(client, store, callback)
    await callback.modes("subscribe", "subscribe", "subscribe")
    challenges = {query["hub.challenge"] for query in callback.queries}
    assert 3 == len(challenges)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 400),
        (b"hub.secret=%ff%fe&hub.mode=subscribe", "application/x-www-form-urlencoded", 400),
        (b"hub.mode=subscribe", "application/x-www-form-urlencoded; charset=nonsense", 400),
        (b"x=1&" * 2_000, "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415), (b"--x", "multipart/form-data", 415),
    ],
)  # fmt: skip
async def test_bodies_of_another_kind_are_refused_in_words(
    client: Client, body: bytes, content_type: str, status: int
) -> None:
    """4xx and plain text, whatever comes."""
    headers = {"Content-Type": content_type}
    async with client.post("/hub", data=body, headers=headers) as response:
        assert status == response.status
        assert response.headers["Content-Type"].startswith("text/plain")
        assert await response.text()


async def test_unknown_methods_and_codings_are_refused_in_words(client: Client) -> None:
    """The answers are 405 with Allow, and 415."""
    async with client.get("/hub") as response:
        assert (405, "POST") == (response.status, response.headers["Allow"])
        assert response.headers["Content-Type"].startswith("text/plain")
    headers = {"Content-Encoding": "rot13", "Content-Type": "application/x-www-form-urlencoded"}
    async with client.post("/hub", data=b"x", headers=headers) as response:
        assert 415 == response.status


async def test_callbacks_are_used_as_they_are_spelled(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Escapes and all; two spellings of one are one, and so are those of a topic."""
    spelled = "/p%2Fq;a=1@b?x=%2F%26%e2%82%ac&y='[]!$()*,&z=%7E"
    async with hub(store, settings) as client:
        callback.path = spelled
        await subscribed(client, store, callback, topic=TOPIC.replace("all", "%61ll"))
        callback.path = spelled.replace("%7E", "~")
        await ask(client, callback)
        await callback.modes("subscribe", "subscribe")

        async def settled() -> bool:
            return not await store.client.hlen(keys.HUB_ASKED)

        await wait_until(settled)
        await publish(store, "News")
        await callback.came(1)
        assert 1 == len(await store.hub_subscriptions.all())
    assert callback.paths[0].startswith(f"{spelled}&hub.mode=subscribe&")
    assert spelled.replace("%7E", "~") == callback.paths[-1]


async def test_an_unsubscription_before_the_confirmation_wins(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """The last request counts; other parameters of an unsubscription are ignored."""
    async with hub(store, settings) as client:
        await ask(client, callback)
        await ask(client, callback, mode="unsubscribe", lease_seconds="soon", secret="x" * 300)

        async def settled() -> bool:
            return not await store.hub_subscriptions.ids()

        await wait_until(settled)
    assert "unsubscribe" == callback.queries[-1]["hub.mode"]
