"""Sources in a backup: each with its poll and due time, at one moment, and each once.

A source may be moved to another shard meanwhile (source_moves.py): one that has arrived there and
is not due yet is copied where it was, or later; and what was in no shard when that was read is
found when all are read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.storage import keys
from service.storage.backup_files import RecordWriter
from service.storage.commands import Client
from service.storage.key_reader import KeyReader, chunks
from service.storage.shards import Shards

AT_ONCE = 100
PASSES = 3


class SourceBackup:
    """Copies all sources into one file of a backup."""

    def __init__(self, client: Client, file: RecordWriter, *, shards: Shards) -> None:
        self._client = client
        self._file = file
        self._shards = shards
        self._copied: set[bytes] = set()

    async def copy(self) -> None:
        """Write the records of all sources and hosts."""
        # Of one shard nothing is moved, and what is not due there stays so.
        passes = PASSES if len(self._shards) > 1 else 0
        for _ in range(passes):
            before = len(self._copied)
            await self._copy_rest(takes_all=False)
            if before and len(self._copied) == before:
                break
        await self._copy_rest(takes_all=True)
        hosts = [keys.sources_hosts(shard).encode() for shard in self._shards]
        await KeyReader(self._client).copy(hosts, self._file)

    async def _copy_rest(self, *, takes_all: bool) -> None:
        for shard in self._shards:
            ids = await self._client.hkeys(keys.sources(shard))
            for part in chunks([i for i in ids if i not in self._copied], AT_ONCE):
                await self._copy_some(shard, part, takes_all=takes_all)

    async def _copy_some(self, shard: int, ids: Sequence[bytes], *, takes_all: bool) -> None:
        names = [source_id.decode() for source_id in ids]
        pipe = self._client.pipeline(transaction=True)
        pipe.hmget(keys.sources(shard), names)
        pipe.hmget(keys.sources_polls(shard), names)
        pipe.execute_command("ZMSCORE", keys.sources_due(shard), *names)
        replies = zip(ids, *await pipe.execute(), strict=True)
        copied = [_Copied(i, row, poll, due) for i, row, poll, due in replies if row is not None]
        if not takes_all:
            copied = [each for each in copied if not each.is_arriving]
        self._file.put("hash", keys.sources(shard), _pairs((c.id, c.row) for c in copied))
        self._file.put("hash", keys.sources_polls(shard), _pairs((c.id, c.poll) for c in copied))
        # One that is still arriving would never be polled again.
        moved_ms = 0.0 if len(self._shards) > 1 else None
        due = ((c.id, moved_ms if c.is_arriving else c.due_ms) for c in copied)
        self._file.put("zset", keys.sources_due(shard), _pairs(due))
        self._copied.update(each.id for each in copied)


@dataclass(frozen=True, slots=True)
class _Copied:
    """What a shard had of a source at one moment."""

    id: bytes
    row: bytes
    poll: bytes | None
    score: bytes | float | None

    @property
    def due_ms(self) -> float | None:
        """When it is due; None if it is not."""
        return None if self.score is None else float(self.score)

    @property
    def is_arriving(self) -> bool:
        """Whether it is not due although it is not paused."""
        return self.score is None and b'"paused":true' not in self.row


def _pairs(items: Iterable[tuple[bytes, bytes | float | None]]) -> list[Any]:
    return [part for pair in items if pair[1] is not None for part in pair]
