"""`python -m chaos`: run, print each strike and each violation, and the ledger as a table."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator

import uvloop

from bench.machine import header
from chaos import run as chaos_run
from chaos.ledger import Ledger
from chaos.plan import Round, rounds
from chaos.redis_server import RedisServer


def main() -> None:
    """Run for the time that was asked for; exit status 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1_200)
    parser.add_argument("--seed", type=int, help="repeats the strikes of a run")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    patience = float(os.environ.get("DATELINE_TEST_PATIENCE", "1"))
    print(header(f"seed      {seed}", f"patience  {patience:g}"), flush=True)
    ledger = uvloop.run(
        chaos_run.run(
            lambda redis: _plan(redis, seed),
            seconds=options.seconds, seed=seed, patience=patience,
            say=lambda text: print(text, flush=True),
        )
    )  # fmt: skip
    _show(ledger)
    sys.exit(1 if ledger.violations else 0)


def _plan(redis: RedisServer, seed: int) -> Iterator[Round]:
    if redis.is_small_disk:
        return rounds(seed)
    print("full disk: left out, for no small file system can be mounted here")
    return rounds(seed, without=["full disk"])


def _show(ledger: Ledger) -> None:
    print()
    print(ledger.table())
    print()
    for what, count in sorted(ledger.statuses.items()):
        print(f"{what:44}{count:8}")
    print()
    for kind, count in sorted(ledger.violations.items()):
        print(f"VIOLATIONS {kind:44}{count:8}")
    print(f"violations: {ledger.violations.total()}")


if __name__ == "__main__":
    main()
