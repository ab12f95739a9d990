"""The whole product as its users run it, and the promise that nothing accepted is lost."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.receiver import FakeReceiver
from tests.running import Running, running
from tests.waiting import wait_until

ALLOWED = {"ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_RETRY_SCHEDULE_S": "0.1,0.2,0.5"}
VICTIMS = ("serve", "aggregate", "deliver", "ingest", "redis")


@asynccontextmanager
async def posting(dateline: Running, accepted: set[str]) -> AsyncIterator[None]:
    """Post articles without end, noting the ids of those that were accepted."""
    stop = asyncio.Event()
    headers = {"Authorization": f"Bearer {dateline.token}"}

    async def post() -> None:
        async with aiohttp.ClientSession(headers=headers) as session:
            for number in itertools.count():
                if stop.is_set():
                    return
                article = {"guid": f"g{number}", "title": f"Number {number}", "categories": ["A/B"]}
                try:
                    async with session.post(f"{dateline.url}/api/v1/articles", json=article) as r:
                        if r.status in (200, 201):
                            accepted.add((await r.json())["id"])
                        else:
                            assert r.status == 503, await r.text()
                            assert "Retry-After" in r.headers
                            await asyncio.sleep(0.05)
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(post())
        yield
        stop.set()


async def ids_in_feed(dateline: Running, name: str) -> list[str]:
    """Ids of the entries of a feed, in their order; empty while it cannot be had."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{dateline.url}/feeds/{name}.json") as response:
                items = (await response.json(content_type=None)).get("items", [])
        except (aiohttp.ClientError, OSError):
            return []
    return [item["id"].removeprefix("urn:uuid:") for item in items]


async def events_of(dateline: Running) -> set[str]:
    """Subjects of all events on the stream."""
    async with Redis.from_url(dateline.redis_url) as client:
        entries = await client.xrange("dateline:{0}:events")
    return {fields[b"subject"].decode() for _, fields in entries}


@pytest.mark.timeout(90)
async def test_kill_9_of_any_process_while_articles_are_posted_loses_none() -> None:
    """Every accepted article is in the feed once, on the stream, and at the webhook."""
    accepted: set[str] = set()
    async with running(**ALLOWED) as dateline, FakeReceiver() as receiver:
        await receiver.subscribe(dateline)
        async with posting(dateline, accepted):
            for victim in VICTIMS:
                before = len(accepted)
                pid = dateline.parts()[victim]
                os.kill(pid, signal.SIGKILL)

                async def is_back(victim: str = victim, pid: int = pid, n: int = before) -> bool:
                    return dateline.parts().get(victim, pid) != pid and len(accepted) > n + 20

                await wait_until(is_back, timeout_s=20)

        year = f"all/{(await receiver.first_time())[:4]}"

        async def all_in_feed() -> bool:
            return accepted <= set(await ids_in_feed(dateline, year))

        await wait_until(all_in_feed, timeout_s=20)
        found = await ids_in_feed(dateline, year)
        assert len(found) == len(set(found))
        assert accepted <= await events_of(dateline)

        async def all_delivered() -> bool:
            return accepted <= receiver.subjects

        await wait_until(all_delivered, timeout_s=20)
        assert receiver.forged == 0


async def test_a_second_start_finds_all_data_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What was accepted before a Ctrl-C is in the feed after the next start."""
    folder = tmp_path_factory.mktemp("d")
    accepted: set[str] = set()
    async with running(data_dir=folder) as dateline, posting(dateline, accepted):

        async def some() -> bool:
            return len(accepted) > 5

        await wait_until(some)
    async with running(data_dir=folder) as dateline:
        # What was appended last may be indexed after the start.
        async def are_all_there() -> bool:
            return accepted <= set(await ids_in_feed(dateline, "a/b"))

        assert len(accepted) <= 50
        await wait_until(are_all_there)
