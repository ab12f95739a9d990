"""Workers, Redis and receivers are killed (-9) at random: is anything lost, doubled, out of order?

Two deliver workers, 200 endpoints in 20 categories, half of them with batches, and articles all the
time. Every few seconds one of the processes is killed and comes back a moment later. In the end
everything has to be everywhere: once, in order, but for what was in flight when something was
killed, which is one request of each endpoint at most, and comes again right after itself.
`tests/deliver/test_kills.py` is the same for some seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from bench.machine import header
from bench.receivers import Judgement
from bench.rig import Rig, rig

ENDPOINTS, CATEGORIES, BATCH = 200, 20, 50
ARTICLES_PER_S = 20.0
VICTIMS = ("worker", "worker", "redis", "receivers")
# Between two kills, and until the victim is back.
PAUSE_S, AWAY_S = (1.0, 5.0), (0.0, 2.0)
# A worker's leases have to lapse, and what failed waits for its turn.
SETTLE_S = 60.0
SETTINGS = {
    "WEBHOOK_RETRY_SCHEDULE_S": "0.2,0.5,1,2",
    "WEBHOOK_TIMEOUT_S": 5,
}


@dataclass
class Outcome:
    """What was done, and what came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    expected: int = 0
    """Events at receivers."""
    judgement: Judgement = field(default_factory=Judgement)

    @property
    def lost(self) -> int:
        """Events that should be at a receiver and are not."""
        return self.expected - self.judgement.events

    @property
    def worst(self) -> int:
        """Doubled requests of the endpoint that has most; a kill can double one of each."""
        return max(self.judgement.doubled_by.values(), default=0)

    @property
    def is_right(self) -> bool:
        """Nothing lost or out of order, and no more doubled than was in flight."""
        return not (self.lost or self.judgement.disordered or self.worst > self.kills.total())


async def _append(bench_rig: Rig, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await bench_rig.append([random.randrange(CATEGORIES)])
        await asyncio.sleep(1 / ARTICLES_PER_S)


class Killer:
    """Ends processes by their pid, and starts them again."""

    def __init__(self, bench_rig: Rig, kills: Counter[str]) -> None:
        self._rig = bench_rig
        self._kills = kills
        self._workers = [bench_rig.start_worker(n, **SETTINGS) for n in range(2)]
        self._receivers: subprocess.Popen[bytes]

    async def begin(self) -> None:
        """The receivers are up after this."""
        self._receivers = await self._rig.start_receivers()

    async def strike(self, victim: str) -> None:
        """One of them."""
        away_s = random.uniform(*AWAY_S)
        self._kills[victim] += 1
        if victim == "redis":
            await self._rig.kill_redis()
            await asyncio.sleep(away_s)
            await self._rig.start_redis()
        elif victim == "receivers":
            await self._rig.kill(self._receivers)
            await asyncio.sleep(away_s)
            await self.begin()
        else:
            number = random.randrange(2)
            await self._rig.kill(self._workers[number])
            await asyncio.sleep(away_s)
            self._workers[number] = self._rig.start_worker(number, **SETTINGS)


async def _settled(bench_rig: Rig, expected: int) -> Judgement:
    """What came, once all is there, or nothing more is to be waited for."""
    until = time.monotonic() + SETTLE_S
    while True:
        judgement = bench_rig.judge()
        if judgement.events >= expected or time.monotonic() > until:
            return judgement
        await asyncio.sleep(0.5)


async def run(seconds: float, *, endpoints: int = ENDPOINTS, first: Sequence[str] = ()) -> Outcome:
    """Append and kill for so long.

    Args:
        first: victims before those that chance chooses.
    """
    outcome, stop = Outcome(), asyncio.Event()
    async with rig() as bench_rig:
        half = ["ok"] * (endpoints // 2)
        await bench_rig.add(half, categories=CATEGORIES)
        await bench_rig.add(half, len(half), categories=CATEGORIES, batch=BATCH)
        killer = Killer(bench_rig, outcome.kills)
        await killer.begin()
        async with asyncio.TaskGroup() as group:
            group.create_task(_append(bench_rig, stop))
            until = time.monotonic() + seconds
            sure = iter(first)
            while time.monotonic() < until:
                await asyncio.sleep(random.uniform(*PAUSE_S))
                await killer.strike(next(sure, None) or random.choice(VICTIMS))
            stop.set()
        outcome.expected = sum(bench_rig.appended.values()) * endpoints // CATEGORIES
        outcome.judgement = await _settled(bench_rig, outcome.expected)
    return outcome


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    load = f"{ENDPOINTS} endpoints, {ARTICLES_PER_S:.0f} articles/s, {options.seconds:.0f} s"
    print(header(f"load      {load}"), flush=True)
    outcome = uvloop.run(run(options.seconds))
    judgement = outcome.judgement
    print("kills      ", *(f"{name} {count}" for name, count in sorted(outcome.kills.items())))
    print(f"requests   {judgement.requests:10}")
    print(f"events     {judgement.events:10}  of {outcome.expected}")
    print(f"lost       {outcome.lost:10}")
    print(f"disordered {judgement.disordered:10}")
    print(f"doubled    {judgement.doubled:10}  requests; of one endpoint at most {outcome.worst}")
    judged = "met" if outcome.is_right else "MISSED"
    print(f"aim: none lost or disordered, doubled <= in flight: {judged}")
    sys.exit(0 if outcome.is_right else 1)


if __name__ == "__main__":
    main()
