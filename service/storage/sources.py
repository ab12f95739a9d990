"""Sources in Redis: what to poll, when it is due, and what the last poll left."""

from __future__ import annotations

import orjson

from service.sources import Poll, Source
from service.storage import connecting, keys
from service.storage.connecting import Client

CLAIM_MS = 120_000


class Sources:
    """What dateline polls."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._claim = connecting.script(client, "claim")

    async def add(self, source: Source, *, due_ms: int) -> bool:
        """Keep a source; False if its id is known already (nothing is changed then)."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hsetnx(keys.SOURCES, source.id, orjson.dumps(source))
        pipe.zadd(keys.SOURCES_DUE, {source.id: due_ms}, nx=True)
        added, _ = await pipe.execute()
        return bool(added)

    async def replace(self, source: Source, *, due_ms: int | None) -> None:
        """Keep a changed source; `due_ms` None takes it out of the polling."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.SOURCES, source.id, orjson.dumps(source))
        if due_ms is None:
            pipe.zrem(keys.SOURCES_DUE, source.id)
        else:
            pipe.zadd(keys.SOURCES_DUE, {source.id: due_ms})
        await pipe.execute()

    async def remove(self, source_id: str) -> bool:
        """Forget a source; its articles stay. False if there was none."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.SOURCES, source_id)
        pipe.zrem(keys.SOURCES_DUE, source_id)
        pipe.hdel(keys.SOURCES_POLLS, source_id)
        removed, *_ = await pipe.execute()
        return bool(removed)

    async def get(self, source_id: str) -> Source | None:
        """One source."""
        kept = await self._client.hget(keys.SOURCES, source_id)
        return Source(**orjson.loads(kept)) if kept else None

    async def all(self) -> list[Source]:
        """Every source, in the order of their making."""
        kept = await self._client.hvals(keys.SOURCES)
        found = (Source(**orjson.loads(data)) for data in kept)
        return sorted(found, key=lambda s: (s.created, s.id))

    async def poll(self, source_id: str) -> Poll:
        """What the last poll left; empty before the first."""
        kept = await self._client.hget(keys.SOURCES_POLLS, source_id)
        return Poll(**orjson.loads(kept)) if kept else Poll()

    async def claim(self, *, now_ms: int, limit: int) -> list[str]:
        """Ids of sources that are due, for this caller alone; call `finish` with each."""
        ids = await self._claim(keys=[keys.SOURCES_DUE], args=[now_ms, limit, CLAIM_MS])
        return [source_id.decode() for source_id in ids]

    async def finish(self, source_id: str, poll: Poll) -> None:
        """Note a poll's result and the next due time, unless the source was removed or paused."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.SOURCES_POLLS, source_id, orjson.dumps(poll))
        pipe.zadd(keys.SOURCES_DUE, {source_id: poll.due_ms}, xx=True)
        await pipe.execute()
        if not await self._client.hexists(keys.SOURCES, source_id):
            await self.remove(source_id)
