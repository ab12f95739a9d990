"""Processes are kept running, and those that end or stand still by themselves are violations."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos.ledger import Ledger
from chaos.processes import Fleet, Part, open_fleet
from chaos.readers import FeedReader
from chaos.receivers import Receivers
from chaos.recovery import ABSENT_S, Recovery, StreamTail
from chaos.site import Sites
from tests.running import free_port
from tests.servers import Server, serving
from tests.waiting import wait_until


@pytest.fixture
def ledger() -> Ledger:
    """An empty ledger."""
    return Ledger(on_violation=lambda _: None)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A Redis on a port."""
    async with serving(free_port()) as opened:
        yield opened


def settings() -> dict[str, object]:
    """Of a dateline that has nothing to do."""
    return {"PORT": free_port(), "DRAIN_S": 1, "API_TOKEN": "the-token-of-the-tests"}


async def running(part: Part) -> int:
    """The id of its process, once it works with Redis."""
    start = part.way.last_sent_s

    async def works() -> bool:
        return part.process is not None and part.way.last_sent_s > start

    await wait_until(works)
    assert part.process
    return part.process.pid


async def test_what_is_killed_is_started_again(
    ledger: Ledger, server: Server, tmp_path: Path
) -> None:
    """By kill -9 or SIGTERM: neither is a violation."""
    async with open_fleet(
        ledger, tmp_path, redis_port=server.embedded.port, password=server.embedded.password,
        settings=settings(),
    ) as fleet:  # fmt: skip
        part = await fleet.add("deliver", 0)
        pids = [await running(part)]
        part.send(signal.SIGKILL)

        async def is_another() -> bool:
            return part.process is not None and part.process.pid not in pids

        await wait_until(is_another)
        pids.append(await running(part))
        await fleet.replace(part)
        assert part.process
        assert part.process.pid not in pids
    assert {} == ledger.violations
    assert part.process.returncode is not None


async def test_what_ends_by_itself_is_a_violation(
    ledger: Ledger, server: Server, tmp_path: Path
) -> None:
    """It is started again all the same, and what it said last is shown."""
    said: list[str] = []
    ledger = Ledger(on_violation=said.append)
    wrong = {**settings(), "PAGE_SIZE": "many"}
    async with open_fleet(
        ledger, tmp_path, redis_port=server.embedded.port, password=server.embedded.password,
        settings=wrong,
    ) as fleet:  # fmt: skip
        await fleet.add("deliver", 0)

        async def has_ended_twice() -> bool:
            return ledger.violations["a process ended by itself"] >= 2

        await wait_until(has_ended_twice, timeout_s=20)
    assert "PAGE_SIZE" in said[0]


async def test_a_process_that_sends_nothing_is_a_violation(
    ledger: Ledger, server: Server, tmp_path: Path
) -> None:
    """Once; one that was stopped on purpose is not."""
    async with open_fleet(
        ledger, tmp_path, redis_port=server.embedded.port, password=server.embedded.password,
        settings=settings(),
    ) as fleet:  # fmt: skip
        part = await fleet.add("deliver", 0)
        await running(part)
        assert [] == without_progress(ledger, fleet)
        part.way.last_sent_s = part.started_s = time.monotonic() - ABSENT_S - 1
        part.is_stopped = True
        assert [] == without_progress(ledger, fleet)
        part.is_stopped = False
        part.way.last_sent_s = part.started_s
        assert 1 == len(without_progress(ledger, fleet))


def without_progress(ledger: Ledger, fleet: Fleet) -> list[str]:
    """What a look at the processes finds."""
    recovery = Recovery(
        ledger, fleet, tail=StreamTail(None), sites=Sites(), receivers=Receivers(ledger, seed=1),
        readers=[FeedReader(0, ledger, url="", seed=1)], patience=1,
    )  # fmt: skip
    return recovery.without_progress(time.monotonic())
