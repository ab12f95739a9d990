"""What Redis has of one source: its row (its settings) and its poll (what its polls left).

The rows of a source are in the shard of its host, because claims count and space the requests to a
host. A source whose host changed is for a time in the shard of its former host, and while it is
moved in both (source_moves.py): then its former place counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from service.articles.json_text import decode_stored
from service.sources.history import History
from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage import keys
from service.storage.commands import Client
from service.storage.shards import Shards
from service.storage.stored import typed

_POLL_FIELDS = frozenset(field.name for field in fields(Poll))
_HISTORY_FIELDS = frozenset(field.name for field in fields(History))
_SOURCE_FIELDS = frozenset(field.name for field in fields(Source))
# As claim.lua reads it.
_HOST = re.compile(rb'"host":"(.*?)"')


def to_source(stored: bytes) -> Source:
    """The source of a row. Raises an exception of any kind if it cannot be read."""
    values = decode_stored(stored)
    if "categories" in values:
        values["categories"] = tuple(values["categories"])
    elif values.get("category"):
        # Until November 2026 a source had one category.
        values["categories"] = (values["category"],)
    # Another version may have stored other fields, too.
    return typed(Source(**{name: values[name] for name in values if name in _SOURCE_FIELDS}))


def to_poll(stored: bytes | None) -> Poll:
    """The state that a poll left. Raises an exception of any kind if it cannot be read."""
    if not stored:
        return Poll()
    values = decode_stored(stored)
    for name in ("skip_hours", "skip_days"):
        if values.get(name):
            values[name] = tuple(values[name])
        else:
            values.pop(name, None)
    if history := values.get("history"):
        values["history"] = History(**{n: v for n, v in history.items() if n in _HISTORY_FIELDS})
    return typed(Poll(**{name: values[name] for name in values if name in _POLL_FIELDS}))


def shard_of_row(shards: Shards, row: bytes) -> int | None:
    """The shard in which a source of this row belongs; None if the row does not say its host."""
    host = _HOST.search(row)
    return shards.of(host[1].decode("utf-8", "replace")) if host else None


def is_elsewhere(shards: Shards, shard: int, row: bytes) -> bool:
    """Whether a row that is in this shard belongs in another one."""
    return shard_of_row(shards, row) not in (None, shard)


async def rows_of(
    client: Client, shards: Shards, source_ids: Sequence[str]
) -> dict[str, tuple[int, bytes]]:
    """Source id → (its shard, its row), without unknown ids; one round trip, because an id does not
    say where its source is."""
    if not source_ids:
        return {}
    pipe = client.pipeline(transaction=False)
    for shard in shards:
        pipe.hmget(keys.sources(shard), source_ids)
    rows: dict[str, tuple[int, bytes]] = {}
    for shard, stored in zip(shards, await pipe.execute(), strict=True):
        for source_id, row in zip(source_ids, stored, strict=True):
            if row and (source_id not in rows or is_elsewhere(shards, shard, row)):
                rows[source_id] = shard, row
    return rows
