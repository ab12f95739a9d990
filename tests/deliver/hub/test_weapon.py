"""The hub in the hands of somebody who wants to harm others, or us: everything is bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import orjson
import pytest

from service.articles.times import to_ms
from service.manage import hub as manage_hub
from service.settings import Settings
from service.storage import keys
from service.storage.hub_subscriptions import Refusal
from service.storage.store import Store
from service.websub.hub import SUBSCRIBE, SubscriptionRequest, TopicSubscription
from tests.conftest import LOOPBACK, NOON
from tests.deliver.hub.callback import TOPIC, Callback, Client, ask, hub, subscribed
from tests.deliver.working import publish
from tests.receiver import FakeReceiver
from tests.waiting import let_pass, wait_until
from workers.runtime import now

pytestmark = pytest.mark.usefixtures("hasty")


async def post_as(address: str, client: Client, callback: str) -> tuple[int, str]:
    """(status, Retry-After) of a subscription that a client of this address asks for."""
    form = {"hub.mode": "subscribe", "hub.callback": callback, "hub.topic": TOPIC}
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(client.make_url("/hub"), data=form) as response,
    ):
        return response.status, response.headers.get("Retry-After", "")


async def test_one_client_is_taken_so_often_a_minute(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """429 with Retry-After then, whatever the callback; another client is not kept waiting."""
    few = settings.model_copy(update={"hub_requests_per_minute": 4})
    async with hub(store, few) as client:
        urls = [f"http://127.0.0.{number}:1/" for number in range(2, 22)]
        answers = [await post_as("127.0.0.1", client, url) for url in urls]
        assert [202] * 4 == [status for status, _ in answers[:4]]
        assert {429} == {status for status, _ in answers[4:]}
        assert all(0 < int(after) <= 15 for _, after in answers[4:])
        assert (202, "") == await post_as("127.0.0.9", client, callback.url)
        await callback.modes("subscribe")


async def test_a_host_is_not_hit_by_many_clients(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """The posts for one callback's host have a bucket, and its verifications one by address: more
    names of the host do not make more requests."""
    few = settings.model_copy(update={"hub_requests_per_minute": 5})
    callback.confirms = False
    async with hub(store, few) as client:
        statuses = []
        for number in range(60):
            callback.path = f"/callback/{number}"
            url = callback.url.replace("127.0.0.1", ("127.0.0.1", "localhost")[number % 2])
            status, _ = await post_as(f"127.0.0.{10 + number}", client, url)
            statuses.append(status)
        # Two hosts of ten each; a token every 6 s is refilled meanwhile.
        assert 20 <= statuses.count(202) <= 26
        assert statuses.count(202) + statuses.count(429) == 60

        async def asked() -> bool:
            return len(callback.queries) >= 10

        await wait_until(asked)
        await let_pass(1.0)
        assert 10 <= len(callback.queries) <= 13
        # The others wait for their turn.
        assert await store.client.hlen(keys.HUB_ASKED) >= 7


async def test_one_client_does_not_use_up_a_host(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """However often it asks in the name of a host, another client of the host is taken."""
    few = settings.model_copy(update={"hub_requests_per_minute": 4})
    async with hub(store, few) as client:
        for number in range(12):
            callback.path = f"/callback/{number}"
            await post_as("127.0.0.1", client, callback.url)
        callback.path = "/callback"
        assert (202, "") == await post_as("127.0.0.9", client, callback.url)


async def test_a_callback_that_waits_for_its_turn_is_confirmed_then(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """It is late, not lost."""
    few = settings.model_copy(update={"hub_requests_per_minute": 30})
    async with hub(store, few) as client:
        await store.client.execute_command(
            "SET", keys.tokens("hub:address:127.0.0.1"), to_ms(now()) + 60_500, "PX", 60_500
        )
        await subscribed(client, store, callback)
    assert ["subscribe"] == [query["hub.mode"] for query in callback.queries]


@asynccontextmanager
async def hanging() -> AsyncIterator[int]:
    """The port of a host that accepts connections and never answers."""
    with socket.create_server(("", 0), backlog=512) as server:
        yield int(server.getsockname()[1])


async def test_callbacks_that_hang_take_no_room_from_others(
    store: Store, settings: Settings, callback: Callback, receiver: FakeReceiver
) -> None:
    """They fill a small pool, which the oldest leave; a subscriber is confirmed all the same."""
    small = settings.model_copy(
        update={"hub_max_unconfirmed": 6, "hub_max_subscribers": 3, "webhook_timeout_s": 30.0}
    )
    async with hub(store, small) as client, hanging() as port:
        for number in range(20):
            callback_url = f"http://127.0.0.{30 + number}:{port}/"
            assert (202, "") == await post_as(f"127.0.1.{number}", client, callback_url)
        assert 6 == await store.client.hlen(keys.HUB_ASKED)
        assert 6 == await store.client.execute_command("ZCARD", keys.HUB_UNCONFIRMED)
        await subscribed(client, store, callback)
        await publish(store, "News")
        await callback.came(1)
        assert 5 == await store.client.hlen(keys.HUB_ASKED)
    left = [key async for key in store.client.scan_iter(match=keys.hub_host("*"), count=100)]
    assert [b"dateline:{0}:hub:host:127.0.0.1"] == left


def request_for(number: int, host: str = "a.example") -> SubscriptionRequest:
    """What a stranger asks for."""
    return SubscriptionRequest(mode=SUBSCRIBE, callback=f"http://{host}/{number}", topic=TOPIC)


async def test_the_oldest_unconfirmed_leaves_first(store: Store, settings: Settings) -> None:
    """A renewal of what is confirmed never does, and one that is asked for again is new."""
    small = settings.model_copy(update={"hub_max_unconfirmed": 2})
    subscriptions = store.hub_subscriptions
    confirmed = request_for(0)
    await subscriptions.ask(confirmed, settings=small, now=NOON)
    await subscriptions.confirm(
        confirmed, confirmed.confirmed(to_ms(NOON)), before=None, sent="", settings=small
    )
    for second, number in enumerate((0, 1, 2, 1, 3)):
        now_then = NOON + timedelta(seconds=second)
        refusal = await subscriptions.ask(request_for(number), settings=small, now=now_then)
        assert Refusal.NO is refusal
        # What an attempt would have left.
        await store.client.hset(keys.endpoint(0, request_for(number).id), "failures", 1)
    waiting = {key.decode() for key in await store.client.hkeys(keys.HUB_ASKED)}
    assert {request_for(number).id for number in (0, 1, 3)} == waiting
    assert 3 == len([key async for key in store.client.scan_iter(match="*:endpoint:*", count=99)])


async def test_names_of_one_address_share_its_room(store: Store, settings: Settings) -> None:
    """What is confirmed counts for the addresses that its host had, until it ends or moves."""
    tight = settings.model_copy(update={"hub_max_per_address": 2, "hub_max_per_host": 1})
    subscriptions = store.hub_subscriptions

    async def confirm(
        number: int, *networks: str, before: TopicSubscription | None = None
    ) -> TopicSubscription | None:
        request = request_for(number, f"host{number}.example")
        await subscriptions.ask(request, settings=tight, now=NOON)
        after = request.confirmed(to_ms(NOON), networks=networks)
        is_confirmed = await subscriptions.confirm(
            request, after, before=before, sent="", settings=tight
        )
        return after if is_confirmed else None

    one = await confirm(1, "192.0.2.1", "192.0.2.2")
    two = await confirm(2, "192.0.2.1")
    assert one
    assert two
    assert None is await confirm(3, "198.51.100.1", "192.0.2.1")
    denied = await subscriptions.get(request_for(3, "host3.example").id)
    assert (None, "denied") == (denied[0], denied[1] and denied[1].mode)
    # A renewal from elsewhere leaves its place.
    moved = await confirm(1, "192.0.2.9", before=one)
    assert moved
    assert await confirm(4, "192.0.2.1")
    assert None is await confirm(5, "192.0.2.1")
    await subscriptions.end(two)
    assert await confirm(6, "192.0.2.1")


async def test_what_an_earlier_version_confirmed_can_be_ended(store: Store) -> None:
    """It has no addresses, and is compared byte for byte."""
    old = TopicSubscription(
        callback="http://a.example/1", topic=TOPIC, secret="s", method="sha256", expires_ms=1
    )
    stored = (
        b'{"callback":"http://a.example/1","topic":"http://news.example/feeds/all.rss",'
        b'"secret":"s","method":"sha256","expires_ms":1}'
    )
    await store.client.hset(keys.SUBSCRIBERS, old.id, stored)
    await store.client.sadd(keys.hub_host("a.example"), old.id)
    (kept,) = (await store.hub_subscriptions.all()).values()
    assert old == kept
    await store.hub_subscriptions.end(kept)
    assert {} == await store.hub_subscriptions.all()
    assert [] == [key async for key in store.client.scan_iter(match=keys.hub_host("*"), count=99)]


async def test_a_subscriber_for_whom_there_is_no_room_is_denied(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """Two were asked to confirm while there was room for one."""
    single = settings.model_copy(update={"hub_max_per_address": 1})
    async with hub(store, single) as client:
        await subscribed(client, store, callback)
        callback.path = "/second"
        await ask(client, callback)
        denied = (await callback.modes("subscribe", "subscribe", "denied"))[-1]
        assert "no room" in denied["hub.reason"]

        async def settled() -> bool:
            return not await store.client.hlen(keys.HUB_ASKED)

        await wait_until(settled)
    assert 1 == len(await store.hub_subscriptions.all())


async def test_pushes_past_the_budget_have_the_newest_entries_only(
    store: Store, settings: Settings, callback: Callback
) -> None:
    """The feed's head and what is new since the last push; then whole feeds again, in time."""
    thin = settings.model_copy(update={"hub_egress_max_bytes": 0})
    topic = "http://news.example/feeds/all.json"
    async with hub(store, thin) as client:
        await publish(store, *(f"Old {number}" for number in range(30)))

        async def indexed() -> bool:
            async with client.get("/feeds/all.json") as response:
                return len((await response.json(content_type=None))["items"]) == 31

        await wait_until(indexed)
        await subscribed(client, store, callback, topic=topic, secret="hush")
        await publish(store, "News")
        ((body, headers),) = await callback.came(1)
        await publish(store, "More", "News still")
        second = (await callback.came(2))[-1][0]
        await let_pass(0.5)
        assert 2 == len(callback.contents)
    first = orjson.loads(body)
    assert ["News"] == [item["title"] for item in first["items"]]
    assert "Tern Gazette" in first["title"]
    assert headers["X-Hub-Signature"]
    assert {"More", "News still"} == {item["title"] for item in orjson.loads(second)["items"]}


async def test_one_article_costs_no_more_than_the_budget(store: Store, settings: Settings) -> None:
    """Of many subscribers some get the whole feed, the others its newest entries; nobody none."""
    async with hub(store, settings) as client:
        await publish(store, *(f"Old {number}" for number in range(40)))

        async def indexed() -> bool:
            async with client.get("/feeds/all.rss") as response:
                return (await response.read()).count(b"<item>") == 41

        await wait_until(indexed)
        async with client.get("/feeds/all.rss") as response:
            whole = len(await response.read())
    budget = 5 * whole + 100
    bounded = settings.model_copy(
        update={"hub_egress_max_bytes": budget, "hub_requests_per_minute": 1_000}
    )
    callbacks = [Callback() for _ in range(30)]
    async with hub(store, bounded) as client, asyncio.TaskGroup() as group:
        for callback in callbacks:
            await callback.__aenter__()
            await subscribed(client, store, callback)
        await publish(store, "News")
        contents = [group.create_task(callback.came(1)) for callback in callbacks]
        bodies = [(await content)[0][0] for content in contents]
    for callback in callbacks:
        await callback.__aexit__()
    assert all(b"News" in body for body in bodies)
    thin = [len(body) for body in bodies if len(body) < whole / 4]
    assert 26 >= len(thin) >= 25
    assert sum(map(len, bodies)) <= budget + sum(thin)


async def test_pings_are_not_counted(client: Client, settings: Settings) -> None:
    """They cost nothing: `hub.mode=publish` only says that a feed of this site has news."""
    form = {"hub.mode": "publish", "hub.url": TOPIC}
    for _ in range(settings.hub_requests_per_minute + 5):
        async with client.post("/hub", data=form) as response:
            assert 202 == response.status


async def test_ipv6_clients_are_one_by_their_network(store: Store, settings: Settings) -> None:
    """All addresses of a /64 share one bucket."""
    few = settings.model_copy(update={"hub_requests_per_minute": 2, "open_networks": LOOPBACK})
    waits = [
        await manage_hub.take_tokens(
            store, request_for(number, f"host{number}.example"), client=f"2001:db8::{number}",
            settings=few, now=NOON,
        )
        for number in range(1, 4)
    ]  # fmt: skip
    assert [0, 0, 30] == waits
