"""Removals: articles that retention has removed wholly, and the marks that they leave.

A mark is a few bytes for each article (`keys.removed`): with it a source that still offers the
article does not bring it back, and its address answers that it is gone.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.feeds.index_step import IndexStep
from service.storage import keys
from service.storage.category_index import index_keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value
from service.storage.shards import Shards
from service.storage.stored import decoded

# As in append.lua: an article that was erased after it was removed; nothing takes it in again.
ERASED = "erased"
_MARK_BYTES = 8

_ERASE = """
-- KEYS 1 marks  ARGV 1 field 2 value. Returns 1; 0 if there is no such mark.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


def mark_of(article_id: str, shard: int) -> tuple[str, bytes]:
    """Key and field of an article's mark."""
    field = uuid.UUID(article_id).bytes[-_MARK_BYTES:]
    return keys.removed(shard, zlib.crc32(field) % keys.REMOVED_BUCKETS), field


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One look at every article; status shows it with these names."""

    ended: str
    """RFC 3339."""
    policy: str
    removed: int
    """Number of articles."""
    examined: int


def _pass(fields: Mapping[bytes, bytes]) -> Pass:
    return Pass(
        ended=fields[b"ended"].decode(),
        policy=fields[b"policy"].decode(),
        removed=int(fields[b"removed"]),
        examined=int(fields[b"examined"]),
    )


class Removals:
    """Removes articles from an archive, and knows which were removed."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._remove: Script[int] = lua_script(client, "article", "versions", "remove")
        self._erase: Script[int] = Script(client, _ERASE)

    async def contains(self, article_id: str) -> bool:
        """Whether retention has removed this article."""
        return await self._client.hget(*self._mark(article_id)) is not None

    async def erase(self, article_id: str) -> bool:
        """Have nothing take a removed article in again; False if it was not removed."""
        key, field = self._mark(article_id)
        return bool(await self._erase(keys=[key], args=[field, ERASED]))

    async def remove(
        self, steps: Sequence[tuple[IndexStep, bytes]], *, now: datetime
    ) -> list[bool]:
        """Remove articles with all that indexes have of them, and leave a mark of each.

        Args:
            steps: for each article the step that takes it out of the indexes
                (`index_step.removal_step`), and its `head` as it was read.

        Returns:
            False for those that have changed since they were read; they stay.
        """
        if not steps:
            return []
        pipe = self._client.pipeline(transaction=False)
        self._remove.load_in(pipe)
        for step, head in steps:
            shard = self._shards.of(step.article_id)
            marks, field = mark_of(step.article_id, shard)
            key_names = [keys.article(shard, step.article_id), keys.dirty(shard), marks]
            argv: list[Value] = [
                step.before, head, step.article_id, field, f"{now:%Y-%m-%d}", step.stamp_ms,
                keys.PAGE_CHANGES_MAX,
            ]  # fmt: skip
            for change in step.changes:
                key_names += index_keys(shard, change.category)
                argv += [change.category, " ".join(change.periods)]
            key_names.append(keys.page_changes(shard))
            self._remove.run_in(pipe, keys=key_names, args=argv)
        _, *done = await pipe.execute()
        return [bool(is_done) for is_done in done]

    async def last_pass(self) -> Pass | None:
        """The last pass of retention that ended; None if there was none."""
        fields = await self._client.hgetall(keys.RETENTION)
        return decoded(_pass, fields, what="pass of retention") if fields else None

    async def note_pass(self, done: Pass) -> None:
        """Store a pass that ended."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hset(keys.RETENTION, mapping={n: getattr(done, n) for n in Pass.__slots__})
        pipe.hincrby(keys.counters(0), "retention_passes", 1)
        await pipe.execute()

    def _mark(self, article_id: str) -> tuple[str, bytes]:
        return mark_of(article_id, self._shards.of(article_id))
