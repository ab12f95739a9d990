"""Slots: how many commands an article costs each hash slot of a cluster, from append to webhook.

Three masters and six shards. MONITOR on each master tells what clients send and what scripts call.
Each step of an article's way runs until it is done before the next one begins, so that its commands
are its own: append, aggregate, duplicates, one webhook. Articles come in batches, which is how a
busy archive works; with --at-once 1 they come one by one.

    sent     commands of clients; a script is one
    called   those and what scripts called, and a script itself is none

The busiest slot is that of the shard whose tag most commands name; aim for what is sent: 0.2.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from aiohttp import web

from bench.duplicates import texts
from bench.machine import header
from service.articles.article import Draft, Entry
from service.articles.compose import compose
from service.manage import webhooks
from service.settings import Settings
from service.storage.event_stream import AGGREGATE, DUPLICATES
from service.storage.store import Store, open_store
from tests.topologies import PASSWORD, Node, cluster
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder
from workers.deliver.worker import DeliverWorker

ARTICLES, AT_ONCE, MASTERS, SHARDS = 3_000, 50, 3, 6
AIM = 0.2
LONGEST_LINE = 64_000_000
WAIT_S = 120.0
_LINE = re.compile(rb'\+[\d.]+ \[\d+ ([^\]]*)\] "([^"]*)"')
_TAG = re.compile(rb"dateline:\{(\d+)\}:([a-z]+)")
Run = Callable[[asyncio.Event], Awaitable[None]]


@dataclass(slots=True)
class Tally:
    """Commands by the tag of their first key."""

    sent: Counter[int] = field(default_factory=Counter)
    called: Counter[int] = field(default_factory=Counter)
    kinds: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Of what was sent: tag, and command with the kind of its key."""

    def add(self, line: bytes) -> None:
        """Count a line of MONITOR; one without a key of ours is not counted."""
        parts, key = _LINE.match(line), _TAG.search(line)
        if parts is None or key is None:
            return
        client, name, tag = parts[1], parts[2].upper().decode(), int(key[1])
        if not name.startswith("EVAL"):
            self.called[tag] += 1
        if client != b"lua":
            self.sent[tag] += 1
            self.kinds[tag, f"{name} {key[2].decode()}"] += 1


@asynccontextmanager
async def watched(nodes: Sequence[Node], tallies: Sequence[Tally]) -> AsyncIterator[None]:
    """Count in the last of these tallies what each node does."""
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = []
        for node in nodes:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", node.port, limit=LONGEST_LINE
            )
            stack.callback(writer.close)
            writer.write(f"AUTH {PASSWORD}\r\nMONITOR\r\n".encode())
            for _ in range(2):
                await reader.readline()
            tasks.append(group.create_task(_count(reader, tallies)))
        yield
        for task in tasks:
            task.cancel()


async def _count(reader: asyncio.StreamReader, tallies: Sequence[Tally]) -> None:
    while line := await reader.readline():
        tallies[-1].add(line)


def drafts(count: int) -> list[Draft]:
    """Articles in eight languages, one in twenty an edited copy of another source."""
    now = datetime.now(UTC)
    return [
        compose(
            Entry(
                guid=str(n), title=text[:60], content_html=f"<p>{text}</p>", published=now,
                url=f"https://s{n % 200}.example/{n}", categories=(f"News/Desk {n % 20}",),
            ),
            source=f"https://s{'copy' if of >= 0 else n % 200}.example/feed",
        )
        for n, (text, of) in enumerate(texts("prose", count))
    ]  # fmt: skip


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A URL that takes everything, and the ids of the messages that it got."""
    ids: list[bytes] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        ids.append(request.headers["webhook-id"].encode())
        return web.Response()

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    yield f"http://127.0.0.1:{address[1]}/hook", ids
    await runner.cleanup()


async def until(is_done: Callable[[], Awaitable[bool]]) -> None:
    """Wait, and ask seldom, because what asks is counted, too."""
    deadline = time.monotonic() + WAIT_S
    while not await is_done():
        if time.monotonic() > deadline:
            raise SystemExit("a step of the way did not end")
        await asyncio.sleep(0.25)


async def work(run: Run, is_done: Callable[[], Awaitable[bool]]) -> None:
    """Have a worker at work until it is done."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_run(run, stop))
        await until(is_done)
        stop.set()
        await task


async def _run(run: Run, stop: asyncio.Event) -> None:
    await run(stop)


async def way(store: Store, settings: Settings, count: int, at_once: int) -> AsyncIterator[str]:
    """Do the steps; yields the name of each before it begins."""
    made = drafts(count)

    def now() -> datetime:
        return datetime.now(UTC)

    async def is_read(group: str) -> bool:
        backlogs = [b for b in await store.event_stream.backlogs() if b.group == group]
        return len(backlogs) == SHARDS and not any(b.pending or b.lag for b in backlogs)

    async with receiver() as (url, ids):
        await webhooks.add(store, {"url": url}, now=now())
        yield "append"
        for at in range(0, count, at_once):
            await store.articles.append(made[at : at + at_once], now=now())
        yield "aggregate"
        await work(Aggregator(store, settings, now=now).run, lambda: is_read(AGGREGATE))
        yield "duplicates"
        await work(DuplicateFinder(store, settings, now=now).run, lambda: is_read(DUPLICATES))

        async def is_delivered() -> bool:
            return len(set(ids)) >= count

        yield "webhook"
        await work(DeliverWorker(store, settings, now=now).run, is_delivered)


async def measure(count: int, at_once: int) -> Mapping[str, Tally]:
    """The commands of each step."""
    tallies: dict[str, Tally] = {}
    at_work = [Tally()]
    async with cluster(MASTERS) as topology:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(
                redis_url=topology.url, shards=SHARDS, data_dir=Path(folder), wait_replicas=0,
                open_networks="127.0.0.0/8",
            )  # fmt: skip
            async with (
                open_store(settings, check=True) as store,
                watched(topology.nodes, at_work),
            ):
                async for step in way(store, settings, count, at_once):
                    tallies[step] = Tally()
                    at_work.append(tallies[step])
                # What is on its way from MONITOR.
                await asyncio.sleep(0.5)
    return tallies


def table(tallies: Mapping[str, Tally], count: int) -> str:
    """Commands an article of each step, and of all."""
    total = Tally()
    for tally in tallies.values():
        total.sent += tally.sent
        total.called += tally.called
        total.kinds += tally.kinds
    lines = ["step        sent: all  busiest  of tag   called: all  busiest  of tag"]
    for name, tally in [*tallies.items(), ("all", total)]:
        parts = []
        for counts in (tally.sent, tally.called):
            tag, most = max(counts.items(), key=lambda pair: pair[1], default=(0, 0))
            parts.append(f"{counts.total() / count:9.3f} {most / count:8.3f} {tag:7}")
        lines.append(f"{name:11} {parts[0]}      {parts[1]}")
    tag, most = total.sent.most_common(1)[0]
    verdict = "met" if most / count <= AIM else "MISSED"
    lines.append(f"\nbusiest slot, that of {{{tag}}}: aim <= {AIM}: {verdict}; of that")
    for (_, kind), n in Counter({k: n for k, n in total.kinds.items() if k[0] == tag}).most_common(
        9
    ):
        lines.append(f"{n / count:8.3f} {kind}")
    shares = ", ".join(f"{{{t}}} {n / count:.3f}" for t, n in total.sent.most_common())
    return "\n".join([*lines, f"all slots: {shares}"])


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=int, default=ARTICLES)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="articles of one append")
    options = parser.parse_args()
    load = f"{options.articles} articles, {options.at_once} an append"
    print(header(f"load      {load}; {MASTERS} masters, {SHARDS} shards"))
    with suppress(KeyboardInterrupt):
        tallies = uvloop.run(measure(options.articles, options.at_once))
        print(table(tallies, options.articles))


if __name__ == "__main__":
    main()
