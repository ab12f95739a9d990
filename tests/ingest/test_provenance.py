"""What a feed names is a stranger's, though the operator typed the feed: ALLOWED_NETWORKS does not
open the private network to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.articles.times import to_ms
from service.manage import sources
from service.settings import Settings
from service.sources.source import make_source
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, add, again, polled, polling
from workers.http_client import open_client
from workers.ingest.importer import Importer

PAGE = '<!doctype html><html><head><link rel="alternate" type="application/rss+xml" href="{}">'


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """A site of the operator's own network."""
    async with FakeSite() as opened:
        yield opened


@pytest.fixture
async def inside() -> AsyncIterator[FakeSite]:
    """Another service there, which the operator did not name."""
    async with FakeSite() as opened:
        opened.put("/f", RSS)
        opened.put("/hub")
        yield opened


async def test_a_redirect_to_another_service_is_refused(
    store: Store, settings: Settings, site: FakeSite, inside: FakeSite, clock: Clock
) -> None:
    """Also one for good, whose target would be kept."""
    site.put("/f", status=301, Location=f"{inside.url}/f")
    async with polling(store, settings, clock):
        await polled(store, await add(store, f"{site.url}/f", clock), "DATELINE_OPEN_NETWORKS")
    assert [] == inside.requests


async def test_a_source_that_has_moved_is_polled_as_a_strangers(
    store: Store, settings: Settings, inside: FakeSite, clock: Clock
) -> None:
    """The operator typed where it was."""
    source = make_source({"url": "http://public.example/f"}, created=clock())
    moved = source.moved(f"{inside.url}/f", "moved")
    await store.sources.add(moved, due_ms=to_ms(clock()))
    async with polling(store, settings, clock):
        await polled(store, source.id, "DATELINE_OPEN_NETWORKS")
    assert [] == inside.requests


async def test_a_hub_that_a_feed_names_is_not_reached_inside(
    store: Store, settings: Settings, site: FakeSite, inside: FakeSite, clock: Clock
) -> None:
    """The poll goes on without it."""
    links = f'<{inside.url}/hub>; rel="hub", <{site.url}/f>; rel="self"'
    site.put("/f", RSS, Link=links)
    async with polling(store, settings, clock):
        await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert [] == inside.requests


async def test_a_hub_may_not_redirect_inside(
    store: Store, settings: Settings, site: FakeSite, inside: FakeSite, clock: Clock
) -> None:
    """One on the source's own site is asked, and what it leads to is a stranger's."""
    site.put("/f", RSS, Link=f'<{site.url}/hub>; rel="hub", <{site.url}/f>; rel="self"')
    site.put("/hub", status=307, Location=f"{inside.url}/hub")
    async with polling(store, settings, clock):
        await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert ["/f", "/hub"] == [request.path for request in site.requests]
    assert [] == inside.requests


async def test_a_hub_may_redirect_on_its_own_site(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Also by a path alone (WebSub 5.1.1, RFC 9110 10.2.2)."""
    site.put("/f", RSS, Link=f'<{site.url}/hub>; rel="hub", <{site.url}/f>; rel="self"')
    site.put("/hub", status=308, Location="/new/hub")
    site.put("/new/hub", status=202)
    async with polling(store, settings, clock):
        await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert ["/f", "/hub", "/new/hub"] == [request.path for request in site.requests]


async def test_an_alternate_of_another_service_is_not_fetched(
    store: Store, settings: Settings, site: FakeSite, inside: FakeSite, clock: Clock
) -> None:
    """One of the page's own site is."""
    site.put("/", PAGE.format(f"{inside.url}/f"))
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/", clock)
        await polled(store, source_id, "no feed was found")
        site.put("/", PAGE.format("/g"))
        site.put("/g", RSS)
        await sources.remove(store, source_id)
        clock.move(seconds=1)
        await polled(store, await add(store, f"{site.url}/", clock), "1 new")
    assert [] == inside.requests


async def test_feeds_of_a_list_are_the_operators_if_the_list_is(
    store: Store, settings: Settings, site: FakeSite, inside: FakeSite, clock: Clock, tmp_path: Path
) -> None:
    """A file is; of one that was fetched only the feeds of its own site are, until the operator
    adds another by name."""
    feeds = [f"{inside.url}/f", f"{site.url}/f"]
    outlines = "".join(f'<outline type="rss" xmlUrl="{url}"/>' for url in feeds)
    opml = f'<opml version="2.0"><body>{outlines}</body></opml>'
    site.put("/list.opml", opml)
    async with open_client(settings, user_agent="t") as client:
        importer = Importer(store, settings, client, now=clock)
        await importer.take(f"{site.url}/list.opml", progress=lambda _: None)
        assert 2 == importer.summary.counts["sources"]
        typed = {source.url: source.operator_url for source in await store.sources.all()}
        assert {feeds[0]: "", feeds[1]: feeds[1]} == typed
        for source in await store.sources.all():
            await store.sources.remove(source.id)
        (tmp_path / "list.opml").write_text(opml)
        await importer.take(str(tmp_path / "list.opml"), progress=lambda _: None)
    assert set(feeds) == {source.operator_url for source in await store.sources.all()}


async def test_a_strangers_source_becomes_the_operators_by_its_name(
    store: Store, settings: Settings, inside: FakeSite, clock: Clock
) -> None:
    """Adding it again is how the operator vouches for it."""
    url = f"{inside.url}/f"
    source = make_source({"url": url}, created=clock(), is_typed=False)
    await store.sources.add(source, due_ms=to_ms(clock()))
    async with polling(store, settings, clock):
        await polled(store, source.id, "DATELINE_OPEN_NETWORKS")
        typed, is_new = await sources.add(store, {"url": url}, now=clock())
        assert (replace(source, typed_url=url), False) == (typed, is_new)
        await again(store, clock, source.id, "1 new")


async def test_a_source_that_has_moved_is_the_operators_by_its_new_name(
    store: Store, settings: Settings, inside: FakeSite, clock: Clock
) -> None:
    """It is known by the URL that it is polled at, and adding that vouches for it."""
    url = f"{inside.url}/f"
    source = make_source({"url": "http://public.example/f"}, created=clock()).moved(url, "moved")
    await store.sources.add(source, due_ms=to_ms(clock()))
    typed, is_new = await sources.add(store, {"url": url}, now=clock())
    assert (source.id, url, False) == (typed.id, typed.operator_url, is_new)
    again_typed, _ = await sources.add(store, {"url": "http://public.example/f"}, now=clock())
    assert typed == again_typed
    async with polling(store, settings, clock):
        await polled(store, source.id, "1 new")
