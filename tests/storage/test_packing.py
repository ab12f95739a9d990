"""Commands are written by hiredis if that gives the same bytes, else by redis-py."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import hiredis
import pytest

from service.storage import packing
from service.storage.client import connect
from tests.servers import Server, run_pipeline, run_script, write


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """The check is made once a process: here, once a test."""
    packing._is_usable.cache_clear()
    yield
    packing._is_usable.cache_clear()


def broken(args: object) -> bytes:
    """As a version that writes other bytes."""
    return b"*1\r\n"


def missing(args: object) -> bytes:
    """As a version that takes no such argument."""
    raise TypeError("pack_command() takes no tuple")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "unix:///nothing"])
def test_hiredis_is_used_with_the_versions_that_are_installed(url: str) -> None:
    """Otherwise every command would cost more, without an error."""
    pool = connect(url).connection_pool  # type: ignore[attr-defined]
    assert issubclass(pool.connection_class, packing._HiredisPacking)


@pytest.mark.parametrize("replaced", [broken, missing])
async def test_without_hiredis_things_work_after_one_warning(
    server: Server,
    replaced: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The check fails, the warning says why, and plain connections do the work."""
    packing._is_usable.cache_clear()
    monkeypatch.setattr(hiredis, "pack_command", replaced)
    with caplog.at_level(logging.WARNING):
        clients = [connect(server.embedded.url), connect(server.embedded.url)]
    assert ["redis-py encodes the commands itself"] == [m.split(",")[0] for m in caplog.messages]
    for client in clients:
        for work in (write, run_script, run_pipeline):
            await work(client)
        await client.delete("a", "n")
        await client.aclose()
