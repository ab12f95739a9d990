"""How long the loop of an ingest worker stalls while hostile documents come in among normal feeds.

One worker as shipped, in this process, polls 40 normal feeds and the attack documents of this file
again and again (POLL_MIN_S=1). A clock on its loop wants to tick every 2 ms and notes how late it
is; the same clock is read while the worker polls nothing, and while it polls the normal feeds
alone, for a machine has stalls of its own. The normal feeds must be there at the end, whole.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import logging
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import orjson
import uvloop

from bench.feeds import ENTRIES
from bench.machine import header
from bench.serve import free_port, process
from service.articles.times import to_ms
from service.settings import Settings
from service.sources.source import make_source
from service.storage import keys
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from workers.ingest.poller import Poller

AIM_MS = 50.0
FEEDS = 40
TICK_S = 0.002


def attacks() -> list[tuple[bytes, list[bytes]]]:
    """(body, headers) of each."""
    letters = [97 + n for n in range(10)]
    bomb = b"".join(
        b'<!ENTITY %c "%s">' % (new, b"&%c;" % old * 10) for old, new in pairwise(letters)
    )
    feed = b"<rss><channel><item><guid>1</guid><title>T</title><description>%s</description>"
    end = b"</item></channel></rss>"
    attributes = b" ".join(b'a%d="1"' % n for n in range(300_000))
    zeros = gzip.compress(b"<rss>" + b"0" * 60_000_000)
    return [
        (b"<rss><channel>" + b"<item>" * 500_000, []),
        (feed % (b"&lt;div>" * 200_000) + end, []),
        (b"<html><body>" + b"<div>" * 500_000, [b"Content-Type: text/html"]),
        (b"<!DOCTYPE x [" + bomb + b"]>" + feed % b"&j;" + end, []),
        (b"<rss><channel><item " + attributes + b">x</item></channel></rss>", []),
        (feed % (b"<!--" * 500_000), []),
        (feed % (b"&lt;!--" * 500_000) + end, []),
        (zeros, [b"Content-Encoding: gzip"]),
        (feed % (b"word " * 1_500_000) + end, []),
        (b"[" * 3_000_000, [b"Content-Type: application/json"]),
        (b'{"items": [' + b'{"id": "%s"},' % (b"x" * 100) * 60_000 + b'{"id": 1}]}', []),
        (feed % (b"&amp;" * 2_000_000) + end, []),
    ]


async def clocked(until: asyncio.Event, late_ms: list[float]) -> None:
    """Note how late each tick is."""
    while not until.is_set():
        before = time.perf_counter()
        await asyncio.sleep(TICK_S)
        late_ms.append((time.perf_counter() - before - TICK_S) * 1000)


async def measure(settings: Settings, urls: list[str], seconds: float) -> list[float]:
    """Lateness of the ticks of a worker that polls these, in ms."""
    late_ms: list[float] = []
    async with open_store(settings, check=False) as store:
        await store.client.flushdb()
        now = datetime.now(UTC)
        for url in urls:
            source = make_source({"url": url, "interval_s": 1}, created=now)
            await store.sources.add(source, due_ms=to_ms(now))
        ended, warm = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(Poller(store, settings, now=lambda: datetime.now(UTC)).run(ended))
            # The first second is imports and starting readers, which a worker does once.
            await asyncio.sleep(1)
            group.create_task(clocked(warm, late_ms))
            await asyncio.sleep(seconds)
            warm.set()
            ended.set()
        await unharmed(store)
    return late_ms


async def unharmed(store: Store) -> None:
    """Every normal feed was taken in, whole, again and again."""
    for source in await store.sources.all():
        if "/feed/" in source.url:
            poll = await store.sources.poll(source.id)
            assert poll.result, f"{source.url} was never polled"
            assert not poll.failures, poll.result
    polls = await store.client.hvals(keys.sources_polls(0))
    normal = sum(orjson.loads(poll)["kind"] in ("rss", "atom") for poll in polls)
    count = sum([len(chunk) async for chunk in store.articles.all_ids()])
    assert count >= min(normal, FEEDS) * ENTRIES, f"{count} articles of {normal} feeds"


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=30)
    arguments = options.parse_args()
    hostile = attacks()
    # Each attack is logged, which is not measured.
    logging.disable(logging.ERROR)
    print(header(f"attacks   {len(hostile)} documents, {sum(len(b) for b, _ in hostile)} bytes"))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dateline-"))
        server = Embedded(binary=find_binary(), folder=Path(folder) / "r", appendfsync="no")
        runner = stack.enter_context(asyncio.Runner())
        redis = runner.run(server.start())
        stack.callback(lambda: runner.run(end(redis)))
        port = free_port()
        command = [sys.executable, "-m", "bench.sites", str(port), "--attacks"]
        stack.enter_context(process(command, port))
        settings = Settings.from_env(
            {
                "DATELINE_REDIS_URL": server.url,
                "DATELINE_OPEN_NETWORKS": "127.0.0.0/8",
                "DATELINE_POLL_MIN_S": "1",
                "DATELINE_POLL_DEFAULT_S": "1",
                "DATELINE_POLL_MAX_S": "2",
                "DATELINE_LOG_LEVEL": "error",
            },
            env_file=None,
        )
        normal = [f"http://127.3.0.{n + 1}:{port}/feed/{n}" for n in range(FEEDS)]
        bad = [f"http://127.4.0.{n + 1}:{port}/bad/{n}" for n in range(len(hostile))]
        print(f"{'worker polls':<24}{'worst ms':>10}{'p99.9':>8}{'p99':>8}{'p50':>8}")
        worst = 0.0
        for name, urls in (("nothing", []), ("feeds", normal), ("feeds and attacks", normal + bad)):
            late = sorted(uvloop.run(measure(settings, urls, arguments.seconds)))
            worst = late[-1]
            p50, p99, p999 = (late[int(len(late) * share)] for share in (0.5, 0.99, 0.999))
            print(f"{name:<24}{worst:>10.1f}{p999:>8.1f}{p99:>8.1f}{p50:>8.1f}")
        met = "met" if worst < AIM_MS else "MISSED"
        print(f"worst stall under attack {worst:.1f} ms, normal feeds unharmed; aim < 50 ms: {met}")


if __name__ == "__main__":
    main()
