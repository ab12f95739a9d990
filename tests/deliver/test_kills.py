"""Processes killed at random, in short; ten minutes of it are `python -m bench.kills`."""

from __future__ import annotations

import pytest

from bench import kills


@pytest.mark.timeout(120)
async def test_kill_9_of_workers_redis_and_receivers_loses_and_disorders_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only events that were in flight may arrive twice."""
    monkeypatch.setattr(kills, "PAUSE_S", (0.5, 1.5))
    monkeypatch.setattr(kills, "AWAY_S", (0.0, 0.5))
    # Each once at least, in any order.
    outcome = await kills.run(12, endpoints=40, first=kills.VICTIMS)
    assert set(kills.VICTIMS) == set(outcome.kills)
    assert (0, 0) == (outcome.lost, outcome.judgement.disordered)
    assert outcome.expected > 100
    assert outcome.is_right
