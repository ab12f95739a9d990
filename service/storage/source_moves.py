"""Moves of sources to the shard of their host, because that changed: a redirect, a feed that was
found on another host, or data of a version that had all sources in one shard.

No script reaches two shards, so a move is four steps, each of which can be repeated:

    read     everything of the source, at one moment
    arrive   in the new shard, not due there, so nobody polls it
    leave    the former shard, only if nothing changed since it was read; noted in `moving`
    end      due in the new shard; the note goes

Until it has left, its former place counts, and what has arrived is written again; after that, the
note says what is to be done. So a process may be killed between any two steps: the next claim of
the source, or a worker that reads the notes, completes the move, and it is due in one place alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value
from service.storage.key_reader import chunks
from service.storage.shards import ONE, Shards, shards_of
from service.storage.source_rows import is_elsewhere, shard_of_row
from service.storage.stored import decoded

AT_ONCE = 100
_READ = """
-- KEYS 1 due 2 sources 3 polls 4 known entries 5 page marks  ARGV 1 source id
-- Returns its row, poll, known entries and score, '' for what is missing, and its page marks.
local id = ARGV[1]
local known = redis.pcall('HGET', KEYS[4], id)
local marks = redis.pcall('HGETALL', KEYS[5])
return {redis.call('HGET', KEYS[2], id) or '', redis.call('HGET', KEYS[3], id) or '',
  type(known) == 'string' and known or '', redis.call('ZSCORE', KEYS[1], id) or '',
  marks.err and {} or marks}
"""
_ARRIVE = """
-- KEYS 1 due 2 sources 3 polls 4 known entries 5 page marks
-- ARGV 1 source id 2 row 3 poll 4 known entries ('' for none) 5 TTL of page marks (s) 6... these
-- Returns 1; 0 if a source of this id is at work here: it stays as it is.
local id = ARGV[1]
if redis.call('ZSCORE', KEYS[1], id) and redis.call('HEXISTS', KEYS[2], id) == 1 then return 0 end
-- A wrong type fails the call before the first write.
redis.call('HLEN', KEYS[3])
redis.call('HSET', KEYS[2], id, ARGV[2])
redis.call('HDEL', KEYS[3], id)
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], id, ARGV[3]) end
if ARGV[4] ~= '' then redis.pcall('HSET', KEYS[4], id, ARGV[4]) end
for i = 6, #ARGV, 2 do redis.pcall('HSET', KEYS[5], ARGV[i], ARGV[i + 1]) end
if ARGV[6] then redis.call('EXPIRE', KEYS[5], ARGV[5]) end
return 1
"""
_END = """
-- KEYS 1 due 2 sources  ARGV 1 source id 2 ms when it is due ('' for never)
-- Returns 1 if it is due by this call, else 0: it was before, is paused or removed.
local row = redis.call('HGET', KEYS[2], ARGV[1])
if not row or ARGV[2] == '' or string.find(row, '"paused":true', 1, true) then return 0 end
return redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1])
"""
_TAKE_BACK = """
-- KEYS 1 due 2 sources 3 polls 4 known entries 5 page marks  ARGV 1 source id 2 row
-- Removes what has arrived of a source that was removed from its former shard meanwhile.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.pcall('HDEL', KEYS[4], ARGV[1])
redis.call('DEL', KEYS[5])
return 1
"""
LEFT, CHANGED, GONE = 1, 0, -1
"""Replies of leave.lua."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a shard has of a source."""

    source_id: str
    row: bytes
    poll: bytes
    known: bytes
    score: bytes
    """Ms when it is due; empty if it is paused."""
    marks: Sequence[bytes]
    """Article ids and their page marks, in turn."""


class SourceMoves:
    """Moves sources between shards."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._read: Script[list[Any]] = Script(client, _READ)
        self._arrive: Script[int] = Script(client, _ARRIVE)
        self._leave: Script[int] = lua_script(client, "host", "leave")
        self._end: Script[int] = Script(client, _END)
        self._take_back: Script[int] = Script(client, _TAKE_BACK)
        self._is_cut = False
        """Whether a move of this process may have left a note."""

    async def move(
        self, source_ids: Sequence[str], *, shard: int, due_ms: int | None = None
    ) -> None:
        """Move those of these sources whose host belongs elsewhere out of a shard; what changes
        meanwhile stays there, and moves with its next claim.

        Args:
            due_ms: when they are due then; None for when they are now.
        """
        for batch in chunks(source_ids, AT_ONCE):
            await self._move_batch(batch, shard, due_ms)

    async def complete(self) -> None:
        """End the moves that were cut after their sources had left."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.hgetall(keys.sources_moving(shard))
        for shard, notes in zip(self._shards, await pipe.execute(), strict=True):
            by_id = {name.decode(): note for name, note in notes.items() if name.isascii()}
            await self._end_all(shard, by_id)
        self._is_cut = False

    async def complete_own(self) -> None:
        """End the moves that a fault of Redis cut in this process."""
        if self._is_cut:
            await self.complete()

    async def _move_batch(self, batch: Sequence[str], shard: int, due_ms: int | None) -> None:
        replies = await self._read.run_all(
            [(_keys(shard, source_id), [source_id]) for source_id in batch]
        )
        rows = [
            _Rows(source_id, row, poll, known, score, marks)
            for source_id, (row, poll, known, score, marks) in zip(batch, replies, strict=True)
            if row and is_elsewhere(self._shards, shard, row)
        ]
        targets = {each.source_id: shard_of_row(self._shards, each.row) or 0 for each in rows}
        await self._arrive.run_all(
            [
                (
                    _keys(targets[each.source_id], each.source_id),
                    [each.source_id, each.row, each.poll, each.known, keys.PAGE_MARKS_TTL_S,
                     *each.marks],
                )
                for each in rows
            ]
        )  # fmt: skip
        notes = {each.source_id: _note(each, targets[each.source_id], due_ms) for each in rows}
        self._is_cut = True
        left = await self._leave.run_all(
            [
                (
                    _keys_to_leave(shard, each.source_id),
                    [each.source_id, each.row, each.poll, each.score, notes[each.source_id]],
                )
                for each in rows
            ]
        )
        ends = dict(zip(notes, left, strict=True))
        await self._end_all(shard, {i: note for i, note in notes.items() if ends[i] == LEFT})
        self._is_cut = False
        await self._take_back.run_all(
            [
                (_keys(targets[each.source_id], each.source_id), [each.source_id, each.row])
                for each in rows
                # A paused one may be gone because another process has moved it: there, too, it is
                # not due.
                if ends[each.source_id] == GONE and each.score
            ]
        )

    async def _end_all(self, shard: int, notes: Mapping[str, bytes]) -> None:
        if not notes:
            return
        calls: list[tuple[Sequence[str], Sequence[Value]]] = []
        for source_id, note in notes.items():
            read = decoded(_read_note, note, what=f"note of a move of {source_id}")
            if read is None:
                continue
            target, due = read
            calls.append(([keys.sources_due(target), keys.sources(target)], [source_id, due]))
        await self._end.run_all(calls)
        await self._client.hdel(keys.sources_moving(shard), *notes)


def _note(rows: _Rows, target: int, due_ms: int | None) -> bytes:
    due = str(due_ms).encode() if due_ms is not None and rows.score else rows.score
    return b"%d %b" % (target, due)


def _read_note(note: bytes) -> tuple[int, bytes]:
    """(tag of the new shard, ms when the source is due there, empty for never)."""
    tag, _, due = note.partition(b" ")
    if math.isnan(float(due or 0)):
        raise ValueError("not a time")
    return int(tag), due


def _keys(shard: int, source_id: str) -> list[str]:
    return [
        keys.sources_due(shard), keys.sources(shard), keys.sources_polls(shard),
        keys.sources_known(shard), keys.page_marks(shard, source_id),
    ]  # fmt: skip


def _keys_to_leave(shard: int, source_id: str) -> list[str]:
    return [
        *_keys(shard, source_id), keys.sources_hosts(shard), keys.sources_claims(shard),
        keys.sources_moving(shard),
    ]  # fmt: skip


async def place_sources(client: Client) -> None:
    """Move the sources of an archive that are not in the shards of their hosts: those of a version
    that had all of them in the first shard, or of an archive of other shards. Can be repeated."""
    shards = await shards_of(client) or ONE
    moves = SourceMoves(client, shards=shards)
    await moves.complete()
    if len(shards) == 1:
        return
    for shard in shards:
        names = await client.hkeys(keys.sources(shard))
        # What a hand has stored under another name stays.
        await moves.move([name.decode() for name in names if name.isascii()], shard=shard)
