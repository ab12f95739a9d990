"""Readiness: whether this server can read and write, checked at most once a second.

If Redis stalls, loads its file, is full, or is a replica, the server is not ready: posted articles
could not be stored. While `dateline layout move` copies the archive it is: nobody else takes them,
and pages are served on. `/readyz` always answers within twice BUDGET_S.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.errors import Unavailable
from service.storage.client import redis_errors_as_unavailable
from service.storage.store import Store
from service.storage.write_stop import WriteStop

BUDGET_S = 1.5
FRESH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of one check, which `/readyz` answers with."""

    is_ready: bool
    reason: str = ""
    """Why it is not ready; empty if it is."""
    details: dict[str, Any] = field(default_factory=dict)
    """Consumer groups, number of dead events, kind of fault → number; None for one that cannot be
    read, empty if not ready."""


class Readiness:
    """Checks this process, once for all requests within a second."""

    def __init__(self, store: Store, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._lock = asyncio.Lock()
        self._report = Report(is_ready=False)
        self._until = 0.0

    async def report(self) -> Report:
        """Return a report that is at most one second old."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._report = await self._check()
                self._until = time.monotonic() + FRESH_S
            return self._report

    async def _check(self) -> Report:
        try:
            async with asyncio.timeout(BUDGET_S):
                with redis_errors_as_unavailable():
                    await self._store.check_writable()
                    return Report(is_ready=True, details=await self._details())
        except TimeoutError:
            return Report(is_ready=False, reason=f"Redis did not answer within {BUDGET_S} s")
        except Unavailable as exc:
            if await self._is_moving():
                return Report(is_ready=True, details={"writes": "refused while the archive moves"})
            return Report(is_ready=False, reason=str(exc))

    async def _is_moving(self) -> bool:
        """Whether writes are refused because the archive is copied: pages can be read."""
        try:
            async with asyncio.timeout(BUDGET_S):
                with redis_errors_as_unavailable():
                    return bool(await WriteStop(self._store.client).noted())
        except (TimeoutError, Unavailable):
            return False

    async def _details(self) -> dict[str, Any]:
        details: dict[str, Any] = {}
        for name, read in (
            ("groups", self._store.event_stream.backlogs),
            ("dead_events", self._store.dead_events.count),
            ("faults", self._kinds_of_faults),
        ):
            details[name] = await self._store.faults.isolate(
                "loop", f"readiness {name}", read, now=self._now()
            )
        return details

    async def _kinds_of_faults(self) -> dict[str, int]:
        # Names and reasons are for the operator alone: `dateline faults` shows them.
        kinds = Counter(fault.kind for fault in await self._store.faults.all(now=self._now()))
        return dict(sorted(kinds.items()))
