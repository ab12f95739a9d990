"""An ingest worker at work, and what became of its sources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from service.articles.article import Article
from service.articles.times import to_ms
from service.settings import Settings
from service.sources.schedule import Poll
from service.sources.source import Source, make_source
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.loops import at_work
from tests.running import ROOT
from tests.waiting import wait_until
from workers.ingest.poller import Poller

DATA = ROOT / "tests" / "data"
RSS = (DATA / "k2.rss").read_text()


@asynccontextmanager
async def polling(store: Store, settings: Settings, clock: Clock) -> AsyncIterator[None]:
    """An ingest worker at work."""
    async with at_work(Poller(store, settings, now=clock).run):
        yield


async def add(store: Store, url: str, clock: Clock) -> str:
    """Add a source that is due; its id."""
    source = make_source({"url": url}, created=clock())
    await store.sources.add(source, due_ms=to_ms(clock()))
    return source.id


async def polled(store: Store, source_id: str, text: str) -> Poll:
    """The last poll, once its result contains a text."""

    async def done() -> Poll | None:
        poll = await store.sources.poll(source_id)
        return poll if text in poll.result else None

    found = await wait_until(done)
    assert isinstance(found, Poll)
    return found


async def until_due_sources_were_polled(store: Store, site: FakeSite, clock: Clock) -> None:
    """Wait until a source on another host that became due just now was polled: all sources that
    were due before it were claimed with it or earlier."""
    url = site.url.replace("127.0.0.1", "127.0.0.2")
    await polled(store, await add(store, f"{url}/witness", clock), "answered 404")


def requests_for(site: FakeSite, path: str) -> list[web.BaseRequest]:
    """The requests for one path, oldest first."""
    return [request for request in site.requests if request.path == path]


async def again(
    store: Store, clock: Clock, source_id: str, text: str, *, after_s: float | None = None
) -> Poll:
    """Move the clock to where the source is due, or by `after_s`, and wait for a poll whose result
    contains a text; return it."""
    before = await store.sources.poll(source_id)
    due_s = (before.due_ms - to_ms(clock())) / 1000
    clock.move(seconds=due_s + 0.001 if after_s is None else after_s)

    async def done() -> Poll | None:
        poll = await store.sources.poll(source_id)
        return poll if poll.polled != before.polled and text in poll.result else None

    found = await wait_until(done)
    assert isinstance(found, Poll)
    return found


async def source_of(store: Store, source_id: str) -> Source:
    """The source as it is stored now."""
    found = await store.sources.get(source_id)
    assert found
    return found


async def articles(store: Store) -> list[Article]:
    """All articles that are stored."""
    ids = [i async for chunk in store.articles.all_ids() for i in chunk]
    return [article for article in await store.articles.get(ids) if article]
