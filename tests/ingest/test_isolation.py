"""One bad source costs itself, whatever is stored of it and wherever our code raises."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, add, polled, polling
from tests.waiting import wait_until
from workers.ingest import source_poll


async def test_what_cannot_be_read_costs_its_source(
    store: Store,
    settings: Settings,
    site: FakeSite,
    clock: Clock,
    redis: Redis,
) -> None:
    """Broken settings, and a broken rest of the last poll: the others are polled."""
    site.put("/good", RSS)
    site.put("/renewed", RSS)
    bad, renewed = (
        await add(store, f"{site.url}/bad", clock),
        await add(store, f"{site.url}/renewed", clock),
    )
    await redis.hset(keys.SOURCES, bad, b"{")
    await redis.hset(keys.SOURCES_POLLS, renewed, b"[]")
    good = await add(store, _at_another_host(f"{site.url}/good"), clock)
    async with polling(store, settings, clock):
        await polled(store, good, " new")
        await polled(store, renewed, " new")
    assert {"/renewed", "/good"} == {request.path for request in site.requests}


async def test_a_bug_in_what_decides_the_next_poll_costs_its_source(
    store: Store, settings: Settings, site: FakeSite, clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It is reported and due again later; the others are polled."""
    next_poll = source_poll.next_poll

    def failing(source: Any, *args: Any, **options: Any) -> Any:
        if source.url.endswith("/bad"):
            raise RuntimeError("planted")
        return next_poll(source, *args, **options)

    monkeypatch.setattr(source_poll, "next_poll", failing)
    site.put("/good", RSS)
    site.put("/bad", RSS)
    await add(store, f"{site.url}/bad", clock)
    good = await add(store, _at_another_host(f"{site.url}/good"), clock)

    async def is_reported() -> bool:
        faults = await store.faults.all(now=clock())
        return ("source", f"{site.url}/bad") in [(f.kind, f.name) for f in faults]

    async with polling(store, settings, clock):
        await polled(store, good, " new")
        await wait_until(is_reported)


def _at_another_host(url: str) -> str:
    """The same server by another name: sources of one host wait for one another."""
    return url.replace("127.0.0.1", "localhost")
