"""Sources in Redis: their settings, their due times, and the state of their polls.

Any number of ingest workers share the work by claims: claim.lua gives each due source to one
worker, with at most AT_ONCE requests at a time to one host and with a delay between them, over all
workers; finish.lua stores the result. The cost of a call depends on the number of due sources, not
on the number of all sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import orjson

from service.articles.json_text import decode_stored
from service.sources.history import History
from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.key_reader import chunks
from service.storage.stored import decoded, typed

# Sources that one script call stores, and that are read and decoded at once.
ADDED_AT_ONCE, READ_AT_ONCE = 200, 200
# Concurrent requests to a host (RFC 9112 9.4 gives no number; browsers use 6, good pollers 2).
AT_ONCE = 2
_POLL_FIELDS = frozenset(field.name for field in fields(Poll))
_HISTORY_FIELDS = frozenset(field.name for field in fields(History))
_SOURCE_FIELDS = frozenset(field.name for field in fields(Source))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A source that only the claiming worker polls until the claim lapses."""

    source: Source
    poll: Poll
    lapse_ms: int
    stored: bytes
    """The source as it was stored at the claim."""
    server_run: bytes
    """Which run of which Redis server the claim was made in."""
    known: bytes = b""
    """What is remembered of the entries of its last document (`known_entries`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result of a claim."""

    claim: Claim
    poll: Poll
    due_ms: int | None
    """None: the source is no longer polled."""
    source: Source | None = None
    """The changed source; None if it did not change."""
    spare_ms: int = 0
    """Until when no request goes to its host; 0 if requests are allowed."""
    known: bytes = b""
    """What is remembered of the entries of this document; empty if that of before stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """A process that claims sources."""

    ordinal: int
    """WORKER_ORDINAL: the next process with this number takes over from it."""
    token: str
    """Unique to the process; without spaces."""

    def __str__(self) -> str:
        return f"{self.ordinal}:{self.token}"


class Sources:
    """All sources, their due times and the state of their polls."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._server_run = b""
        """Of the last claims of this process."""
        self._add: Script[list[int]] = Script(client, _ADD)
        self._claim: Script[list[bytes]] = lua_script(client, "host", "server", "claim")
        self._finish: Script[int] = lua_script(client, "host", "server", "finish")
        self._turn: Script[int] = lua_script(client, "host", "turn")
        self._release: Script[int] = lua_script(client, "host", "release")
        self._wake: Script[int] = Script(client, _WAKE)
        self._replace_poll: Script[int] = Script(client, _REPLACE_POLL)

    async def add(self, source: Source, *, due_ms: int) -> bool:
        """Store a new source; False, without a change, if its id is known already."""
        (is_new,) = await self.add_all([source], due_ms=due_ms)
        return is_new

    async def add_all(self, sources: Sequence[Source], *, due_ms: int) -> list[bool]:
        """Store new sources; for each whether it is new. A known one is not changed."""
        added: list[bool] = []
        for batch in chunks(sources, ADDED_AT_ONCE):
            argv: list[str | bytes | int] = []
            for source in batch:
                argv += [source.id, orjson.dumps(source), "" if source.paused else due_ms]
            answer = await self._add(keys=[keys.SOURCES, keys.SOURCES_DUE], args=argv)
            added += map(bool, answer)
        return added

    async def replace(self, source: Source, *, now_ms: int) -> None:
        """Store a changed source; a paused source is never due, a resumed one is due now."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.SOURCES, source.id, orjson.dumps(source))
        if source.paused:
            pipe.zrem(keys.SOURCES_DUE, source.id)
        else:
            pipe.zadd(keys.SOURCES_DUE, {source.id: now_ms}, nx=True)
        await pipe.execute()

    async def wake(self, source_id: str, *, due_ms: int) -> None:
        """Make the next poll of a source due no later than this, unless it is paused."""
        # A source may be claimed for another purpose while its poll is not due (`due_of`).
        await self._wake(keys=[keys.SOURCES_DUE, keys.SOURCES_POLLS], args=[source_id, due_ms])

    async def wake_for_renewal(self, source_id: str, *, due_ms: int) -> None:
        """Have a source claimed no later than this, unless it is paused; its next poll stays due
        when it was."""
        await self._client.zadd(keys.SOURCES_DUE, {source_id: due_ms}, xx=True, lt=True)

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
        await self._client.hdel(keys.SOURCES_KNOWN, source_id)
        await self._client.hset(keys.SOURCES_POLLS, source_id, orjson.dumps(fresh))

    async def erase_texts(self) -> None:
        """Shorten what the results of polls say of rejected entries and of our own errors: they may
        repeat the text of an article."""
        stored: dict[bytes, bytes] = await self._client.hgetall(keys.SOURCES_POLLS)
        for name, value in stored.items():
            poll = decoded(_poll, value, what=f"poll of {name!r}")
            result = _QUOTED.sub(r"\1", poll.result) if poll else ""
            if poll and result != poll.result:
                # A poll that ended meanwhile says what it has found now.
                changed = orjson.dumps(replace(poll, result=result))
                await self._replace_poll(keys=[keys.SOURCES_POLLS], args=[name, value, changed])

    async def remove(self, source_id: str) -> bool:
        """Delete a source; its articles stay. False if it is unknown."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.SOURCES, source_id)
        pipe.zrem(keys.SOURCES_DUE, source_id)
        pipe.hdel(keys.SOURCES_POLLS, source_id)
        pipe.hdel(keys.SOURCES_CLAIMS, source_id)
        pipe.hdel(keys.SOURCES_KNOWN, source_id)
        pipe.delete(keys.page_marks(source_id))
        removed, *_ = await pipe.execute()
        return bool(removed)

    async def get(self, source_id: str) -> Source | None:
        """The source of this id; None if it is unknown."""
        stored = await self._client.hget(keys.SOURCES, source_id)
        return decoded(_source, stored, what=f"source {source_id}") if stored else None

    async def count(self) -> int:
        """Number of sources, paused ones included."""
        return int(await self._client.hlen(keys.SOURCES))

    async def all(self) -> list[Source]:
        """All sources, oldest first. They are read in parts: other work has its turn in between."""
        sources: list[Source | None] = []
        for names in chunks(await self._client.hkeys(keys.SOURCES), READ_AT_ONCE):
            stored = await self._client.execute_command("HMGET", keys.SOURCES, *names)
            sources += [
                decoded(_source, value, what=f"source {name!r}")
                for name, value in zip(names, stored, strict=True)
                if value
            ]
        return sorted((s for s in sources if s), key=lambda s: (s.created, s.id))

    async def poll(self, source_id: str) -> Poll:
        """The state that the last poll left; an empty Poll before the first."""
        stored = await self._client.hget(keys.SOURCES_POLLS, source_id)
        return decoded(_poll, stored, what=f"poll of {source_id}") or Poll()

    async def claim(
        self, *, claimant: Claimant, now_ms: int, limit: int, lapse_ms: int, spacing_ms: int
    ) -> tuple[list[Claim], int | None]:
        """Claim due sources for this caller only; call `finish` with each of them.

        Args:
            claimant: the caller.
            lapse_ms: when an unfinished claim is due again, in ms since the epoch; different in
                each call. A call without an answer may have claimed sources: the next one with the
                same `lapse_ms` returns these, too.
            spacing_ms: time between the starts of two requests to one host.

        Returns:
            The claims, and when the next source is due in ms since the epoch (None without one).
        """
        next_ms, server_run, *flat = await self._claim(
            keys=_KEYS, args=[now_ms, limit, lapse_ms, spacing_ms, AT_ONCE, str(claimant)]
        )
        if self._server_run not in (b"", server_run):
            # It may have kept a claim and lost its end, for which nobody would come back; what is
            # still at work is not stored anyway (finish.lua).
            names = f"{claimant.ordinal}:"
            await self._release(keys=_KEYS, args=[now_ms, names, lapse_ms])
        self._server_run = server_run
        claims = [
            # A poll that cannot be decoded is replaced; a source that cannot be decoded is skipped.
            Claim(
                source=source,
                poll=decoded(_poll, poll, what=f"poll of {name!r}") or Poll(),
                lapse_ms=lapse_ms,
                stored=stored,
                server_run=server_run,
                known=known,
            )
            for name, stored, poll, known in zip(
                flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True
            )
            if (source := decoded(_source, stored, what=f"source {name!r}"))
        ]
        return claims, int(float(next_ms)) if next_ms else None

    async def release(self, ordinal: int, *, now_ms: int) -> int:
        """Make the sources due that processes with this number have claimed and not finished,
        because they were killed; returns how many there are."""
        return await self._release(keys=_KEYS, args=[now_ms, f"{ordinal}:", ""])

    async def turn(self, host: str, *, now_ms: int, spacing_ms: int) -> int:
        """Take the next turn of a request to a host among the polls of all workers; in how many ms
        it is."""
        return await self._turn(keys=[keys.SOURCES_HOSTS], args=[now_ms, spacing_ms, host])

    async def end_turns(self, host: str, *, now_ms: int) -> None:
        """Forget the turns of a host that are over; one that has sources is left as it is."""
        await self._turn(keys=[keys.SOURCES_HOSTS], args=[now_ms, -1, host])

    async def finish(self, results: Sequence[Finished], *, now_ms: int) -> None:
        """Store the results of polls, except of sources that were removed, paused or claimed by
        another worker in the meantime."""
        argv: list[str | bytes | int] = [now_ms]
        for result in results:
            claim = result.claim
            argv += [
                claim.server_run,
                claim.source.id,
                claim.source.host,
                claim.lapse_ms,
                orjson.dumps(result.poll),
                "" if result.due_ms is None else result.due_ms,
                claim.stored,
                orjson.dumps(result.source) if result.source else "",
                result.spare_ms,
                result.known,
            ]
        await self._finish(keys=_KEYS, args=argv)


_KEYS = (
    keys.SOURCES_DUE, keys.SOURCES, keys.SOURCES_POLLS, keys.SOURCES_HOSTS, keys.SOURCES_CLAIMS,
    keys.SOURCES_KNOWN,
)  # fmt: skip


def _source(stored: bytes) -> Source:
    values = decode_stored(stored)
    if "categories" in values:
        values["categories"] = tuple(values["categories"])
    elif values.get("category"):
        # Until November 2026 a source had one category.
        values["categories"] = (values["category"],)
    # Another version may have stored other fields, too.
    return typed(Source(**{name: values[name] for name in values if name in _SOURCE_FIELDS}))


def _poll(stored: bytes | None) -> Poll:
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
