"""Hot feeds: the CPU that a server needs to know that they have not changed.

A server holds the feeds of many days, and each is requested once a second, as a look-up. In
RECHECK_S every feed has to be confirmed: by the log of changes (`log`), or by a read of its state
each (`each`, without the follower). Quiet, and while another process publishes. On one server of
Redis with one shard, and with sixteen. The figure is the share of a core, for 10,000 feeds, less
that of the look-ups alone.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from bench.machine import header
from service.articles.article import Entry
from service.articles.compose import compose
from service.feeds.formats import FORMATS
from service.feeds.index_step import index_step
from service.feeds.page import Page, Period
from service.settings import Settings
from service.storage.client import connect
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.shards import numbered
from service.storage.store import Store, of_client
from service.web.serving.change_follower import ChangeFollower
from service.web.serving.costly_reads import CostlyReads
from service.web.serving.page_cache import PageCache
from service.web.serving.page_loader import PageLoader

DAYS, SECONDS, A_SECOND = 1_000, 15.0, 10
AIM = 0.10
NOW = datetime.now(UTC)


async def publish(store: Store, day: int, name: str) -> None:
    """An article of so many days ago, in the index, without an announcement."""
    entry = Entry(
        guid=name, title=name, content_html="<p>Some words.</p>", categories=("News",),
        published=NOW - timedelta(days=day),
    )  # fmt: skip
    (receipt,) = await store.articles.append([compose(entry, source="s")], now=NOW)
    ((before, _),) = await store.articles.indexed([receipt.id])
    (article,) = await store.articles.get([receipt.id])
    stamp_ms = time.time_ns() // 10**6
    if article and (step := index_step(article, before, stamp_ms=stamp_ms, zone=UTC)):
        await store.articles.index([step])


def trickle(url: str, shards: int) -> None:
    """Publish articles of today until ended."""

    async def work() -> None:
        client = connect(url)
        store = of_client(client, shards=numbered(shards))
        number = 0
        while True:
            number += 1
            await publish(store, 0, f"new {number}")
            await asyncio.sleep(1 / A_SECOND)

    uvloop.run(work())


async def share_of_core(
    store: Store, settings: Settings, pages: list[Page], *, follows: bool, seconds: float
) -> tuple[float, float]:
    """(share of a core for 10,000 feeds, look-ups that went to Redis per feed and RECHECK_S)."""
    loader = PageLoader(
        store,
        settings,
        now=lambda: datetime.now(UTC),
        costly_reads=CostlyReads(at_once=10, per_address=100),
    )
    cache = PageCache(loader.load, max_bytes=10**9, recheck_s=settings.recheck_s)

    async def report(exc: Exception) -> None:
        raise exc

    follower = ChangeFollower(
        store.page_changes, cache, settings, now=lambda: datetime.now(UTC), report=report
    )
    keys = [(page, extension, page.feed_path(extension)) for page in pages for extension in FORMATS]
    for page, extension, path in keys:
        await cache.get(page, extension, hot_path=path)
    stop = asyncio.Event()

    async def look_up_all(until: float, *, loads: bool) -> int:
        rounds = 0
        while time.monotonic() < until:
            begun = time.monotonic()
            rounds += 1
            for number, (page, extension, path) in enumerate(keys):
                if cache.hot(path) is None and loads:
                    await cache.get(page, extension, hot_path=path)
                if number % 100 == 99:
                    # Spread over the second, as requests are.
                    await asyncio.sleep(max(0.0, begun + number / len(keys) - time.monotonic()))
        return rounds

    async with asyncio.TaskGroup() as group:
        if follows:
            group.create_task(follower.run(stop))
        await look_up_all(time.monotonic() + settings.recheck_s, loads=True)
        misses, cpu = cache.misses, time.process_time()
        await look_up_all(time.monotonic() + seconds, loads=True)
        cpu, misses = time.process_time() - cpu, cache.misses - misses
        stop.set()
    idle = time.process_time()
    await look_up_all(time.monotonic() + seconds, loads=False)
    cpu -= time.process_time() - idle
    loader.close()
    periods = seconds / settings.recheck_s
    return cpu / seconds / len(keys) * 10_000, misses / len(keys) / periods


async def run(days: int, seconds: float) -> None:
    """Each side in turn, on the same archive."""
    for shards in (1, 16):
        with tempfile.TemporaryDirectory(prefix="dl-") as folder:
            embedded = Embedded(
                binary=find_binary(), folder=Path(folder, "r"), appendfsync="no", port=0
            )
            process = await embedded.start()
            client = connect(embedded.url)
            try:
                store = of_client(client, shards=numbered(shards))
                settings = Settings(redis_url=embedded.url, data_dir=Path(folder))
                for day in range(1, days + 1):
                    await publish(store, day, f"old {day}")
                pages = [
                    Page("all", Period.of(NOW - timedelta(days=day), UTC))
                    for day in range(1, days + 1)
                ]
                for is_quiet in (True, False):
                    await measure(store, settings, pages, shards, seconds, is_quiet=is_quiet)
            finally:
                await client.aclose()
                await end(process)


async def measure(
    store: Store, settings: Settings, pages: list[Page], shards: int, seconds: float, *,
    is_quiet: bool,
) -> None:  # fmt: skip
    """Print both sides."""
    publisher = multiprocessing.get_context("spawn").Process(
        target=trickle, args=(settings.redis_url, shards), daemon=True
    )
    if not is_quiet:
        publisher.start()
    try:
        figures = {}
        for side, follows in (("each", False), ("log", True)):
            share, reads = await share_of_core(
                store, settings, pages, follows=follows, seconds=seconds
            )
            figures[side] = share
            state = "quiet" if is_quiet else f"{A_SECOND}/s"
            print(
                f"{shards:3} shards  {state:6} {side:5} {share:7.1%} of a core  {reads:5.2f} reads"
            )
        ratio = figures["each"] / max(figures["log"], 1e-9)
        met = "met" if figures["log"] <= AIM else "MISSED"
        print(f"           each / log {ratio:.0f}x   aim <= {AIM:.0%}: {met}", flush=True)
    finally:
        if publisher.is_alive():
            publisher.terminate()
            publisher.join()


def main() -> None:
    """Run with these numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    print(header(f"feeds     {options.days * len(FORMATS):,}, each requested once a second"))
    uvloop.run(run(options.days, options.seconds))


if __name__ == "__main__":
    main()
