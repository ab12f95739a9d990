"""What an idle installation costs: `dateline up` with 2,000 articles that one feed brought.

Memory is PSS, in which pages that several processes share are divided among them, so that the sum
over the processes is what the machine has less. It is read once the feed was polled, the pages were
read and everything was quiet for a while, and again once the parser process had its idle time; CPU
is that of all processes during this time.

`--trickle` measures instead what a second aggregate worker costs while few articles come.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from bench.machine import header
from bench.rig import Rig
from bench.serve import ROOT, free_port
from service.settings import Settings
from service.storage.store import open_store

ARTICLES = 2_000
PATHS = ("/", "/feeds/all.rss", "/feeds/all.json", "/news/harbour", "/feeds.opml", "/metrics")
WORDS = ("quay", "fog", "tide", "boat", "harbour", "pilot", "crane", "buoy")
START_S, POLL_S = 60.0, 120.0
TRICKLE_PER_S, TRICKLE_S = (10, 100), 20
SETTLE_S = 12
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one process."""

    name: str
    pss_mb: float
    cpu_s: float


def feed(articles: int) -> bytes:
    """An RSS feed of articles of 300 words, all different."""
    items = []
    for number in range(articles):
        text = " ".join(
            f"{WORDS[(number + at) % len(WORDS)]}{at * number % 977}" for at in range(300)
        )
        items.append(
            f"<item><guid>g{number}</guid><title>Article {number}</title><category>Harbour"
            f"</category><description>&lt;p&gt;{text}&lt;/p&gt;</description></item>"
        )
    channel = f"<channel><title>Harbour</title>{''.join(items)}</channel>"
    return f'<?xml version="1.0"?><rss version="2.0">{channel}</rss>'.encode()


def costs(pid: int) -> list[Cost]:
    """Of a process and all below it."""
    found = []
    for each in _tree(pid):
        folder = Path(f"/proc/{each}")
        pss = _PSS.search((folder / "smaps_rollup").read_text())
        words = (folder / "cmdline").read_bytes().decode().split("\0")
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(stat[11]) + int(stat[12])
        found.append(
            Cost(
                name=" ".join([Path(words[0]).name, *filter(None, words[1:])])[:44],
                pss_mb=int(pss[1]) / 1024 if pss else 0.0,
                cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
            )
        )
    return found


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _tree(int(child)))]


def show(title: str, found: list[Cost]) -> None:
    """A line a process, and their sum."""
    print(f"\n{title}\n{'process':44}{'PSS MB':>8}{'CPU s':>8}")
    for cost in found:
        print(f"{cost.name:44}{cost.pss_mb:8.1f}{cost.cpu_s:8.2f}")
    total, cpu = sum(cost.pss_mb for cost in found), sum(cost.cpu_s for cost in found)
    print(f"{f'all {len(found)}':44}{total:8.1f}{cpu:8.2f}")


async def serve_feed(port: int) -> web.AppRunner:
    """Serve the feed on a loopback port."""
    body = feed(ARTICLES)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/rss+xml")

    app = web.Application()
    app.router.add_get("/feed", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def fill(session: aiohttp.ClientSession, base: str, token: str, source: str) -> None:
    """Add the source, wait until its articles are shown, and read some pages."""
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(
        f"{base}/api/v1/sources", json={"url": source}, headers=headers
    ) as response:
        response.raise_for_status()
    deadline = time.monotonic() + POLL_S
    while f"dateline_articles {ARTICLES}.0" not in await _text(session, f"{base}/metrics"):
        if time.monotonic() > deadline:
            raise SystemExit("the feed was not read")
        await asyncio.sleep(0.2)
    for path in PATHS:
        await _text(session, base + path)


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


async def _ready(session: aiohttp.ClientSession, base: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            async with session.get(f"{base}/readyz") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise SystemExit("did not start")


async def run(folder: Path, *, quiet_s: float, idle_s: float) -> None:
    """Start, fill, wait and print."""
    port, feed_port = free_port(), free_port()
    runner = await serve_feed(feed_port)
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "up", "--port", str(port), "--data-dir", str(folder),
        cwd=ROOT, env={**os.environ, "DATELINE_ALLOWED_NETWORKS": "127.0.0.0/8"},
        stdout=(folder.parent / "log").open("wb"),
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            await _ready(session, base)
            print(f"ready after {time.monotonic() - started:.1f} s")
            show("after the start", costs(process.pid))
            token = (folder / "api-token").read_text()
            await fill(session, base, token, f"http://127.0.0.1:{feed_port}/feed")
        await asyncio.sleep(quiet_s)
        before = costs(process.pid)
        show(f"{quiet_s:g} s after the last request", before)
        await asyncio.sleep(idle_s)
        after = costs(process.pid)
        show(f"{idle_s:g} s later", after)
        spent = {cost.name: cost.cpu_s for cost in before}
        cpu_s = sum(cost.cpu_s - spent.get(cost.name, 0) for cost in after)
        print(f"\nidle CPU: {1000 * cpu_s / idle_s:.1f} ms a second")
    finally:
        process.send_signal(signal.SIGINT)
        await process.wait()
        await runner.cleanup()


async def trickle(folder: Path, workers: int, per_s: int) -> None:
    """Print the CPU of so many aggregate workers and of Redis."""
    rig = Rig(folder)
    await rig.start_redis()
    try:
        async with open_store(Settings(redis_url=rig.server.url, data_dir=folder)) as store:
            rig.store = store
            children = []
            for ordinal in range(workers):
                environ = rig.environ(WORKER_ORDINAL=ordinal)
                children.append(rig.start(["-m", "workers", "work", "aggregate"], environ))
            # Their start is not to be measured.
            await asyncio.sleep(SETTLE_S)
            pids = [rig.redis.pid, *(child.pid for child in children)]
            before = [cost.cpu_s for pid in pids for cost in costs(pid)]
            started = time.monotonic()
            for number in range(per_s * TRICKLE_S):
                await rig.append([number % 5], text=" ".join(WORDS * 30))
                await asyncio.sleep(max(0, started + number / per_s - time.monotonic()))
            await asyncio.sleep(max(0, started + TRICKLE_S - time.monotonic()))
            after = [cost.cpu_s for pid in pids for cost in costs(pid)]
    finally:
        await rig.close()
    redis, *each = [1000 * (b - a) / TRICKLE_S for a, b in zip(before, after, strict=True)]
    figures = " + ".join(f"{ms:.1f}" for ms in each)
    print(
        f"{per_s:4}/s {workers} workers {sum(each):6.1f} ms a second ({figures}), Redis {redis:.1f}"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet", type=float, default=10.0, help="seconds before the first look")
    parser.add_argument("--idle", type=float, default=330.0, help="seconds before the second look")
    parser.add_argument("--trickle", action="store_true")
    arguments = parser.parse_args()
    print(header())
    with tempfile.TemporaryDirectory(prefix="bi-") as folder:
        if arguments.trickle:
            for per_s in TRICKLE_PER_S:
                for workers in (1, 2):
                    own = Path(folder) / f"{per_s}-{workers}"
                    own.mkdir()
                    uvloop.run(trickle(own, workers, per_s))
            return
        uvloop.run(run(Path(folder) / "d", quiet_s=arguments.quiet, idle_s=arguments.idle))


if __name__ == "__main__":
    main()
