"""The page cache of a server process: prepared pages, limited in bytes, renewed when they change.

A request for a hot page is one look-up in `hot`, by the raw path of the request. A page that is not
hot, or was not confirmed for RECHECK_S, goes through `get`: one load for all requests that wait,
and the cached page if Redis is unavailable. A feed of which no change is known is confirmed by
`follow`, together with all others. When a change of a page is announced and clients have
requested the page, it is loaded again at once, the most requested pages first; the old version is
served until the new one is loaded, for LAG_S at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Container, Sequence
from functools import partial

from cachetools import TTLCache

from service.errors import DatelineError, NotFound, TooManyReads, Unavailable
from service.feeds.page import ArticlePage, Page, Period, days_among
from service.storage.client import redis_errors_as_unavailable
from service.storage.rendered_pages import Change
from service.web.serving.costly_reads import Client
from service.web.serving.held_page import Held, Key, Load
from service.web.serving.request_cache import Hot, RequestCache
from service.web.serving.response import PreparedPage

logger = logging.getLogger(__name__)

LAG_S = 1.0
RECHECK_BUDGET_S = 1.0
CLOSE_S = 1.0
MAX_RENEWALS = 2
"""Concurrent renewals. After each, its slot rests for PAUSE times the time that it took: in a burst
of changes to many pages, requests have precedence over renewals."""
PAUSE = 4
FAILED_S, MAX_FAILED = 2.0, 1_000
"""A page that could not be rendered is rendered again after FAILED_S."""

MAX_READS = 10_000


class PageCache:
    """The pages of a server process; over `max_bytes`, the least recently loaded are removed."""

    def __init__(self, load: Load, *, max_bytes: int, recheck_s: float) -> None:
        self._load = load
        self._max_bytes = max_bytes
        self._recheck_s = recheck_s
        self._bytes = 0
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._categories: Counter[str] = Counter()
        """Category or view → its pages in `_held`."""
        self._loading: dict[Key, asyncio.Task[Held]] = {}
        self._hot: dict[str, Hot] = {}
        self._reads: set[Key] = set()
        # Pages whose change was announced during their load, which may have read the old version.
        self._doubtful: set[Key] = set()
        self._failed: TTLCache[Key, Exception] = TTLCache(MAX_FAILED, FAILED_S)
        """Recent failures: each attempt takes as long as rendering the page."""
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
        """The page of this path if it was confirmed in the last RECHECK_S seconds, else None."""
        hot = self._hot.get(raw_path)
        if hot is None or hot.until < time.monotonic():
            return None
        hot.uses += 1
        self._looked_up += 1
        return hot

    def holds(self, category: str) -> bool:
        """Whether any page of a category or view is cached, in any format."""
        return category in self._categories

    def find(self, is_wanted: Callable[[Key, Held], bool]) -> Held | None:
        """The first cached page that is wanted, least recently loaded first."""
        return next((held for key, held in self._held.items() if is_wanted(key, held)), None)

    def forget_answers(self, held: Held) -> None:
        """Parse the next requests for a page again, because its answers were replaced."""
        self.repeated.forget(held.hot)

    async def get(
        self, page: Page | ArticlePage, extension: str, *, hot_path: str, client: Client = None
    ) -> PreparedPage:
        """Load or confirm a page. Raises what the load raises if the page is not cached.

        Args:
            hot_path: raw path under which the page becomes hot; empty if it must not.
            client: whose costly read it is, if the page must be rendered.
        """
        key = (page, extension)
        self.misses += 1
        if page.is_shared and len(self._reads) < MAX_READS:
            self._reads.add(key)
        cached = self._held.get(key)
        try:
            if failure := self._failed.get(key):
                raise failure.with_traceback(None)
            # If Redis stalls, a client gets the cached page instead of waiting.
            async with asyncio.timeout(RECHECK_BUDGET_S if cached else None):
                cached = await self._load_once(key, cached, client)
        except TimeoutError:
            if cached is None:
                raise
            self.stale += 1
        except Unavailable as exc:
            if cached is None:
                raise
            # As stale-if-error: an old page is better than an error.
            self.stale += 1
            logger.warning("serving the cached page", extra={"page": str(page), "reason": str(exc)})
        except DatelineError:
            raise
        except Exception:
            # The load has reported this fault.
            if cached is None:
                raise
            self.stale += 1
        self._keep_hot(key, cached, hot_path)
        return cached.prepared

    async def _load_once(self, key: Key, cached: Held | None, client: Client) -> Held:
        """Load a page once for all requests that wait for it; the load continues if they end."""
        while True:
            loading = self._loading.get(key)
            if loading is None:
                self._doubtful.discard(key)
                loop = asyncio.get_running_loop()
                loading = loop.create_task(self._load_now(key, cached, client))
                self._loading[key] = loading
                loading.add_done_callback(partial(self._loaded, key))
            try:
                return await asyncio.shield(loading)
            except TooManyReads as exc:
                if exc.client == client:
                    raise
                # The client whose request began the load has too many; this one begins its own.

    async def _load_now(self, key: Key, cached: Held | None, client: Client) -> Held:
        try:
            with redis_errors_as_unavailable():
                loaded = await self._load(*key, cached, client)
        except asyncio.CancelledError as exc:
            raise Unavailable("the server is ending") from exc
        except NotFound:
            # What was withdrawn or removed must not be kept, nor be served while Redis is away.
            self._drop(key)
            raise
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

    def _put(self, key: Key, cached: Held) -> None:
        before = self._held.pop(key, None)
        path = before.path if before else ""
        if before is None:
            self._categories[key[0].category] += 1
        else:
            self._bytes -= before.size
            if before is not cached:
                self._forget(before)
                # A page that is not requested any more is renewed a few times, then no more.
                cached.hot.uses = before.hot.uses // 2
        self._held[key] = cached
        cached.is_current = cached.links is not None and key not in self._doubtful
        cached.size = cached.prepared.size
        self._bytes += cached.size
        # A hot page stays hot, with the new bytes.
        self._keep_hot(key, cached, path)
        self._evict()

    def _evict(self) -> None:
        """Remove the pages that were loaded first, until the others fit. A page that was requested
        while it was hot stays for another round, with half of its uses: pages that are read once
        must not displace those that are read always."""
        while self._bytes > self._max_bytes and len(self._held) > 1:
            key, oldest = next(iter(self._held.items()))
            if oldest.hot.uses:
                oldest.hot.uses //= 2
                self._held.move_to_end(key)
            else:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        cached = self._held.pop(key, None)
        if cached is None:
            return
        self._bytes -= cached.size
        self._forget(cached)
        category = key[0].category
        self._categories[category] -= 1
        if not self._categories[category]:
            del self._categories[category]

    def _keep_hot(self, key: Key, cached: Held, path: str) -> None:
        is_doubtful = key in self._doubtful
        if not path or self._held.get(key) is not cached:
            return
        if is_doubtful and key not in self._renewing:
            return
        cached.path = path
        cached.hot.until = time.monotonic() + (LAG_S if is_doubtful else self._recheck_s)
        self._hot[path] = cached.hot

    def _forget(self, cached: Held) -> None:
        if self._hot.get(cached.path) is cached.hot:
            del self._hot[cached.path]
        self.repeated.forget(cached.hot)

    def _forget_key(self, key: Key) -> None:
        if cached := self._held.get(key):
            self._forget(cached)

    def changed(self, changes: Sequence[Change], extensions: Container[str]) -> None:
        """Renew or drop the pages of these (category, period), whose articles have changed.

        An HTML page shows more than its period (the calendar): all those of a category are dropped.
        """
        categories = {category for category, _ in changes}
        periods = set(changes)

        def is_touched(key: Key) -> bool:
            page, extension = key
            if extension in extensions and isinstance(page, Page) and page.is_shared:
                return (page.category, str(page.period)) in periods
            return page.category in categories

        self._doubtful.update(filter(is_touched, self._loading))
        touched = [(self._held[key].hot.uses, key) for key in filter(is_touched, self._held)]
        for uses, key in sorted(touched, key=lambda pair: pair[0], reverse=True):
            if not uses:
                self._forget(self._held[key])
            elif key[1] in extensions and not (isinstance(key[0], Page) and key[0].query):
                self._renew(key)
            else:
                # HTML takes tens of milliseconds to render, and strangers can make up any number
                # of selections: these are loaded by their next request.
                self._let_lag(self._held[key])

    def _renew(self, key: Key) -> None:
        """Load a requested page in the background, and serve the old version meanwhile."""
        self._let_lag(self._held[key])
        if key in self._renewing:
            # That renewal will notice that it may have read the old version, and load again.
            self._doubtful.add(key)
            return
        task = asyncio.get_running_loop().create_task(self._renewed(key))
        self._renewing[key] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _let_lag(self, cached: Held) -> None:
        cached.is_current = False
        cached.hot.until = min(cached.hot.until, time.monotonic() + LAG_S)

    async def _renewed(self, key: Key) -> None:
        try:
            while key in self._held:
                async with self._renewals:
                    start = time.monotonic()
                    await self._load_once(key, self._held.get(key), None)
                    is_done = key not in self._doubtful
                    if is_done:
                        # From here on, a change starts another renewal.
                        self._renewing.pop(key, None)
                    await asyncio.sleep(PAUSE * (time.monotonic() - start))
                if is_done:
                    return
        except Unavailable as exc:
            logger.warning("not renewed", extra={"page": str(key[0]), "reason": str(exc)})
            self._forget_key(key)
        except Exception:  # The next request gets the same error, and answers it.
            logger.exception("not renewed", extra={"page": str(key[0])})
            self._forget_key(key)
        finally:
            if self._renewing.get(key) is asyncio.current_task():
                del self._renewing[key]

    def follow(self, changes: Collection[Change], *, today: Period, until: float) -> None:
        """Confirm the feeds that these changes do not concern, without a look at each in Redis; the
        others are confirmed by their next request.

        Args:
            changes: all since the last call.
            until: how long feeds are confirmed (monotonic).
        """
        periods: dict[str, set[str]] = {}
        for category, period in changes:
            periods.setdefault(category, set()).add(period)
        days = {category: days_among(names) for category, names in periods.items()}
        self._doubtful.update(key for key in self._loading if key[0].category in periods)
        for (page, _), cached in self._held.items():
            if not cached.is_current or cached.links is None or not isinstance(page, Page):
                continue
            names = periods.get(page.category)
            if names and (
                str(page.period) in names
                or any(
                    cached.links.may_change_with(page, day, today=today)
                    for day in days[page.category]
                )
            ):
                cached.is_current = False
            else:
                cached.hot.until = max(cached.hot.until, until)

    def follow_anew(self) -> None:
        """Confirm every feed before it is followed again: changes may have been missed."""
        self._doubtful.update(self._loading)
        for cached in self._held.values():
            cached.is_current = False

    def forget_all(self) -> None:
        """Confirm every page before it is served again: messages may have been lost."""
        self._hot.clear()
        self.repeated.forget_all()

    def drop_all(self) -> None:
        """Drop every page: some may show the text of an article that was erased."""
        self.forget_all()
        self._held.clear()
        self._categories.clear()
        self._bytes = 0
        # A load that began before may still bring the text: its page is loaded again.
        self._doubtful.update(self._loading)

    async def close(self) -> None:
        """Cancel the loads and renewals in the background, and wait until they have ended, for
        CLOSE_S at most: asyncio would report what a load raises later as an unhandled exception."""
        tasks = [*self._tasks, *self._loading.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    def take_reads(self) -> set[Key]:
        """Shared pages that were requested through `get` since the last call, and their formats; at
        most MAX_READS, because nobody may take them while Redis is away."""
        reads, self._reads = self._reads, set()
        return reads
