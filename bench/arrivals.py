"""News while readers poll: what arrivals cost those who poll, and how soon an article is there.

Ours is one server process and one aggregate worker on an embedded Redis. Two measurements:

    polls    latency of hot polls (keep-alive, a page of 50) while 50 articles/s arrive in the
             polled category, against the same without arrivals, in turn
    visible  from before the append to the first answer of a back-to-back poller that has the
             article, at 1, 10 and 100 articles/s; against the least that could do this: XADD, a
             bare aiohttp process that XREADs and keeps the newest 50, the same poller
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from redis.asyncio import Redis

from bench.machine import header, median
from bench.serve import free_port, process
from service.articles.article import Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store

P99_AIM, VISIBLE_AIM = 1.5, 3.0
RATE_OF_POLLS = 50
RATES = (1, 10, 100)
CONNECTIONS = 4
PAUSE_S = 0.003
PATH = "/feeds/news.rss"
WORDS = ["harbour", "ferry", "tide", "the", "of", "quay", "council", "said", "winter", "boats"]
_BARE = """
import asyncio, sys, uvloop
from collections import deque
from aiohttp import web
from redis.asyncio import Redis
port, url = int(sys.argv[1]), sys.argv[2]
items, body = deque(maxlen=50), b""
async def handler(request):
    return web.Response(body=body, content_type="application/rss+xml")
async def follow(client):
    global body
    last = "$"
    while True:
        for _, entries in await client.xread({"bare": last}, block=1000) or []:
            for last, fields in entries:
                items.appendleft(fields[b"item"])
            body = b"".join(items)
async def main():
    runner = web.ServerRunner(web.Server(handler, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await follow(Redis.from_url(url))
uvloop.run(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A server that runs, and how articles come to it."""

    port: int
    url: str
    """Of its Redis."""
    append: Callable[[str], Awaitable[object]]
    """Of a text that is nowhere else."""


async def poll_once(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> bytes:
    """The body of one answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


def request_of(coding: str) -> bytes:
    """A poll without validators."""
    lines = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n"
    return lines.encode()


async def latencies(port: int, seconds: float) -> list[float]:
    """Of polls on a few connections, each with a pause after it."""
    waits_s: list[float] = []
    until = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        request = request_of("gzip")
        while time.perf_counter() < until:
            start = time.perf_counter()
            await poll_once(reader, writer, request)
            waits_s.append(time.perf_counter() - start)
            await asyncio.sleep(PAUSE_S)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(one())
    return waits_s


async def arrive(side: Side, rate: float, seconds: float, sent: dict[bytes, float]) -> None:
    """Append at a rate, noting when each was begun."""
    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        token = f"n{random.getrandbits(60):015x}"
        sent[token.encode()] = time.perf_counter()
        await side.append(token)


@asynccontextmanager
async def arriving(side: Side, seconds: float) -> AsyncIterator[None]:
    """Articles come from a process of their own: it shall not be what polls wait for."""
    command = [sys.executable, "-m", "bench.arrivals", "--arrive", side.url, str(seconds)]
    writer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert writer.stdout
    await writer.stdout.readline()
    yield
    await writer.wait()


async def write_for(url: str, seconds: float) -> None:
    """What that process does."""
    settings = Settings.from_env({"DATELINE_REDIS_URL": url}, env_file=None)
    async with open_store(settings) as store:
        side = Side(port=0, url=url, append=lambda token: append(store, token))
        await append(store, "first")
        print("ready", flush=True)
        await arrive(side, RATE_OF_POLLS, seconds, {})


async def visible(side: Side, rate: float, seconds: float) -> list[float]:
    """Seconds until each was in an answer."""
    sent: dict[bytes, float] = {}
    waits_s: list[float] = []
    done = asyncio.Event()

    async def watch() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", side.port, limit=1 << 22)
        request = request_of("identity")
        while not (done.is_set() and not sent):
            body = await poll_once(reader, writer, request)
            now = time.perf_counter()
            waits_s.extend(now - sent.pop(token) for token in list(sent) if token in body)
            # A pause between polls, for the other processes of the machine.
            await asyncio.sleep(0.0005)
        writer.close()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch())
        await asyncio.sleep(0.3)
        await arrive(side, rate, seconds, sent)
        done.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.shield(task)
        if sent:
            raise SystemExit(f"{len(sent)} articles were never there")
    return waits_s


@asynccontextmanager
async def sides(stack: AsyncExitStack) -> AsyncIterator[dict[str, Side]]:
    """Ours and the bare one, on one Redis, with a page that is full."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-")))
    server = Embedded(binary=find_binary(), folder=folder / "r", appendfsync="everysec")
    redis = await server.start()
    settings = Settings.from_env({"DATELINE_REDIS_URL": server.url}, env_file=None)
    environ = {"DATELINE_REDIS_URL": server.url, "DATELINE_DATA_DIR": str(folder)}
    port, bare = free_port(), free_port()
    try:
        store = await stack.enter_async_context(open_store(settings))
        client = Redis.from_url(server.url)
        stack.push_async_callback(client.aclose)
        work = [sys.executable, "-m", "service", "work", "aggregate"]
        serve = [sys.executable, "-m", "service", "serve"]
        # Both are there once the server is.
        with (
            process(serve, port, DATELINE_PORT=str(port), **environ),
            process(work, port, **environ),
            process([sys.executable, "-c", _BARE, str(bare), server.url], bare),
        ):
            for _ in range(50):
                await append(store, f"old {random.random()}")
            await asyncio.sleep(3)
            yield {
                "ours": Side(port=port, url=server.url, append=lambda token: append(store, token)),
                "bare": Side(port=bare, url=server.url, append=lambda token: client.xadd(
                    "bare", {"item": item(token)}, maxlen=1_000, approximate=True
                )),
            }  # fmt: skip
    finally:
        await end(redis)


def item(token: str) -> str:
    """About as long as an item of ours."""
    return f"<item><title>{token}</title><description>{words(80)}</description></item>"


def words(count: int) -> str:
    """Some."""
    return " ".join(random.choices(WORDS, k=count))


async def append(store: Store, token: str) -> None:
    """One article, at once."""
    entry = Entry(guid=token, title=token, content_html=f"<p>{words(60)}</p>", categories=("News",))
    await store.articles.append([compose(entry, source="bench")], now=datetime.now(UTC))


def at(figures: Sequence[float], share: float) -> float:
    """A quantile in milliseconds."""
    return sorted(figures)[min(len(figures) - 1, int(len(figures) * share))] * 1000


async def measure_polls(
    polled: Side, side: Side, rounds: int, seconds: float
) -> list[tuple[float, ...]]:
    """(p50 quiet, p99 quiet, p50 with arrivals, p99 with arrivals) of each round, in ms.

    Args:
        side: to which the articles come.
    """
    waits_s = []
    for _ in range(rounds):
        quiet = await latencies(polled.port, seconds)
        async with arriving(side, seconds + 1):
            busy = await latencies(polled.port, seconds)
        waits_s.append((at(quiet, 0.5), at(quiet, 0.99), at(busy, 0.5), at(busy, 0.99)))
        await asyncio.sleep(1)
    return waits_s


async def show_polls(both: dict[str, Side], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Print the first table."""
    figures = {}
    print("polls       quiet p50     p99    busy p50     p99   p99 ratio")
    for name, polled in both.items():
        polls = await measure_polls(polled, both["ours"], rounds, seconds)
        row = [median([p[i] for p in polls]) for i in range(4)]
        ratio = median([p[3] / p[1] for p in polls])
        judged = f"aim <= {P99_AIM}: {'met' if ratio <= P99_AIM else 'MISSED'}"
        print(
            f"{name:9}{row[0]:12.2f}{row[1]:8.2f}{row[2]:12.2f}{row[3]:8.2f}{ratio:11.1f}x"
            f"   {judged if name == 'ours' else 'what the machine does to anybody'}"
        )
        figures[name] = [*row, ratio]
    return figures


async def run(rounds: int, seconds: float) -> dict[str, object]:
    """Everything, printed as it comes; the figures."""
    figures: dict[str, object] = {}
    async with AsyncExitStack() as stack, sides(stack) as both:
        figures["polls"] = await show_polls(both, rounds, seconds)
        print("\nvisible      ours p50     p99    bare p50     p99   p50 ratio")
        for rate in RATES:
            waits_s = {name: await visible(side, rate, seconds * 2) for name, side in both.items()}
            row = [at(waits_s[name], share) for name in ("ours", "bare") for share in (0.5, 0.99)]
            judged = "met" if row[0] / row[2] <= VISIBLE_AIM else "MISSED"
            print(
                f"{rate:4}/s    {row[0]:9.2f}{row[1]:9.2f}{row[2]:11.2f}{row[3]:9.2f}"
                f"{row[0] / row[2]:10.1f}x   aim <= {VISIBLE_AIM:g}: {judged}"
            )
            figures[str(rate)] = row
    return figures


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each round")
    parser.add_argument("--arrive", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arrive:
        uvloop.run(write_for(options.arrive[0], float(options.arrive[1])))
        return
    print(header(f"page      50 short articles; {CONNECTIONS} connections"))
    uvloop.run(run(options.rounds, options.seconds))


if __name__ == "__main__":
    main()
