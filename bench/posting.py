"""dateline on a topology of real servers, a client that posts to it, and a ledger of what it was
answered; for `bench.topologies`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from bench.machine import ROOT
from bench.serve import free_port
from service.settings import Settings
from service.storage.store import Store, open_store
from tests.topologies import SENTINEL_PASSWORD, Topology

SHARDS = 6
PAUSE_S = 0.02
"""Between two posts."""
PATIENCE_S = 60.0
TOKEN = "the-token-of-the-benchmark-of-topologies"
AUTH = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(slots=True)
class Ledger:
    """What the client was answered, and what the webhook got."""

    statuses: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)
    """Id of each article that was acknowledged."""
    sent: Counter[str] = field(default_factory=Counter)
    """Article id → events of it that came to the webhook."""
    last: float = 0.0
    gap_s: float = 0.0
    """Longest time between two acknowledgements since `begin`."""

    def begin(self) -> None:
        """Forget the gap so far."""
        self.last, self.gap_s = time.monotonic(), 0.0

    def acknowledge(self, article_id: str) -> None:
        """Note an article that was answered with 201."""
        self.kept.append(article_id)
        now = time.monotonic()
        self.gap_s, self.last = max(self.gap_s, now - self.last), now


class Site:
    """dateline on a topology, and a client that posts to it."""

    def __init__(self, topology: Topology, folder: Path, port: int) -> None:
        self.topology = topology
        self.base = f"http://127.0.0.1:{port}"
        self.ledger = Ledger()
        self.stop = asyncio.Event()
        self._environ = {
            "DATELINE_REDIS_URL": topology.url,
            "DATELINE_SENTINEL_PASSWORD": SENTINEL_PASSWORD,
            "DATELINE_SHARDS": str(SHARDS),
            "DATELINE_PORT": str(port),
            "DATELINE_DATA_DIR": str(folder),
            "DATELINE_API_TOKEN": TOKEN,
            "DATELINE_OPEN_NETWORKS": "127.0.0.0/8",
            "DATELINE_LOG_LEVEL": "error",
        }
        self.settings = Settings.from_env(self._environ, env_file=None)
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the server and the worker."""
        for command in (["service", "serve"], ["workers", "work"]):
            self._children.append(
                subprocess.Popen(
                    [sys.executable, "-m", *command],
                    env={**os.environ, **self._environ},
                    cwd=ROOT,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )

    async def end(self) -> None:
        """End both."""
        for child in self._children:
            child.send_signal(signal.SIGTERM)
        for child in self._children:
            await asyncio.to_thread(child.wait, PATIENCE_S)

    async def post_all(self, http: aiohttp.ClientSession) -> None:
        """Post one article after the other until the stop."""
        number = 0
        while not self.stop.is_set():
            number += 1
            text = f"<p>{os.urandom(40).hex()}</p>"
            fields = {"title": f"Story {number}", "guid": f"{number}", "content_html": text}
            url = f"{self.base}/api/v1/articles"
            try:
                async with http.post(url, json=fields, headers=AUTH) as response:
                    answer = orjson.loads(await response.read())
                    self.ledger.statuses[str(response.status)] += 1
                    if response.status in (200, 201):
                        self.ledger.acknowledge(answer["id"])
            except aiohttp.ClientError as exc:
                self.ledger.statuses[type(exc).__name__] += 1
            await asyncio.sleep(PAUSE_S)

    async def goes_on(self, count: int = 50) -> None:
        """Wait until so many more articles were acknowledged."""
        goal = len(self.ledger.kept) + count
        await until(lambda: _true(len(self.ledger.kept) >= goal))

    async def report(self, http: aiohttp.ClientSession) -> str:
        """Compare what was acknowledged with what is there, on the streams, and delivered."""
        ids = set(self.ledger.kept)
        absent = 0
        for article_id in ids:
            async with http.get(f"{self.base}/articles/{article_id}.json") as response:
                absent += response.status != 200
        async with open_store(self.settings) as store:
            announced = await _announced(store)
        await until(lambda: _true(ids <= self.ledger.sent.keys()), is_needed=False)
        missing = len(ids - self.ledger.sent.keys())
        more = sum(self.ledger.sent[i] - 1 for i in ids if self.ledger.sent[i])
        return (
            f"acknowledged {len(ids)}, not kept {absent}, not on a stream {len(ids - announced)}, "
            f"not delivered {missing}, delivered again {more}; answers {dict(self.ledger.statuses)}"
        )


async def _true(is_so: bool) -> bool:
    return is_so


async def until(predicate: Callable[[], Awaitable[bool]], *, is_needed: bool = True) -> None:
    """Wait until this is so, for PATIENCE_S; then give up, if it is needed."""
    deadline = time.monotonic() + PATIENCE_S
    while not await predicate():
        if time.monotonic() > deadline:
            if is_needed:
                raise SystemExit("what must come did not come")
            return
        await asyncio.sleep(0.05)


async def _announced(store: Store) -> set[str]:
    subjects: set[str] = set()
    for shard in store.event_stream.shards:
        after = "0-0"
        while events := await store.event_stream.read(shard, after, count=500, wait=False):
            subjects.update(event.subject for event in events)
            after = events[-1].entry_id
    return subjects


@asynccontextmanager
async def posting(topology: Topology) -> AsyncIterator[tuple[Site, aiohttp.ClientSession]]:
    """dateline with a webhook, while articles are posted; print what came of it at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-")))
        site = Site(topology, folder, free_port())
        hook = await _receiver(stack, site.ledger)
        site.start()
        stack.push_async_callback(site.end)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await until(lambda: _is_ready(http, site.base))
        async with http.post(f"{site.base}/api/v1/webhooks", json={"url": hook}, headers=AUTH) as r:
            r.raise_for_status()
        async with asyncio.TaskGroup() as group:
            group.create_task(site.post_all(http))
            try:
                await site.goes_on()
                yield site, http
            finally:
                site.stop.set()
        print("  ", await site.report(http), flush=True)


async def _is_ready(http: aiohttp.ClientSession, base: str) -> bool:
    try:
        async with http.get(f"{base}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _receiver(stack: AsyncExitStack, ledger: Ledger) -> str:
    """A receiver of webhooks that notes the articles in the ledger; its URL."""

    async def take(request: web.Request) -> web.Response:
        ledger.sent[orjson.loads(await request.read())["data"]["id"]] += 1
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return f"http://127.0.0.1:{port}/"
