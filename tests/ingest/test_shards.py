"""An ingest worker on an archive of several shards."""

from __future__ import annotations

from dataclasses import replace

from service.settings import Settings
from service.storage.shards import claim_shards, numbered
from service.storage.store import Store, of_client
from tests.conftest import LOOPBACK, Clock
from tests.fakes import FakeSite
from tests.ingest.polling import add, articles, polled, polling
from tests.ingest.test_remaining_entries import rss
from tests.waiting import wait_until

SHARDS = numbered(3)


async def sharded(store: Store) -> Store:
    """The store with three shards."""
    await store.client.flushdb()
    return of_client(store.client, shards=await claim_shards(store.client, SHARDS))


def url_in(site: FakeSite, shard: int) -> str:
    """The site as a host of a shard."""
    urls = (site.url.replace("127.0.0.1", f"127.0.0.{n}") for n in range(2, 200))
    return next(url for url in urls if SHARDS.of(url.partition("//")[2]) == shard)


async def test_sources_of_all_shards_are_polled_and_pushed_to(
    store: Store, settings: Settings, clock: Clock
) -> None:
    """By one worker."""
    opened = await sharded(store)
    async with FakeSite() as site, polling(opened, settings, clock):
        site.put("/f", rss("a one", "b two"))
        for shard in SHARDS:
            url = f"{url_in(site, shard)}/f"
            source_id = await add(opened, url, clock)
            await polled(opened, source_id, "2 articles, 2 new")
            source = await opened.sources.get(source_id)
            assert source
            pushed, kind = rss(f"c{shard} pushed"), "application/rss+xml"
            await opened.our_subscriptions.push(source_id, pushed, kind, host=source.host)

        async def are_appended() -> bool:
            titles = {article.title for article in await articles(opened)}
            return titles >= {"c0 pushed", "c1 pushed", "c2 pushed"}

        await wait_until(are_appended)


async def test_a_source_that_is_redirected_for_good_is_polled_from_its_new_shard(
    store: Store, settings: Settings, clock: Clock
) -> None:
    """Once each time, also across the move; its articles stay the same ones."""
    opened = await sharded(store)
    settings = settings.model_copy(update={"redirect_confirmations": 1, "open_networks": LOOPBACK})
    async with FakeSite() as site, polling(opened, settings, clock):
        target = f"{url_in(site, 1)}/new"
        site.put("/old", status=301, Location=target)
        site.put("/new", rss("a one", "b two"))
        source_id = await add(opened, f"{url_in(site, 0)}/old", clock)
        await polled(opened, source_id, "2 articles, 2 new")
        source = await opened.sources.get(source_id)
        assert source
        assert target == source.url
        await opened.sources.replace(replace(source, title="T"), now_ms=0)
        site.put("/new", rss("a one", "b two", "c three"))
        before = len(site.requests)
        clock.move(days=2)
        await opened.sources.wake(source_id, due_ms=0)

        async def is_polled() -> bool:
            return len(site.requests) > before

        await wait_until(is_polled)
        await polled(opened, source_id, "1 new")
        assert ["/new"] == [request.path for request in site.requests[before:]]
        (row,) = [
            shard
            for shard in SHARDS
            if await store.client.hexists(f"dateline:{{{shard}}}:sources", source_id)
        ]
        assert 1 == row
