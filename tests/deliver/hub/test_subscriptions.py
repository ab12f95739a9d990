"""Subscriptions to the hub over time: leases, failures, bursts, caps, and other hubs."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from service.articles.times import to_ms
from service.manage import views
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.conftest import AUTH, LOOPBACK, NOON
from tests.deliver.hub.callback import TOPIC, Callback, ask, hub, subscribed
from tests.deliver.working import LEASES, publish
from tests.waiting import wait_until
from workers.deliver.endpoint import Partition, lease_of
from workers.deliver.hub.pings import ping_id
from workers.deliver.hub.registry import SubscriptionRegistry
from workers.runtime import now

pytestmark = pytest.mark.usefixtures("hasty")


async def test_leases_end(store: Store, settings: Settings, callback: Callback) -> None:
    """Always, whatever is asked for; what has expired is sent nothing and forgotten."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback, lease_seconds=10**10)
        assert "2592000" == callback.queries[0]["hub.lease_seconds"]
        (kept,) = (await store.hub_subscriptions.all()).values()
        assert kept.expires_ms < to_ms(now()) + 2_592_000_001
    ended = type(kept)(
        callback=kept.callback, topic=kept.topic, secret="", method="sha256", expires_ms=1
    )
    await store.client.hset("dateline:{0}:subscribers", kept.id, ended.to_json())
    async with hub(store, settings) as client:
        await publish(store, "News")

        async def forgotten() -> bool:
            return not await store.hub_subscriptions.all()

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
            return not await store.hub_subscriptions.all()

        await wait_until(forgotten)


async def test_a_burst_is_one_distribution(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """All that comes within HUB_DEBOUNCE_S is sent at once, and only once: a second distribution
    would be due before that of another topic that changes later."""
    slow = settings.model_copy(update={"hub_debounce_s": 1.0})
    async with hub(store, slow) as client, Callback() as witness:
        await publish(store, "Sports before", category="Sports")

        async def sports_exist() -> bool:
            return await store.category_index.count("sports") == 1

        await wait_until(sports_exist)
        sports = "http://news.example/feeds/sports.rss"
        await subscribed(client, store, callback, topic="http://news.example/feeds/news.rss")
        await subscribed(client, store, witness, topic=sports)
        for i in range(10):
            await publish(store, f"News {i}")
        ((body, _),) = await callback.came(1)
        await publish(store, "Sports", category="Sports")
        await witness.came(1)
        assert 1 == len(callback.contents)
    assert all(f"News {i}".encode() in body for i in range(10))


async def test_only_topics_that_changed_are_sent(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """A view, a day, and a selection are topics; one without news is silent."""
    await views.put(store, {"name": "fog", "query": "q=fog"}, now=NOON)
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
        await views.remove(store, "fog")
        denied = (await view.modes("subscribe", "denied"))[-1]
        assert denied["hub.reason"]
        assert "http://news.example/feeds/views/fog.rss" == denied["hub.topic"]


async def test_subscriptions_are_capped(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Per host and in all; a renewal is always accepted."""
    tight = settings.model_copy(update={"hub_max_per_host": 1, "hub_max_subscribers": 2})
    async with (
        hub(store, tight) as client,
        Callback("127.0.0.2") as second,
        Callback("127.0.0.3") as third,
        Callback() as neighbour,
    ):
        await subscribed(client, store, callback)
        await ask(client, callback, 429, topic="http://news.example/feeds/all.json")
        await ask(client, neighbour, 429)
        await subscribed(client, store, second)
        await ask(client, third, 503)
        await ask(client, callback)
        path = "/api/v1/subscribers/"
        (kept, _) = (await store.hub_subscriptions.all()).values()
        async with client.delete(path + kept.id, headers=AUTH) as response:
            assert 204 == response.status

        async def ended() -> bool:
            return len(await store.hub_subscriptions.ids()) == 1

        await wait_until(ended)
        assert "denied" in [
            query["hub.mode"] for each in (callback, second) for query in each.queries
        ]
        await ask(client, third)
        async with client.delete(path + kept.id, headers=AUTH) as response:
            assert 404 == response.status


async def test_a_topic_that_one_subscriber_left_has_news_for_the_next(
    store: Store, settings: Settings, callback: Callback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last subscriber leaves, and another one subscribes before the worker has dropped the
    first one, which it does when it saves a partition."""
    saves = 0
    save = SubscriptionRegistry.save

    async def counting(registry: SubscriptionRegistry, partition: Partition) -> None:
        nonlocal saves
        await save(registry, partition)
        saves += 1

    monkeypatch.setattr(SubscriptionRegistry, "save", counting)
    async with hub(store, settings) as client, Callback() as other:
        await subscribed(client, store, callback)
        await ask(client, callback, mode="unsubscribe")

        async def left() -> bool:
            return not await store.hub_subscriptions.ids()

        await wait_until(left)
        await subscribed(client, store, other)
        subscribed_at = saves

        async def all_were_saved() -> bool:
            return saves > subscribed_at + LEASES

        await wait_until(all_were_saved)
        await publish(store, "News")
        await other.came(1)


async def test_a_subscriber_that_was_denied_may_subscribe_again(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """The callback is denied first, as the operator ordered; then it may subscribe again."""
    async with hub(store, settings) as client:
        await subscribed(client, store, callback)
        (kept,) = await store.hub_subscriptions.all()
        assert await store.hub_subscriptions.remove(kept)
        await callback.modes("subscribe", "denied")

        async def ended() -> bool:
            return not await store.hub_subscriptions.ids()

        await wait_until(ended)
        await subscribed(client, store, callback)
        await publish(store, "News")
        await callback.came(1)


async def test_callbacks_inside_are_not_reached(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Strangers named them: not even where ALLOWED_NETWORKS lets the operator's webhooks go."""
    guarded = settings.model_copy(update={"allowed_networks": LOOPBACK, "open_networks": ()})
    async with hub(store, guarded) as client:
        await ask(client, callback)

        async def settled() -> bool:
            return not await store.client.hlen(keys.HUB_ASKED)

        await wait_until(settled)
    assert [] == callback.queries


async def heard(store: Store) -> None:
    """Wait until server and worker listen to the announcements of changes."""

    async def listens() -> bool:
        ((_, count),) = await store.client.pubsub_numsub(keys.CHANGED)
        return bool(count >= 2)

    await wait_until(listens)


async def test_news_before_a_lease_is_taken_is_pinged(store: Store, settings: Settings) -> None:
    """A worker that takes over a hub names what changed while nobody had its lease."""
    forms: list[dict[str, list[str]]] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        forms.append(parse_qs(await request.text()))
        return web.Response(status=204)

    async with RawTestServer(take) as other:
        url = str(other.make_url("/ping"))
        lease = keys.lease(lease_of(ping_id(url)))
        await store.client.set(lease, "a worker that died")
        async with hub(store, settings.model_copy(update={"hub_pings": (url,)})):
            await heard(store)
            async with store.rendered_pages.announcements() as announcements:
                await publish(store, "News")
                await anext(announcements)
            assert [] == forms
            await store.client.delete(lease)

            async def came() -> bool:
                return bool(forms)

            await wait_until(came)
    assert TOPIC in forms[0]["hub.url"]


async def test_other_hubs_are_pinged_once_for_a_burst(store: Store, settings: Settings) -> None:
    """A form with hub.mode=publish and the topics, again if it fails; feeds name them all."""
    forms: list[dict[str, list[str]]] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        forms.append(parse_qs(await request.text()))
        return web.Response(status=503 if len(forms) == 1 else 204)

    async with RawTestServer(take) as other:
        url = str(other.make_url("/ping"))
        pinging = settings.model_copy(update={"hub_pings": (url,)})
        await views.put(store, {"name": "own", "query": "q=News", "private": True}, now=NOON)
        async with hub(store, pinging) as client:
            # Changes are not announced to a worker that does not listen yet.
            await heard(store)
            for i in range(5):
                await publish(store, f"News {i}")

            async def came() -> bool:
                return len(forms) >= 2

            await wait_until(came)
            async with client.get("/feeds/all.json") as response:
                feed = await response.json(content_type=None)
            assert [url] == [each["url"] for each in feed["hubs"]][1:]
            assert url in response.headers["Link"]
    assert not any("views/own" in topic for form in forms for topic in form["hub.url"])
    assert {"publish"} == {form["hub.mode"][0] for form in forms}
    assert {TOPIC, "http://news.example/feeds/news.atom"} <= set(forms[0]["hub.url"])
    assert len(forms) <= 4
