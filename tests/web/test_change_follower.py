"""Feeds are confirmed by the log of changes, not page by page, and no change is overlooked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.feeds.archive import NO_ARCHIVE_LINKS, ArchiveLinks
from service.feeds.page import ArticlePage, Page, Period
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.web.app import create_app
from service.web.request.keys import CACHE
from service.web.serving.held_page import Held
from service.web.serving.page_cache import PageCache
from service.web.serving.response import PreparedPage
from tests.conftest import NOON, TOKEN, Clock
from tests.storage.test_page_changes import publish
from tests.storage.test_storage import draft
from tests.waiting import let_pass, wait_until

TODAY = Period(2026, 1, 5)
DAY = Page("news", Period(2025, 12, 22))
OF_DAY = ArchiveLinks(older=Period(2025, 12, 20), newer=Period(2025, 12, 24), is_archive=True)
RECHECK_S = 0.6


@pytest.mark.parametrize(
    ("page", "links", "day", "expected"),
    [
        (DAY, OF_DAY, "2025-12-19", False),
        (DAY, OF_DAY, "2025-12-20", True),
        (DAY, OF_DAY, "2025-12-21", True),
        (DAY, OF_DAY, "2025-12-23", True),
        (DAY, OF_DAY, "2025-12-24", True),
        (DAY, OF_DAY, "2025-12-25", False),
        (DAY, OF_DAY, "2026-01-05", False),
        (DAY, ArchiveLinks(older=OF_DAY.older), "2026-01-04", True),
        (DAY, ArchiveLinks(older=OF_DAY.older), "2026-01-05", False),
        (DAY, ArchiveLinks(newer=OF_DAY.newer), "2001-02-03", True),
        (Page("news"), ArchiveLinks(older=Period(2026, 1, 4)), "2026-01-04", True),
        (Page("news"), ArchiveLinks(older=Period(2026, 1, 4)), "2026-01-03", False),
        (Page("news"), ArchiveLinks(older=TODAY), "2026-01-03", False),
        (Page("news"), NO_ARCHIVE_LINKS, "2026-01-03", True),
        (Page("news", Period(2025)), NO_ARCHIVE_LINKS, "2025-12-20", False),
    ],
)
def test_other_days_change_the_links_of_their_neighbours(
    page: Page, links: ArchiveLinks, day: str, expected: bool
) -> None:
    """Of days further away, and of today, whose document is not complete, nothing depends."""
    assert expected is links.may_change_with(page, Period.parse(day), today=TODAY)


class Loads:
    """Loads feeds, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(
        self, page: Page | ArticlePage, extension: str, cached: Held | None, client: str | None
    ) -> Held:
        """The page as it was, or at first."""
        self.count += 1
        links = OF_DAY if page == DAY else NO_ARCHIVE_LINKS
        return cached or Held(prepared=PreparedPage(b"x", headers={}), version="1", links=links)


async def test_what_changed_is_loaded_and_the_rest_confirmed() -> None:
    """By category and period, and where archive links may be others."""
    loads = Loads()
    cache = PageCache(loads, max_bytes=30_000, recheck_s=0)
    pages = [Page("all"), Page("news"), DAY, Page("news", Period(2025)), Page("old")]
    for page in pages:
        await cache.get(page, "rss", hot_path=str(page))
    soon = time.monotonic() + 60

    def hot() -> list[Page]:
        return [page for page in pages if cache.hot(str(page))]

    changes = {("news", "2025-12-24"), ("all", "live"), ("news", "live")}
    cache.follow(changes, today=TODAY, until=soon)
    assert [pages[3], pages[4]] == hot()
    cache.follow(frozenset(), today=TODAY, until=soon)
    assert [pages[3], pages[4]] == hot()
    await cache.get(DAY, "rss", hot_path=str(DAY))
    cache.follow(frozenset(), today=TODAY, until=soon)
    assert [DAY, pages[3], pages[4]] == hot()
    cache.follow_anew()
    cache.forget_all()
    for page in pages[:2]:
        await cache.get(page, "rss", hot_path=str(page))
    cache.follow(frozenset(), today=TODAY, until=soon)
    assert pages[:2] == hot()


@pytest.fixture
async def quick(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    """A server that looks for changes more often than others."""
    settings = settings.model_copy(update={"recheck_s": RECHECK_S})
    app = create_app(settings, token=TOKEN, now=clock)
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def loads_of(client: Any, path: str, *, for_s: float) -> int:
    """How often a page that is requested all the time is not hot, and goes to Redis."""
    cache, until, count = client.server.app[CACHE], time.monotonic() + for_s, 0
    while time.monotonic() < until:
        if cache.hot(path) is None:
            count += 1
            async with client.get(path) as response:
                assert 200 == response.status
        await let_pass(0.01)
    return count


async def test_a_feed_that_does_not_change_is_loaded_once(
    quick: TestClient[Any, Any], store: Store
) -> None:
    """Whatever is published elsewhere. Without a log it is confirmed page by page."""
    await publish(store, draft("a", published=NOON), draft("b", categories=("C",), published=NOON))
    await loads_of(quick, "/feeds/a.rss", for_s=2 * RECHECK_S)
    await publish(store, draft("c", categories=("C",), published=NOON))
    assert 0 == await loads_of(quick, "/feeds/a.rss", for_s=3 * RECHECK_S)
    await store.client.execute_command("SET", keys.page_changes(0), "planted")
    assert 2 <= await loads_of(quick, "/feeds/a.rss", for_s=4 * RECHECK_S)
    await store.client.delete(keys.page_changes(0))


async def test_a_change_that_nobody_announces_is_shown(
    quick: TestClient[Any, Any], store: Store
) -> None:
    """A worker was killed after it indexed; also after a new day and after a lost log."""

    async def titles() -> list[str]:
        async with quick.get("/feeds/a.json") as response:
            items = (await response.json(content_type=None))["items"]
        return [item["title"] for item in items]

    await publish(store, draft("0", title="0", published=NOON))
    for number in range(1, 4):
        if number == 2:
            await store.client.delete(keys.page_changes(0))
        await loads_of(quick, "/feeds/a.json", for_s=RECHECK_S)
        assert number == len(await titles())
        await publish(store, draft(str(number), title=str(number), published=NOON))

        async def shown(count: int = number + 1) -> bool:
            return count == len(await titles())

        await wait_until(shown, timeout_s=2 * RECHECK_S + 2)
