"""Polling real sockets into a real store: what one poll does, and what it means for the next."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import web

from service.articles.times import to_ms
from service.manage import sources
from service.settings import Settings
from service.sources.source import make_source
from service.storage import keys
from service.storage.store import Store
from tests.conftest import LOOPBACK, Clock
from tests.fakes import FakeSite
from tests.ingest.polling import (
    RSS,
    add,
    again,
    articles,
    polled,
    polling,
    requests_for,
    source_of,
    until_due_sources_were_polled,
)
from tests.waiting import wait_until


async def test_a_source_is_polled_when_due_and_not_before(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """First at once; then, with its validators, after about POLL_DEFAULT_S."""
    site.put("/f", RSS, ETag='"1"', Last_Modified="Mon, 05 Jan 2026 10:30:20 GMT")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        poll = await polled(store, source_id, "1 articles, 1 new")
        assert ('"1"', 0) == (poll.etag, poll.failures)
        due_s = (poll.due_ms - to_ms(clock())) / 1000
        assert settings.poll_default_s <= due_s <= 1.1 * settings.poll_default_s
        site.put("/f", status=304)
        clock.move(seconds=due_s - 1)
        await until_due_sources_were_polled(store, site, clock)
        assert 1 == len(requests_for(site, "/f"))
        clock.move(seconds=2)
        await polled(store, source_id, "not modified")
    headers = requests_for(site, "/f")[1].headers
    assert '"1"' == headers["If-None-Match"]
    assert "Mon, 05 Jan 2026 10:30:20 GMT" == headers["If-Modified-Since"]
    assert '"1"' == (await store.sources.poll(source_id)).etag


async def test_a_feed_that_is_cut_is_read_but_its_validators_are_not_kept(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """What is there is taken in; the rest comes with the next poll."""
    site.put("/f", RSS[: RSS.index("</channel>")], ETag='"cut"')
    async with polling(store, settings, clock):
        poll = await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert ("", 0) == (poll.etag, poll.failures)


@pytest.mark.parametrize("body", ["", "no feed", RSS[:200]])
async def test_validators_of_what_cannot_be_read_are_not_kept(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, body: str
) -> None:
    """Otherwise the next poll would be answered that nothing changed."""
    site.put("/f", body, ETag='"broken"')
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)

        async def failed() -> bool:
            return (await store.sources.poll(source_id)).failures > 0

        await wait_until(failed)
    assert "" == (await store.sources.poll(source_id)).etag


async def test_retry_after_is_obeyed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """429 for four hours: not before that."""
    site.put("/f", status=429, Retry_After="14400")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        poll = await polled(store, source_id, "answered 429")
    assert (poll.due_ms - to_ms(clock())) / 1000 >= 0.9 * 14_400


async def test_a_permanent_redirect_is_kept_after_three_polls(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Its permanent steps alone; the articles stay what they are."""
    site.put("/old", status=301, Location="/mid")
    site.put("/mid", status=308, Location="/new")
    site.put("/new", status=302, Location="/now")
    site.put("/now", RSS, ETag='"1"')
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/old", clock)
        await polled(store, source_id, "1 new")
        (before,) = await articles(store)
        await again(store, clock, source_id, "the same bytes")
        assert f"{site.url}/old" == (await source_of(store, source_id)).url
        await again(store, clock, source_id, "the same bytes")
        source = await source_of(store, source_id)
        assert f"{site.url}/new" == source.url
        assert "/old" in source.note
        site.put("/now", RSS.replace("</title>", "!</title>"))
        await again(store, clock, source_id, "1 new or updated")
    assert "/new" == site.requests[-2].path
    (after,) = await articles(store)
    assert (before.id, 2) == (after.id, after.revision)


@pytest.mark.parametrize("statuses", [(302,) * 5, (307,) * 5, (301, 302, 301, 301, 200)])
async def test_other_redirects_are_followed_and_not_kept(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, statuses: tuple[int, ...]
) -> None:
    """Temporary ones, and permanent ones that do not agree three times in a row."""
    site.put("/new", RSS)
    site.put("/old", status=statuses[0], Location="/new")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/old", clock)
        await polled(store, source_id, "1 new")
        for status in statuses[1:]:
            site.put("/old", RSS if status == 200 else "", status=status, Location="/new")
            await again(store, clock, source_id, "the same bytes")
    assert f"{site.url}/old" == (await source_of(store, source_id)).url


async def test_gone_stops_and_resuming_tries_again(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """410 pauses the source; an operator may resume it."""
    site.put("/f", status=410)
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "answered 410")
        source = await source_of(store, source_id)
        assert (True, True) == (source.paused, "410 Gone" in source.note)
        clock.move(days=30)
        await until_due_sources_were_polled(store, site, clock)
        assert 1 == len(requests_for(site, "/f"))
        site.put("/f", RSS)
        await sources.change(store, source_id, {"paused": False}, now=clock())
        await polled(store, source_id, "1 new")


async def test_too_many_requests_spares_the_host(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Other feeds of the host wait, too."""
    site.put("/a", status=429, Retry_After="3600")
    site.put("/b", RSS)
    async with polling(store, settings, clock):
        first = await add(store, f"{site.url}/a", clock)
        await polled(store, first, "answered 429")
        second = await add(store, f"{site.url}/b", clock)
        clock.move(seconds=3_599)
        await until_due_sources_were_polled(store, site, clock)
        assert ["/a", "/witness"] == [request.path for request in site.requests]
        # Due again by then, it would be first and have the host spared for another hour.
        await store.sources.remove(first)
        clock.move(seconds=3_600)
        await polled(store, second, "1 new")


async def test_a_page_in_place_of_a_feed_is_a_failure(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A login page, a parked domain: nothing is taken in, validators stay those of the feed."""
    site.put("/f", RSS, ETag='"1"')
    page = f"<html><title>Log in</title><main><p>{'Log in, please. ' * 20}</p></main></html>"
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "1 new")
        site.put("/f", page, ETag='"2"', Content_Type="text/html")
        poll = await again(store, clock, source_id, "neither a feed")
    assert ('"1"', 1) == (poll.etag, poll.failures)
    assert 1 == len(await articles(store))
    assert 2 == len(site.requests)


async def test_the_feed_of_a_site_is_found(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """By what its front page names; from then on the feed is polled."""
    link = '<link rel="alternate" type="application/rss+xml" href="/news.rss">'
    site.put("/", f"<html><head>{link}</head><body>Hi</body></html>", Content_Type="text/html")
    site.put("/news.rss", RSS, ETag='"1"')
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/", clock)
        poll = await polled(store, source_id, "1 new")
        source = await source_of(store, source_id)
        assert (f"{site.url}/news.rss", f"{site.url}/") == (source.url, source.added_url)
        assert ("rss", '"1"') == (poll.kind, poll.etag)
        site.put("/news.rss", status=304)
        await again(store, clock, source_id, "not modified")
    assert ["/", "/news.rss", "/news.rss"] == [request.path for request in site.requests]


async def test_a_site_without_a_feed_is_not_searched_again(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """The usual places are tried once."""
    settings = settings.model_copy(update={"poll_spacing_s": 0.0})
    site.put("/", "<html><body>Hi</body></html>", Content_Type="text/html")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/", clock)
        await polled(store, source_id, "no feed was found")
        tried = len(site.requests)
        await again(store, clock, source_id, "")
    assert tried > 5
    assert tried + 1 == len(site.requests)


async def test_secrets_go_to_their_own_host_alone(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Redirects within it have them, others do not."""
    settings = settings.model_copy(update={"open_networks": LOOPBACK})
    async with FakeSite() as other:
        site.put("/f", status=302, Location="/g")
        site.put("/g", status=302, Location=f"{other.url}/f")
        other.put("/f", RSS)
        source = make_source({"url": f"{site.url}/f", "auth": "me:secret"}, created=clock())
        await store.sources.add(source, due_ms=to_ms(clock()))
        async with polling(store, settings, clock):
            await polled(store, source.id, "1 new")
        sent = ["Authorization" in request.headers for request in site.requests + other.requests]
    assert [True, True, False] == sent


async def test_a_delta_is_added(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """RFC 3229: A-IM goes with the ETag, and a 226 holds only what is new."""
    site.put("/f", RSS, ETag='"1"')
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "1 new")
        new = RSS.replace("Crane", "Second crane").replace("/item/", "/item/9")
        site.put("/f", new, status=226, ETag='"2"', IM="feed")
        poll = await again(store, clock, source_id, "1 new")
    assert '"2"' == poll.etag
    assert [None, "feed"] == [request.headers.get("A-IM") for request in site.requests]
    assert 2 == len(await articles(store))


async def test_what_the_feed_asks_for_is_obeyed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """ttl and freshness; also after a 304, which has no ttl to say."""
    feed = RSS.replace("<channel>", "<channel><ttl>120</ttl>")
    site.put("/f", feed, ETag='"1"')
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "1 new")
        site.put("/f", status=304, Cache_Control="max-age=36000", Age="0")
        for expected_s in (7_200, 36_000):
            poll = await store.sources.poll(source_id)
            due_s = (poll.due_ms - to_ms(clock())) / 1000
            assert expected_s <= due_s <= 1.1 * expected_s
            await again(store, clock, source_id, "not modified")


async def test_a_304_that_was_not_asked_for_is_a_failure(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """There is nothing that it could confirm."""
    site.put("/f", status=304)
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        assert 1 == (await polled(store, source_id, "without conditions")).failures


async def test_a_slow_source_holds_up_nobody(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Other sources are polled meanwhile; a worker that stops gives the slow one back, and the next
    worker polls it at once."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def hang(_: web.BaseRequest) -> web.StreamResponse:
        entered.set()
        await release.wait()
        return web.Response(body=RSS)

    site.answers["/slow"] = hang
    site.put("/f", RSS)
    settings = settings.model_copy(update={"drain_s": 0.2, "poll_spacing_s": 0.0})
    async with polling(store, settings, clock):
        slow = await add(store, f"{site.url}/slow", clock)
        await entered.wait()
        await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert "" == (await store.sources.poll(slow)).polled
    release.set()
    async with polling(store, settings, clock):
        await polled(store, slow, "1 articles")


async def test_hundreds_of_sources_are_polled_once_each(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """On as many hosts, by two workers; and nothing is left claimed."""
    site.put("/f", RSS)
    for number in range(300):
        host = f"127.1.{number // 250}.{number % 250 + 1}"
        await add(store, f"{site.url.replace('127.0.0.1', host)}/f", clock)
    async with polling(store, settings, clock), polling(store, settings, clock):

        async def done() -> bool:
            return (await store.counters()).get("polls", 0) == 300

        await wait_until(done, timeout_s=25)
    assert 300 == len(site.requests) == len({request.host for request in site.requests})
    assert 0 == (await store.counters()).get("polls_failed", 0)
    hosts = await store.client.hvals(keys.sources_hosts(0))
    assert not any(orjson.loads(host)["f"] for host in hosts)
