"""Backup and restore of an archive: how fast, how large, and what they do to others meanwhile.

An archive is filled with articles of 3 kB, each with a text of its own, so that no compression sees
the same twice; the stream keeps as many events as it does by default. `dateline backup` and
`dateline restore` are processes as shipped; the restore is into a second, empty Redis. A server
with an aggregate worker runs on the first. One client on one connection asks it for the hot feed
every 5 ms, before, during the backup and during the restore; ratios are of the 95th percentile to
that of before. Memory is the largest resident set of the command's process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import uvloop

from bench.growth import A_CATEGORY, A_DAY, WORDS
from bench.machine import header
from bench.serve import ROOT, free_port, process
from service.articles.article import Draft, Entry
from service.articles.categories import parse
from service.articles.compose import compose
from service.settings import Settings
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store

SIZES = (10_000, 100_000)
TEXT_CHARS = 2_550
EVERY_S = 0.005
IDLE_S = 15.0
FILL_AT_ONCE = 1_000
# Ratios of the 95th percentile, and resident megabytes, that must not be passed.
P95_AIM, MEMORY_AIM_MB = 3.0, 150
BASE = compose(
    Entry(guid="base", title="Base", content_html="<p>text</p>", authors=("Ann Example",)),
    source="bench",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command that was run to its end."""

    seconds: float
    cpu_s: float
    """User and system time of the command, which depends less on who else uses the machine."""
    resident_mb: float
    summary: dict[str, object]


def draft(number: int) -> Draft:
    """An article of 3 kB of JSON."""
    chance = random.Random(number)
    text = " ".join(chance.choices(WORDS, k=TEXT_CHARS // 4)).replace("<", "").replace("&", "")
    group, index = divmod(number, A_CATEGORY)
    category = parse(f"Desk {group % 50}/Topic {group}")
    published = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(
        days=index // A_DAY, seconds=61 * (index % A_DAY)
    )
    return replace(
        BASE, guid=str(number), title=f"Text {number}", content_html=f"<p>{text[:TEXT_CHARS]}</p>",
        summary=text[:150], categories=(category,), published=published,
        url=f"https://quay.example/{number}",
        content_hash=f"{number:032x}",
    )  # fmt: skip


async def fill(store: Store, size: int) -> None:
    """Append articles, and wait until all are indexed."""
    for at in range(0, size, FILL_AT_ONCE):
        drafts = [draft(number) for number in range(at, min(size, at + FILL_AT_ONCE))]
        await store.articles.append(drafts, now=datetime.now(UTC))
    while await store.category_index.count("all") < size:  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.1)


async def p95_ms(port: int, meanwhile: Callable[[], Awaitable[None]]) -> float:
    """95th percentile of the time of a GET of the hot feed while something else runs."""
    times_ms: list[float] = []
    ended = asyncio.Event()

    async def ask() -> None:
        url = f"http://127.0.0.1:{port}/feeds/all.rss"
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            while not ended.is_set():
                start = time.perf_counter()
                async with session.get(url) as response:
                    assert response.status == 200
                    await response.read()
                times_ms.append((time.perf_counter() - start) * 1000)
                await asyncio.sleep(EVERY_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        await meanwhile()
        ended.set()
    return sorted(times_ms)[int(len(times_ms) * 0.95)]


def run(command: list[str], **environ: str) -> Run:
    """Run a command of dateline to its end."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "service", *command, "--json"],
            env={**os.environ, **environ}, cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        # So that Popen does not wait for it again.
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"failed: dateline {' '.join(command)}")
        out.seek(0)
        summary = json.loads(out.read())
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(seconds=seconds, cpu_s=cpu_s, resident_mb=usage.ru_maxrss / 1024, summary=summary)


async def measure(folder: Path, size: int) -> list[float]:
    """Print the rows of one size; (ratio, megabytes) of each command."""
    servers = [
        Embedded(binary=find_binary(), folder=folder / name, appendfsync="everysec")
        for name in ("a", "b")
    ]
    redis = [await server.start() for server in servers]
    environ = {
        "DATELINE_REDIS_URL": servers[0].url,
        "DATELINE_DATA_DIR": str(folder),
        "DATELINE_LOG_LEVEL": "error",
    }
    port = free_port()
    with ExitStack() as stack:
        async with open_store(Settings.from_env(environ, env_file=None)) as store:
            serve = [sys.executable, "-m", "service", "serve"]
            work = [sys.executable, "-m", "service", "work", "aggregate"]
            stack.enter_context(process(serve, port, DATELINE_PORT=str(port), **environ))
            stack.enter_context(process(work, port, **environ))
            await fill(store, size)
        figures: list[float] = []
        idle = await p95_ms(port, lambda: asyncio.sleep(IDLE_S))
        print(f"{size:9,} {'idle':<9}{'':>47}{idle:>9.2f}", flush=True)
        for name, server in zip(("backup", "restore"), servers, strict=True):
            runs: list[Run] = []

            async def go(
                command: str = name, url: str = server.url, runs: list[Run] = runs
            ) -> None:
                environ = {"DATELINE_REDIS_URL": url, "DATELINE_DATA_DIR": str(folder)}
                runs.append(await asyncio.to_thread(run, [command, str(folder / "d")], **environ))

            p95 = await p95_ms(port, go)
            show(size, name, runs[0], p95, idle)
            figures += [p95 / idle, runs[0].resident_mb]
    for each in redis:
        await end(each)
    return figures


def show(size: int, name: str, done: Run, p95: float, idle: float) -> None:
    """Print one row."""
    mb = int(str(done.summary["bytes"])) / 1e6
    print(
        f"{size:9,} {name:<9}{done.seconds:>8.1f}{size / done.seconds:>11,.0f}"
        f"{done.cpu_s:>8.1f}{mb:>9.1f}{done.resident_mb:>11.0f}{p95:>9.2f}{p95 / idle:>7.2f}x",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--max", type=int, default=SIZES[-1], help="Articles of the largest size.")
    options = parser.parse_args()
    sample = [draft(number) for number in range(200)]
    print(
        header(f"articles  {sum(len(d.to_doc()) for d in sample) / len(sample):.0f} bytes of JSON")
    )
    print(" articles            seconds articles/s   CPU s       MB  memory MB   p95 ms  ratio")
    figures: list[float] = []
    for size in (size for size in SIZES if size <= options.max):
        with tempfile.TemporaryDirectory(prefix="db-") as folder:
            figures += uvloop.run(measure(Path(folder), size))
    for name, worst, aim in (
        ("p95 ratio", max(figures[::2]), P95_AIM),
        ("memory MB", max(figures[1::2]), MEMORY_AIM_MB),
    ):
        print(f"{name}: {worst:.2f}; aim <= {aim:g}: {'met' if worst <= aim else 'MISSED'}")


if __name__ == "__main__":
    main()
