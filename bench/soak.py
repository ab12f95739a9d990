"""Half an hour of everything: articles come, change and go while readers poll; is anything wrong?

A whole `dateline up` in a process of its own. Readers poll feeds of all kinds with validators, in
all codings, some with A-IM. Judged: no validator that stands for two contents or keeps an old one
(each answer's decoded bytes are compared by tag and by date), no article missing or shown after it
was withdrawn, LATE_S after it was accepted, and memory: that of the server and of the aggregate
worker in the last third against the second third.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from bench.machine import header, median
from bench.serve import ROOT, free_port

CATEGORIES = ("Media Center/Harbour", "Media Center/Town", "Sports", "Weather")
PATHS = ("all", "media-center", "media-center/harbour", "sports", "weather")
# Enough that all that is cached for each revision has reached its bounds in the first third.
WRITES_PER_S = 20.0
READERS = 12
# The number of stored articles is limited: otherwise pages and memory would grow with them.
MAX_LIVE = 300
LATE_S = 3.0
MAX_GROWTH = 1.10
LOG, MAX_LOG_LINES = "log", 20
_SUFFIX = re.compile(r"-(?:br|zstd|gzip)$")


@dataclass
class Judge:
    """What was seen, and what was wrong with it."""

    wrong: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    bodies: dict[tuple[str, str], str] = field(default_factory=dict)
    """(path, tag) → hash of the content."""
    dates: dict[tuple[str, str], str] = field(default_factory=dict)
    """(path, Last-Modified) → tag."""
    accepted: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """Article → when its last change was accepted, and whether it is live since."""
    examples: list[str] = field(default_factory=list)

    def fault(self, kind: str, example: str) -> None:
        """Note one."""
        self.wrong[kind] += 1
        if len(self.examples) < 20:
            self.examples.append(f"{kind}: {example}")

    def content(self, path: str, tag: str, date: str, body: bytes) -> None:
        """A 200: its tag and its date stand for these bytes and no others."""
        digest = hashlib.sha256(body).hexdigest()
        if self.bodies.setdefault((path, tag), digest) != digest:
            self.fault("a tag for two contents", f"{path} {tag}")
        if date and self.dates.setdefault((path, date), tag) != tag:
            self.fault("a date for two contents", f"{path} {date}")

    def newest(self, started: float, ids: set[str]) -> None:
        """The live feed of everything: what was accepted a while before is there, or is not."""
        for article_id, (when, is_live) in list(self.accepted.items())[-15:]:
            if started - when > LATE_S and is_live != (f"urn:uuid:{article_id}" in ids):
                self.fault("missing" if is_live else "shown though withdrawn", article_id)


class Writer:
    """Publishes, edits, withdraws."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, judge: Judge) -> None:
        self._session, self._url, self._judge = session, f"{url}/api/v1/articles", judge
        self._headers = {"Authorization": f"Bearer {token}"}
        self._chance = random.Random(1)
        self._known: list[tuple[str, str]] = []
        self._count = 0

    async def run(self, deadline: float) -> None:
        """Until then."""
        while time.monotonic() < deadline:
            await asyncio.sleep(self._chance.expovariate(WRITES_PER_S))
            kind = self._chance.choices(["new", "edit", "withdraw"], [6, 3, 1])[0]
            if kind == "new" or len(self._known) < 20:
                self._count += 1
                await self._publish(f"n{self._count}")
                if len(self._known) > MAX_LIVE:
                    await self._withdraw(*self._known.pop(0))
            elif kind == "edit":
                await self._publish(self._chance.choice(self._known[-15:])[0])
            else:
                await self._withdraw(*self._known.pop(self._chance.randrange(-15, 0)))
            self._judge.seen[kind] += 1

    async def _publish(self, guid: str) -> None:
        words = " ".join(self._chance.choices(["quay", "fog", "tide", "boat", "the", "of"], k=300))
        body = {
            "guid": guid, "title": f"{guid} {self._chance.random()}", "tags": ["Fog"],
            "content_html": f"<p>{words}</p>", "categories": [self._chance.choice(CATEGORIES)],
        }  # fmt: skip
        async with self._session.post(self._url, json=body, headers=self._headers) as response:
            article_id = (await response.json())["id"]
        self._judge.accepted.pop(article_id, None)
        self._judge.accepted[article_id] = time.monotonic(), True
        if (guid, article_id) not in self._known:
            self._known.append((guid, article_id))

    async def _withdraw(self, _: str, article_id: str) -> None:
        url = f"{self._url}/{article_id}"
        async with self._session.delete(url, headers=self._headers) as response:
            await response.read()
        self._judge.accepted.pop(article_id, None)
        self._judge.accepted[article_id] = time.monotonic(), False


async def read(session: aiohttp.ClientSession, url: str, judge: Judge, deadline: float) -> None:
    """One reader that polls all kinds of feeds, each time as one kind of client or another."""
    chance = random.Random()
    validators: dict[str, tuple[str, str]] = {}
    while time.monotonic() < deadline:
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        path = _path(chance)
        headers = {"Accept-Encoding": chance.choice(["identity", "gzip", "br", "zstd", "br, gzip"])}
        tag, date = validators.get(path, ("", ""))
        kind = chance.choice(["plain", "tag", "tag", "date", "delta"])
        if kind in ("tag", "delta") and tag:
            headers["If-None-Match"] = tag
        if kind == "delta":
            headers["A-IM"] = "feed"
        if kind == "date" and date:
            headers["If-Modified-Since"] = date
        started = time.monotonic()
        async with session.get(f"{url}{path}", headers=headers) as response:
            body = await response.read()
            status, answer_headers = response.status, response.headers
        judge.seen[str(status)] += 1
        if status not in (200, 226, 304):
            judge.fault("status", f"{status} {path}")
            continue
        now_tag = _SUFFIX.sub("", answer_headers["ETag"].strip('"'))
        if status == 304 and kind == "date" and _SUFFIX.sub("", tag.strip('"')) != now_tag:
            judge.fault("304 for an old date", f"{path} {date}")
        if status == 304 and kind != "date" and _SUFFIX.sub("", tag.strip('"')) != now_tag:
            judge.fault("304 for an old tag", f"{path} {tag}")
        if status == 200:
            judge.content(path, now_tag, answer_headers.get("Last-Modified", ""), body)
            validators[path] = answer_headers["ETag"], answer_headers.get("Last-Modified", "")
            if path == "/feeds/all.json":
                judge.newest(started, {item["id"] for item in orjson.loads(body)["items"]})


def _path(chance: random.Random) -> str:
    extension = chance.choice(["rss", "atom", "json", "json"])
    place = chance.choice([*PATHS, "all", "all"])
    kind = chance.choice(["live"] * 6 + ["day", "month", "selection", "view"])
    today = time.strftime("%Y/%m/%d", time.gmtime())
    if kind == "selection":
        return f"/feeds/{place}.{extension}?q=fog&limit=10"
    if kind == "view":
        return f"/feeds/views/fog.{extension}"
    middle = {"live": "", "day": f"/{today}", "month": f"/{today[:7]}"}[kind]
    # Months grow for half an hour; they are read, but not by everybody.
    if kind == "month" and chance.random() < 0.9:
        middle = ""
    return f"/feeds/{place}{middle}.{extension}"


def memory_mb(pids: dict[str, int]) -> dict[str, float]:
    """Part → resident memory, of the processes that can grow."""
    memory = {}
    for name, pid in pids.items():
        status = Path(f"/proc/{pid}/status").read_text()
        anonymous = re.search(r"RssAnon:\s+(\d+)", status)
        memory[name] = int(anonymous[1]) / 1024 if anonymous else 0.0
    return memory


def parts_of(pid: int) -> dict[str, int]:
    """Role → pid of the processes that `dateline up` started."""
    pids = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        if words[-2:-1] and words[-2] in ("serve", "aggregate"):
            pids[words[-2]] = int(child)
    return pids


async def run(
    url: str, token: str, pid: int, seconds: float
) -> tuple[Judge, dict[str, list[float]]]:
    """(what was seen, part → MB at each sample)."""
    judge = Judge()
    deadline = time.monotonic() + seconds
    samples: dict[str, list[float]] = defaultdict(list)

    async def sample() -> None:
        while time.monotonic() < deadline:
            for name, mb in memory_mb(parts_of(pid)).items():
                samples[name].append(mb)
            await asyncio.sleep(seconds / 180)

    # Its own decompression would add headers of its own.
    async with aiohttp.ClientSession() as session:
        async with session.put(
            f"{url}/api/v1/views/fog", json={"query": "tag=fog"},
            headers={"Authorization": f"Bearer {token}"},
        ) as response:  # fmt: skip
            response.raise_for_status()
        async with asyncio.TaskGroup() as group:
            writer = Writer(session, url, token, judge)
            group.create_task(writer.run(deadline))
            await asyncio.sleep(5)
            group.create_task(sample())
            for _ in range(READERS):
                group.create_task(read(session, url, judge, deadline))
    return judge, samples


async def start(folder: Path, port: int) -> Any:
    """`dateline up`, once it answers."""
    command = [sys.executable, "-m", "service", "up", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, "--data-dir", str(folder), cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL, stderr=(folder / LOG).open("wb"),
    )  # fmt: skip
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    if response.status == 200:
                        return process
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise SystemExit("did not start")


def complaints(folder: Path) -> list[str]:
    """The first lines of the log that are above INFO."""
    lines = (folder / LOG).read_text("utf-8", "replace").splitlines()
    return [line for line in lines if '"info"' not in line and " info " not in line][:MAX_LOG_LINES]


def show(judge: Judge, samples: dict[str, list[float]]) -> None:
    """Print it."""
    for name, count in sorted(judge.seen.items()):
        print(f"{name:24}{count:9}")
    for kind in ("a tag for two contents", "a date for two contents", "304 for an old tag",
                 "304 for an old date", "missing", "shown though withdrawn", "status"):  # fmt: skip
        print(f"{kind:24}{judge.wrong[kind]:9}")
    for example in judge.examples:
        print(f"  {example}")
    for name, figures in samples.items():
        third = len(figures) // 3
        middle, end = median(figures[third : 2 * third]), median(figures[2 * third :])
        judged = "met" if end <= MAX_GROWTH * middle else "MISSED"
        print(f"{name:24}{middle:6.0f} MB{end:6.0f} MB   aim: at most {MAX_GROWTH}x: {judged}")
        print(
            "  in time               ", *(f"{mb:.0f}" for mb in figures[:: len(figures) // 12 or 1])
        )
    print(f"wrong in all: {judge.wrong.total()}")


async def main() -> None:
    """Start, load, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=1_800)
    options = parser.parse_args()
    folder, port = Path(tempfile.mkdtemp(prefix="db-")), free_port()
    process = await start(folder, port)
    try:
        token = (folder / "api-token").read_text()
        url = f"http://127.0.0.1:{port}"
        judge, samples = await run(url, token, process.pid, options.seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
        logged = complaints(folder)
        shutil.rmtree(folder, ignore_errors=True)
    load = f"{WRITES_PER_S:.0f} changes/s, {READERS} readers, {options.seconds:.0f} s"
    print(header(f"load      {load}"))
    show(judge, samples)
    print(*logged, sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
