"""Sources in Redis: their settings, their due times, and the state of their polls.

A source is in the shard of its host (source_rows.py); any number of ingest workers share the work
by claims (claims.py). Where only an id is known, all shards are asked in one round trip: a list of
the shards of all ids would be in one slot again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import orjson

from service.errors import InvalidInput
from service.http import host_of
from service.sources.history import History
from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage import keys
from service.storage.client import Script
from service.storage.commands import Client, Value
from service.storage.key_reader import chunks
from service.storage.shards import Shards
from service.storage.source_rows import rows_of, to_poll, to_source
from service.storage.source_urls import SourceUrls
from service.storage.stored import decoded

# Sources that one script call stores, and that are read and decoded at once.
ADDED_AT_ONCE, READ_AT_ONCE = 200, 200
SCANNED_AT_ONCE = 500
# How often a source is looked for that is being moved.
TRIES = 5
# What follows these words in the result of a poll is quoted.
_QUOTED = re.compile(r"( rejected|an error of ours)(?: \(|: ).*", re.DOTALL)
_ADD = """
-- KEYS 1 sources 2 due  ARGV for each source 3: id, source, ms when it is due ('' for never)
-- Returns for each 1 if it is new, 0 without a change if its id is known.
redis.call('ZCARD', KEYS[2])
local added = {}
for i = 1, #ARGV, 3 do
  local is_new = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
  if is_new == 1 and ARGV[i + 2] ~= '' then redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i]) end
  added[#added + 1] = is_new
end
return added
"""
_REPLACE = """
-- KEYS 1 sources 2 due  ARGV 1 source id 2 source 3 ms when it is due unless it is already; '' if
-- it is paused. Returns 1; 0 if it is not here.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZCARD', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[1])
end
return 1
"""
_WAKE = """
-- KEYS 1 due 2 polls  ARGV 1 source id 2 ms
-- Returns 1; 0 if the source is not polled.
local score = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or nil)
if not score then return 0 end
local poll = redis.call('HGET', KEYS[2], ARGV[1])
if score > tonumber(ARGV[2]) then redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) end
local due = poll and string.match(poll, '"due_ms":(%d+)')
if due and tonumber(due) > tonumber(ARGV[2]) then
  poll = string.gsub(poll, '"due_ms":%d+', '"due_ms":' .. ARGV[2], 1)
  redis.call('HSET', KEYS[2], ARGV[1], poll)
end
return 1
"""
_REPLACE_POLL = """
-- KEYS 1 polls  ARGV 1 source id 2 poll as it was 3 new poll
-- Returns 1; 0 if the source was polled or removed since.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
_START_AFRESH = """
-- KEYS 1 sources 2 polls 3 known entries  ARGV 1 source id 2 poll
-- Returns 1; 0 if it is not here.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.pcall('HDEL', KEYS[3], ARGV[1])
return 1
"""


_REMOVE = """
-- KEYS 1 due 2 sources 3 polls 4 claims 5 known entries 6 moving 7 page marks  ARGV 1 source id
-- Returns 1 if it was here, else 0.
for i = 3, 6 do redis.pcall('HDEL', KEYS[i], ARGV[1]) end
redis.call('UNLINK', KEYS[7])
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])
"""


class Sources:
    """All sources, their due times and the state of their polls."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self.shards = shards
        self._urls = SourceUrls(client, shards=shards)
        self._add: Script[list[int]] = Script(client, _ADD)
        self._replace: Script[int] = Script(client, _REPLACE)
        self._wake: Script[int] = Script(client, _WAKE)
        self._replace_poll: Script[int] = Script(client, _REPLACE_POLL)
        self._start_afresh: Script[int] = Script(client, _START_AFRESH)
        self._remove: Script[int] = Script(client, _REMOVE)

    async def add(self, source: Source, *, due_ms: int) -> bool:
        """Store a new source; False, without a change, if its id is known already."""
        (is_new,) = await self.add_all([source], due_ms=due_ms)
        return is_new

    async def add_all(self, sources: Sequence[Source], *, due_ms: int) -> list[bool]:
        """Store new sources; for each whether it is new. A known one is not changed."""
        added: list[bool] = []
        for batch in chunks(sources, ADDED_AT_ONCE):
            added += await self._add_batch(batch, due_ms)
        return added

    async def _add_batch(self, batch: Sequence[Source], due_ms: int) -> list[bool]:
        await self._urls.note(batch)
        # One that has moved is in the shard of another host.
        ids = [source.id for source in batch]
        known = await self._rows(ids) if len(self.shards) > 1 else {}
        is_new = dict.fromkeys(ids, False)
        by_shard: dict[int, list[Source]] = {}
        for source in batch:
            if source.id not in known:
                by_shard.setdefault(self.shards.of(source.host), []).append(source)
        calls: list[tuple[Sequence[str], Sequence[Value]]] = []
        for shard, new in by_shard.items():
            argv: list[Value] = []
            for source in new:
                argv += [source.id, orjson.dumps(source), "" if source.paused else due_ms]
            calls.append(([keys.sources(shard), keys.sources_due(shard)], argv))
        for new, answer in zip(by_shard.values(), await self._add.run_all(calls), strict=True):
            for source, is_added in zip(new, answer, strict=True):
                is_new[source.id] = is_new[source.id] or bool(is_added)
        # Of the same source twice the first is new.
        return [is_new.pop(source.id, False) for source in batch]

    async def replace(self, source: Source, *, now_ms: int) -> None:
        """Store a changed source; a paused source is never due, a resumed one is due now. One that
        was removed meanwhile stays removed."""

        async def attempt(shard: int) -> int:
            return await self._replace(
                keys=[keys.sources(shard), keys.sources_due(shard)],
                args=[source.id, orjson.dumps(source), "" if source.paused else now_ms],
            )

        await self._urls.note([source])
        await self._where_it_is(source.id, attempt)

    async def wake(self, source_id: str, *, due_ms: int) -> None:
        """Make the next poll of a source due no later than this, unless it is paused."""
        # A source may be claimed for another purpose while its poll is not due (`due_of`).
        await self._wake.run_all(
            [
                ([keys.sources_due(shard), keys.sources_polls(shard)], [source_id, due_ms])
                for shard in self.shards
            ]
        )

    async def wake_for_renewal(self, source_id: str, *, due_ms: int) -> None:
        """Have a source claimed no later than this, unless it is paused; its next poll stays due
        when it was."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self.shards:
            pipe.execute_command("ZADD", keys.sources_due(shard), "XX", "LT", due_ms, source_id)
        await pipe.execute()

    async def start_afresh(
        self, source_id: str, *, is_another_kind: bool = False, with_history: bool = False
    ) -> None:
        """Forget validators and entries, so that the next poll reads the whole document again: its
        articles belong to other categories now.

        Args:
            is_another_kind: whether the kind of document may be another one now.
            with_history: whether the older documents of the feed are followed again, too.
        """
        poll = await self.poll(source_id)
        kind = "" if is_another_kind else poll.kind
        fresh = replace(poll, etag="", last_modified="", body_hash="", kind=kind)
        if with_history:
            fresh = replace(fresh, history=History())

        async def attempt(shard: int) -> int:
            return await self._start_afresh(
                keys=[keys.sources(shard), keys.sources_polls(shard), keys.sources_known(shard)],
                args=[source_id, orjson.dumps(fresh)],
            )

        await self._where_it_is(source_id, attempt)

    async def erase_texts(self) -> None:
        """Shorten what the results of polls say of rejected entries and of our own errors: they may
        repeat the text of an article."""
        for shard in self.shards:
            polls = keys.sources_polls(shard)
            for names in chunks(await self._client.hkeys(polls), READ_AT_ONCE):
                stored = await self._client.execute_command("HMGET", polls, *names)
                for name, value in zip(names, stored, strict=True):
                    await self._erase_text(polls, name, value or b"")

    async def _erase_text(self, polls: str, name: bytes, value: bytes) -> None:
        poll = decoded(to_poll, value, what=f"poll of {name!r}")
        result = _QUOTED.sub(r"\1", poll.result) if poll else ""
        if poll and result != poll.result:
            # A poll that ended meanwhile says what it has found now.
            changed = orjson.dumps(replace(poll, result=result))
            await self._replace_poll(keys=[polls], args=[name, value, changed])

    async def remove(self, source_id: str) -> bool:
        """Delete a source; its articles stay. False if it is unknown."""
        is_known = False
        source = await self.get(source_id)
        for _ in range(TRIES):
            removed = await self._remove.run_all(
                [(_keys_to_remove(shard, source_id), [source_id]) for shard in self.shards]
            )
            is_known = any(removed) or is_known
            # It may have left one shard before, and arrived in another one after it was passed.
            if len(self.shards) == 1 or not await self._rows([source_id]):
                break
        await self._urls.forget([source] if source else [])
        return is_known

    async def get(self, source_id: str) -> Source | None:
        """The source of this id; None if it is unknown."""
        for _, stored in (await self._rows([source_id])).values():
            return decoded(to_source, stored, what=f"source {source_id}")
        return None

    async def known(self, sources: Sequence[Source]) -> dict[str, Source]:
        """What is stored under the ids of these sources, or polled at their URLs: id → source, and
        URL → the source that is polled at it."""
        stored = [
            decoded(to_source, row, what=f"source {source_id}")
            for source_id, (_, row) in (await self._rows([s.id for s in sources])).items()
        ]
        by_id = {source.id: source for source in stored if source}
        at_urls = await self._urls.sources_at([source.url for source in sources])
        return {**{source.url: source for source in by_id.values()}, **at_urls, **by_id}

    async def count(self) -> int:
        """Number of sources, paused ones included."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self.shards:
            pipe.execute_command("HLEN", keys.sources(shard))
        return sum(await pipe.execute())

    async def in_parts(self) -> AsyncIterator[list[Source]]:
        """All sources in parts of READ_AT_ONCE, of each part the oldest first."""
        moved: set[str] = set()
        for shard in self.shards:
            for names in chunks(await self._client.hkeys(keys.sources(shard)), READ_AT_ONCE):
                stored = await self._client.execute_command("HMGET", keys.sources(shard), *names)
                part = [
                    source
                    for name, value in zip(names, stored, strict=True)
                    if value and (source := decoded(to_source, value, what=f"source {name!r}"))
                ]
                # While it is moved, a source is in two shards.
                yield _oldest_first([s for s in part if s.id not in moved])
                moved.update(s.id for s in part if host_of(s.added_url or s.url) != s.host)

    async def part(self, *, after: str, limit: int) -> tuple[list[Source], str]:
        """A part of all sources, in the order of the hashes that have them: each that is there from
        the first part to the last is in one of them.

        Args:
            after: what the call for the part before has returned; empty for the first one.

        Returns:
            The sources, and what the next part begins after; empty at the end of the list.

        Raises:
            InvalidInput: `after` is not what a call has returned.
        """
        place, cursor, last = _place_of(after, len(self.shards))
        sources: list[Source] = []
        while place < len(self.shards) and len(sources) < limit:
            name = keys.sources(self.shards.tags[place])
            count = min(limit, SCANNED_AT_ONCE)
            following, stored = await self._client.execute_command(
                "HSCAN", name, cursor, "COUNT", count
            )
            rows = sorted((i, row) for i, row in stored.items() if i > last)
            for name_of_row, row in rows:
                if len(sources) == limit:
                    break
                last = name_of_row
                source = decoded(to_source, row, what=f"source {name_of_row!r}")
                sources += [source] if source else []
            else:
                cursor, last = int(following), b""
                place += not cursor
        if place == len(self.shards):
            return sources, ""
        return sources, f"{place}.{cursor}.{last.hex()}"

    async def all(self) -> list[Source]:
        """All sources, oldest first. They are read in parts: other work has its turn in between."""
        return _oldest_first([source async for part in self.in_parts() for source in part])

    async def poll(self, source_id: str) -> Poll:
        """The state that the last poll left; an empty Poll before the first."""
        shards = list(self.shards)
        if len(shards) > 1:
            shards = [shard for shard, _ in (await self._rows([source_id])).values()]
        stored = [await self._client.hget(keys.sources_polls(shard), source_id) for shard in shards]
        poll = next(iter(stored), None)
        return decoded(to_poll, poll, what=f"poll of {source_id}") or Poll()

    async def _rows(self, source_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        return await rows_of(self._client, self.shards, source_ids)

    async def _where_it_is(self, source_id: str, attempt: Callable[[int], Awaitable[int]]) -> None:
        """Change a source in its shard; it may be moved to another one meanwhile."""
        for _ in range(TRIES):
            for shard, _row in (await self._rows([source_id])).values():
                if await attempt(shard):
                    return


def _place_of(after: str, shards: int) -> tuple[int, int, bytes]:
    """(number of the shard, cursor of its hash, id of the last row there that was named)."""
    if not after:
        return 0, 0, b""
    try:
        place, cursor, last = after.split(".")
        parsed = int(place), int(cursor), bytes.fromhex(last)
    except ValueError as exc:
        raise InvalidInput("after", after, "must be what `next` contains") from exc
    if not 0 <= parsed[0] < shards or not 0 <= parsed[1] < 2**64:
        raise InvalidInput("after", after, "must be what `next` contains")
    return parsed


def _oldest_first(sources: Sequence[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: (source.created, source.id))


def _keys_to_remove(shard: int, source_id: str) -> list[str]:
    return [
        keys.sources_due(shard), keys.sources(shard), keys.sources_polls(shard),
        keys.sources_claims(shard), keys.sources_known(shard), keys.sources_moving(shard),
        keys.page_marks(shard, source_id),
    ]  # fmt: skip
