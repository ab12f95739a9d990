"""A Redis, deliver workers and receivers, each a process that can be started and killed by itself;
for the benchmarks of delivery, and for the test that kills them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.receivers import Judgement, title, url
from bench.serve import ROOT, free_port
from service.articles.article import Draft, Entry
from service.articles.category_creator import OPERATOR
from service.articles.compose import compose
from service.errors import Unavailable
from service.manage import webhooks
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store

STOP_S = 20.0
# As many articles as a worker has in memory are read at once.
APPEND_AT_ONCE = 200


class Rig:
    """All of it, in one folder."""

    def __init__(self, folder: Path, *, appendfsync: str = "everysec") -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "received"
        self.store: Store
        self.server = Embedded(binary=find_binary(), folder=folder / "r", appendfsync=appendfsync)
        self.redis: asyncio.subprocess.Process
        self._children: list[subprocess.Popen[bytes]] = []
        self._appended: dict[int, int] = defaultdict(int)

    @property
    def appended(self) -> Mapping[int, int]:
        """Category → how many of its articles there are."""
        return self._appended

    def environ(self, **settings: object) -> dict[str, str]:
        """Of a worker."""
        values = {
            "REDIS_URL": self.server.url,
            "DATA_DIR": self.folder,
            "OPEN_NETWORKS": "127.0.0.0/8",
            "LOG_LEVEL": "error",
            **settings,
        }
        return {**os.environ, **{f"DATELINE_{name}": str(value) for name, value in values.items()}}

    async def start_redis(self) -> None:
        """Anew, with what it had."""
        self.redis = await self.server.start()

    async def start_receivers(self, *, is_well: bool = True) -> subprocess.Popen[bytes]:
        """All of them, in one process; they go on with their file."""
        options = ["--well"] if is_well else []
        command = ["-m", "bench.receivers", str(self.port), str(self.file), *options]
        child = self.start(command, os.environ)
        for _ in range(500):
            if await _answers("127.0.9.1", self.port):
                return child
            await asyncio.sleep(0.02)
        raise SystemExit("the receivers did not start")

    def start_worker(self, ordinal: int = 0, **settings: object) -> subprocess.Popen[bytes]:
        """One deliver worker as shipped."""
        environ = self.environ(WORKER_ORDINAL=ordinal, **settings)
        return self.start(["-m", "workers", "work", "deliver"], environ)

    def start(self, command: list[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a Python process, which is ended with the rig."""
        child = subprocess.Popen(
            [sys.executable, *command], env=environ, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        self._children.append(child)
        return child

    async def end(self, *children: subprocess.Popen[bytes]) -> None:
        """In order."""
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            await asyncio.to_thread(child.wait, STOP_S)
            self._children.remove(child)

    async def kill(self, child: subprocess.Popen[bytes]) -> None:
        """At once, by its pid."""
        child.kill()
        await asyncio.to_thread(child.wait, STOP_S)
        self._children.remove(child)

    async def kill_redis(self) -> None:
        """At once, by its pid."""
        self.redis.kill()
        await self.redis.wait()

    async def close(self) -> None:
        """End what is left."""
        await self.end(*self._children)
        await end(self.redis)

    async def add(
        self, kinds: Sequence[str], first: int = 0, *, categories: int, **fields: object
    ) -> None:
        """Endpoints of these kinds, spread over categories; numbered from the first on."""
        for number, kind in enumerate(kinds, first):
            category = f"k{number % categories}"
            webhook = {"url": url(kind, number, self.port), "categories": [category], **fields}
            await webhooks.add(self.store, webhook, now=datetime.now(UTC))

    async def append(self, categories: Sequence[int], *, text: str = "") -> None:
        """An article for each, the next of its category; waits while Redis is away."""
        drafts = []
        for category in categories:
            number = self._appended[category]
            entry = Entry(
                guid=f"k{category} n{number}", title=title(category, number), content_html=text,
                categories=(f"k{category}",),
            )  # fmt: skip
            drafts.append(compose(entry, source="bench"))
            self._appended[category] = number + 1
        for at in range(0, len(drafts), APPEND_AT_ONCE):
            await self._append(drafts[at : at + APPEND_AT_ONCE])

    async def _append(self, drafts: list[Draft]) -> None:
        while True:
            try:
                with redis_errors_as_unavailable():
                    await self.store.articles.append(
                        drafts, now=datetime.now(UTC), creator=OPERATOR
                    )
                return
            except Unavailable:
                # The same articles again are no others.
                await asyncio.sleep(0.1)

    async def forget(self) -> None:
        """Begin anew, with an empty Redis and an empty file."""
        await self.store.client.flushall()
        self._appended.clear()
        self.file.write_bytes(b"")

    def judge(self, *, only: str = "/") -> Judgement:
        """What came until now, to paths that begin so."""
        with self.file.open() as lines:
            return Judgement().take(lines, only=only)

    async def received(self, count: int, *, timeout_s: float) -> None:
        """Wait until the file has this many lines."""
        seen = at = 0
        async with asyncio.timeout(timeout_s):
            while seen < count:
                with self.file.open("rb") as file:
                    file.seek(at)
                    data = file.read()
                seen, at = seen + data.count(b"\n"), at + len(data)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def rig(**options: str) -> AsyncIterator[Rig]:
    """One with Redis up, ended at the end."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="db-"))
        bench_rig = Rig(Path(folder), **options)
        await bench_rig.start_redis()
        stack.push_async_callback(bench_rig.close)
        settings = Settings.from_env({"DATELINE_REDIS_URL": bench_rig.server.url}, env_file=None)
        bench_rig.store = await stack.enter_async_context(open_store(settings))
        yield bench_rig


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
