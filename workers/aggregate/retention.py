"""Retention: passes over the archive that remove what its policy does not keep.

One worker at a time does a pass, under a lease. A pass that is cut has removed some articles, each
wholly, and the next one starts anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from service import process
from service.articles import times
from service.feeds.index_step import IndexStep
from service.manage import retention
from service.manage.retention import Expired
from service.settings import Settings
from service.storage.faults import each_alone
from service.storage.removals import Pass
from service.storage.store import Store
from workers.aggregate.view_index import Publish, ViewIndex
from workers.runtime import Clock

logger = logging.getLogger(__name__)

LEASE = "retention"
LEASE_MS = 30_000
PASS_EVERY = timedelta(hours=1)
# After each chunk, the pass rests for as long as the chunk took: it must not slow the indexing.
REST = 1.0


class Retention:
    """The passes of one aggregate worker."""

    def __init__(
        self, store: Store, settings: Settings, views: ViewIndex, *, token: str, now: Clock
    ) -> None:
        self._store = store
        self._policy = settings.retention
        self._zone = settings.timezone
        self._views = views
        self._token = token
        self._now = now

    async def run(self, publish: Publish, stop: asyncio.Event) -> None:
        """Do a pass if one is due and no other worker does it; `publish` gets the changed pages."""
        if not self._policy.rules or not await self._is_due():
            return
        lease = await self._store.leases.take(LEASE, token=self._token, ttl_ms=LEASE_MS)
        if lease is None or not await self._is_due():
            return
        now = self._now()
        removed = examined = 0
        async for chunk in retention.expired(self._store, self._policy, now=now):
            started = time.monotonic()
            removed += await self._remove(chunk.expired, publish, now)
            examined += chunk.examined
            lease = await self._store.leases.take(
                LEASE, token=self._token, ttl_ms=LEASE_MS, held=lease
            )
            if lease is None or stop.is_set():
                return
            await process.sleep(stop, REST * (time.monotonic() - started))
        await self._end(removed, examined)
        if lease:
            await self._store.leases.give_up(lease)

    async def _remove(self, expired: Sequence[Expired], publish: Publish, now: datetime) -> int:
        """Remove articles and announce their pages; one that cannot be removed costs only itself.

        Returns:
            The number of articles removed.
        """
        steps: list[IndexStep] = []
        await self._views.load()

        async def work(some: Sequence[Expired]) -> None:
            steps.extend(
                await retention.remove(
                    self._store, some, now=now, zone=self._zone, all_views=self._views.paths
                )
            )

        async def fail(each: Expired, exc: Exception) -> None:
            await self._store.faults.report("article", each.article.id, exc, now=now)

        if expired:
            await each_alone(expired, work, fail)
        await publish({(c.category, p) for s in steps for c in s.changes for p in c.periods})
        if steps:
            await self._store.count({"articles_removed": len(steps)})
        return len(steps)

    async def _is_due(self) -> bool:
        last = await self._store.removals.last_pass()
        if last is None or last.policy != str(self._policy):
            return True
        return self._now() - times.from_rfc3339(last.ended) >= PASS_EVERY

    async def _end(self, removed: int, examined: int) -> None:
        done = Pass(
            ended=times.to_rfc3339(self._now()), policy=str(self._policy), removed=removed,
            examined=examined,
        )  # fmt: skip
        await self._store.removals.note_pass(done)
        extra = {"removed": removed, "examined": examined, "policy": done.policy}
        logger.info("retention has looked at every article", extra=extra)
