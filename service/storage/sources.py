"""Sources in Redis: what to poll, when it is due, and what the polls left.

Any number of ingest workers share the work by claims: claim.lua hands out each source that is due
to one of them, no more than AT_ONCE at a time for one host and spaced, whichever worker asks;
finish.lua takes the result. What a call costs depends on how many are due, not on how many there
are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import orjson

from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.stored import decoded

# Of one host (RFC 9112 9.4 says no number any more; browsers take 6, good pollers 2).
AT_ONCE = 2
_POLL_FIELDS = frozenset(field.name for field in fields(Poll))
_SOURCE_FIELDS = frozenset(field.name for field in fields(Source))


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A source that is one worker's to poll until the claim lapses."""

    source: Source
    poll: Poll
    lapse_ms: int
    kept: bytes
    """The source as it is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of a claim."""

    claim: Claim
    poll: Poll
    due_ms: int | None
    """None: the source is no longer polled."""
    source: Source | None = None
    """As it is from now on; None if it did not change."""
    spare_ms: int = 0
    """Until when nobody asks its host; 0 if it may be asked."""


class Sources:
    """All sources, their due times and the state of their polls."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._claim: Script[list[bytes]] = lua_script(client, "claim")
        self._finish: Script[int] = lua_script(client, "finish")

    async def add(self, source: Source, *, due_ms: int) -> bool:
        """Keep a source; False if its id is known already (nothing is changed then)."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hsetnx(keys.SOURCES, source.id, orjson.dumps(source))
        if not source.paused:
            pipe.zadd(keys.SOURCES_DUE, {source.id: due_ms}, nx=True)
        added, *_ = await pipe.execute()
        return bool(added)

    async def replace(self, source: Source, *, now_ms: int) -> None:
        """Keep a changed source; a paused one is not due any more, one that was is due now."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.SOURCES, source.id, orjson.dumps(source))
        if source.paused:
            pipe.zrem(keys.SOURCES_DUE, source.id)
        else:
            pipe.zadd(keys.SOURCES_DUE, {source.id: now_ms}, nx=True)
        await pipe.execute()

    async def wake(self, source_id: str, *, due_ms: int) -> None:
        """Have a source polled no later than this, unless it is paused."""
        await self._client.zadd(keys.SOURCES_DUE, {source_id: due_ms}, xx=True, lt=True)

    async def start_afresh(self, source_id: str) -> None:
        """Have the next poll take in everything again: its articles belong elsewhere now."""
        poll = await self.poll(source_id)
        fresh = replace(poll, etag="", last_modified="", body_hash="")
        await self._client.hset(keys.SOURCES_POLLS, source_id, orjson.dumps(fresh))

    async def remove(self, source_id: str) -> bool:
        """Forget a source; its articles stay. False if there was none."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.SOURCES, source_id)
        pipe.zrem(keys.SOURCES_DUE, source_id)
        pipe.hdel(keys.SOURCES_POLLS, source_id)
        removed, *_ = await pipe.execute()
        return bool(removed)

    async def get(self, source_id: str) -> Source | None:
        """The source of this id; None if there is none."""
        kept = await self._client.hget(keys.SOURCES, source_id)
        return _source(kept) if kept else None

    async def count(self) -> int:
        """How many there are, paused ones too."""
        return int(await self._client.hlen(keys.SOURCES))

    async def all(self) -> list[Source]:
        """Every source, oldest first."""
        stored: dict[bytes, bytes] = await self._client.hgetall(keys.SOURCES)
        sources = [
            decoded(_source, value, what=f"source {name!r}") for name, value in stored.items()
        ]
        return sorted((s for s in sources if s), key=lambda s: (s.created, s.id))

    async def poll(self, source_id: str) -> Poll:
        """What the last poll left; empty before the first."""
        stored = await self._client.hget(keys.SOURCES_POLLS, source_id)
        return decoded(_poll, stored, what=f"poll of {source_id}") or Poll()

    async def claim(
        self, *, now_ms: int, limit: int, claim_ms: int, spacing_ms: int
    ) -> tuple[list[Claim], int | None]:
        """Sources that are due, for this caller alone; call `finish` with each of them.

        Args:
            claim_ms: after so long it is due again.
            spacing_ms: between the starts of two requests to one host.

        Returns:
            The claims, and when the next source is due in ms (None if there is none at all).
        """
        lapse_ms = now_ms + claim_ms
        next_ms, *flat = await self._claim(
            keys=_KEYS, args=[now_ms, limit, lapse_ms, spacing_ms, AT_ONCE]
        )
        claims = [
            # What the last poll left may be lost; the source itself may not.
            Claim(
                source=source,
                poll=decoded(_poll, poll, what=f"poll of {name!r}") or Poll(),
                lapse_ms=lapse_ms,
                kept=kept,
            )
            for name, kept, poll in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
            if (source := decoded(_source, kept, what=f"source {name!r}"))
        ]
        return claims, int(float(next_ms)) if next_ms else None

    async def finish(self, results: Sequence[Finished], *, now_ms: int) -> None:
        """Note the results of polls. Those of sources that were removed, paused or claimed by
        another worker in the meantime are dropped."""
        argv: list[str | bytes | int] = [now_ms]
        for result in results:
            claim = result.claim
            argv += [
                claim.source.id,
                claim.source.host,
                claim.lapse_ms,
                orjson.dumps(result.poll),
                "" if result.due_ms is None else result.due_ms,
                claim.kept,
                orjson.dumps(result.source) if result.source else "",
                result.spare_ms,
            ]
        await self._finish(keys=_KEYS, args=argv)


_KEYS = (keys.SOURCES_DUE, keys.SOURCES, keys.SOURCES_POLLS, keys.SOURCES_HOSTS)


def _source(kept: bytes) -> Source:
    found = orjson.loads(kept)
    try:
        return Source(**found)
    except TypeError:
        # Written by another version.
        return Source(**{name: found[name] for name in found if name in _SOURCE_FIELDS})


def _poll(kept: bytes | None) -> Poll:
    if not kept:
        return Poll()
    found = orjson.loads(kept)
    for name in ("skip_hours", "skip_days"):
        if found.get(name):
            found[name] = tuple(found[name])
        else:
            found.pop(name, None)
    try:
        return Poll(**found)
    except TypeError:
        return Poll(**{name: found[name] for name in found if name in _POLL_FIELDS})
