"""Duplicates: what it costs to judge an article, until all are judged, and how far judging lags.

Articles stand in the event stream; then a duplicate finder begins, alone in its process. Its CPU
time and that of Redis, together, are those of the articles, of which one in twenty is another
source's edited copy of an earlier one. After that articles come at a rate, and the age of the
oldest that is not judged is read ten times a second.

    prose    made up, in eight languages and five scripts: words by Zipf's law, and stock phrases
    forty    forty words in any order

With --old TREE the same is done by the code of another tree (`git worktree add TREE COMMIT`), in
turns.
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
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).parent.parent
ARTICLES, COPY_EVERY, WORDS = 4_000, 20, 300
WARM = 200
RATE, RATE_S = 500, 10
AIM_US, AIM_LAG_S = 250.0, 1.0
LETTERS = (
    "etaoinshrdlu", "eanisrtudlèé", "enisratdhulüß", "аеинтосрвлйё", "αοιετσνηυρέί", "اليمنرتبعدأ",
    "esaniotrldçã", "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年",
)  # fmt: skip
FORTY = [f"{a}{b}" for a in ("har", "fer", "qua", "til", "fog") for b in "abcdefgh"]


class Prose:
    """One language: a vocabulary whose words are as frequent as those of real ones, and phrases."""

    def __init__(self, letters: str) -> None:
        chance = random.Random(letters)
        self._is_unspaced = letters[0] == "的"
        lengths = (1, 2, 2, 3) if self._is_unspaced else (2, 3, 5, 6, 7, 9)
        self._words = [
            "".join(chance.choices(letters, k=chance.choice(lengths))) for _ in range(20_000)
        ]
        self._weights = list(accumulate(1 / (rank + 2) for rank in range(len(self._words))))
        self._phrases = [self.words(chance, 6) for _ in range(40)]

    def words(self, chance: random.Random, count: int) -> list[str]:
        """So many words."""
        return chance.choices(self._words, cum_weights=self._weights, k=count)

    def text(self, chance: random.Random, count: int) -> str:
        """A paragraph of about so many words."""
        words: list[str] = []
        while len(words) < count:
            words += chance.choice(self._phrases) if chance.random() < 0.1 else []
            words += self.words(chance, chance.randint(5, 25))
            words[-1] += "。" if self._is_unspaced else "."
        return ("" if self._is_unspaced else " ").join(words)


def texts(kind: str, count: int) -> list[tuple[str, int]]:
    """(text, number of the text that it is a copy of, or -1)."""
    chance = random.Random(kind)
    languages = [Prose(letters) for letters in LETTERS]
    made: list[tuple[str, int]] = []
    for number in range(count):
        if number and number % COPY_EVERY == 0:
            at = chance.randrange(max(0, number - 400), number)
            while made[at][1] >= 0:
                at -= 1
            made.append((f"{made[at][0]} So we have read, at least, in another paper.", at))
        elif kind == "forty":
            made.append((" ".join(chance.choices(FORTY, k=WORDS)), -1))
        else:
            made.append((chance.choice(languages).text(chance, chance.randint(60, 2 * WORDS)), -1))
    return made


async def measure(kind: str, count: int) -> dict[str, Any]:
    """One side, by the code that is on the path of this process."""
    from service.settings import Settings
    from service.storage.embedded_redis import Embedded, end, find_binary
    from service.storage.store import open_store
    from workers.aggregate.duplicate_finder import DuplicateFinder

    with tempfile.TemporaryDirectory() as folder:
        server = Embedded(binary=find_binary(), folder=Path(folder), appendfsync="no")
        process = await server.start()
        settings = Settings(redis_url=server.url, data_dir=Path(folder))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(end, process)
            store = await stack.enter_async_context(open_store(settings))
            made = texts(kind, count)
            ids = await append(store, made, 0, count)
            finder = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC))
            # What is done once in a process is not measured.
            await finder._judge_events(await store.event_stream.newest(0, count=WARM))
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                before, start = await cpu_s(store), time.perf_counter()
                tasks.create_task(finder.run(stop))
                await settled(store)
                after, wall_s = await cpu_s(store), time.perf_counter() - start
                stop.set()
            articles = await store.articles.get(ids)
            found = [a.duplicate_of for a in articles if a]
            right = sum(of >= 0 and found[n] == ids[of] for n, (_, of) in enumerate(made))
            lags = await lag(folder, server.url, store, kind, count)
            return {
                "us": [round((b - a) / count * 1e6, 1) for a, b in zip(before, after, strict=True)],
                "rate": round(count / wall_s),
                "copies": sum(of >= 0 for _, of in made),
                "right": right,
                "wrong": sum(bool(each) for each in found) - right,
                "lag": lags,
                "memory": await memory(store, count),
            }


async def append(store: Any, made: list[tuple[str, int]], start: int, end: int) -> list[str]:
    """Ids of these articles."""
    from service.articles.article import Entry
    from service.articles.compose import compose

    now = datetime.now(UTC)
    drafts = [
        compose(
            Entry(
                guid=str(n), title=text[:60], content_html=f"<p>{text}</p>",
                url=f"https://s{n % 200}.example/{n}", published=now - timedelta(seconds=1),
            ),
            source=f"s{'copy' if of >= 0 else n % 200}.example",
        )
        for n, (text, of) in enumerate(made[start:end], start)
    ]  # fmt: skip
    ids: list[str] = []
    for at in range(0, len(drafts), 50):
        ids += [
            r.id for r in await store.articles.append(drafts[at : at + 50], now=datetime.now(UTC))
        ]
        # What is seen first is the original.
        await asyncio.sleep(0.002)
    return ids


async def cpu_s(store: Any) -> tuple[float, float]:
    """CPU seconds of this process and of Redis."""
    info = await store.client.info("cpu")
    return time.process_time(), info["used_cpu_user"] + info["used_cpu_sys"]


async def settled(store: Any) -> None:
    """Wait until every event was judged."""
    from service.storage.event_stream import DUPLICATES

    while True:
        newest = await store.event_stream.last_id(0)
        if await store.event_stream.needed_from(0, DUPLICATES) == newest:
            backlogs = [b for b in await store.event_stream.backlogs() if b.group == DUPLICATES]
            if [b.pending for b in backlogs] == [0]:
                return
        await asyncio.sleep(0.5)


async def lag(folder: str, url: str, store: Any, kind: str, count: int) -> dict[str, float]:
    """Ages in s of the oldest article that is not judged, while RATE articles a second come from
    another process."""
    from service.settings import Settings
    from service.storage.event_stream import DUPLICATES
    from workers.aggregate.duplicate_finder import DuplicateFinder

    settings = Settings(redis_url=url, data_dir=Path(folder))
    command = [sys.executable, __file__, "--feed", url, "--kind", kind, "--first", str(count)]
    feeder = await asyncio.create_subprocess_exec(*command, cwd=folder, env={**os.environ})
    finder, stop = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC)), asyncio.Event()
    ages: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(finder.run(stop))
        while feeder.returncode is None:
            await asyncio.sleep(0.1)
            needed = await store.event_stream.needed_from(0, DUPLICATES)
            newest = await store.event_stream.last_id(0)
            is_behind = needed != newest
            ages.append(time.time() - int(needed.split("-")[0]) / 1000 if is_behind else 0.0)
        await settled(store)
        stop.set()
    # The first seconds are those in which the feeder composes.
    ages = sorted(age for age in ages if age) or [0.0]
    return {"p50": round(ages[len(ages) // 2], 2), "max": round(ages[-1], 2)}


async def feed(url: str, kind: str, first: int) -> None:
    """Append RATE articles a second, composed before."""
    from service.articles.article import Entry
    from service.articles.compose import compose
    from service.settings import Settings
    from service.storage.store import open_store

    made = texts(kind, first + RATE * RATE_S)[first:]
    drafts = [
        compose(
            Entry(guid=str(n), title=text[:60], content_html=f"<p>{text}</p>"),
            source=f"s{'copy' if of >= 0 else n % 200}.example",
        )
        for n, (text, of) in enumerate(made, first)
    ]
    async with open_store(Settings(redis_url=url)) as store:
        start = time.perf_counter()
        for number, at in enumerate(range(0, len(drafts), RATE // 20)):
            await asyncio.sleep(max(0.0, start + number / 20 - time.perf_counter()))
            await store.articles.append(drafts[at : at + RATE // 20], now=datetime.now(UTC))


async def memory(store: Any, count: int) -> int:
    """Bytes in Redis an article for what finds duplicates."""
    total = 0
    async for key in store.client.scan_iter(match="dateline:{*}:[blu]*", count=1_000):
        if key.split(b":")[2] in (b"bands", b"landmarks", b"urls"):
            total += int(await store.client.execute_command("MEMORY", "USAGE", key, "SAMPLES", 0))
    return total // (count + RATE * RATE_S)


def side(tree: Path, kind: str, count: int) -> dict[str, Any]:
    """The figures of the code in this tree, in a process without ours on its path."""
    command = [sys.executable, __file__, "--measure", kind, "--articles", str(count)]
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environ, check=True, capture_output=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Run both kinds on each side, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, help="tree of another commit, to compare with")
    parser.add_argument("--articles", type=int, default=ARTICLES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(uvloop.run(measure(options.measure, options.articles))))
    elif options.feed:
        uvloop.run(feed(options.feed, options.kind, options.first))
    else:
        compare(options.old, options.articles, options.rounds)


def compare(old: Path | None, articles: int, rounds: int) -> None:
    """Print the table."""
    from bench.machine import header

    trees = {"ours": ROOT} | ({"old": old.resolve()} if old else {})
    print(header(f"load      {articles} articles, then {RATE}/s for {RATE_S} s"))
    print(
        "kind   side  us: finder  Redis   all  judged/s  copies right wrong  lag p50  max s  bytes"
    )
    for kind in ("prose", "forty"):
        for _ in range(rounds):
            for name, tree in trees.items():
                print(row(kind, name, side(tree, kind, articles)), flush=True)


def row(kind: str, name: str, found: dict[str, Any]) -> str:
    """The figures of one run."""
    finder, redis = found["us"]
    copies = f"{found['copies']:7} {found['right']:5} {found['wrong']:5}"
    lags = f"{found['lag']['p50']:8} {found['lag']['max']:6}"
    text = f"{kind:6} {name:5} {finder:10.0f} {redis:6.0f} {finder + redis:5.0f} {found['rate']:9}"
    text = f"{text} {copies} {lags} {found['memory']:6}"
    if name == "old":
        return text
    is_met = finder + redis <= AIM_US and found["lag"]["max"] <= AIM_LAG_S
    return f"{text}  aim <= {AIM_US:.0f} us, {AIM_LAG_S:.0f} s: {'met' if is_met else 'MISSED'}"


if __name__ == "__main__":
    main()
