"""Webhooks: how many a worker delivers, how soon, past the sick, in batches, and what they cost.

Redis, deliver workers as shipped and receivers (`bench/receivers.py`: one process, 200 addresses of
127.0.0.0/8) on one machine. Five measurements:

    rate     2,000 endpoints that want the same 20 articles, one event a request, against a bare
             loop of the same aiohttp client that posts as many of the same size to the same
             receivers, 512 at once, in turn. Requests a second, and by the CPU time of the worker:
             with two cores for worker, receivers and Redis the second is what tells
    workers  two workers against one, each held to WORKER_SHARE of a core (cgroups) where that can
             be done, so that the machine has enough for both
    sick     10,000 endpoints, 1,000 deliveries/s, append to received; then with a tenth that hang
             and a tenth that answer 500, of which only those that are well are counted both times
    batches  2,000 endpoints x 100 small events/s, batched: lost, order, append to received
    memory   of Redis for an endpoint and for an event that nobody was sent yet, with and without
             endpoints that want it
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import uvloop

from bench.machine import header, median, verdict
from bench.receivers import Judgement, title, url
from bench.rig import Rig, rig
from bench.serve import cpu_s
from service.storage import keys

RATE_AIM, WORKERS_AIM, SICK_AIM = 0.6, 1.7, 1.2
ENDPOINTS, ARTICLES = 2_000, 20
# That nobody was sent yet.
EVENTS = 1_000
AT_ONCE = 512
# While connections are made.
WARM_S = 5.0
WORKER_SHARE = 0.4
CGROUP = Path("/sys/fs/cgroup/cpu")
# About 700 bytes of JSON, as in the prototype that the aims come from.
TEXT = "<p>" + "The ferry waits for the tide, as it does. " * 5 + "</p>"


@contextmanager
def cpu_limit(share: float, *children: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let each process have so much of a core. Needs root, and cgroups of the first version."""
    groups = [CGROUP / f"bench-{child.pid}" for child in children]
    for group, child in zip(groups, children, strict=True):
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("10000")
        (group / "cpu.cfs_quota_us").write_text(str(int(10_000 * share)))
        (group / "cgroup.procs").write_text(str(child.pid))
    try:
        yield
    finally:
        for group, child in zip(groups, children, strict=True):
            (CGROUP / "cgroup.procs").write_text(str(child.pid))
            group.rmdir()


@asynccontextmanager
async def workers(bench_rig: Rig, count: int) -> AsyncIterator[list[subprocess.Popen[bytes]]]:
    """Deliver workers that have shared the endpoints and wait for events."""
    started = [bench_rig.start_worker(n) for n in range(count)]
    try:
        # Leases are dealt out once a second, and a new worker waits for those of the one before.
        await asyncio.sleep(4 + 2 * count)
        yield started
    finally:
        await bench_rig.end(*started)


async def deliver(
    bench_rig: Rig, children: list[subprocess.Popen[bytes]], *, articles: int = ARTICLES
) -> tuple[float, float]:
    """Have the articles delivered to all: requests a second, and a second of the workers' CPU."""
    bench_rig.file.write_bytes(b"")
    used = sum(cpu_s(child.pid) for child in children)
    await bench_rig.append([0] * articles, text=TEXT)
    await bench_rig.received(articles * ENDPOINTS, timeout_s=180)
    judgement = bench_rig.judge()
    used = sum(cpu_s(child.pid) for child in children) - used
    return judgement.requests / judgement.seconds, judgement.requests / used


async def post_bare(port: int) -> None:
    """The loop to compare with, in a separate process: prints CPU seconds."""
    bodies = [f'{{"data":{{"title":"{title(0, n)}","x":"{"x" * 640}"}}}}' for n in range(ARTICLES)]
    headers = {"Content-Type": "application/json", "webhook-id": "bare"}
    todo = ((body, n) for body in bodies for n in range(ENDPOINTS))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def post() -> None:
            for body, n in todo:
                async with client.post(url("ok", n, port), data=body, headers=headers) as response:
                    await response.read()

        used = time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(post())
        print(time.process_time() - used)


async def deliver_bare(bench_rig: Rig) -> tuple[float, float]:
    """As `deliver`, by that loop."""
    bench_rig.file.write_bytes(b"")
    command = [sys.executable, "-m", "bench.deliver", "--bare", str(bench_rig.port)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    judgement = bench_rig.judge()
    return judgement.requests / judgement.seconds, judgement.requests / float(out)


async def measure_rate(bench_rig: Rig, rounds: int) -> None:
    """Ours and the bare loop in turn."""
    await bench_rig.add(["ok"] * ENDPOINTS, categories=1)
    ours, theirs = [], []
    async with workers(bench_rig, 1) as children:
        for _ in range(rounds):
            ours.append(await deliver(bench_rig, children))
            await asyncio.sleep(1)
            theirs.append(await deliver_bare(bench_rig))
    print("rate         requests/s   of a core of its own")
    for name, rows in (("ours", ours), ("bare", theirs)):
        print(
            f"{name:9}{median([r for r, _ in rows]):12.0f}/s{median([c for _, c in rows]):12.0f}/s"
        )
    wall, core = (median([a[i] / b[i] for a, b in zip(ours, theirs, strict=True)]) for i in (0, 1))
    print(f"ratio    {wall:14.2f}{core:14.2f}   {verdict(core, RATE_AIM)}\n")


async def measure_workers(bench_rig: Rig, rounds: int) -> None:
    """One and two: each with its share of a core, then as fast as they can."""
    rates: dict[tuple[bool, int], list[float]] = {}
    for _ in range(rounds):
        for is_limited, count in ((True, 1), (True, 2), (False, 1), (False, 2)):
            async with workers(bench_rig, count) as children:
                with cpu_limit(WORKER_SHARE, *(children if is_limited else ())):
                    # The first time they connect.
                    await deliver(bench_rig, children, articles=2)
                    rate, _ = await deliver(bench_rig, children)
            rates.setdefault((is_limited, count), []).append(rate)
    print("workers        one       two   ratio")
    for is_limited, name in ((True, f"{WORKER_SHARE:g} cores"), (False, "any")):
        one, two = (median(rates[is_limited, count]) for count in (1, 2))
        judged = verdict(two / one, WORKERS_AIM) if is_limited else "two cores for everything"
        print(f"{name:9}{one:7.0f}/s{two:8.0f}/s{two / one:8.2f}   {judged}")
    print()


async def deliver_steadily(bench_rig: Rig, seconds: float, *, is_well: bool) -> Judgement:
    """A thousand deliveries a second to 10,000 endpoints; of those that are well."""
    await bench_rig.forget()
    # Every category has one that hangs, one that fails, and eight that are well.
    await bench_rig.add(["hang"] * 1_000 + ["fail"] * 1_000 + ["ok"] * 8_000, categories=1_000)
    receivers = await bench_rig.start_receivers(is_well=is_well)
    async with workers(bench_rig, 1):
        start = time.monotonic()
        for number in range(int(100 * (WARM_S + seconds))):
            await asyncio.sleep(max(0.0, start + number / 100 - time.monotonic()))
            await bench_rig.append([number % 1_000], text=TEXT)
        await asyncio.sleep(3)
    await bench_rig.end(receivers)
    judgement = bench_rig.judge(only="/ok/")
    judgement.waits_s = judgement.waits_s[int(800 * WARM_S) :]
    return judgement


async def measure_sick(bench_rig: Rig, rounds: int, seconds: float) -> None:
    """Without and with sick ones, in turn."""
    rows: dict[str, list[tuple[float, float]]] = {"none": [], "a fifth": []}
    missing = 0
    for _ in range(rounds):
        for name, row in rows.items():
            judgement = await deliver_steadily(bench_rig, seconds, is_well=name == "none")
            missing += int(800 * (WARM_S + seconds)) - judgement.events
            row.append((judgement.wait_ms(0.5), judgement.wait_ms(0.99)))
    print("sick        p50 ms    p99 ms   of those that are well")
    for name, row in rows.items():
        p50, p99 = (median([each[i] for each in row]) for i in (0, 1))
        print(f"{name:9}{p50:9.1f}{p99:10.1f}   each round {' '.join(f'{r[1]:.1f}' for r in row)}")
    ratio = median([b[1] / a[1] for a, b in zip(*rows.values(), strict=True)])
    print(f"ratio {ratio:22.2f}   aim <= {SICK_AIM}: {'met' if ratio <= SICK_AIM else 'MISSED'}")
    print(f"missing {missing:20}\n")


async def measure_batches(bench_rig: Rig, seconds: float) -> None:
    """Everything to 2,000 that take it in batches as large as they come."""
    await bench_rig.add(["ok"] * ENDPOINTS, categories=1, batch=1_000, payload="summary")
    bench_rig.file.write_bytes(b"")
    async with workers(bench_rig, 1) as (child,):
        used, start = cpu_s(child.pid), time.monotonic()
        for number in range(int(100 * seconds)):
            await asyncio.sleep(max(0.0, start + number / 100 - time.monotonic()))
            await bench_rig.append([0])
        await everywhere(bench_rig, int(100 * seconds) - 1)
        share = (cpu_s(child.pid) - used) / (time.monotonic() - start)
    judgement = bench_rig.judge()
    lost = int(100 * seconds) * ENDPOINTS - judgement.events
    print("batches     events  requests   lost  disordered  doubled    p50 s    p99 s")
    print(
        f"{judgement.events:18}{judgement.requests:10}{lost:7}{judgement.disordered:12}{judgement.doubled:9}"
        f"{judgement.wait_ms(0.5) / 1e3:9.2f}{judgement.wait_ms(0.99) / 1e3:9.2f}"
    )
    print(f"{share:.0%} of a core; {judgement.events / judgement.seconds:.0f} events/s in all\n")


async def everywhere(bench_rig: Rig, last: int) -> None:
    """Wait until the last event is at every endpoint."""
    for _ in range(60):
        ended = bench_rig.judge().ended.values()
        if len(ended) == ENDPOINTS and min(ended) == last:
            return
        await asyncio.sleep(1)


async def measure_memory(bench_rig: Rig) -> None:
    """What Redis has more, in bytes."""

    async def used() -> int:
        return int((await bench_rig.store.client.info("memory"))["used_memory"])

    rows: dict[str, float] = {}
    fresh, event = "an endpoint that was sent nothing yet", "an article with its event"
    empty = await used()
    await bench_rig.append([0] * EVENTS, text=TEXT)
    rows[f"{event}, no endpoints"] = (await used() - empty) / EVENTS
    await bench_rig.forget()
    empty = await used()
    await bench_rig.add(["ok"] * ENDPOINTS, categories=1)
    added = await used()
    rows[fresh] = (added - empty) / ENDPOINTS
    await bench_rig.append([0] * EVENTS, text=TEXT)
    rows[f"{event}, unsent to {ENDPOINTS} endpoints"] = (await used() - added) / EVENTS
    unsent = await used()
    async with workers(bench_rig, 1):
        await bench_rig.received(2 * keys.ATTEMPTS_MAX * ENDPOINTS, timeout_s=300)
    rows["an endpoint with a full log of attempts"] = (
        rows[fresh] + (await used() - unsent) / ENDPOINTS
    )
    print("memory")
    for name, size in rows.items():
        print(f"{size:9.0f} bytes  {name}")
    print()


SECTIONS = ("rate", "workers", "sick", "batches", "memory")


async def run(options: argparse.Namespace) -> None:
    """What was asked for, each on an empty Redis, printed as it comes."""
    async with rig() as bench_rig:
        receivers = await bench_rig.start_receivers()
        for name in options.only or SECTIONS:
            await bench_rig.forget()
            if name == "rate":
                await measure_rate(bench_rig, options.rounds)
            elif name == "workers":
                await bench_rig.add(["ok"] * ENDPOINTS, categories=1)
                await measure_workers(bench_rig, options.rounds)
            elif name == "batches":
                await measure_batches(bench_rig, options.seconds)
            elif name == "memory":
                await measure_memory(bench_rig)
            else:
                await bench_rig.end(receivers)
                await measure_sick(bench_rig, options.rounds, options.seconds)
                receivers = await bench_rig.start_receivers()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30, help="of what is timed")
    parser.add_argument("--only", nargs="+", choices=SECTIONS)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        uvloop.run(post_bare(options.bare))
        return
    print(header(f"load      {ENDPOINTS} endpoints, {ARTICLES} articles of 700 bytes a round"))
    uvloop.run(run(options))


if __name__ == "__main__":
    main()
