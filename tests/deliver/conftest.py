"""Receivers, and settings that make deliver workers quick."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.receiver import FakeReceiver
from workers.deliver import deliverer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look at their stop event often, so that tests end soon."""
    monkeypatch.setattr(deliverer, "CHANGES_BLOCK_MS", 50)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Quick retries."""
    return settings.model_copy(
        update={"webhook_retry_schedule_s": (0.05, 0.1), "webhook_timeout_s": 0.5}
    )


@pytest.fixture
async def receiver() -> AsyncIterator[FakeReceiver]:
    """A receiver that is up."""
    async with FakeReceiver() as opened:
        yield opened
