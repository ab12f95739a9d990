"""WebSub as a subscriber: a hub on a real socket, our callback, and the polls between."""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from service import http
from service.articles.times import to_ms
from service.manage import sources
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.websub import subscriber
from service.websub.subscriber import HubSubscription
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, add, again, articles, polled, polling
from tests.waiting import wait_until

NEW = RSS.replace("Crane", "Second crane").replace("/item/", "/item/9")


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """A site with its hub."""
    async with FakeSite() as opened:
        opened.put("/f", RSS, ETag='"1"', Link=_links(opened))
        yield opened


def _links(site: FakeSite) -> str:
    return f'<{site.url}/hub>; rel="hub", <{site.url}/topic>; rel="self"'


class Hub:
    """What was asked of it, and what it sends to our callback."""

    def __init__(self, site: FakeSite, client: TestClient) -> None:  # type: ignore[type-arg]
        self.requests: list[dict[str, str]] = []
        self.status = 202
        self._client = client
        site.answers["/hub"] = self._answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        form = await request.post()
        self.requests.append({name: str(value) for name, value in form.items()})
        return web.Response(status=self.status)

    async def was_asked(self, count: int) -> dict[str, str]:
        """The newest request, once there were so many."""

        async def enough() -> bool:
            return len(self.requests) >= count

        await wait_until(enough)
        return self.requests[-1]

    def path(self, form: dict[str, str]) -> str:
        """The path of the callback that a request named."""
        assert form["hub.callback"].startswith("http://news.example/websub/")
        return urlsplit(form["hub.callback"]).path

    async def verify(self, form: dict[str, str], **given: str) -> tuple[int, str]:
        """(status, body) of our answer."""
        params = {
            "hub.mode": form["hub.mode"],
            "hub.topic": form["hub.topic"],
            "hub.challenge": "echo+this&exactly",
            "hub.lease_seconds": "1000",
            **{f"hub.{name}": value for name, value in given.items()},
        }
        async with self._client.get(self.path(form), params=params) as response:
            return response.status, await response.text()

    async def push(self, form: dict[str, str], body: str, *, secret: str | None = None) -> int:
        """Status of our answer; without a signature if the secret is empty."""
        key = form["hub.secret"] if secret is None else secret
        digest = hmac.new(key.encode(), body.encode(), hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature": f"sha256={digest}"} if key else {}
        headers["Content-Type"] = "application/rss+xml"
        async with self._client.post(
            self.path(form), data=io.BytesIO(body.encode()), headers=headers
        ) as response:
            return response.status


@pytest.fixture
def hub(site: FakeSite, client: TestClient) -> Hub:  # type: ignore[type-arg]
    """The hub of the site."""
    return Hub(site, client)


async def test_a_hub_is_asked_verified_and_believed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """From the first poll on: what it pushes is in the archive, and polls are rare."""
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        form = await hub.was_asked(1)
        assert ("subscribe", f"{site.url}/topic") == (form["hub.mode"], form["hub.topic"])
        assert 64 == len(form["hub.secret"])
        await polled(store, source_id, "1 new")
        assert (200, "echo+this&exactly") == await hub.verify(form, lease_seconds="864000")
        assert 202 == await hub.push(form, NEW)

        async def arrived() -> bool:
            return len(await articles(store)) == 2

        await wait_until(arrived)
        site.put("/f", status=304)
        poll = await again(store, clock, source_id, "", after_s=settings.poll_default_s * 1.2)
        assert poll.due_ms - to_ms(clock()) >= 12 * settings.poll_default_s * 1000
        shown = await sources.to_public(store, await sources.find(store, source_id), now=clock())
        assert shown["hub"] == f"{site.url}/hub"
    assert 1 == len(hub.requests)
    assert 0 == await store.client.xlen(keys.pushes(0))


async def subscribing(
    store: Store, site: FakeSite, clock: Clock, hub: Hub
) -> tuple[str, dict[str, str]]:
    """Add the source, and wait until its hub was asked and its first poll is recorded.

    Returns (id of the source, the request to the hub).
    """
    source_id = await add(store, f"{site.url}/f", clock)
    form = await hub.was_asked(1)
    await polled(store, source_id, "1 new")
    return source_id, form


async def test_forged_pushes_are_answered_and_ignored(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """Section 7.1.1: the answer to a wrong signature is that of a valid push, so that a forger
    learns nothing from it; a push without one is refused."""
    async with polling(store, settings, clock):
        _, form = await subscribing(store, site, clock, hub)
        assert 410 == await hub.push(form, NEW)
        await hub.verify(form)
        assert 202 == await hub.push(form, NEW, secret="wrong")
        assert 403 == await hub.push(form, NEW, secret="")
        assert 0 == await store.client.xlen(keys.pushes(0))
        assert 202 == await hub.push(form, RSS)

        async def taken() -> bool:
            return (await store.counters()).get("pushes") == 1

        await wait_until(taken)
    assert 1 == len(await articles(store))
    assert 2 == (await store.counters())["pushes_forged"]


async def test_only_what_was_asked_for_is_confirmed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub,
    client: TestClient,  # type: ignore[type-arg]
) -> None:  # fmt: skip
    """Another topic, another mode, no challenge, an unknown callback: 404."""
    async with polling(store, settings, clock):
        await add(store, f"{site.url}/f", clock)
        form = await hub.was_asked(1)
        for wrong in ({"topic": "http://x.example/"}, {"mode": "unsubscribe"}, {"challenge": ""}):
            assert 404 == (await hub.verify(form, **wrong))[0]
        async with client.get("/websub/unknown", params={"hub.mode": "subscribe"}) as response:
            assert 404 == response.status
        assert 200 == (await hub.verify(form))[0]


async def test_a_lease_is_renewed_before_it_ends(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """By a new callback and without a poll; the former one is ended once the new one lives."""
    async with polling(store, settings, clock):
        _, first = await subscribing(store, site, clock, hub)
        await hub.verify(first, lease_seconds="1000")
        clock.move(seconds=801)
        second = await hub.was_asked(2)
        assert "subscribe" == second["hub.mode"]
        assert first["hub.callback"] != second["hub.callback"]
        assert first["hub.secret"] != second["hub.secret"]
        assert 202 == await hub.push(first, RSS)
        await hub.verify(second, lease_seconds="10000")
        clock.move(seconds=7_000)
        ended = await hub.was_asked(3)
        assert ("unsubscribe", first["hub.callback"]) == (ended["hub.mode"], ended["hub.callback"])
        assert 200 == (await hub.verify(ended))[0]
        assert 410 == await hub.push(first, RSS)
    assert 2 == len([r for r in site.requests if r.path == "/f"])


async def test_without_a_hub_that_works_polling_goes_on(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """Denied, or never verified: polled as before, and the hub asked again, ever more rarely."""
    async with polling(store, settings, clock):
        source_id, form = await subscribing(store, site, clock, hub)
        assert 200 == (await hub.verify(form, mode="denied"))[0]
        site.put("/f", status=304)
        poll = await again(store, clock, source_id, "not modified")
        assert poll.due_ms - to_ms(clock()) <= 1.1 * settings.poll_default_s * 1000
        await hub.was_asked(2)
        waits = []
        for _ in range(3):
            poll = await again(store, clock, source_id, "", after_s=86_400)
            subscription = await store.our_subscriptions.get(poll.subscription)
            assert subscription
            waits.append(subscription.renew_ms - to_ms(clock()))
    assert 5 == len(hub.requests)
    assert sorted(set(waits)) == waits


async def test_a_removed_source_ends_its_pushes(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """410 tells the hub to forget the callback."""
    async with polling(store, settings, clock):
        source_id, form = await subscribing(store, site, clock, hub)
        await hub.verify(form)
        await store.sources.remove(source_id)
        assert 410 == await hub.push(form, NEW)


async def test_what_cannot_be_kept_or_read_is_polled_for(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """A push that is too large for the queue, and one that is no feed."""
    async with polling(store, settings, clock):
        _, form = await subscribing(store, site, clock, hub)
        await hub.verify(form)
        for count, body in enumerate(("<" * 2_000_001, "no feed at all"), 2):
            clock.move(seconds=2)
            assert 202 == await hub.push(form, body)

            async def asked(count: int = count) -> bool:
                return len([r for r in site.requests if r.path == "/f"]) == count

            await wait_until(asked)


async def test_without_a_public_url_no_hub_is_asked(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """A hub could not reach us. It would be asked before the poll is recorded."""
    settings = settings.model_copy(update={"public_url": ""})
    async with polling(store, settings, clock):
        await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert [] == hub.requests


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("sha256=" + hmac.new(b"s", b"body", hashlib.sha256).hexdigest(), True),
        ("sha512=" + hmac.new(b"s", b"body", hashlib.sha512).hexdigest().upper(), True),
        ("sha1=" + hmac.new(b"s", b"body", hashlib.sha1).hexdigest(), True),
        ("md5=" + hmac.new(b"s", b"body", hashlib.md5).hexdigest(), False),
        ("sha256=" + hmac.new(b"t", b"body", hashlib.sha256).hexdigest(), False),
        ("sha256=", False), ("", False), ("sha256", False), ("sha256=é", False),
    ],
)  # fmt: skip
def test_signatures(signature: str, expected: bool) -> None:
    """The methods of section 7.1, and no other."""
    assert expected == subscriber.is_signed(b"body", signature=signature, secret="s")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['<http://h/>; rel="hub", </t>; rel=self'], ("http://h/", "http://x/t")),
        (["<http://h/>; rel=hub", '<t>; type="a,b"; rel="alternate self"'], ("http://h/", "http://x/t")),
        (['<http://1/>; rel="hub"', '<http://2/>; rel="hub"'], ("http://1/", "")),
        (["garbage, <", "<>; rel"], ("", "")),
        ([], ("", "")),
    ],
)  # fmt: skip
def test_link_headers(headers: list[str], expected: tuple[str, str]) -> None:
    """RFC 8288, as far as hubs and topics need it; the first of a kind counts."""
    assert expected == http.links(headers, base_url="http://x/f")


def test_a_lease_of_a_second_is_not_renewed_every_second() -> None:
    """Each renewal is a request and a subscription more."""
    asked = HubSubscription(id="i", source_id="s", hub="h", topic="t", secret="x").requested(0)
    assert 300_000 == asked.verified(1, 0).renew_ms


async def test_subscriptions_that_are_over_are_forgotten(store: Store) -> None:
    """Those that a hub never unsubscribed once their lease ended, and those without a use."""
    asked = HubSubscription(id="asked", source_id="s", hub="h", topic="t", secret="x").requested(0)
    live = replace(asked.verified(1_000, 0), id="live")
    ending = replace(live, id="ending", is_ending=True)
    for each in (asked, live, ending):
        await store.our_subscriptions.put(each)

    async def kept(now_ms: int) -> set[str]:
        await store.our_subscriptions.sweep(now_ms)
        return {key.decode() for key in await store.client.hkeys(keys.subscriptions(0))}

    assert {"asked", "live", "ending"} == await kept(999_999)
    assert {"asked", "live"} == await kept(1_000_000)
    assert {"live"} == await kept(300_001 + 604_800_000)
    assert set() == await kept(800_001 + 604_800_000)
    await store.our_subscriptions.sweep(0)


def test_a_subscription_lives_as_long_as_its_lease() -> None:
    """And not while it is being ended."""
    requested = HubSubscription(id="i", source_id="s", hub="h", topic="t", secret="x").requested(0)
    assert (False, 300_000) == (requested.is_live(1), requested.renew_ms)
    live = requested.verified(1_000, 5_000)
    assert [True, False] == [live.is_live(ms) for ms in (1_004_999, 1_005_000)]
    assert (805_000, 0) == (live.renew_ms, live.failures)
    assert not replace(live, is_ending=True).is_live(6_000)


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_source_that_names_no_hub_any_more_is_unsubscribed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub, is_live: bool
) -> None:
    """Its subscription is ended and never renewed, and it is polled as before."""
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        form = await hub.was_asked(1)
        await polled(store, source_id, "1 new")
        if is_live:
            await hub.verify(form, lease_seconds="864000")
        site.put("/f", NEW)
        poll = await again(store, clock, source_id, "1 new")
        assert ("", "") == (poll.hub, poll.subscription)
        if is_live:
            ended = await hub.was_asked(2)
            assert ("unsubscribe", form["hub.callback"]) == (
                ended["hub.mode"],
                ended["hub.callback"],
            )
            assert 200 == (await hub.verify(ended))[0]
        assert 410 == await hub.push(form, NEW)
        # Past the time at which it would have been renewed.
        await again(store, clock, source_id, "the same bytes", after_s=864_000)
    assert (2 if is_live else 1) == len(hub.requests)
    assert 0 == await store.client.hlen(keys.subscriptions(0))


async def test_a_renewal_that_is_due_names_no_hub_that_is_gone(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub
) -> None:
    """What a version before left behind: a poll without a hub, and its subscription due."""
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        form = await hub.was_asked(1)
        poll = await polled(store, source_id, "1 new")
        await hub.verify(form, lease_seconds="1000")
        stale = replace(poll, hub="", topic="")
        await store.client.hset(keys.sources_polls(0), source_id, orjson.dumps(stale))
        clock.move(seconds=801)
        assert "unsubscribe" == (await hub.was_asked(2))["hub.mode"]

        async def forgotten() -> bool:
            return not (await store.sources.poll(source_id)).subscription

        await wait_until(forgotten)
    assert 1 == len([r for r in site.requests if r.path == "/f"])
