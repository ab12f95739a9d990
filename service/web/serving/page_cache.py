"""The pages that a server holds: ready-made, bounded in bytes, told when they change.

A hot request is one look-up in `hot`, by the path as it came. What is not there, or was not
confirmed for RECHECK_S, goes through `get`: one load for all who wait, and if Redis is gone, what
is held. A page that was announced as changed is loaded anew at once if somebody reads it, the most
read first, and the old one is served until the new one is there, for LAG_S at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass, field
from functools import partial

from cachetools import TTLCache

from service.errors import DatelineError, Unavailable
from service.feeds.page import Page
from service.storage.client import redis_errors_as_unavailable
from service.storage.rendered_pages import Change, Rendered
from service.web.serving.request_cache import Hot, RequestCache
from service.web.serving.response import PreparedPage

logger = logging.getLogger(__name__)

LAG_S = 1.0
RECHECK_BUDGET_S = 1.0
MAX_RENEWALS = 2
"""At once. After each, its slot rests for PAUSE times as long as it took: in a burst on many pages,
those who read go before what comes."""
PAUSE = 4
FAILED_S, MAX_FAILED = 2.0, 1_000
"""A page that could not be rendered is tried again after FAILED_S."""

Key = tuple[Page, str]
"""A page and its extension; `html` for people."""


@dataclass(slots=True, kw_only=True)
class Held:
    """A page as it is held."""

    document: PreparedPage
    version: str
    rendered: Rendered | None = None
    """Of a page that is not shared, for the differences to its next version."""
    hot: Hot = field(init=False)
    path: str = ""
    """Raw request path under which it is in `hot`; empty if it is not."""

    def __post_init__(self) -> None:
        self.hot = Hot(self.document)


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
        self._loading: dict[Key, asyncio.Task[Held]] = {}
        self._hot: dict[str, Hot] = {}
        self._reads: set[Key] = set()
        # Being loaded while their change was announced: the load may have read too early.
        self._doubtful: set[Key] = set()
        self._failed: TTLCache[Key, Exception] = TTLCache(MAX_FAILED, FAILED_S)
        """Pages that could not be rendered lately: each try takes as long as a page."""
        self._renewing: dict[Key, asyncio.Task[None]] = {}
        self._renewals = asyncio.Semaphore(MAX_RENEWALS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.repeated = RequestCache()
        self.misses = 0
        self.stale = 0
        self._looked_up = 0

    @property
    def hits(self) -> int:
        """Requests that were answered by one look-up."""
        return self._looked_up + self.repeated.hits

    def hot(self, raw_path: str) -> Hot | None:
        """What this path shows, if that was confirmed lately."""
        found = self._hot.get(raw_path)
        if found is None or found.until < time.monotonic():
            return None
        found.uses += 1
        self._looked_up += 1
        return found

    async def get(self, page: Page, extension: str, *, hot_path: str) -> PreparedPage:
        """The page, loaded or confirmed. Raises what the load raises, if nothing is held.

        Args:
            hot_path: raw path to find it by from now on; empty for none.
        """
        key = (page, extension)
        self.misses += 1
        self._reads.add(key)
        held = self._held.get(key)
        try:
            if failure := self._failed.get(key):
                raise failure.with_traceback(None)
            # A Redis that stalls does not keep a client waiting that can have the page as it is.
            async with asyncio.timeout(RECHECK_BUDGET_S if held else None):
                held = await self._load_once(key, held)
        except TimeoutError:
            if held is None:
                raise
            self.stale += 1
        except Unavailable as exc:
            if held is None:
                raise
            # stale-if-error: old news beats none.
            self.stale += 1
            logger.warning("serving what is held", extra={"page": str(page), "reason": str(exc)})
        except DatelineError:
            raise
        except Exception:
            # The load has reported it.
            if held is None:
                raise
            self.stale += 1
        self._keep_hot(key, held, hot_path)
        return held.document

    async def _load_once(self, key: Key, held: Held | None) -> Held:
        """One load for all that wait for it; it goes on if they leave."""
        loading = self._loading.get(key)
        if loading is None:
            self._doubtful.discard(key)
            loading = asyncio.get_running_loop().create_task(self._load_now(key, held))
            self._loading[key] = loading
            loading.add_done_callback(partial(self._loaded, key))
        return await asyncio.shield(loading)

    async def _load_now(self, key: Key, held: Held | None) -> Held:
        try:
            with redis_errors_as_unavailable():
                loaded = await self._load(*key, held)
        except asyncio.CancelledError as exc:
            raise Unavailable("the server is ending") from exc
        except DatelineError:
            raise
        except Exception as exc:
            self._failed[key] = exc
            raise
        self._put(key, loaded)
        return loaded

    def _loaded(self, key: Key, loading: asyncio.Task[Held]) -> None:
        del self._loading[key]
        if not loading.cancelled():
            loading.exception()  # not "never retrieved" when nobody waited

    def _put(self, key: Key, held: Held) -> None:
        before = self._held.pop(key, None)
        path = before.path if before else ""
        if before is not None:
            self._bytes -= before.document.size
            if before is not held:
                self._forget(before)
                # What nobody reads any more is renewed a few times, then no more.
                held.hot.uses = before.hot.uses // 2
        self._held[key] = held
        self._bytes += held.document.size
        # What was hot stays it, with the new bytes.
        self._keep_hot(key, held, path)
        while self._bytes > self._max_bytes and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= oldest.document.size
            self._forget(oldest)

    def _keep_hot(self, key: Key, held: Held, path: str) -> None:
        is_doubtful = key in self._doubtful
        if not path or self._held.get(key) is not held:
            return
        if is_doubtful and key not in self._renewing:
            return
        held.path = path
        held.hot.until = time.monotonic() + (LAG_S if is_doubtful else self._recheck_s)
        self._hot[path] = held.hot

    def _forget(self, held: Held) -> None:
        if self._hot.get(held.path) is held.hot:
            del self._hot[held.path]
        self.repeated.forget(held.hot)

    def _forget_key(self, key: Key) -> None:
        if held := self._held.get(key):
            self._forget(held)

    def changed(self, changes: list[Change], extensions: Container[str]) -> None:
        """Pages of these (category, period) show something else from now on.

        A page for people shows more than its period (the calendar), so all of a category's go.
        """
        categories = {category for category, _ in changes}
        periods = set(changes)

        def is_touched(key: Key) -> bool:
            page, extension = key
            if extension in extensions and page.is_shared:
                return (page.category, str(page.period)) in periods
            return page.category in categories

        self._doubtful.update(filter(is_touched, self._loading))
        touched = [(self._held[key].hot.uses, key) for key in filter(is_touched, self._held)]
        for uses, key in sorted(touched, key=lambda pair: pair[0], reverse=True):
            if not uses:
                self._forget(self._held[key])
            elif key[1] in extensions:
                self._renew(key)
            else:
                # Templates take tens of milliseconds: they wait for somebody to ask.
                self._let_lag(self._held[key].hot)

    def _renew(self, key: Key) -> None:
        """Load a page that is read, and serve the old one meanwhile."""
        self._let_lag(self._held[key].hot)
        if key in self._renewing:
            # It will see that the load under way was too early.
            self._doubtful.add(key)
            return
        task = asyncio.get_running_loop().create_task(self._renewed(key))
        self._renewing[key] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _let_lag(self, hot: Hot) -> None:
        hot.until = min(hot.until, time.monotonic() + LAG_S)

    async def _renewed(self, key: Key) -> None:
        try:
            while key in self._held:
                async with self._renewals:
                    start = time.monotonic()
                    await self._load_once(key, self._held.get(key))
                    is_done = key not in self._doubtful
                    if is_done:
                        # From here on, a change starts another.
                        self._renewing.pop(key, None)
                    await asyncio.sleep(PAUSE * (time.monotonic() - start))
                if is_done:
                    return
        except Unavailable as exc:
            logger.warning("not renewed", extra={"page": str(key[0]), "reason": str(exc)})
            self._forget_key(key)
        except Exception:  # The next request meets it, too, and answers for it.
            logger.exception("not renewed", extra={"page": str(key[0])})
            self._forget_key(key)
        finally:
            if self._renewing.get(key) is asyncio.current_task():
                del self._renewing[key]

    def forget_all(self) -> None:
        """Confirm everything before it is served again: messages may have been lost."""
        self._hot.clear()
        self.repeated.forget_all()

    def close(self) -> None:
        """End what goes on in the background."""
        for task in [*self._tasks, *self._loading.values()]:
            task.cancel()

    def take_reads(self) -> set[Key]:
        """Pages requested since the last call, other than from `hot`; the next call starts anew."""
        reads, self._reads = self._reads, set()
        return reads
