"""A site to fetch from."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes import FakeSite


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """A site that is up."""
    async with FakeSite() as opened:
        yield opened
