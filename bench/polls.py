"""Polls a second of sources that answer 304: our ingest worker against a bare aiohttp client.

Ours is one worker as shipped: it claims sources from Redis, polls them with their validators,
judges the answer and writes down result and next due time. "bare" is a loop of the same aiohttp
client with the same headers and as many requests at once, which reads the answer and forgets it.
Both ask the same URLs, each once, on 500 hosts of 127.0.0.0/8, in one run, with kept connections
and with new ones. The site is a process of its own; on 2 cores, Redis and the site share them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench.machine import header, median, verdict
from bench.serve import free_port, process
from service.articles.times import to_ms
from service.settings import Settings
from service.sources.schedule import Poll
from service.sources.source import make_source
from service.storage import keys
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from workers.http_client import open_client
from workers.ingest.fetch import ACCEPT, user_agent
from workers.ingest.poller import AT_ONCE, Poller

AIM = 0.6
HOSTS = 500


def urls(port: int, count: int) -> list[str]:
    """Each once, hosts in turn."""
    hosts = [f"127.{1 + n // 62_500}.{n // 250 % 250}.{1 + n % 250}" for n in range(HOSTS)]
    return [f"http://{hosts[n % HOSTS]}:{port}/304/{n}" for n in range(count)]


async def fill(store: Store, wanted: list[str]) -> None:
    """Sources that are due, with the validators of an earlier poll."""
    await store.client.flushdb()
    now = datetime.now(UTC)
    poll = orjson.dumps(Poll(etag='"e"', kind="rss", result="not modified", news_ms=to_ms(now)))
    for at in range(0, len(wanted), 1_000):
        sources = [make_source({"url": url}, created=now) for url in wanted[at : at + 1_000]]
        pipe = store.client.pipeline(transaction=False)
        for source in sources:
            pipe.hset(keys.sources(0), source.id, orjson.dumps(source))
            pipe.hset(keys.sources_polls(0), source.id, poll)
            pipe.zadd(keys.sources_due(0), {source.id: to_ms(now)})
        await pipe.execute()


async def ours(settings: Settings, wanted: list[str]) -> float:
    """Polls a second of one worker."""
    async with open_store(settings, check=False) as store:
        await fill(store, wanted)
        stop_event = asyncio.Event()

        async def watch() -> None:
            # Nobody tells.
            while (await store.counters()).get("polls", 0) < len(wanted):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            stop_event.set()

        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            poller = Poller(store, settings, now=lambda: datetime.now(UTC))
            group.create_task(poller.run(stop_event))
            await watch()
            seconds = time.monotonic() - start
        counters = await store.counters()
        assert not counters.get("polls_failed"), counters
        assert counters["polls"] == len(wanted), counters
        return len(wanted) / seconds


async def bare(settings: Settings, wanted: list[str]) -> float:
    """Requests a second of an aiohttp client."""
    headers = {
        "Accept": ACCEPT,
        "Accept-Encoding": "gzip, br",
        "If-None-Match": '"e"',
        "A-IM": "feed",
    }
    waiting = iter(wanted)
    agent = user_agent(settings.base_url, subscribers=1)
    async with open_client(settings, user_agent=agent) as client:

        async def ask() -> None:
            for url in waiting:
                async with client.get(url, headers=headers, allow_redirects=False) as response:
                    await response.read()
                    assert response.status == 304

        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(ask())
        return len(wanted) / (time.monotonic() - start)


Side = Callable[[Settings, list[str]], Coroutine[Any, Any, float]]
SIDES: dict[str, Side] = {"ours": ours, "bare": bare}


def run_side(name: str, settings: Settings, wanted: list[str]) -> float:
    """In a separate process, so that neither inherits the other's heap."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        rate = uvloop.run(SIDES[name](settings, wanted))
        os.write(writing, str(rate).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    if not text:
        raise SystemExit(f"{name} failed")
    return float(text)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--polls", type=int, default=20_000)
    arguments = options.parse_args()
    logging.disable(logging.ERROR)
    print(header(f"polls     {arguments.polls} on {HOSTS} hosts, {AT_ONCE} at once"))
    print(f"{'connections':<14}{'ours/s':>10}{'bare/s':>10}{'ratio':>8}   each round")
    for connections, option in (("kept", []), ("new", ["--close"])):
        rates: dict[str, list[float]] = {name: [] for name in SIDES}
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dateline-"))
            server = Embedded(binary=find_binary(), folder=Path(folder) / "r", appendfsync="no")
            runner = stack.enter_context(asyncio.Runner())
            redis = runner.run(server.start())
            stack.callback(lambda r=runner, p=redis: r.run(end(p)))
            port = free_port()
            stack.enter_context(
                process([sys.executable, "-m", "bench.sites", str(port), *option], port)
            )
            settings = Settings.from_env(
                {
                    "DATELINE_REDIS_URL": server.url,
                    "DATELINE_OPEN_NETWORKS": "127.0.0.0/8",
                    "DATELINE_POLL_SPACING_S": "0",
                    "DATELINE_LOG_LEVEL": "warning",
                },
                env_file=None,
            )
            wanted = urls(port, arguments.polls)
            # As Redis hands them out: in no order.
            random.shuffle(wanted)
            for _ in range(arguments.rounds):
                for name in random.sample(list(SIDES), len(SIDES)):
                    rates[name].append(run_side(name, settings, wanted))
        ratios = [a / b for a, b in zip(rates["ours"], rates["bare"], strict=True)]
        each = "  ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{connections:<14}{median(rates['ours']):>10.0f}{median(rates['bare']):>10.0f}"
            f"{median(ratios):>8.2f}   {each}   {verdict(median(ratios), AIM)}"
        )


if __name__ == "__main__":
    main()
