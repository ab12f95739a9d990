"""Ticks end quietly."""

from __future__ import annotations

import time

import pytest
import uvloop

from workers.schedule import ticking


def test_a_tick_that_is_due_at_the_end_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """On uvloop, which calls timers first: the scheduler would cancel its job, and log a traceback
    at an orderly stop."""

    async def run() -> None:
        for _ in range(100):
            async with ticking({"often": 0.001}):
                time.sleep(0.002)  # noqa: ASYNC251 -- the tick is due, and the loop has not seen it

    uvloop.run(run())
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]
