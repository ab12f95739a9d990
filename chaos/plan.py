"""The plan of faults: a pure function of a seed.

A plan has rounds without end. A round has every strike of STRIKES once, in random order; in every
second round each role runs twice. A run that is repeated with its seed has the same strikes,
although not at the same moments: each waits until everything works after the one before it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ROLES = ("server", "aggregate", "deliver", "ingest")
REDIS = "redis"
EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault, once."""

    kind: str
    """One of `KINDS`."""
    target: str = ""
    """A role, REDIS or EVERYBODY; empty where the kind leaves no choice."""
    hold_s: float = 0.0
    """From its beginning to its end."""
    amount: float = 0.0
    """From 0 to below 1: how much is cut off, how long a delay is, which process of a role."""

    @property
    def name(self) -> str:
        """Kind and target: a row of the ledger."""
        return f"{self.kind} {self.target}".strip()


# Kind → (shortest, longest) seconds that it lasts.
KINDS: dict[str, tuple[float, float]] = {
    "kill -9": (0.0, 0.0),
    "SIGSTOP": (1.0, 7.0),
    "rolling SIGTERM": (0.0, 0.0),
    "TCP reset": (0.3, 3.0),
    "dropped replies": (0.3, 1.5),
    "black hole": (2.0, 8.0),
    "delay": (2.0, 5.0),
    "demotion": (0.5, 5.0),
    "OOM": (0.5, 4.0),
    "MISCONF": (0.5, 4.0),
    "SCRIPT FLUSH": (0.5, 3.0),
    "full disk": (1.0, 5.0),
    "cut file": (0.5, 2.0),
}
# Every (kind, target) of a round.
STRIKES: tuple[tuple[str, str], ...] = (
    *(("kill -9", target) for target in (*ROLES, REDIS)),
    *(("SIGSTOP", target) for target in (*ROLES, REDIS)),
    *((kind, EVERYBODY) for kind in ("TCP reset", "dropped replies", "black hole", "delay")),
    *(
        (kind, target)
        for kind in ("TCP reset", "dropped replies", "black hole")
        for target in ROLES
    ),
    ("rolling SIGTERM", ""),
    ("demotion", ""),
    ("OOM", ""),
    ("MISCONF", ""),
    ("SCRIPT FLUSH", ""),
    ("full disk", ""),
    ("cut file", ""),
)
# What fits into half a minute, in this order: each way in which Redis or a process can be away.
SHORT: tuple[tuple[str, str], ...] = (
    ("TCP reset", EVERYBODY),
    ("kill -9", "aggregate"),
    ("dropped replies", EVERYBODY),
    ("demotion", ""),
    ("kill -9", REDIS),
    ("SCRIPT FLUSH", ""),
    ("cut file", ""),
    ("OOM", ""),
    ("kill -9", "server"),
    ("kill -9", "deliver"),
    ("MISCONF", ""),
    ("rolling SIGTERM", ""),
)
SHORT_HOLD_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Strikes in a row, and how often each role runs meanwhile."""

    copies: int
    """1 or 2."""
    strikes: tuple[Strike, ...]


def rounds(seed: int, *, without: Sequence[str] = ()) -> Iterator[Round]:
    """Yield rounds without end.

    Args:
        without: kinds that this machine cannot have.
    """
    chance = random.Random(f"plan {seed}")
    possible = [pair for pair in STRIKES if pair[0] not in without]
    copies = 1
    while True:
        pairs = chance.sample(possible, len(possible))
        yield Round(copies=copies, strikes=tuple(_strike(chance, *pair) for pair in pairs))
        copies = 3 - copies


def short_rounds(seed: int) -> Iterator[Round]:
    """Yield two rounds of short strikes, those of SHORT; what a role is struck with in the first
    one strikes one of two in the second."""
    chance = random.Random(f"plan {seed}")
    half = len(SHORT) // 2
    for copies, pairs in ((1, SHORT[:half]), (2, SHORT[half:])):
        strikes = (
            Strike(kind=kind, target=target, hold_s=SHORT_HOLD_S, amount=chance.random())
            for kind, target in pairs
        )
        yield Round(copies=copies, strikes=tuple(strikes))


def _strike(chance: random.Random, kind: str, target: str) -> Strike:
    hold_s = round(chance.uniform(*KINDS[kind]), 2)
    amount = int(chance.random() * 1000) / 1000
    return Strike(kind=kind, target=target, hold_s=hold_s, amount=amount)
