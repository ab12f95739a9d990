"""The types that commands.py states for the replies of Redis are those that a real server gives."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from pydantic import TypeAdapter

from service.storage.commands import Client, Pipeline, claimed_of, pending_of
from service.storage.store import Store

STREAM = "dateline:{0}:events"
HASH = "dateline:{0}:counters"
SET = "dateline:{0}:twins:x"
SCORES = "dateline:{0}:dirty"
LIST = "dateline:{0}:replays:x"
TEXT = "dateline:{0}:trimmed"
IGNORED = ("aclose", "execute_command", "pipeline", "pubsub", "scan_iter")
# In this order: later ones read what earlier ones wrote.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ping", (), {}),
    ("dbsize", (), {}),
    ("config_get", ("appendonly",), {}),
    ("info", ("persistence",), {}),
    ("get", (TEXT,), {}),
    ("psetex", (TEXT, 10_000, b"1"), {}),
    ("hset", (HASH, "a", b"1"), {}),
    ("hsetnx", (HASH, "a", 1), {}),
    ("hincrby", (HASH, "a", 1), {}),
    ("hget", (HASH, "a"), {}),
    ("hget", (HASH, b"unknown"), {}),
    ("hmget", (HASH, ["a", "unknown"]), {}),
    ("hexists", (HASH, "a"), {}),
    ("hlen", (HASH,), {}),
    ("hkeys", (HASH,), {}),
    ("hgetall", (HASH,), {}),
    ("hdel", (HASH, "a"), {}),
    ("llen", (LIST,), {}),
    ("smembers", (SET,), {}),
    ("zadd", (SCORES, {"a": 1}), {"xx": True, "lt": True}),
    ("zadd", (SCORES, {"a": 1}), {}),
    ("zrangebyscore", (SCORES, "-inf", 5), {"start": 0, "num": 1}),
    ("zrevrangebyscore", (SCORES, 5, "-inf"), {"start": 0, "num": 1, "withscores": True}),
    ("xgroup_create", (STREAM, "g"), {"id": "0", "mkstream": True}),
    ("xpending", (STREAM, "g"), {}),
    ("xadd", (STREAM, {"a": b"1"}), {"maxlen": 10}),
    ("xadd", (STREAM, {"b": "2"}), {}),
    ("xlen", (STREAM,), {}),
    ("xrange", (STREAM,), {"count": 1}),
    ("xrevrange", (STREAM,), {"max": "+", "count": 1}),
    ("xread", ({STREAM: "0-0"},), {"count": 1}),
    ("xread", ({STREAM: "$"},), {"block": 1}),
    ("xreadgroup", ("g", "c", {STREAM: ">"}), {"count": 5, "block": 1}),
    ("xreadgroup", ("g", "c", {STREAM: ">"}), {"count": 5, "block": 1}),
    ("xpending", (STREAM, "g"), {}),
    ("xpending_range", (STREAM, "g"), {"min": "-", "max": "+", "count": 5}),
    ("xinfo_groups", (STREAM,), {}),
    ("xack", (STREAM, "g", b"1-1"), {}),
    ("delete", (HASH, SET), {}),
    ("unlink", (SCORES, LIST), {}),
]


def check(value: object, expected: Any, what: str) -> None:
    """A value is of a type as it is, without any conversion."""
    assert value == TypeAdapter(expected).validate_python(value, strict=True), what


async def test_replies_are_of_the_types_that_are_stated(store: Store) -> None:
    """Each command of Client is called, and its reply compared without any conversion."""
    for name, args, options in CALLS:
        reply = await getattr(store.client, name)(*args, **options)
        expected = get_type_hints(getattr(Client, name))["return"]
        fields = get_args(expected)[0] if get_origin(expected) is list else expected
        if not is_typeddict(fields):
            check(reply, expected, name)
            continue
        for each in [reply] if fields is expected else reply:
            assert fields.__required_keys__ <= set(each), name
            for field, kind in get_type_hints(fields).items():
                if field in each:
                    check(each[field], kind, f"{name}: {field}")
    commands = {name for name in vars(Client) if not name.startswith("_")}
    assert commands - set(IGNORED) - {"xautoclaim"} == {name for name, _, _ in CALLS}


async def test_entries_that_were_deleted_while_pending(store: Store) -> None:
    """A group reads them again without fields; taken over, they are left out or come empty."""
    client = store.client
    await client.xgroup_create(STREAM, "g", id="0", mkstream=True)
    for number in range(2):
        await client.xadd(STREAM, {"n": number})
    entries = pending_of(await client.xreadgroup("g", "c", {STREAM: ">"}, count=5, block=1))
    await client.execute_command("XDEL", STREAM, entries[0][0])
    again = await client.xreadgroup("g", "c", {STREAM: "0"}, count=5, block=None)
    assert [(entries[0][0], {}), entries[1]] == [(i, f or {}) for i, f in pending_of(again)]
    claimed = await client.xautoclaim(STREAM, "g", "d", 0, count=5)
    assert entries[1] == claimed_of(claimed)[-1]


@pytest.mark.parametrize("stated", [Client, Pipeline])
async def test_parameters_are_those_of_redis_py(store: Store, stated: type) -> None:
    """A name or an order that redis-py changes is seen here, not by an operator."""
    real = store.client if stated is Client else store.client.pipeline(transaction=False)
    for name, method in vars(stated).items():
        if not name.startswith("_") and inspect.isfunction(method):
            theirs = inspect.signature(getattr(real, name)).parameters
            if any(each.kind is each.VAR_KEYWORD for each in theirs.values()):
                continue
            ours = [p for p in inspect.signature(method).parameters.values() if p.name != "self"]
            named = {p.name for p in ours if p.kind is not p.VAR_POSITIONAL}
            assert named <= set(theirs), name
