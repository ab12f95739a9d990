"""The pages that a server holds: one load for all, old ones while Redis is away, bounded."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from service.errors import Gone, TooManyReads, Unavailable
from service.feeds.formats import FORMATS
from service.feeds.page import ArticlePage, Page, Period
from service.web.serving import page_cache
from service.web.serving.held_page import Held
from service.web.serving.page_cache import PageCache
from service.web.serving.response import PreparedPage
from tests.waiting import wait_until, within

PAGE = Page("news")


class Loads:
    """A load whose answers a test decides."""

    def __init__(self) -> None:
        self.version = "1"
        self.count = 0
        self.error: Exception | None = None
        self.refused_client = ""
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(
        self, page: Page | ArticlePage, extension: str, cached: Held | None, client: str | None
    ) -> Held:
        """The page as it is now."""
        version = self.version
        self.count += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        if client and client == self.refused_client:
            raise TooManyReads(client, most=1, retry_after_s=1)
        if cached and cached.version == version:
            return cached
        body = f"{page}.{extension} {version} ".encode() + b"x" * 900
        return Held(prepared=PreparedPage(body, headers={}), version=version)


@pytest.fixture
def loads() -> Loads:
    """A load whose answers the test decides."""
    return Loads()


@pytest.fixture
def cache(loads: Loads) -> PageCache:
    """A cache on it, with room for a few pages."""
    return PageCache(loads, max_bytes=30_000, recheck_s=60)


async def begun(loads: Loads, count: int = 1) -> None:
    """Wait until so many loads have begun."""

    async def enough() -> bool:
        return loads.count >= count

    await wait_until(enough)


async def get(cache: PageCache, page: Page = PAGE, extension: str = "rss") -> PreparedPage:
    """The page, as a request would."""
    path = page.feed_path(extension)
    hot = cache.hot(path)
    return hot.prepared if hot else await cache.get(page, extension, hot_path=path)


async def test_a_page_is_loaded_once_and_then_hot(cache: PageCache, loads: Loads) -> None:
    """The second request is a look-up."""
    first = await get(cache)
    assert first is await get(cache)
    assert (1, 1, 1) == (loads.count, cache.hits, cache.misses)


async def test_one_load_for_all_who_wait(cache: PageCache, loads: Loads) -> None:
    """Fifty requests at once make one load; if it fails, all of them fail."""
    loads.gate.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(get(cache)) for _ in range(50)]
        await asyncio.sleep(0)
        loads.gate.set()
    assert (1, 1) == (loads.count, len({id(task.result()) for task in tasks}))
    loads.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        await get(cache, Page("other"))


async def test_a_change_is_confirmed_before_the_page_is_served_again(
    cache: PageCache, loads: Loads
) -> None:
    """Of this page and period; others stay hot. Pages for people follow their whole category."""
    day = Page("news", Period(2017, 12, 22))
    cached = [await get(cache), await get(cache, day), await get(cache, day, "html")]
    loads.version = "2"
    cache.changed([("news", "2017-12-22"), ("other", "live")], FORMATS)
    assert cached[0] is await get(cache)
    assert cached[1] is not await get(cache, day)
    assert cached[2] is not await get(cache, day, "html")


async def test_a_change_during_a_load_is_not_missed(cache: PageCache, loads: Loads) -> None:
    """The load may have read too early: the page is not hot after it."""
    loads.gate.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(get(cache))
        await begun(loads)
        cache.changed([("news", "live")], FORMATS)
        loads.version = "2"
        loads.gate.set()
    assert b" 1 " in task.result().body
    assert b" 2 " in (await get(cache)).body


async def test_what_is_held_is_served_while_redis_is_away(cache: PageCache, loads: Loads) -> None:
    """A page that is cached is served though it may be old; for another page the answer is
    Unavailable."""
    cached = await get(cache)
    cache.forget_all()
    loads.error = RedisConnectionError("gone")
    assert cached is await get(cache)
    assert 1 == cache.stale
    with pytest.raises(Unavailable):
        await get(cache, Page("other"))


async def test_after_recheck_s_a_page_is_confirmed(loads: Loads) -> None:
    """A message that announced a change may have been lost."""
    cache = PageCache(loads, max_bytes=30_000, recheck_s=60)
    cached = await get(cache)
    loads.version = "2"
    assert cached is await get(cache)
    hot = cache.hot(PAGE.feed_path("rss"))
    assert hot is not None
    assert 0 < hot.until - time.monotonic() <= 60
    hot.until = 0
    assert cached is not await get(cache)


async def test_the_least_recently_loaded_go_first(cache: PageCache, loads: Loads) -> None:
    """Bounded in bytes; one page is always held, however large."""
    for number in range(20):
        await get(cache, Page(f"n{number}"))
    assert cache.hot(Page("n0").feed_path("rss")) is None
    assert cache.hot(Page("n19").feed_path("rss")) is not None
    assert cache._bytes <= 30_000
    assert (False, True) == (cache.holds("n0"), cache.holds("n19"))
    assert len(cache._categories) == len(cache._held) < 20
    tiny = PageCache(loads, max_bytes=1, recheck_s=60)
    await get(tiny)
    assert tiny.hot(PAGE.feed_path("rss")) is not None


async def test_without_a_path_nothing_is_remembered(cache: PageCache) -> None:
    """Queries and odd spellings of a path fill nothing."""
    for _ in range(100):
        await cache.get(PAGE, "rss", hot_path="")
    assert {} == cache._hot
    assert {(PAGE, "rss")} == cache.take_reads()
    assert set() == cache.take_reads()


async def test_reads_that_nobody_takes_are_bounded(
    cache: PageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Redis is away, strangers may ask for any number of selections and pages."""
    monkeypatch.setattr(page_cache, "MAX_READS", 3)
    for number in range(9):
        await cache.get(Page("news", query=f"limit={number}"), "rss", hot_path="")
        await cache.get(Page(f"n{number}"), "rss", hot_path="")
    assert {(Page(f"n{number}"), "rss") for number in range(3)} == cache.take_reads()


async def test_a_cancelled_request_does_not_take_the_others_with_it(
    cache: PageCache, loads: Loads
) -> None:
    """Its load goes on for those who wait for it."""
    loads.gate.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(get(cache))
        await begun(loads)
        second = group.create_task(get(cache))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        loads.gate.set()
    assert first.cancelled()
    assert b" 1 " in second.result().body
    assert 1 == loads.count


async def test_a_stalled_load_keeps_nobody_waiting_who_can_have_the_old_page(
    cache: PageCache, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the budget the held page is served; the load goes on, and its page is served then."""
    monkeypatch.setattr(page_cache, "RECHECK_BUDGET_S", 0.05)
    cached = await get(cache)
    cache.forget_all()
    loads.version = "2"
    loads.gate.clear()
    assert cached is await get(cache)
    assert 1 == cache.stale
    loads.gate.set()

    async def is_new() -> bool:
        return b" 2 " in (await get(cache)).body

    await wait_until(is_new)


async def test_a_page_that_cannot_be_rendered_is_not_tried_at_each_request(
    cache: PageCache, loads: Loads
) -> None:
    """One load in FAILED_S, and the old page in the meantime if there is one."""
    loads.error = ValueError("a bug")
    for _ in range(5):
        with pytest.raises(ValueError, match="a bug"):
            await get(cache)
    assert 1 == loads.count
    loads.error = None
    cached = await get(cache, Page("other"))
    cache.forget_all()
    loads.error = ValueError("a bug")
    assert cached is await get(cache, Page("other"))


async def test_a_page_that_is_read_is_renewed_and_served_meanwhile(
    cache: PageCache, loads: Loads
) -> None:
    """No request waits for the new one, however often it changes; the newest is served in the
    end."""
    await get(cache)
    loads.gate.clear()
    for version in ("2", "3", "4"):
        loads.version = version
        assert b" 1 " in (await get(cache)).body
        cache.changed([("news", "live")], FORMATS)
        await asyncio.sleep(0)
    assert b" 1 " in (await get(cache)).body
    loads.gate.set()

    async def is_new() -> bool:
        return b" 4 " in (await get(cache)).body

    await wait_until(is_new)
    # Loads under way when a change came were done again, not one for each change.
    assert loads.count <= 4
    await cache.close()


async def test_a_page_that_nobody_reads_is_not_renewed(cache: PageCache, loads: Loads) -> None:
    """It is loaded when somebody asks. The same holds for a page for people, which is served as it
    was for a moment. A page that is read is renewed by the same changes."""

    async def change(version: str, *, count: int) -> None:
        for _ in range(3):
            await get(cache, Page("read"))
        loads.version = version
        cache.changed([("news", "live"), ("read", "live")], FORMATS)

        async def is_renewed() -> bool:
            return version.encode() in (await get(cache, Page("read"))).body.split()

        await wait_until(is_renewed)
        assert count == loads.count

    await get(cache)
    await change("2", count=3)
    assert b" 2 " in (await get(cache)).body
    for _ in range(2):
        cached = await get(cache, PAGE, "html")
    await change("3", count=6)
    assert cached is await get(cache, PAGE, "html")
    await cache.close()


async def test_a_page_that_cannot_be_renewed_is_asked_for_again(
    cache: PageCache, loads: Loads
) -> None:
    """By the next request, which serves what is held while Redis is away."""
    for _ in range(2):
        cached = await get(cache)
    loads.error = RedisConnectionError("gone")
    cache.changed([("news", "live")], FORMATS)

    async def is_forgotten() -> bool:
        return cache.hot(PAGE.feed_path("rss")) is None

    await wait_until(is_forgotten)
    assert cached is await get(cache)
    assert 1 == cache.stale
    loads.error = None
    loads.version = "2"
    cache.forget_all()
    assert b" 2 " in (await get(cache)).body


async def test_what_is_gone_is_not_held(cache: PageCache, loads: Loads) -> None:
    """A withdrawn article or a revoked feed must not come back while Redis is away."""
    await get(cache)
    cache.forget_all()
    loads.error = Gone("withdrawn")
    with pytest.raises(Gone):
        await get(cache)
    assert {} == cache._held
    assert 0 == cache._bytes
    loads.error = RedisConnectionError("gone")
    with pytest.raises(Unavailable):
        await get(cache)


async def test_a_client_with_too_many_reads_fails_no_other(cache: PageCache, loads: Loads) -> None:
    """Who waits for the load of a client that is refused begins its own."""
    loads.refused_client = "a"
    loads.gate.clear()

    async def refused() -> None:
        with pytest.raises(TooManyReads):
            await cache.get(PAGE, "rss", hot_path="", client="a")

    async with within(5), asyncio.TaskGroup() as group:
        group.create_task(refused())
        await begun(loads)
        others = [
            group.create_task(cache.get(PAGE, "rss", hot_path="", client=client))
            for client in ("b", "c", None)
        ]
        await asyncio.sleep(0)
        loads.gate.set()
    assert 1 == len({id(other.result()) for other in others})
    assert 2 == loads.count


async def test_pages_that_are_read_once_do_not_displace_one_that_is_read_always(
    cache: PageCache, loads: Loads
) -> None:
    """Nor does one that was read stay for long after its last reader."""
    always = await get(cache)
    for number in range(40):
        await get(cache, Page(f"n{number}"))
        assert always is await get(cache)
    assert 41 == loads.count
    for number in range(200):
        await get(cache, Page(f"m{number}"))
    assert (PAGE, "rss") not in cache._held
    assert cache._bytes <= 30_000


async def test_a_selection_is_loaded_by_its_next_request(cache: PageCache, loads: Loads) -> None:
    """Not at each change: strangers can make up any number of them. Nor are articles, which no
    change of a category concerns."""
    selection = Page("news", query="q=fog")
    await get(cache, selection)
    await get(cache, selection)
    await cache.get(ArticlePage("1"), "html", hot_path="")
    loads.version = "2"
    cache.changed([("news", "live")], FORMATS)
    assert not cache._renewing
    hot = cache.hot(selection.feed_path("rss"))
    assert hot is not None
    assert hot.until <= time.monotonic() + page_cache.LAG_S


async def test_a_load_under_way_has_ended_when_the_cache_is_closed(
    cache: PageCache, loads: Loads
) -> None:
    """Nothing is left that could raise later; the client that waits is answered 503."""
    loads.gate.clear()

    async def get() -> None:
        with pytest.raises(Unavailable):
            await cache.get(PAGE, "json", hot_path="")

    async with asyncio.TaskGroup() as group:
        group.create_task(get())
        await begun(loads)
        (loading,) = cache._loading.values()
        await cache.close()
        assert loading.done()
