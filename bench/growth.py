"""From 1,000 to 1,000,000 articles: what stays as it is, and what grows.

One archive is filled step by step. Every category has 1,000 articles of one year, 20 a day, so that
a page is as large in a small archive as in a large one; what grows is the number of categories,
of days, and all stored data. At each size:

    hot       GET of a page that the server holds
    day year  GET of a day and of a year of a category that was never requested before
    append    one article, alone
    memory    of Redis for an article with all its indexes and without its event, which is trimmed;
              against the article's JSON compressed by zstd
    restart   of Redis, from the append-only file to the first answer
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import uvloop

from bench.machine import header, median
from bench.serve import free_port, process
from service.articles.article import Draft, Entry
from service.articles.categories import parse
from service.articles.category_creator import OPERATOR
from service.articles.compose import compose
from service.settings import Settings
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from service.web.serving.codings import zstd

SIZES = (1_000, 10_000, 100_000, 1_000_000)
A_CATEGORY, A_DAY = 1_000, 20
TEXT_WORDS = 200
FLAT_AIM, MEMORY_AIM = 1.3, 1.3
BATCH = 100
WORDS = Path(__file__).read_text().split()


def base_draft(number: int) -> Draft:
    """A cleaned article; its copies get other names and dates."""
    chance = random.Random(number)
    text = " ".join(chance.choices(WORDS, k=TEXT_WORDS)).replace("<", "")
    entry = Entry(guid=str(number), title=f"Text {number}", content_html=f"<p>{text}</p>")
    return compose(entry, source="bench")


def drafts(start: int, end: int) -> list[Draft]:
    """Articles of these numbers."""
    first = datetime(2020, 1, 1, tzinfo=UTC)
    articles = []
    for number in range(start, end):
        group, index = divmod(number, A_CATEGORY)
        category = parse(f"Desk {group % 50}/Topic {group}")
        published = first + timedelta(days=index // A_DAY, seconds=61 * (index % A_DAY))
        base = BASES[number % len(BASES)]
        articles.append(
            replace(
                base, guid=str(number), categories=(category,), published=published,
                url=f"https://quay.example/{number}",
                content_hash=f"{number:032x}",
            )
        )  # fmt: skip
    return articles


BASES = [base_draft(number) for number in range(500)]


async def fill(store: Store, start: int, end: int) -> None:
    """Append, and wait until all is indexed; events go as soon as they were read."""
    now = datetime.now(UTC)
    for at in range(start, end, BATCH * 10):
        await store.articles.append(
            drafts(at, min(end, at + BATCH * 10)), now=now, creator=OPERATOR
        )
        while await store.category_index.count("all") < at - 20_000:  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.05)
    while await store.category_index.count("all") < end:  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.05)
    await store.client.xtrim("dateline:{0}:events", maxlen=0, approximate=False)


def get(port: int, path: str) -> float:
    """Milliseconds of one GET."""
    request = Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"})
    start = time.perf_counter()
    with urlopen(request, timeout=60) as response:
        assert len(response.read()) > 500
    return (time.perf_counter() - start) * 1000


async def gets(port: int, size: int) -> tuple[float, float, float]:
    """(hot, cold day, cold year) in ms, medians."""
    chance = random.Random(size)
    groups = [chance.randrange(size // A_CATEGORY) for _ in range(60)]
    groups = list(dict.fromkeys(groups))[:12]

    def ask(path: str) -> float:
        return get(port, path)

    live = "/feeds/all.rss"
    await asyncio.to_thread(ask, live)
    hot = [await asyncio.to_thread(ask, live) for _ in range(200)]
    days, years = [], []
    for group in groups:
        place = f"/feeds/desk-{group % 50}/topic-{group}/2020"
        for _ in range(max(1, 12 // len(groups))):
            day = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(
                days=chance.randrange(A_CATEGORY // A_DAY)
            )
            days.append(await asyncio.to_thread(ask, f"{place}/{day:%m/%d}.atom"))
        # Formats are documents of their own.
        years += [
            await asyncio.to_thread(ask, f"{place}.{extension}") for extension in ("atom", "json")
        ]
    return median(hot), median(days), median(years)


async def appends(store: Store, number: int) -> float:
    """Milliseconds of an append of one article, median."""
    times_ms = []
    for draft in drafts(number, number + 200):
        start = time.perf_counter()
        await store.articles.append([draft], now=datetime.now(UTC))
        times_ms.append((time.perf_counter() - start) * 1000)
    return median(times_ms)


async def measure(folder: Path, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    """A row for each size."""
    server = Embedded(binary=find_binary(), folder=folder / "r", appendfsync="no")
    redis = await server.start()
    rows = []
    environ = {"DATELINE_REDIS_URL": server.url, "DATELINE_DATA_DIR": str(folder)}
    settings = Settings.from_env(environ, env_file=None)
    packed = sum(len(zstd.compress(draft.to_doc(), 3)) for draft in BASES) / len(BASES)
    start = 0
    for size in sizes:
        port = free_port()
        work = [sys.executable, "-m", "service", "work", "aggregate"]
        serve = [sys.executable, "-m", "service", "serve"]
        async with open_store(settings) as store:
            environ["DATELINE_LOG_LEVEL"] = "error"
            with (
                process(serve, port, DATELINE_PORT=str(port), **environ),
                process(work, port, **environ),
            ):
                began = time.perf_counter()
                await fill(store, start, size)
                filled = (size - start) / (time.perf_counter() - began)
                info = await store.client.info("memory")
                hot, day, year = await gets(port, size)
                row = {"size": size, "hot": hot, "day": day, "year": year, "filled": filled}
                row["append"] = await appends(store, size + 10 * A_CATEGORY)
                row["memory"] = info["used_memory_dataset"] / size
                row["compressed"] = packed
        start = size
        row["restart"], redis = await restarted(server, redis, settings)
        rows.append(row)
        show(row, rows[1] if len(rows) > 1 else None)
    await end(redis)
    return rows


async def restarted(
    server: Embedded, redis: asyncio.subprocess.Process, settings: Settings
) -> tuple[float, asyncio.subprocess.Process]:
    """(seconds, the new process)."""
    await end(redis)
    start = time.perf_counter()
    redis = await server.start()
    async with open_store(settings) as store:
        await store.category_index.count("all")
    return time.perf_counter() - start, redis


def show(row: dict[str, float], base: dict[str, float] | None) -> None:
    """Print it, with ratios to the size of 10,000, once that was measured."""
    ratios = "".join(
        f"{row[name] / base[name]:6.2f}" if base else "     -"
        for name in ("hot", "day", "year", "append")
    )
    print(
        f"{row['size']:9,.0f}{row['hot']:8.2f}{row['day']:8.2f}{row['year']:8.1f}"
        f"{row['append']:8.2f}  {ratios}{row['memory']:8.0f}{row['compressed']:8.0f}"
        f"{row['memory'] / row['compressed']:7.2f}x{row['restart']:9.2f}{row['filled']:9.0f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--max", type=int, default=SIZES[-1])
    options = parser.parse_args()
    print(header(f"articles  {sum(len(d.to_doc()) for d in BASES) / len(BASES):.0f} bytes of JSON"))
    print(
        " articles     hot     day    year  append    ratios to 10,000      bytes  packed"
        "   ratio  restart s   filled/s"
    )
    sizes = tuple(size for size in SIZES if size <= options.max)
    with tempfile.TemporaryDirectory(prefix="db-") as folder:
        rows = uvloop.run(measure(Path(folder), sizes))
    if len(rows) < 3:
        print(f"no comparison: it needs a size over {SIZES[1]:,}")
        return
    worst = max(rows[-1][name] / rows[1][name] for name in ("hot", "day", "year"))
    print(
        f"GETs, largest against 10,000: {worst:.2f}x; aim <= {FLAT_AIM}: {judged(worst, FLAT_AIM)}"
    )
    memory = rows[-1]["memory"] / rows[-1]["compressed"]
    print(f"memory: {memory:.2f}x; aim <= {MEMORY_AIM}: {judged(memory, MEMORY_AIM)}")


def judged(figure: float, aim: float) -> str:
    """Of an aim that is a bound from above."""
    return "met" if figure <= aim else "MISSED"


if __name__ == "__main__":
    main()
