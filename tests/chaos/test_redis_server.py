"""The Redis of a run loses what it should, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from chaos.redis_server import RedisServer
from tests.running import free_port


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """A server that runs."""
    folder = Path(tmp_path_factory.mktemp("r"))
    server = RedisServer(folder, port=free_port(), is_small_disk=False)
    await server.start()
    yield server
    await server.close()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
async def test_what_was_written_before_a_mark_is_not_cut_off(
    server: RedisServer, share: float
) -> None:
    """Of what was written later, the end is gone, also in the middle of a command."""
    await server.admin.set("before", "x")
    mark = await server.mark()
    for number in range(100):
        await server.admin.set(f"after {number}", "x" * 100)
    await server.mark()
    await server.kill()
    assert server.cut(mark, share) > 0
    await server.start()
    assert b"x" == await server.admin.get("before")
    kept = [number for number in range(100) if await server.admin.exists(f"after {number}")]
    assert list(range(len(kept))) == kept
    assert abs(100 * share - len(kept)) < 5


async def test_refusals_begin_and_end(server: RedisServer) -> None:
    """OOM, MISCONF (again, too) and a demotion refuse writes, and writes go on afterwards."""
    for fault, word in (
        (server.without_memory, "maxmemory"),
        (server.without_saves, "snapshots"),
        (server.without_saves, "snapshots"),
        (server.demoted, "read only replica"),
    ):
        async with fault():
            with pytest.raises(ResponseError, match=word):
                await server.admin.set("a", "x")
        assert await server.admin.set("a", "x")
