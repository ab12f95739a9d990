"""What an article costs in Redis: bytes by kind of key, against its JSON compressed by zstd.

An archive of articles with unique texts is filled, and indexed, and compared for duplicates, as
workers do it; then its older articles are compressed anew (compaction). Before and after:

    bytes      MEMORY USAGE of each key, by the kind of key, for one article
    ratio      of all but the event stream, to the article's JSON compressed by zstd at level 3
    write us   of the process that appends, of Redis, for one article of a hundred in a call
    read us    the same for reading and decoding it

Texts are those of bench/texts.py. The event stream is shown apart: its length is a setting.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from bench.machine import header
from bench.texts import KINDS, drafts
from service.articles.article import Draft
from service.articles.category_creator import OPERATOR
from service.settings import Settings
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from service.web.serving.codings import zstd
from workers.aggregate import aggregator
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.compaction import Compaction
from workers.aggregate.duplicate_finder import DuplicateFinder

COUNT, BATCH, TIMED = 10_000, 100, 2_000
AIM = 1.2
_KIND = re.compile(r"dateline:\{\d+\}:([a-z]+)")
NOT_COUNTED = ("events",)


async def fill(store: Store, settings: Settings, articles: Sequence[Draft]) -> list[str]:
    """Append them, wait until they are indexed and compared; their ids."""
    # Compaction runs alone, later.
    aggregator.COMPACTION_EVERY_S = 1e6
    stop = asyncio.Event()
    ids: list[str] = []
    async with asyncio.TaskGroup() as group:
        for loop in (Aggregator, DuplicateFinder):
            worker = loop(store, settings, now=lambda: datetime.now(UTC))
            group.create_task(worker.run(stop))
        for at in range(0, len(articles), BATCH):
            part = articles[at : at + BATCH]
            receipts = await store.articles.append(part, now=datetime.now(UTC), creator=OPERATOR)
            ids += [receipt.id for receipt in receipts]
        while any(b.lag or b.pending for b in await store.event_stream.backlogs()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        stop.set()
    return ids


async def usage(store: Store, count: int) -> dict[str, float]:
    """Bytes for one article, by kind of key."""
    client: Any = store.client
    total: Counter[str] = Counter()
    names = [name async for name in client.scan_iter(count=1_000)]
    for at in range(0, len(names), 500):
        part = names[at : at + 500]
        pipe = client.pipeline(transaction=False)
        for name in part:
            pipe.execute_command("MEMORY USAGE", name, "SAMPLES", 0)
        for name, size in zip(part, await pipe.execute(), strict=True):
            match = _KIND.match(name.decode())
            total[match[1] if match else "other"] += size or 0
    return {kind: size / count for kind, size in total.items()}


async def redis_s(store: Store) -> float:
    """CPU seconds of Redis so far."""
    client: Any = store.client
    cpu = await client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


async def writes(store: Store, articles: Sequence[Draft]) -> tuple[float, float]:
    """(us of this process, us of Redis) to append one article."""
    before, start = await redis_s(store), time.process_time()
    for at in range(0, len(articles), BATCH):
        part = articles[at : at + BATCH]
        await store.articles.append(part, now=datetime.now(UTC), creator=OPERATOR)
    return _each(time.process_time() - start, await redis_s(store) - before, len(articles))


async def reads(store: Store, ids: Sequence[str]) -> tuple[float, float]:
    """(us of this process, us of Redis) to read one article."""
    best = (1e6, float("inf"))
    for _ in range(3):
        before, start = await redis_s(store), time.process_time()
        for at in range(0, len(ids), BATCH):
            await store.articles.get(ids[at : at + BATCH])
        spent = _each(time.process_time() - start, await redis_s(store) - before, len(ids))
        best = min(best, spent)
    return best


def _each(ours_s: float, redis_s: float, count: int) -> tuple[float, float]:
    return ours_s / count * 1e6, redis_s / count * 1e6


async def measure(kind: str, count: int, folder: Path) -> None:
    """Print the figures of one kind of texts."""
    server = Embedded(binary=find_binary(), folder=folder / "r", appendfsync="no")
    process = await server.start()
    environ = {"DATELINE_REDIS_URL": server.url, "DATELINE_DATA_DIR": str(folder)}
    settings = Settings.from_env(environ, env_file=None)
    made = drafts(kind, count + 2 * TIMED)
    async with open_store(settings) as store:
        articles = list(islice(made, count))
        ids = await fill(store, settings, articles)
        json = [len(article.to_doc()) for article in articles]
        packed = sum(len(zstd.compress(article.to_doc(), 3)) for article in articles) / count
        print(f"{kind}: JSON {sum(json) / count:,.0f} B, zstd-3 {packed:,.0f} B")
        before = await usage(store, count)
        timed = [await reads(store, ids[:TIMED]), await writes(store, list(islice(made, TIMED)))]
        show("before", before, packed, timed)
        start = time.perf_counter()
        await Compaction(store, token="bench").run(asyncio.Event())
        print(f"  compaction took {time.perf_counter() - start:.1f} s")
        await fill(store, settings, [])
        count += TIMED
        after = await usage(store, count)
        timed = [await reads(store, ids[:TIMED]), await writes(store, list(made))]
        show("after", after, packed, timed)
    await end(process)


def show(
    when: str, sizes: dict[str, float], packed: float, timed: list[tuple[float, float]]
) -> None:
    """Print bytes by kind, largest first, the ratio, and CPU times."""
    total = sum(size for kind, size in sizes.items() if kind not in NOT_COUNTED)
    kinds = sorted(sizes.items(), key=lambda item: -item[1])
    shown = "  ".join(f"{kind} {size:,.0f}" for kind, size in kinds if size >= 1)
    judged = "met" if total <= AIM * packed else "MISSED"
    print(f"  {when:7}{total:6,.0f} B = {total / packed:.2f}x (aim <= {AIM}: {judged})  {shown}")
    (read, redis_read), (write, redis_write) = timed
    print(f"         read {read:.0f} + {redis_read:.0f} us, write {write:.0f} + {redis_write:.0f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    print(header(f"articles  {options.count:,}, texts of bench/texts.py"))
    for kind in options.kinds:
        with tempfile.TemporaryDirectory(prefix="db-") as folder:
            uvloop.run(measure(kind, options.count, Path(folder)))


if __name__ == "__main__":
    main()
