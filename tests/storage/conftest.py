"""Redis servers for faults and for restored backups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.storage.store import Store
from tests.servers import Server, serving
from tests.storage import backups


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that a test may ruin."""
    async with serving() as started:
        yield started


@pytest.fixture
async def target(base: Path, store: Store) -> AsyncIterator[Store]:
    """An empty store on a server beside the test's own, to restore a backup on."""
    async with backups.serving(
        base / "target", "valkey", shards=store.event_stream.shards
    ) as opened:
        yield opened
