"""How long tests wait, for what must come and for what must not.

What must come may take PATIENCE times as long as on an idle machine: a limit costs nothing while
tests pass. What must not come is waited for by fixed, short times: to wait longer would make every
run slower, and a slow machine can only make such a test pass.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

PATIENCE = float(os.environ.get("DATELINE_TEST_PATIENCE", "3"))


def within(seconds: float) -> asyncio.Timeout:
    """A limit on what must come, as `asyncio.timeout`, times PATIENCE."""
    return asyncio.timeout(seconds * PATIENCE)


async def wait_until(
    predicate: Callable[[], Awaitable[object]], *, timeout_s: float = 10.0
) -> object:
    """Ask again and again until the answer is true, for `timeout_s` times PATIENCE at the most;
    that answer."""
    deadline = time.monotonic() + timeout_s * PATIENCE
    while True:
        answer = await predicate()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout_s * PATIENCE} s"
        await asyncio.sleep(0.01)


async def let_pass(seconds: float) -> None:
    """Give what must not happen the time to happen."""
    await asyncio.sleep(seconds)
