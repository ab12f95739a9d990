"""The pages that a server holds: ready-made, bounded in bytes, told when they change.

A hot request is one look-up in `hot`, by the path as it came. What is not there, was announced as
changed, or was not confirmed for RECHECK_S, goes through `get`: one load for all who wait, and if
Redis is gone, what is held.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from service.errors import Unavailable
from service.pages import Page
from service.storage.connecting import translated
from service.storage.pages import Change
from service.web.ready import Document

logger = logging.getLogger(__name__)

Key = tuple[Page, str]
"""A page and its extension; `html` for people."""


@dataclass(slots=True, kw_only=True)
class Held:
    """A page as it is held."""

    document: Document
    version: str
    paths: set[str] = field(default_factory=set)
    """Raw request paths under which it is in `hot`."""


Load = Callable[[Page, str, Held | None], Awaitable[Held]]
"""Gives the page as it is now: the one passed in, if that is still right.

Raises Unavailable if Redis is gone.
"""


class PageCache:
    """Least recently used pages go first."""

    def __init__(self, load: Load, *, max_bytes: int, recheck_s: float) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._recheck_s = recheck_s
        self._bytes = 0
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._loading: dict[Key, asyncio.Future[Held]] = {}
        self._hot: dict[str, tuple[Document, float]] = {}
        self._asked: set[Key] = set()
        # Being loaded while their change was announced: the load may have read too early.
        self._doubtful: set[Key] = set()
        self.hits = 0
        self.misses = 0
        self.stale = 0

    def hot(self, raw_path: str) -> Document | None:
        """What this path shows, if that was confirmed lately."""
        found = self._hot.get(raw_path)
        if found is None or found[1] < time.monotonic():
            return None
        self.hits += 1
        return found[0]

    async def get(self, page: Page, extension: str, *, hot_path: str) -> Document:
        """The page, loaded or confirmed. Raises what the load raises, if nothing is held.

        Args:
            hot_path: raw path to find it by from now on; empty for none.
        """
        key = (page, extension)
        self.misses += 1
        self._asked.add(key)
        held = self._held.get(key)
        try:
            held = await self._load_once(key, held)
        except Unavailable as exc:
            if held is None:
                raise
            # stale-if-error: old news beats none.
            self.stale += 1
            logger.warning("serving what is held", extra={"page": str(page), "reason": str(exc)})
        self._keep_hot(key, held, hot_path)
        return held.document

    async def _load_once(self, key: Key, held: Held | None) -> Held:
        """One load for all that wait for it."""
        if loading := self._loading.get(key):
            return await asyncio.shield(loading)
        future = self._loading[key] = asyncio.get_running_loop().create_future()
        self._doubtful.discard(key)
        try:
            with translated():
                loaded = await self._load(*key, held)
        except BaseException as exc:
            # Those who wait get a reason of their own even if this request was cancelled.
            failed = exc if isinstance(exc, Exception) else Unavailable("the load was cancelled")
            future.set_exception(failed)
            future.exception()  # not "never retrieved" when nobody waited
            raise
        else:
            self._put(key, loaded)
            future.set_result(loaded)
            return loaded
        finally:
            del self._loading[key]

    def _put(self, key: Key, held: Held) -> None:
        before = self._held.pop(key, None)
        if before is not None:
            self._bytes -= before.document.size
            if before is not held:
                self._forget(before)
        self._held[key] = held
        self._bytes += held.document.size
        while self._bytes > self._max_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.document.size
            self._forget(oldest)

    def _keep_hot(self, key: Key, held: Held, path: str) -> None:
        if not path or key in self._doubtful or self._held.get(key) is not held:
            return
        held.paths.add(path)
        self._hot[path] = held.document, time.monotonic() + self._recheck_s

    def _forget(self, held: Held) -> None:
        for path in held.paths:
            self._hot.pop(path, None)

    def changed(self, changes: list[Change], extensions: tuple[str, ...]) -> None:
        """Pages of these (category, period) are to be confirmed before they are served again.

        A page for people shows more than its period (the calendar), so all of a category's go.
        """
        categories = {category for category, _ in changes}
        periods = set(changes)

        def is_touched(key: Key) -> bool:
            page, extension = key
            if extension in extensions:
                return (page.category, str(page.period)) in periods
            return page.category in categories

        self._doubtful.update(filter(is_touched, self._loading))
        for key in filter(is_touched, self._held):
            self._forget(self._held[key])

    def forget_all(self) -> None:
        """Confirm everything before it is served again: messages may have been lost."""
        self._hot.clear()

    def take_asked(self) -> set[Key]:
        """What was asked for since the last call, other than from `hot`."""
        asked, self._asked = self._asked, set()
        return asked
