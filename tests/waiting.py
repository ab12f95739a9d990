"""How long tests wait, for what must come and for what must not.

What must come may take PATIENCE times as long as on an idle machine: a limit costs nothing while
tests pass. That something does not come is best shown by a later event, which could not be there
before it. Only where no such event exists, a test lets a fixed, short time pass: to wait longer
would make every run slower, and a slow machine can only make such a test pass.

No test sleeps longer than MAX_SLEEP_S except through these functions (test_layout.py).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable

PATIENCE = float(os.environ.get("DATELINE_TEST_PATIENCE", "3"))
MAX_SLEEP_S = 0.05


def within(seconds: float) -> asyncio.Timeout:
    """A limit on what must come, as `asyncio.timeout`, times PATIENCE."""
    return asyncio.timeout(seconds * PATIENCE)


async def wait_until(
    predicate: Callable[[], Awaitable[object]], *, timeout_s: float = 10.0
) -> object:
    """Call `predicate` again and again, for `timeout_s` times PATIENCE at the most; return its
    first answer that is true."""
    deadline = time.monotonic() + timeout_s * PATIENCE
    while True:
        answer = await predicate()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout_s * PATIENCE} s"
        await asyncio.sleep(0.01)


async def let_pass(seconds: float) -> None:
    """Give what must not happen the time to happen, where no later event shows that it did not."""
    await asyncio.sleep(seconds)


def stand_still(seconds: float) -> None:
    """Hold the event loop, as a computation that is too long does."""
    time.sleep(seconds)


async def answer_late(seconds: float) -> None:
    """Delay an answer of a fake server that is slow on purpose."""
    await asyncio.sleep(seconds)


async def random_moment(longest_s: float, *, shortest_s: float = 0.0) -> None:
    """Wait for a time that differs in each run, so that faults strike at any moment."""
    await asyncio.sleep(random.uniform(shortest_s, longest_s))
