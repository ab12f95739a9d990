"""Polling pages and APIs that are read with selectors, and sources with rules."""

from __future__ import annotations

from typing import Any

import pytest

from service.manage import sources
from service.settings import Settings
from service.storage.store import Store
from tests.conftest import LOOPBACK, Clock
from tests.fakes import FakeSite
from tests.ingest.polling import again, articles, polled, polling, requests_for
from tests.waiting import wait_until

SELECT = {"items": "li", "title": "a", "link": "a", "next_page": "a.next"}


def board(*numbers: int, following: str = "") -> str:
    """A page with links to articles of these numbers."""
    items = "".join(f"<li><a href='/a/{number}'>Story {number}</a></li>" for number in numbers)
    link = f"<a class='next' href='{following}'>older</a>" if following else ""
    return f"<!doctype html><html><title>Board</title><ul>{items}</ul>{link}</html>"


async def added(store: Store, clock: Clock, url: str, **fields: Any) -> str:
    """The id of a new source that is due."""
    source, _ = await sources.add(store, {"url": url, **fields}, now=clock())
    return source.id


async def titles(store: Store) -> list[str]:
    """Of all articles that are stored, sorted."""
    return sorted(article.title for article in await articles(store))


async def test_a_page_is_a_source(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Its articles come once; later polls bring what is new. No feed is looked for."""
    site.put("/board", board(1, 2))
    async with polling(store, settings, clock):
        source_id = await added(store, clock, f"{site.url}/board", select=SELECT)
        poll = await polled(store, source_id, "2 articles, 2 new")
        assert "selected" == poll.kind
        site.put("/board", board(3, 1, 2))
        await again(store, clock, source_id, "1 new")
    assert ["Story 1", "Story 2", "Story 3"] == await titles(store)
    assert {"/board"} == {request.path for request in site.requests}
    (first, *_) = await articles(store)
    assert first.url.startswith(f"{site.url}/a/")
    # As other documents of the same site identify it.
    assert (site.url.removeprefix("http://"), first.url) == (first.source, first.guid)


async def test_a_page_that_has_changed_fails_with_the_selector(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """It is not silent, and is not replaced by a feed of its site."""
    site.put("/board", "<!doctype html><html><p>new design</p></html>")
    site.put("/feed", "<rss><channel><item><title>Feed</title></item></channel></rss>")
    async with polling(store, settings, clock):
        source_id = await added(store, clock, f"{site.url}/board", select=SELECT)
        poll = await polled(store, source_id, "select.items 'li' selects nothing")
    assert (1, []) == (poll.failures, await titles(store))


async def test_next_pages_are_followed_while_they_are_new(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Up to SELECT_MAX_PAGES at first; later only until a page brings nothing new."""
    few = settings.model_copy(update={"select_max_pages": 3, "poll_spacing_s": 0})
    site.put("/board", board(8, 7, following="/board/2"))
    for number in (2, 3, 4):
        page = board(10 - 2 * number, 9 - 2 * number, following=f"/board/{number + 1}")
        site.put(f"/board/{number}", page)
    async with polling(store, few, clock):
        source_id = await added(store, clock, f"{site.url}/board", select=SELECT)
        await polled(store, source_id, "6 articles, 6 new")
        assert [] == requests_for(site, "/board/4")
        site.put("/board", board(9, 8, following="/board/2"))
        await again(store, clock, source_id, "1 new")
    assert (2, 1) == (len(requests_for(site, "/board/2")), len(requests_for(site, "/board/3")))
    assert [f"Story {number}" for number in range(3, 10)] == await titles(store)


@pytest.mark.parametrize(
    ("following", "reason"),
    [("/board", ""), ("/gone", "next page: "), ("/empty", "select.items 'li' selects nothing")],
)
async def test_a_next_page_that_fails_costs_itself(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, following: str, reason: str
) -> None:
    """And a circle of pages ends."""
    site.put("/board", board(1, following="/two"))
    site.put("/two", board(2, following=following))
    site.put("/empty", "<!doctype html><html>nothing</html>")
    async with polling(store, settings, clock):
        source_id = await added(store, clock, f"{site.url}/board", select=SELECT)
        poll = await polled(store, source_id, "2 articles, 2 new")
    assert reason in poll.result
    assert ("0 rejected" not in poll.result, 0) == (bool(reason), poll.failures)


async def test_secret_headers_stay_on_their_host(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A page that was redirected to another host, or names one as its next page, gets none."""
    reachable = settings.model_copy(update={"open_networks": LOOPBACK})
    other = site.url.replace("127.0.0.1", "127.0.0.2")
    site.put("/board", status=302, Location=f"{other}/moved")
    site.put("/moved", board(1, following="/two"))
    site.put("/two", board(2, following=f"{site.url}/three"))
    site.put("/three", board(3))
    async with polling(store, reachable, clock):
        source_id = await added(
            store, clock, f"{site.url}/board", select=SELECT, headers={"X-Key": "secret"}
        )
        await polled(store, source_id, "2 articles, 2 new")
    keys = {request.path: request.headers.get("X-Key") for request in site.requests}
    assert {"/board": "secret", "/moved": None, "/two": None} == keys


async def test_rules_decide_what_a_source_brings(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """And a change of them reads the whole document again at once."""
    site.put("/board", board(1, 2, 3), ETag='"1"')
    async with polling(store, settings, clock):
        rules = ["drop title ~ 2", "replace title /Story/News/", "category Harbour if title ~ 3"]
        url = f"{site.url}/board"
        source_id = await added(store, clock, url, select=SELECT, rules=rules)
        await polled(store, source_id, "2 articles, 2 new")
        assert ["News 1", "News 3"] == await titles(store)
        assert [(), ("harbour",)] == sorted(a.categories for a in await articles(store))
        await sources.change(store, source_id, {"rules": ["drop title ~ 1"]}, now=clock())
        assert "" == (await store.sources.poll(source_id)).etag
        clock.move(seconds=settings.poll_spacing_s)

        async def is_read_again() -> bool:
            return await titles(store) == ["News 1", "Story 2", "Story 3"]

        await wait_until(is_read_again)


async def test_what_rules_drop_is_in_the_result_of_each_poll(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Of all pages together, and also where the other entries are passed over."""
    quick = settings.model_copy(update={"poll_spacing_s": 0})
    site.put("/board", board(1, 2, 3, following="/two"))
    site.put("/two", board(4, 5))
    items = "".join(f"<item><title>Story {n}</title><guid>urn:{n}</guid></item>" for n in range(4))
    feed = f"<rss version='2.0'><channel>{items}</channel></rss>"
    site.put("/f", feed)
    rules = ["drop title ~ /[2-4]/"]
    async with polling(store, quick, clock):
        of_board = await added(store, clock, f"{site.url}/board", select=SELECT, rules=rules)
        await polled(
            store, of_board, "2 articles, 2 new or updated, 3 dropped by rules, 0 rejected"
        )
        of_feed = await added(store, clock, f"{site.url}/f", rules=rules)
        await polled(store, of_feed, "2 articles, 2 new or updated, 2 dropped by rules, 0 rejected")
        site.put("/f", feed.replace("</channel>", "<item><title>Story 9</title></item></channel>"))
        await again(store, clock, of_feed, "3 articles, 1 new or updated, 2 dropped by rules")


async def test_a_page_is_what_it_is_again_without_selectors(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A source that was read with selectors is not refused as a page in place of a feed."""
    site.put("/board", board(1))
    async with polling(store, settings, clock):
        source_id = await added(store, clock, f"{site.url}/board", select=SELECT)
        await polled(store, source_id, "1 articles, 1 new")
        site.put("/board", H_FEED.format(""))
        await sources.change(store, source_id, {"select": None}, now=clock())
        clock.move(seconds=settings.poll_spacing_s)
        poll = await polled(store, source_id, "2 articles, ")
    assert "h-feed" == poll.kind


H_FEED = """<!doctype html><html><head>{}</head><div class="h-feed">
<p class="h-entry"><a class="u-url p-name" href="/1">Story 1</a></p>
<p class="h-entry"><a class="u-url p-name" href="/2">Story 2</a></p></div></html>"""
RSS = """<rss version="2.0"><channel><item><title>Of the feed</title></item></channel></rss>"""
LINK = '<link rel="alternate" type="application/rss+xml" href="/feed.rss">'


@pytest.mark.parametrize(
    ("link", "feed", "expected"),
    [
        ("", RSS, ["Story 1", "Story 2"]),
        (LINK, "", ["Story 1", "Story 2"]),
        (LINK, RSS, ["Of the feed"]),
    ],
)
async def test_a_page_that_lists_articles_is_a_source(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, link: str, feed: str,
    expected: list[str],
) -> None:  # fmt: skip
    """Without selectors, unless it names a feed that can be read: that has more of them."""
    site.put("/blog", H_FEED.format(link))
    site.put("/feed.rss", feed)
    quick = settings.model_copy(update={"poll_spacing_s": 0})
    async with polling(store, quick, clock):
        source_id = await added(store, clock, f"{site.url}/blog")
        poll = await polled(store, source_id, f"{len(expected)} articles, {len(expected)} new")
        assert ("rss" if feed and link else "h-feed") == poll.kind
        if poll.kind == "h-feed":
            site.put("/blog", H_FEED.format(link).replace("/1", "/3").replace("y 1", "y 3"))
            await again(store, clock, source_id, "1 new")
            expected = [*expected, "Story 3"]
    assert expected == await titles(store)


async def test_a_page_in_place_of_a_feed_is_refused(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Also one that lists articles: a parked domain must not replace a feed."""
    site.put("/f", RSS)
    async with polling(store, settings, clock):
        source_id = await added(store, clock, f"{site.url}/f")
        await polled(store, source_id, "1 articles, 1 new")
        site.put("/f", H_FEED.format(""))
        await again(store, clock, source_id, "neither a feed nor an article")
    assert ["Of the feed"] == await titles(store)
