"""Chaos in short: `make chaos` is the same for twenty minutes, with every fault."""

from __future__ import annotations

import pytest

from chaos.plan import short_rounds
from chaos.run import run
from tests.waiting import PATIENCE

SEED = 1
SECONDS = 28.0


@pytest.mark.timeout(120)
async def test_half_a_minute_of_faults_breaks_no_promise() -> None:
    """Nothing is lost, doubled, out of order or answered with 500, and every role comes back."""
    lines: list[str] = []
    ledger = await run(
        lambda _: short_rounds(SEED),
        seconds=SECONDS, seed=SEED, patience=PATIENCE, say=lines.append,
    )  # fmt: skip
    assert {} == dict(ledger.violations), "\n".join(lines)
    # A slow machine gets through fewer faults, but not through none.
    assert len(ledger.rows) >= 4, "\n".join(lines)
    assert ledger.by_content()["acknowledged"] >= 20, "\n".join(lines)
