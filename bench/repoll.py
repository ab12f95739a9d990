"""CPU of polls that find little new: 50 entries a feed, of which one is new and one was edited.

"dateline" is as shipped: Redis, an ingest worker with its parser processes and an aggregate worker,
each poll until all is appended, indexed, compared with other sources' articles and acknowledged.
"feedparser" is the same loop with feedparser: fetch, parse, compose, append to a Redis. "reader" is
lemon24/reader (https://pypi.org/project/reader/) with its SQLite file, if `--reader` names a Python
that has it. All poll the same site, a process of its own whose CPU is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from xml.sax.saxutils import escape

import uvloop
from aiohttp import ClientSession, web

from bench.feeds import START, body, words
from bench.ingest import theirs
from bench.machine import header, median, verdict
from bench.rig import Rig, rig
from bench.serve import free_port
from service.articles.times import to_ms
from service.sources.source import make_source

ENTRIES = 50
AIM_FEEDPARSER, AIM_READER, AIM_RATE = 25.0, 15.0, 40_000.0
SETTLE_S = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")
_READER = """
import resource, sys
from reader import make_reader
def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
path, *urls = sys.argv[1:]
reader = make_reader(path)
for url in urls:
    reader.add_feed(url, exist_ok=True)
before = cpu_s()
reader.update_feeds(workers=4, scheduled=False)
print(cpu_s() - before, reader.get_entry_counts().total)
"""


def feed(number: int, version: int) -> bytes:
    """RSS of 50 items; each version has a new one on top, and another text of the eleventh."""
    items = "".join(
        _item(number, n, is_edited=10 <= n <= version + 10)
        for n in range(version + ENTRIES - 1, version - 1, -1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>Tern</title>'
        f"<link>https://news{number}.example/</link><description/>{items}</channel></rss>"
    ).encode()


def _item(number: int, n: int, *, is_edited: bool) -> str:
    chance = random.Random(f"{number} {n}")
    site = f"https://news{number}.example"
    return (
        f"<item><title>{escape(words(chance, 8))}</title><link>{site}/{n}/story</link>"
        f"<pubDate>{format_datetime(START + timedelta(hours=n - 1_000))}</pubDate>"
        f'<guid isPermaLink="false">{site}/?p={n}</guid>'
        f"<description><![CDATA[{words(chance, 30)} [&#8230;]]]></description><content:encoded>"
        f"<![CDATA[{body(chance, 200)}{'<p>Corrected.</p>' if is_edited else ''}]]>"
        "</content:encoded></item>"
    )


def serve(port: int) -> None:
    """The site: `/feed/N` at the version of the last `/version/V`."""
    version = 0
    bodies: dict[tuple[str, int], bytes] = {}

    async def show(request: web.Request) -> web.Response:
        name = request.match_info["number"]
        if (name, version) not in bodies:
            bodies[name, version] = feed(int(name), version)
        return web.Response(body=bodies[name, version], content_type="application/rss+xml")

    async def change(request: web.Request) -> web.Response:
        nonlocal version
        version = int(request.match_info["version"])
        bodies.clear()
        return web.Response()

    app = web.Application()
    app.router.add_get("/feed/{number}", show)
    app.router.add_get("/version/{version}", change)
    web.run_app(app, host="0.0.0.0", port=port, print=None)


@contextmanager
def site(port: int) -> Iterator[None]:
    """The site at work."""
    child = subprocess.Popen([sys.executable, "-m", "bench.repoll", "--site", str(port)])
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield
    finally:
        child.kill()
        child.wait()


def cpu_s(*pids: int) -> float:
    """CPU that processes and their living and ended children used so far, in seconds."""
    used = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += sum(map(int, fields[11:15])) / _TICKS
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        used += cpu_s(*map(int, children))
    return used


class Dateline:
    """As shipped."""

    def __init__(self, bench_rig: Rig, urls: list[str]) -> None:
        self._rig = bench_rig
        self._store = bench_rig.store
        self._urls = urls
        self._ids: list[str] = []
        self._pids: list[int] = []

    async def start(self) -> None:
        """Start the workers; the sources are not due yet."""
        settings = {"POLL_SPACING_S": 0, "POLL_MIN_S": 3_600}
        for role in ("ingest", "aggregate"):
            command = ["-m", "workers", "work", role]
            self._pids.append(self._rig.start(command, self._rig.environ(**settings)).pid)
        self._pids.append(self._rig.redis.pid)
        now = datetime.now(UTC)
        for url in self._urls:
            source = make_source({"url": url}, created=now)
            self._ids.append(source.id)
            await self._store.sources.add(source, due_ms=to_ms(now) + 86_400_000)
        await asyncio.sleep(3)

    async def poll(self) -> float:
        """Poll all once, until nothing lags; the CPU that it took."""
        before, now = cpu_s(*self._pids), datetime.now(UTC)
        for source_id in self._ids:
            await self._store.sources.wake(source_id, due_ms=to_ms(now))
        deadline = time.monotonic() + SETTLE_S
        waiting = list(self._ids)
        while not await self._is_settled(waiting, now):
            if time.monotonic() > deadline:
                raise SystemExit("the polls do not end")
            await asyncio.sleep(0.1)
        return cpu_s(*self._pids) - before

    async def _is_settled(self, waiting: list[str], since: datetime) -> bool:
        """Whether nothing lags; sources that were polled leave `waiting`."""
        while waiting:
            poll = await self._store.sources.poll(waiting[-1])
            if not poll.polled or datetime.fromisoformat(poll.polled) < since:
                return False
            waiting.pop()
        backlogs = await self._store.event_stream.backlogs()
        return not any(each.pending or each.lag for each in backlogs)


async def _rounds(port: int, versions: int, poll: Callable[[], Awaitable[float]]) -> list[float]:
    """CPU of each version's poll, the first of which finds everything new."""
    used = []
    async with ClientSession() as session:
        for version in range(versions):
            async with session.get(f"http://127.0.0.1:{port}/version/{version}"):
                used.append(await poll())
    return used


async def measure_ours(urls: list[str], port: int, versions: int) -> list[float]:
    """CPU of each round with dateline."""
    async with rig() as bench_rig:
        dateline = Dateline(bench_rig, urls)
        await dateline.start()
        return await _rounds(port, versions, dateline.poll)


async def measure_feedparser(urls: list[str], port: int, versions: int) -> list[float]:
    """CPU of each round with feedparser, in this process and a Redis."""
    async with rig() as bench_rig, ClientSession() as session:

        async def poll() -> float:
            before = time.process_time() + cpu_s(bench_rig.redis.pid)
            for url in urls:
                async with session.get(url) as response:
                    data = await response.read()
                for batch in theirs(data, url):
                    await bench_rig.store.articles.append(batch, now=datetime.now(UTC))
            return time.process_time() + cpu_s(bench_rig.redis.pid) - before

        return await _rounds(port, versions, poll)


async def measure_reader(python: str, urls: list[str], port: int, versions: int) -> list[float]:
    """CPU of each round with reader, a process each, without its start."""
    counts: list[int] = []
    with tempfile.TemporaryDirectory(prefix="dateline-") as folder:

        async def poll() -> float:
            command = [python, "-c", _READER, f"{folder}/reader.sqlite", *urls]
            done = await asyncio.to_thread(subprocess.check_output, command)
            used, count = done.split()
            counts.append(int(count))
            return float(used)

        rounds = await _rounds(port, versions, poll)
        if counts != [len(urls) * (ENTRIES + version) for version in range(versions)]:
            raise SystemExit(f"reader did not read what was new: {counts} entries")
        return rounds


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--feeds", type=int, default=200, help="a tenth of them for the others")
    options.add_argument("--versions", type=int, default=4)
    options.add_argument("--reader", metavar="PYTHON", help="an interpreter that has reader")
    options.add_argument("--site", type=int, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.site:
        serve(arguments.site)
        return
    port, versions = free_port(), arguments.versions
    urls = [
        f"http://127.0.{n // 250}.{1 + n % 250}:{port}/feed/{n}" for n in range(arguments.feeds)
    ]
    few = urls[: max(1, len(urls) // 10)]
    size = len(feed(0, 0)) / ENTRIES
    print(header(f"feeds     {len(urls)} of {ENTRIES} entries, {size:.0f} bytes an entry"))
    with site(port):
        sides = {
            "dateline": (urls, uvloop.run(measure_ours(urls, port, versions))),
            "feedparser": (few, uvloop.run(measure_feedparser(few, port, versions))),
        }
        if arguments.reader:
            used = uvloop.run(measure_reader(arguments.reader, few, port, versions))
            sides["reader"] = (few, used)
    print(f"{'us of CPU an entry':<24}{'all new':>10}{'1 new, 1 edited of 50':>24}   each round")
    costs = {}
    for side, (polled, rounds) in sides.items():
        each = [used / len(polled) / ENTRIES * 1e6 for used in rounds]
        costs[side] = median(each[1:])
        print(
            f"{side:<24}{each[0]:>10.0f}{costs[side]:>24.1f}   "
            + "  ".join(f"{c:.1f}" for c in each)
        )
    ours = costs["dateline"]
    for side, aim in (("feedparser", AIM_FEEDPARSER), ("reader", AIM_READER)):
        if side in costs:
            print(f"to {side:<21}{costs[side] / ours:.1f}x   {verdict(costs[side] / ours, aim)}")
    print(f"entries/s of one core   {1e6 / ours:.0f}   {verdict(1e6 / ours, AIM_RATE)}")


if __name__ == "__main__":
    main()
