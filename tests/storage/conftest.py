"""A Redis server for faults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.servers import Server, serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that a test may ruin."""
    async with serving() as started:
        yield started
