"""The step of the layout that moves traces and twins from the slot of `{0}` to their shards.

Until December 2026 all links, landmarks and twins were under the tag 0, and landmarks in eight
buckets. Each is copied first and deleted then, if it is still what was copied: a step that was cut
loses nothing, and begins anew with what is left. What is there already is newer.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from service.storage import keys
from service.storage.client import Script
from service.storage.commands import Client, Value
from service.storage.shards import ONE, Shards, shards_of
from service.storage.trace_buckets import (
    FIELD_BYTES,
    landmark_bucket,
    landmark_shard,
    link_bucket,
    link_shard,
)

logger = logging.getLogger(__name__)

# Redis serves no other client while a script runs: 500 fields take about 1 ms.
KEYS_AT_ONCE, FIELDS_AT_ONCE = 100, 500
_SCANNED = "dateline:{0}:[ltu]*"
_LINKS = re.compile(r"dateline:\{0\}:urls:[0-9a-f]+")
_LANDMARKS = re.compile(r"dateline:\{0\}:landmarks:(\d+):[0-9a-f]+")
_TWINS = re.compile(r"dateline:\{0\}:twins:(.+)", re.DOTALL)
_TYPES = {"hash": (_LINKS, _LANDMARKS), "set": (_TWINS,)}

# What a hand made of another type is not moved, nor does it stop a start.
_ADD_OWNERS = """
-- KEYS 1 hash of owners  ARGV 1 TTL in s, or 0  2... in turn field and ids (16 bytes each)
-- Returns 1; 0 if the key is no hash.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then return 0 end
for i = 2, #ARGV, 2 do
  local owners = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  local after = #owners % 16 == 0 and owners or ''
  for at = 1, #ARGV[i + 1] - 15, 16 do
    local id = string.sub(ARGV[i + 1], at, at + 15)
    if string.sub(after, 1, 16) ~= id and #after < 32 then after = after .. id end
  end
  if after ~= owners then redis.call('HSET', KEYS[1], ARGV[i], after) end
end
if ARGV[1] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return 1
"""
_DROP_OWNERS = """
-- KEYS 1 hash of owners  ARGV as they were copied. Returns how many fields went.
local count = 0
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    count = count + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return count
"""
_ADD_TWINS = """
-- KEYS 1 set  ARGV its members. Returns 1; 0 if the key is no set.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'set' and kind ~= 'none' then return 0 end
for _, member in ipairs(ARGV) do redis.call('SADD', KEYS[1], member) end
return 1
"""
_DROP_TWINS = """
-- KEYS 1 set  ARGV the members that were copied. Returns how many went.
local count = 0
for _, member in ipairs(ARGV) do count = count + redis.call('SREM', KEYS[1], member) end
return count
"""

_Copy = tuple[str, str, list[Value]]
"""(key, key of the same in its shard, arguments)."""


async def spread_duplicates(client: Client) -> None:
    """Move links, landmarks and twins to the shards that have them now. Can be repeated."""
    move = _Move(client, await shards_of(client) or ONE)
    names: list[str] = []
    async for key in client.scan_iter(match=_SCANNED, count=1_000):
        name = key.decode("utf-8", "replace")
        if any(pattern.fullmatch(name) for patterns in _TYPES.values() for pattern in patterns):
            names.append(name)
        if len(names) == KEYS_AT_ONCE:
            await move.some(names)
            names = []
    await move.some(names)
    if move.count:
        logger.info("traces of articles are in their shards", extra={"keys": move.count})


class _Move:
    """Moves the keys that are not where they belong."""

    def __init__(self, client: Client, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._add_owners: Script[int] = Script(client, _ADD_OWNERS)
        self._drop_owners: Script[int] = Script(client, _DROP_OWNERS)
        self._add_twins: Script[int] = Script(client, _ADD_TWINS)
        self._drop_twins: Script[int] = Script(client, _DROP_TWINS)
        self.count = 0
        """Number of keys from which something was moved; one that is moved in parts counts for
        each."""

    async def some(self, names: Sequence[str]) -> None:
        """Move what these keys have, unless they have another type."""
        if not names:
            return
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.execute_command("TYPE", name)
        kinds = dict(zip(names, await pipe.execute(), strict=True))
        of_kind = {
            kind: [
                name
                for name in names
                if kinds[name] == kind.encode() and any(p.fullmatch(name) for p in patterns)
            ]
            for kind, patterns in _TYPES.items()
        }
        await self._move_hashes(of_kind["hash"])
        await self._move_sets(of_kind["set"])

    async def _move_hashes(self, names: Sequence[str]) -> None:
        cursors: dict[str, int] = dict.fromkeys(names, 0)
        while cursors:
            pipe = self._client.pipeline(transaction=False)
            for name, cursor in cursors.items():
                pipe.execute_command("HSCAN", name, cursor, "COUNT", FIELDS_AT_ONCE)
            replies = dict(zip(cursors, await pipe.execute(), strict=True))
            copies = [
                (name, target, argv)
                for name, (_, fields) in replies.items()
                for target, argv in self._targets(name, fields).items()
            ]
            await self._copy_and_drop(copies, self._add_owners, self._drop_owners)
            cursors = {name: int(cursor) for name, (cursor, _) in replies.items() if int(cursor)}

    def _targets(self, name: str, fields: Mapping[bytes, bytes]) -> dict[str, list[Value]]:
        """Of each other key that has some of the fields the arguments of _ADD_OWNERS."""
        window = _LANDMARKS.fullmatch(name)
        ttl_s = keys.LANDMARKS_TTL_S if window else 0
        targets: dict[str, list[Value]] = {}
        for field, owners in fields.items():
            if len(field) != FIELD_BYTES:
                continue  # That of note_traces.lua, or a hand's.
            if window:
                bucket = landmark_bucket(field)
                shard = landmark_shard(bucket, self._shards)
                target = keys.landmarks(shard, int(window[1]), bucket)
            else:
                bucket = link_bucket(field)
                target = keys.urls(link_shard(bucket, self._shards), bucket)
            if target != name:
                targets.setdefault(target, [ttl_s]).extend((field, owners))
        return targets

    async def _move_sets(self, names: Sequence[str]) -> None:
        targets = {
            name: keys.twins(self._shards.of(article[1]), article[1])
            for name in names
            if (article := _TWINS.fullmatch(name))
        }
        moved = {name: target for name, target in targets.items() if name != target}
        if not moved:
            return
        pipe = self._client.pipeline(transaction=False)
        for name in moved:
            pipe.execute_command("SMEMBERS", name)
        replies = await pipe.execute()
        copies: list[_Copy] = [
            (name, target, [*members])
            for (name, target), members in zip(moved.items(), replies, strict=True)
        ]
        await self._copy_and_drop(copies, self._add_twins, self._drop_twins)

    async def _copy_and_drop(
        self, copies: Sequence[_Copy], add: Script[int], drop: Script[int]
    ) -> None:
        is_copied = await add.run_all([([target], argv) for _, target, argv in copies])
        done = [copy for copy, is_there in zip(copies, is_copied, strict=True) if is_there]
        await drop.run_all([([name], argv) for name, _, argv in done])
        if done and not self.count:
            # 65,536 keys take half a minute.
            logger.info("traces of articles are moved to their shards")
        self.count += len({name for name, _, _ in done})
