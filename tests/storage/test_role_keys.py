"""Keys of another type at the start of a worker: it waits, and one line names the key."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest

from service.errors import StartFailed, Unavailable
from service.settings import Settings
from service.storage import keys, role_keys
from service.storage import store as store_module
from service.storage.shards import numbered
from service.storage.store import Store, open_store
from tests.waiting import wait_until

ROLES = ("ingest", "aggregate", "deliver")
ALL = role_keys.of_roles(ROLES, shards=numbered(2))
WORDS = {"hash": "hash", "zset": "sorted set", "stream": "stream"}


# One of many partitions.
NAMES = [name for name in ALL if not re.search(r":endpoints:(?!7$)[0-9]+$", name)]


@pytest.mark.parametrize("name", NAMES)
async def test_each_key_of_another_type_is_named(store: Store, name: str) -> None:
    """With both types and what to do; none of its own type, nor one that is not there."""
    await role_keys.check_types(store.client, ALL)
    await store.client.execute_command("SET", name, "planted")
    with pytest.raises(Unavailable) as raised:
        await role_keys.check_types(store.client, ALL)
    assert f"{name} (string, not {ALL[name]}); something else wrote it" in str(raised.value)
    assert raised.value.advice
    await store.client.delete(name)
    add = {
        "hash": ("HSET", "a", "1"),
        "zset": ("ZADD", "1", "a"),
        "stream": ("XADD", "*", "a", "1"),
    }
    command, *arguments = add[ALL[name]]
    await store.client.execute_command(command, name, *arguments)
    await role_keys.check_types(store.client, ALL)


def test_the_types_are_those_of_the_list_of_keys() -> None:
    """As keys.py says them of each."""
    source = inspect.getsource(keys)
    said = {
        getattr(keys, name): comment
        for comment, name in re.findall(
            r"# dateline:\S+ · ([a-z ]+)[^\n]*\n(?:#[^\n]*\n)*([A-Z_]+) = ", source
        )
    }
    for name, kind in ALL.items():
        if name in said:
            assert WORDS[kind] == said[name].strip(), name
    assert "Stream of events" in (keys.stream.__doc__ or "")
    assert "Sorted set" in (keys.dirty.__doc__ or "")


async def test_a_start_waits_until_the_key_is_right(
    settings: Settings, store: Store, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One line without a traceback, then it goes on; a command ends with the same line."""
    monkeypatch.setattr(store_module, "CHECK_EVERY_S", 0.02)
    await store.client.execute_command("SET", keys.endpoints(0, 7), "planted")
    with pytest.raises(StartFailed, match=r"endpoints:7 \(string, not hash"):
        async with open_store(settings, roles=["deliver"]):
            pass

    async def repair() -> None:
        async def waits() -> bool:
            return "the start waits for Redis" in caplog.messages

        await wait_until(waits)
        await store.client.delete(keys.endpoints(0, 7))

    async with asyncio.TaskGroup() as group:
        group.create_task(repair())
        async with open_store(settings, stop=asyncio.Event(), roles=["deliver"]) as opened:
            await opened.client.ping()
    (record,) = (r for r in caplog.records if r.getMessage() == "the start waits for Redis")
    assert keys.endpoints(0, 7) in str(record.__dict__["reason"])
    assert record.exc_info is None
