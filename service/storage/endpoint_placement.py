"""Delivery states of endpoints, when the streams of their cursors are split (placement.py).

What was sent of a stream is a prefix of it, and so of each of its parts: they take over its cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from service.articles.event import before, position
from service.storage import keys
from service.storage.commands import Client
from service.storage.key_reader import chunks
from service.storage.webhooks import REPLAY, Range, cursor_field

Parts: TypeAlias = Mapping[int, Sequence[int]]
"""Tag of a former shard → those of its parts."""
RANGES_AT_ONCE = 100


def moved_state(state: Mapping[bytes, bytes], parts: Parts) -> tuple[dict[bytes, bytes], str]:
    """The state with a cursor of each part, and how far its first replay has come, which
    `moved_replays` needs.

    A batch that failed is composed anew, because its events are of several streams now.
    """
    fields = dict(state)
    for tag, tags in parts.items():
        cursor = fields.pop(cursor_field(tag).encode(), None)
        if cursor is not None:
            fields |= {b"\0" + cursor_field(each).encode(): cursor for each in tags}
    # A new tag can be a former one, too.
    fields = {name.removeprefix(b"\0"): value for name, value in fields.items()}
    if fields.get(b"resume"):
        fields[b"resume"] = _resume(fields[b"resume"], parts)
    if b"until" in fields:
        fields[b"until"] = b""
    replay = fields.pop(REPLAY.encode(), b"").decode()
    return fields, replay


def _resume(order: bytes, parts: Parts) -> bytes:
    entry_ids: dict[str, str] = orjson.loads(order)
    return orjson.dumps(
        {
            str(each): entry_ids[str(tag)]
            for tag, tags in parts.items()
            if str(tag) in entry_ids
            for each in tags
        }
    )


async def moved_replays(
    client: Client, replays: Sequence[bytes], parts: Parts, *, progress: str
) -> list[bytes]:
    """The replays of each part that has events of them, each up to the last of these.

    Args:
        progress: the entry up to which the first replay was sent; empty if it was not begun.
    """
    ranges: list[Range] = []
    for number, stored in enumerate(replays):
        replay = Range.parse(stored.decode())
        position(replay.until)  # Redis would refuse what is not one.
        done = progress if progress and number == 0 else replay.after
        after = max(replay.after, done, key=position)
        tags = parts.get(replay.shard, (replay.shard,))
        ranges += [Range(tag, after, replay.until) for tag in tags]
    lasts = await _lasts(client, ranges)
    return [
        str(Range(r.shard, r.after, last)).encode()
        for r, last in zip(ranges, lasts, strict=True)
        if last
    ]


async def _lasts(client: Client, ranges: Sequence[Range]) -> list[str]:
    """The last entry that the stream has of each range; empty if it has none of them."""
    lasts: list[str] = []
    for some in chunks(ranges, RANGES_AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for each in some:
            key = keys.stream(each.shard)
            pipe.execute_command("XREVRANGE", key, each.until, f"({each.after}", "COUNT", 1)
        lasts += [reply[0][0].decode() if reply else "" for reply in await pipe.execute()]
    return lasts


async def moved_letters(client: Client, letters: Sequence[Any], parts: Parts) -> list[Any]:
    """The dead letters of each part that has their events, in their order; each counts the events
    of the whole batch. One whose events are dropped from all streams stays one."""
    moved: list[Any] = []
    last_id = (0, 0)
    for entry_id, flat in letters:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        for part in await _letters(client, fields, parts):
            # Letters of one event follow one another.
            ms, sequence = max(position(entry_id.decode()), (last_id[0], last_id[1] + 1))
            last_id = ms, sequence
            moved.append([f"{ms}-{sequence}".encode(), [x for pair in part.items() for x in pair]])
    return moved


async def _letters(
    client: Client, fields: dict[bytes, bytes], parts: Parts
) -> list[dict[bytes, bytes]]:
    shard = int(fields.get(b"shard", b"-1"))
    tags = parts.get(shard, ())
    first, last = fields.get(b"first"), fields.get(b"last")
    if not tags or first is None or last is None:
        return [fields]
    position(last.decode())  # Redis would refuse what is not one.
    ranges = [Range(tag, before(first.decode()), last.decode()) for tag in tags]
    lasts = await _lasts(client, ranges)
    holders = [tag for tag, end in zip(tags, lasts, strict=True) if end] or [tags[0]]
    return [{**fields, b"shard": b"%d" % tag} for tag in holders]
