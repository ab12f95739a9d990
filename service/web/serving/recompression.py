"""Recompression: pages of past periods get the best compression when a server has nothing to do.

    every EVERY_S: quiet? → a settled page → best level, in a slow thread → the next answer has it

A page is served at the quick level first, and never waits for this. One page at a time is
compressed, in a thread that yields to every other. The content stays the same and so do its
validators: a client or cache that has the page in either form has the present one, and no bytes of
the two are ever joined, because ranges are not served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, tzinfo
from functools import partial

from service.feeds.page import Page
from service.process import sleep
from service.web.serving.codings import best
from service.web.serving.held_page import Held, Key
from service.web.serving.page_cache import PageCache

logger = logging.getLogger(__name__)

EVERY_S = 5.0
# More requests than this in EVERY_S: the server is busy.
MAX_REQUESTS = 250
# What changes at all usually changes sooner after it was read.
SETTLED_S = 60.0
# Longer bodies would take seconds.
MAX_BYTES = 1_000_000
_LOWEST_PRIORITY = 19


class Recompression:
    """Compresses the pages of a cache again, one after another."""

    def __init__(self, cache: PageCache, *, zone: tzinfo, now: Callable[[], datetime]) -> None:
        self._cache = cache
        self._zone = zone
        self._now = now
        self._requests = 0
        """Requests that the cache had answered at the last look."""

    async def run(self, stop: asyncio.Event) -> None:
        """Compress until stopped; what is being compressed then is dropped."""
        executor = ThreadPoolExecutor(1, "recompress", initializer=_yield_to_others)
        try:
            while not stop.is_set():
                await sleep(stop, EVERY_S)
                held = self._next_page() if self._is_quiet() else None
                if held is not None and not stop.is_set():
                    await self._compress(held, executor, stop)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _is_quiet(self) -> bool:
        requests = self._cache.hits + self._cache.misses
        before, self._requests = self._requests, requests
        return requests - before <= MAX_REQUESTS

    def _next_page(self) -> Held | None:
        """A page of a past period that has not changed for a while, and was compressed quickly."""
        loaded_before = time.monotonic() - SETTLED_S
        return self._cache.find(
            lambda key, held: (
                held.loaded_at <= loaded_before
                and bool(held.prepared.quick_codings)
                and len(held.prepared.body) <= MAX_BYTES
                and self._is_past(key)
            )
        )

    def _is_past(self, key: Key) -> bool:
        page, _ = key
        if not isinstance(page, Page) or page.period.is_live or not page.is_shared:
            return False
        _, end = page.period.bounds(self._zone)
        return end <= self._now()

    async def _compress(
        self, held: Held, executor: ThreadPoolExecutor, stop: asyncio.Event
    ) -> None:
        loop, prepared = asyncio.get_running_loop(), held.prepared
        for coding in prepared.quick_codings:
            compress = partial(best, coding, prepared.body, is_cancelled=stop.is_set)
            try:
                coded = await loop.run_in_executor(executor, compress)
            except Exception:
                # It is served as it is, and not tried again.
                logger.exception("a page cannot be compressed again")
                coded = prepared.body
            if coded is None:
                return
            prepared.replace(coding, coded)
        self._cache.forget_answers(held)


def _yield_to_others() -> None:
    """Give this thread the lowest priority; on Linux each thread has its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
