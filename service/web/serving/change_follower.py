"""Confirms the feeds that a server holds: once in a while it reads which pages have changed since.

An announcement that is lost, or that a killed worker never sent, is found here, because the scripts
that change pages note it with the change. What cannot be read is confirmed page by page, by the
next request after RECHECK_S.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from service.errors import Unavailable
from service.feeds.page import Period
from service.process import sleep
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.page_changes import PageChanges
from service.web.serving.page_cache import PageCache

LOOKS = 2
"""In the time in which a page has to be confirmed."""


class ChangeFollower:
    """Follows the changes of pages for one page cache."""

    def __init__(
        self,
        changes: PageChanges,
        cache: PageCache,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        report: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._changes = changes
        self._cache = cache
        self._zone = settings.timezone
        self._recheck_s = settings.recheck_s
        self._now = now
        self._report = report
        self._ends: dict[int, str] = {}
        self._today = Period()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop` is set. What fails is reported, and tried again at the next look."""
        while not stop.is_set():
            try:
                with redis_errors_as_unavailable():
                    await self._look()
            except Unavailable:
                pass
            except Exception as exc:  # noqa: BLE001 -- reported; pages are confirmed one by one
                await self._report(exc)
            await sleep(stop, self._recheck_s / LOOKS)

    async def _look(self) -> None:
        begun = time.monotonic()
        today = Period.of(self._now(), self._zone)
        self._ends, changes = await self._changes.after(self._ends)
        # With a new day, yesterday becomes an archive document.
        if changes is None or today != self._today:
            self._cache.follow_anew()
        else:
            self._cache.follow(changes, today=today, until=begun + self._recheck_s)
        self._today = today
