"""Receivers, and settings that make deliver workers quick."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.deliver.hub.callback import Callback
from tests.receiver import FakeReceiver
from workers.deliver import worker
from workers.deliver.hub import registry, subscription


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look at their stop event often, so that tests end soon."""
    monkeypatch.setattr(worker, "CHANGES_BLOCK_MS", 50)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Quick retries, and a hub that waits for little."""
    return settings.model_copy(
        update={
            "webhook_retry_schedule_s": (0.05, 0.1),
            "webhook_timeout_s": 0.5,
            "hub_debounce_s": 0.3,
        }
    )


@pytest.fixture
async def receiver() -> AsyncIterator[FakeReceiver]:
    """A receiver that is up."""
    async with FakeReceiver() as opened:
        yield opened


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    """A subscriber that is up."""
    async with Callback() as opened:
        yield opened


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscriptions are confirmed again, looked after and ended soon."""
    monkeypatch.setattr(worker, "SAVE_EVERY_S", 0.05)
    monkeypatch.setattr(registry, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(subscription, "CONFIRM_AGAIN_S", (0.05, 0.05))
