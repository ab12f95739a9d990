"""Callbacks are strangers', so the tests' own network must be open to everything."""

from __future__ import annotations

import pytest

from service.settings import Settings
from tests.conftest import LOOPBACK


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Callbacks on this machine may be reached, though strangers name them."""
    return settings.model_copy(update={"open_networks": LOOPBACK})
