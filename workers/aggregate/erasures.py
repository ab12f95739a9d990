"""The second pass over erased articles, after every process has dropped what it had in memory.

When an article is erased, a server may be rendering a page with it, and a receiver may be about to
answer with what it was sent: both end up in Redis after the first pass.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from service.manage import erasure
from service.settings import Settings
from service.storage.store import Store
from workers.runtime import Clock

logger = logging.getLogger(__name__)

# Besides the time that a receiver has to answer: longer than any page takes to be rendered.
AFTER = timedelta(seconds=30)


class SecondPass:
    """Repeats erasures that were ordered a while ago, which completes those that were cut."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._after = AFTER + timedelta(seconds=settings.webhook_timeout_s)
        self._now = now

    async def run(self) -> None:
        """Finish the orders that are due."""
        now = self._now()
        count = await erasure.finish(self._store, now=now, before=now - self._after)
        if count:
            logger.info("erased for the second time", extra={"articles": count})
