"""A subscriber to the hub, and settings that make deliver workers quick."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.deliver.hub.callback import Callback
from tests.deliver.working import QUICK
from workers.deliver import worker
from workers.deliver.hub import registry, subscription


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Quick retries, and a hub that waits for little."""
    return settings.model_copy(update=QUICK)


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    """A subscriber that is up."""
    async with Callback() as opened:
        yield opened


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscriptions are confirmed again, saved and ended soon."""
    monkeypatch.setattr(worker, "SAVE_EVERY_S", 0.05)
    monkeypatch.setattr(registry, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(subscription, "CONFIRM_AGAIN_S", (0.05, 0.05))
