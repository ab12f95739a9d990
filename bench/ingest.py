"""Articles a second from bytes to Redis: parse → clean → identify → encode → append, all new.

Sides, in one run, each on an embedded Redis of its own that begins empty:

    ours, 1 process        reading and appending in one process
    ours, as shipped       one ingest worker: its loop appends, PARSE_PROCESSES=2 parse
    ours, 2 processes      two of the first, sharing the feeds
    feedparser, 1 and 2    the same processes with feedparser (with its sanitiser, as it comes) for
                           the parser, and everything after it the same

feedparser has no JSON Feed, so both sides get the XML feeds alone. Memory is the largest VmHWM
(resident set) that each process of a side has reached, added up; Redis not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feedparser
import uvloop

from bench.feeds import ENTRIES, feeds
from bench.machine import header, median, verdict
from service.articles.article import Entry
from service.articles.compose import compose
from service.articles.encoded import EncodedArticle, encode
from service.settings import Settings
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from workers.ingest.documents import ParseJob, read_document
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse_report import ParseReport
from workers.ingest.parser_pool import open_parser_pool

PARSER_PROCESSES = 2
AIM_RATIO, AIM_RATE, AIM_BYTES = 10.0, 10_000, 300_000_000
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One side, once."""

    articles: int
    seconds: float
    resident_bytes: int

    @property
    def rate(self) -> float:
        """Articles a second."""
        return self.articles / self.seconds


def ours(body: bytes, url: str) -> Iterator[list[EncodedArticle]]:
    """Batches of a document."""
    for part in read_document(ParseJob(url=url, added_url=url), body):
        if isinstance(part, list):
            yield part


def theirs(body: bytes, url: str) -> Iterator[list[EncodedArticle]]:
    """The same with feedparser."""
    parsed = feedparser.parse(io.BytesIO(body), response_headers={"content-location": url})
    drafts = (compose(_entry(e), source=url, guid=e.get("id", "")) for e in parsed.entries)
    yield [encode(draft) for draft in drafts]


def _entry(entry: Any) -> Entry:
    content = entry.content[0].value if "content" in entry else entry.get("summary", "")
    raw = entry.get("published") or entry.get("updated", "")
    return Entry(
        guid=entry.get("id", ""),
        url=entry.get("link", ""),
        title=entry.get("title", ""),
        summary=entry.get("summary", "") if "content" in entry else "",
        content_html=content,
        authors=tuple(a["name"] for a in entry.get("authors", []) if a.get("name")),
        categories=tuple(t["term"] for t in entry.get("tags", []) if t.get("term")),
        published=parse_date(raw, zone=UTC),
        raw_published=raw,
        base_url=entry.get("link", ""),
    )


SIDES = {"ours": ours, "feedparser": theirs}


async def alone(store: Store, side: str, bodies: list[tuple[str, bytes]]) -> int:
    """Read and append in this process; Redis takes a batch while the next is read."""
    count = 0

    async def append(batch: list[EncodedArticle]) -> None:
        nonlocal count
        count += len(await store.articles.append(batch, now=datetime.now(UTC)))

    before = None
    async with asyncio.TaskGroup() as group:
        for url, body in bodies:
            for batch in SIDES[side](body, url):
                if before is not None:
                    await before
                before = group.create_task(append(batch))
                await asyncio.sleep(0)
    return count


async def as_shipped(store: Store, _: str, bodies: list[tuple[str, bytes]]) -> int:
    """Parse in parser processes, append in this one."""
    count = 0

    async def append(_: ParseReport, batch: list[EncodedArticle]) -> None:
        nonlocal count
        count += len(await store.articles.append(batch, now=datetime.now(UTC)))

    waiting = iter(bodies)
    async with open_parser_pool(PARSER_PROCESSES) as parser_pool:
        # As in a worker that has been running: its parser processes are started.
        async with asyncio.TaskGroup() as group:
            for _ in range(PARSER_PROCESSES):
                group.create_task(
                    parser_pool.read_document(ParseJob(url=""), b"Not yet.", append=append)
                )
        _STARTED["at"] = time.monotonic()

        async def take() -> None:
            for url, body in waiting:
                await parser_pool.read_document(
                    ParseJob(url=url, added_url=url), body, append=append
                )

        async with asyncio.TaskGroup() as group:
            for _ in range(2 * PARSER_PROCESSES):
                group.create_task(take())
        # The parser processes are this process's children as long as the pool is open.
        _RESIDENT["parsers"] = sum(map(peak, children()))
    return count


_RESIDENT: dict[str, int] = {}
_STARTED: dict[str, float] = {}


def children() -> list[int]:
    """Pids of this process's children; none where there is no /proc."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in listed.read_text().split()] if listed.exists() else []


def peak(pid: int) -> int:
    """Largest resident set of a process so far, in bytes; 0 where there is no /proc."""
    try:
        match = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def process(
    url: str, side: str, way: str, bodies: list[tuple[str, bytes]], start: Any, results: Any
) -> None:
    """The body of one measured process: puts (articles, begin, end, peak bytes) into `results`."""

    async def work() -> None:
        settings = Settings.from_env({"DATELINE_REDIS_URL": url}, env_file=None)
        async with open_store(settings, check=False) as store:
            await store.client.ping()
            # Its rewriting begins at 64 MB, which only the faster sides would reach.
            await store.client.config_set("auto-aof-rewrite-percentage", "0")
            # Imports, tables and caches are warm in a worker that has been running.
            warm = feeds(1, first=10_000, xml_only=True)
            await alone(store, side, [("https://warm.example/f", warm[0])])
            start.wait()
            began = time.monotonic()
            ways = {"alone": alone, "as shipped": as_shipped}
            count = await ways[way](store, side, bodies)
            results.put(
                (
                    count,
                    began,
                    time.monotonic(),
                    peak(os.getpid()) + _RESIDENT.get("parsers", 0),
                )
            )

    uvloop.run(work())


def measure(side: str, way: str, count: int, bodies: list[tuple[str, bytes]]) -> Run:
    """One side on an empty Redis, with so many processes."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="dateline-") as folder, asyncio.Runner() as runner:
        server = Embedded(binary=find_binary(), folder=Path(folder) / "r", appendfsync="everysec")
        redis = runner.run(server.start())
        try:
            start, results = context.Barrier(count), context.Queue()
            processes = [
                context.Process(
                    target=process, args=(server.url, side, way, bodies[n::count], start, results)
                )
                for n in range(count)
            ]
            for one in processes:
                one.start()
            measured = [results.get(timeout=300) for _ in processes]
            for one in processes:
                one.join()
        finally:
            runner.run(end(redis))
    seconds = max(end for _, _, end, _ in measured) - min(begin for _, begin, _, _ in measured)
    return Run(
        articles=sum(articles for articles, *_ in measured),
        seconds=seconds,
        resident_bytes=sum(resident for *_, resident in measured),
    )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--feeds", type=int, default=600, help="of ours; feedparser gets a tenth")
    arguments = options.parse_args()
    bodies = feeds(arguments.feeds, xml_only=True)
    pairs = [(f"https://f{n}.example/feed", body) for n, body in enumerate(bodies)]
    size = sum(map(len, bodies)) / len(pairs) / ENTRIES
    print(header(f"feeds     {len(pairs)} of {ENTRIES} entries, {size:.0f} bytes an entry"))
    sides = [
        ("ours", "alone", 1, pairs), ("ours", "as shipped", 1, pairs), ("ours", "alone", 2, pairs),
        ("feedparser", "alone", 1, pairs[::10]), ("feedparser", "alone", 2, pairs[::10]),
    ]  # fmt: skip
    runs: dict[tuple[str, str, int], list[Run]] = {}
    for _ in range(arguments.rounds):
        for side, way, count, bodies in sides:
            runs.setdefault((side, way, count), []).append(measure(side, way, count, bodies))
    print(f"{'side':<24}{'articles/s':>12}{'MB':>8}   each round")
    rate = {}
    for (side, way, count), measured in runs.items():
        name = f"{side}, {way if way != 'alone' else f'{count} process' + 'es' * (count > 1)}"
        rate[side, way, count] = median([run.rate for run in measured])
        resident = max(run.resident_bytes for run in measured) / 1e6
        each = "  ".join(f"{run.rate:.0f}" for run in measured)
        print(f"{name:<24}{rate[side, way, count]:>12.0f}{resident:>8.0f}   {each}")
    one = rate["ours", "alone", 1] / rate["feedparser", "alone", 1]
    two = rate["ours", "as shipped", 1] / rate["feedparser", "alone", 2]
    shipped = rate["ours", "as shipped", 1]
    most = max(run.resident_bytes for run in runs["ours", "as shipped", 1])
    print(f"\none process against one      {one:.1f}x   {verdict(one, AIM_RATIO)}")
    print(f"as shipped against two       {two:.1f}x   {verdict(two, AIM_RATIO)}")
    print(f"as shipped, articles/s       {shipped:.0f}   {verdict(shipped, AIM_RATE)}")
    met = "met" if most < AIM_BYTES else "MISSED"
    print(f"as shipped, memory           {most / 1e6:.0f} MB   aim < {AIM_BYTES / 1e6:.0f}: {met}")


if __name__ == "__main__":
    main()
