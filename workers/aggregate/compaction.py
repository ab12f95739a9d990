"""Compaction: a zstd dictionary trained from the archive's own articles, and a sweep that
compresses the older ones with it.

One worker at a time does it, under a lease. A dictionary is trained when there are enough articles,
and again when there are ten times as many. A sweep that is cut begins anew and passes what is done.
"""

from __future__ import annotations

import asyncio
import logging
import time

from service import process
from service.storage.compression import Dictionary
from service.storage.dictionary_training import SAMPLES, trained
from service.storage.leases import Lease
from service.storage.store import Store

logger = logging.getLogger(__name__)

LEASE = "compaction"
LEASE_MS = 60_000
AGAIN_AT = 10
"""A new dictionary is trained when there are so many times the articles of the last one."""
RETRY_AT = 2
"""The same, where the last attempt made none that was of use."""
# After each chunk, the sweep rests for as long as the chunk took: it must not slow the indexing.
REST = 1.0


class Compaction:
    """The part of one aggregate worker."""

    def __init__(self, store: Store, *, token: str) -> None:
        self._store = store
        self._token = token
        self._tried_at = 0
        """Number of articles of which no dictionary could be made that is of use."""

    async def run(self, stop: asyncio.Event) -> None:
        """Train a dictionary and sweep, if that is due and no other worker does it."""
        lease = await self._lease(None)
        if lease is None:
            return
        await self._train()
        await self._sweep(lease, stop)
        await self._store.leases.give_up(lease)

    async def _lease(self, held: Lease | None) -> Lease | None:
        leases = self._store.leases
        return await leases.take(LEASE, token=self._token, ttl_ms=LEASE_MS, held=held)

    async def _train(self) -> None:
        """Train a dictionary if one is due; or give every shard the last one, if the worker that
        trained it was killed before it had."""
        dictionaries = self._store.dictionaries
        shards = self._store.event_stream.shards
        present = {shard: await dictionaries.present(shard) for shard in shards}
        last = max(shards, key=lambda shard: present[shard].articles)
        trained_at = present[last].articles
        count = await self._store.recompression.count()
        if count >= max(SAMPLES, AGAIN_AT * trained_at, RETRY_AT * self._tried_at):
            await self._train_from(count)
        elif any(each.newest != present[last].newest for each in present.values()):
            newest = await dictionaries.newest(last)
            if newest:
                await dictionaries.add(newest.content, articles=trained_at)

    async def _train_from(self, count: int) -> None:
        started = time.monotonic()
        samples = await self._store.recompression.sample(SAMPLES)
        content = await asyncio.to_thread(trained, samples)
        if content is None:
            self._tried_at = count
            return
        dictionary = await self._store.dictionaries.add(content, articles=count)
        extra = {
            "dictionary": dictionary.id, "bytes": len(content), "samples": len(samples),
            "ms": round((time.monotonic() - started) * 1000),
        }  # fmt: skip
        logger.info("articles are compressed with a new dictionary", extra=extra)

    async def _sweep(self, lease: Lease, stop: asyncio.Event) -> None:
        """Compress what is not compressed with the newest dictionary."""
        due: dict[int, Dictionary] = {}
        for shard in self._store.event_stream.shards:
            newest = await self._store.dictionaries.newest(shard)
            if newest and (await self._store.dictionaries.present(shard)).swept != newest.id:
                due[shard] = newest
        if not due:
            return
        held: Lease | None = lease
        total = 0
        started = time.monotonic()
        async for count in self._store.recompression.sweep(due):
            total += count
            held = await self._lease(held)
            if held is None or stop.is_set():
                return
            await process.sleep(stop, REST * (time.monotonic() - started))
            started = time.monotonic()
        for shard, dictionary in due.items():
            await self._store.dictionaries.note_swept(shard, dictionary)
        logger.info("older articles are compressed anew", extra={"articles": total})
