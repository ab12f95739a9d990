"""What four clients that read what is dear cost a fifth that reads a hot feed.

One real server and one aggregate worker on a real embedded Redis with a large archive: 12,000
articles of this year, one of them of 2 MB, and 20,000 categories. An article is published every two
seconds, so that pages change. A client requests the hot feed 200 times a second; each answer's time
counts from the moment at which the request was due, so that one that cannot be sent because the
server is deaf counts, too. Its p95 is taken while nobody else reads, and beside four attackers,
each from an address of its own (Linux: any of 127.0.0.0/8), who request without pause. Each kind of
attack in turn, with other URLs or parameters for each request where the server takes any. The idle
server is measured before each attack, and ratios are of p95 to the median of these.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from bench.machine import header, median
from bench.serve import ROOT, cpu_s, free_port, process
from service.articles.article import Draft, Entry, article_id
from service.articles.categories import parse
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store

AIM = 3.0
ATTACKERS = 4
ARTICLES, CATEGORIES, BIG_BYTES = 12_000, 20_000, 1_950_000
PUBLISH_EVERY_S = 2.0
HOT_CONNECTIONS, HOT_PAUSE_S = 2, 0.01
HOT = "/feeds/desk-0.rss"
BIG_ID = article_id("bench", "big")
WORDS = Path(__file__).read_text().replace("<", "").split()
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BROWSER = "Sec-Fetch-Dest: document\r\n"


def attacks(now: datetime) -> dict[str, Callable[[int], tuple[str, str]]]:
    """Name → (path, further header lines) of an attack's n-th request."""
    year, month = f"{now:%Y}", f"{now:%Y/%m}"

    def moment(n: int) -> str:
        return f"{now - timedelta(seconds=n):%Y-%m-%dT%H:%M:%SZ}"

    return {
        "opml": lambda n: (f"/feeds.opml?x={n}", ""),
        "home": lambda n: (f"/?x={n}", ""),
        "news of everything": lambda n: (f"/news/all?x={n}", ""),
        "article of 2 MB": lambda n: (f"/articles/{BIG_ID}?x={n}", ""),
        "its JSON": lambda n: (f"/articles/{BIG_ID}.json?x={n}", ""),
        "feed of a year": lambda n: (f"/feeds/all/{year}.{('rss', 'atom', 'json')[n % 3]}", ""),
        "in a browser": lambda n: (f"/feeds/all/{year}.rss", _BROWSER),
        "parts of a year": lambda n: (f"/feeds/all/{year}.rss?until={moment(n)}&limit=1000", ""),
        "page of a year": lambda n: (f"/news/all/{year}?x={n}", ""),
        "page of a month": lambda n: (f"/news/all/{month}?x={n}", ""),
        "search": lambda n: (f"/feeds/all.rss?q=never-{n}", ""),
        "list of articles": lambda n: (f"/api/v1/articles?limit=1000&until={moment(n)}", ""),
        "sitemap": lambda n: (f"/sitemaps/{('pages', f'{now:%Y-%m}')[n % 2]}.xml?x={n}", ""),
    }


async def prepare(store: Store, now: datetime) -> None:
    """The archive: articles over the last weeks, categories, and one article of 2 MB."""
    names = {f"many/topic-{n}": f"Topic {n}" for n in range(CATEGORIES // 2)}
    names |= {f"root-{n}": f"Root {n}" for n in range(CATEGORIES // 2)}
    pairs = [text for pair in names.items() for text in pair]
    for at in range(0, len(pairs), 1_000):
        await store.client.execute_command("HSET", keys.categories(0), *pairs[at : at + 1_000])
    drafts = [article(n, now - timedelta(minutes=15 * n)) for n in range(ARTICLES)]
    for at in range(0, ARTICLES, 500):
        await store.articles.append(drafts[at : at + 500], now=now)
    text = "".join(f"<p>Paragraph {n} of a long report.</p>\n" for n in range(BIG_BYTES // 41))
    big = Entry(guid="big", title="Long", content_html=text, published=now - timedelta(days=200))
    await store.articles.append([compose(big, source="bench")], now=now)
    while await store.category_index.count("all") < ARTICLES + 1:  # noqa: ASYNC110 -- nobody tells
        await asyncio.sleep(0.05)


def base_draft(number: int) -> Draft:
    """A cleaned article of 1.4 kB; its copies get other names and dates."""
    text = " ".join(random.Random(number).choices(WORDS, k=200))
    entry = Entry(guid=str(number), title=f"Text {number}", content_html=f"<p>{text}</p>")
    return compose(entry, source="bench")


BASES = [base_draft(number) for number in range(100)]


def article(number: int, published: datetime) -> Draft:
    """A copy of a base with a name, a date and a category of its own."""
    return replace(
        BASES[number % len(BASES)],
        guid=f"n{number}",
        categories=(parse(f"Desk {number % 20}/Topic {number % 100}"),),
        published=published,
        content_hash=f"{number:032x}",
    )


async def publish(store: Store, stop: asyncio.Event) -> None:
    """Publish an article every two seconds."""
    for number in itertools.count(ARTICLES):
        now = datetime.now(UTC)
        await store.articles.append([article(number, now)], now=now)
        try:
            async with asyncio.timeout(PUBLISH_EVERY_S):
                await stop.wait()
                return
        except TimeoutError:
            continue


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """(status, whether the connection goes on) of one answer, which is read whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        length = _LENGTH.search(head)
        missing = int(length[1]) if length else 0
        while missing > 0:
            chunk = await reader.read(min(missing, 1_000_000))
            if not chunk:
                return 0, False
            missing -= len(chunk)
    return int(head[9:12]), b"connection: close" not in lowered


async def attack(port: int, name: str, number: int, until: float, seen: Counter[str]) -> None:
    """One attacker: requests without pause from an address of its own."""
    request = attacks(datetime.now(UTC))[name]
    local = (f"127.0.0.{number + 2}", 0)
    writer = None
    for n in itertools.count(number, ATTACKERS):
        if time.monotonic() > until:
            break
        if writer is None:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=local, limit=1_000_000
            )
        path, more = request(n)
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br, gzip\r\n{more}\r\n"
        writer.write(head.encode())
        try:
            status, goes_on = await read_answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            status, goes_on = 0, False
        seen[str(status)] += 1
        if not goes_on:
            writer.close()
            writer = None


async def attack_all(port: int, name: str, seconds: float) -> Counter[str]:
    """Status → number of answers."""
    seen: Counter[str] = Counter()
    until = time.monotonic() + seconds
    async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
        for number in range(ATTACKERS):
            group.create_task(attack(port, name, number, until, seen))
    return seen


async def read_hot(port: int, seconds: float) -> list[float]:
    """Milliseconds that each answer of the hot feed took."""
    took_ms: list[float] = []
    begin = time.perf_counter()
    question = f"GET {HOT} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n".encode()

    async def read() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000_000)
        for number in range(int(seconds / HOT_PAUSE_S)):
            due = begin + number * HOT_PAUSE_S
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            writer.write(question)
            status, _ = await read_answer(reader)
            took_ms.append((time.perf_counter() - due) * 1000)
            assert status == 200, status
        writer.close()

    async with asyncio.timeout(10 * seconds + 30), asyncio.TaskGroup() as group:
        for _ in range(HOT_CONNECTIONS):
            group.create_task(read())
    return sorted(took_ms)


def p95(took_ms: list[float]) -> float:
    """Of sorted values."""
    return took_ms[int(0.95 * len(took_ms))]


async def settle(pid: int) -> None:
    """Wait until the server has done with what the attackers asked for, half a minute at most."""
    before = -math.inf
    for _ in range(60):
        used = cpu_s(pid)
        if not used - before > 0.05:
            return
        before = used
        await asyncio.sleep(0.5)


async def measure(pid: int, port: int, seconds: float, only: str) -> bool:
    """Print a line for each attack; whether all ratios are within the aim."""
    names = [name for name in attacks(datetime.now(UTC)) if only in name]
    idle_ms: list[float] = []
    beside_ms: dict[str, float] = {}
    await read_hot(port, 1.0)
    for name in names:
        await settle(pid)
        idle_ms.append(p95(await read_hot(port, seconds / 2)))
        command = [sys.executable, "-m", "bench.hostile_readers", "--attack", name]
        command += ["--port", str(port), "--seconds", str(seconds + 0.5)]
        attackers = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
        await asyncio.sleep(0.5)
        beside = await read_hot(port, seconds)
        output, _ = await attackers.communicate()
        beside_ms[name] = p95(beside)
        seen = ", ".join(f"{n} × {status}" for status, n in json.loads(output).items())
        line = f"{name:20}{idle_ms[-1]:8.2f}{p95(beside):10.2f}{beside[-1]:10.1f}"
        print(f"{line}   {seen}", flush=True)
    idle = median(idle_ms)
    ratios = {name: ms / idle for name, ms in beside_ms.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    print(f"ratio to {idle:.2f} ms: median {median(list(ratios.values())):.1f}, worst", end=" ")
    print(f"{ratios[worst]:.1f} ({worst}); aim <= {AIM:g}: ", end="")
    print("met" if ratios[worst] <= AIM else "MISSED")
    return ratios[worst] <= AIM


async def run(seconds: float, only: str) -> bool:
    """Start everything, measure, end everything."""
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-")))
        server = Embedded(binary=find_binary(), folder=top / "r", appendfsync="no")
        redis = await server.start()
        port = free_port()
        environ = {
            "DATELINE_REDIS_URL": server.url,
            "DATELINE_PORT": str(port),
            "DATELINE_DATA_DIR": str(top),
            "DATELINE_LOG_LEVEL": "error",
        }
        settings = Settings.from_env(environ, env_file=None)
        try:
            async with open_store(settings) as store:
                worker = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "workers",
                    "work",
                    "aggregate",
                    cwd=ROOT,
                    env={**os.environ, **environ},
                )
                await prepare(store, datetime.now(UTC))
                pid = stack.enter_context(
                    process([sys.executable, "-m", "service", "serve"], port, **environ)
                )
                stop = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    group.create_task(publish(store, stop))
                    is_met = await measure(pid, port, seconds, only)
                    stop.set()
                worker.terminate()
                await worker.wait()
        finally:
            await end(redis)
    return is_met


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=6, help="of each attack")
    parser.add_argument("--only", default="", help="attacks whose name contains this")
    parser.add_argument("--attack", help="be the attackers; used by the benchmark itself")
    parser.add_argument("--port", type=int, help="with --attack")
    options = parser.parse_args()
    if options.attack:
        print(json.dumps(uvloop.run(attack_all(options.port, options.attack, options.seconds))))
        return
    print(header(f"archive   {ARTICLES} articles, {CATEGORIES} categories"))
    columns = f"{'beside':20}{'idle p95':>8}{'p95 ms':>10}{'longest':>10}"
    print(f"{columns}   answers to the attackers")
    is_met = uvloop.run(run(options.seconds, options.only))
    raise SystemExit(0 if is_met else 1)


if __name__ == "__main__":
    main()
