"""Articles whose pages must not be fetched at each poll: those that a rule drops for the words of
their pages, that retention removed, or whose guid or link changed."""

from __future__ import annotations

import pytest

from service.articles.times import to_ms
from service.feeds.index_step import removal_step
from service.manage import sources
from service.settings import Settings
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import again, polled, polling, requests_for
from tests.ingest.test_full_texts import LONG, add, by_title, item, put_feed, put_page

PAID = "Paid for by the quay. " + LONG
RULE = "drop text ~ /paid for/"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The clock stands still, so that requests have no distance from each other."""
    return settings.model_copy(update={"poll_spacing_s": 0.0})


async def test_a_rule_reads_the_text_of_the_page(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """What it drops is not published as a teaser, and its page is fetched once."""
    put_feed(site, item("a"), item("b"))
    put_page(site, "a", PAID)
    put_page(site, "b")
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, rules=[RULE])
        await polled(store, source_id, "1 articles, 1 new or updated, 1 dropped by rules")
        assert ["b"] == [*await by_title(store)]
        put_feed(site, item("c", "Whole."), item("a"), item("b"))
        await again(store, clock, source_id, "2 articles, 1 new or updated, 1 dropped by rules")
        assert [1, 1] == [len(requests_for(site, f"/{name}")) for name in "ab"]
        await sources.change(store, source_id, {"rules": []}, now=clock())
        await polled(store, source_id, "3 articles, 1 new or updated, 0 rejected")
    assert "Paid for" in (await by_title(store))["a"].content_html


async def test_what_a_rule_would_drop_now_stays_as_it_is(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """An article of the archive whose entry and page have changed is not made less."""
    put_feed(site, item("a"), item("b"))
    for name in "ab":
        put_page(site, name)
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, rules=[RULE])
        await polled(store, source_id, "2 new")
        put_page(site, "a", PAID)
        put_feed(site, item("a", "Other words and […]"), item("b"))
        await again(store, clock, source_id, "1 articles, 0 new or updated, 1 dropped by rules")
        put_feed(site, item("b"), item("a", "Other words and […]"))
        await again(store, clock, source_id, "1 articles, 0 new or updated, 1 dropped by rules")
    stored = (await by_title(store))["a"]
    assert (1, True) == (stored.revision, "harbour" in stored.content_html)
    assert 2 == len(requests_for(site, "/a"))


async def test_what_is_no_address_of_a_page_is_not_waited_for(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """The document counts as read: it is asked for with its validators at once."""
    links = ("mailto:desk@quay.example", "javascript:void(0)", "http://[::1")
    items = [item(f"a{n}").replace(f"<link>/a{n}", f"<link>{link}") for n, link in enumerate(links)]
    put_feed(site, *items, ETag='"1"')
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock)
        poll = await polled(store, source_id, "3 articles, 3 new")
    assert ("", '"1"') == (poll.full_text, poll.etag)


async def test_an_article_that_retention_removed_needs_no_page(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Its feed has it still, and other entries change."""
    put_feed(site, item("a"), item("b"))
    for name in "ab":
        put_page(site, name)
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock)
        await polled(store, source_id, "2 new")
        removed = (await by_title(store))["a"]
        ((idx, head),) = await store.articles.indexed([removed.id])
        step = removal_step(removed, idx, stamp_ms=to_ms(clock()), zone=settings.timezone)
        assert [True] == await store.removals.remove([(step, head)], now=clock())
        for number in range(3):
            put_feed(site, item(f"c{number}", "Whole."), item("a"), item("b"))
            await again(store, clock, source_id, "3 articles, 1 new")
    assert "a" not in await by_title(store)
    # Once more, because what storage says of it is not known before.
    assert 2 == len(requests_for(site, "/a"))


@pytest.mark.parametrize("guid", ["urn:other", ""])
async def test_an_article_under_another_guid_or_link_has_its_page_already(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, guid: str
) -> None:
    """A feed that gets other guids, or that has none and puts a token into its links each time."""

    def entry(name: str, number: int) -> str:
        if guid:
            return item(name).replace("urn:", f"{guid}:{number > 0}:")
        without = item(name).replace(f"<guid>urn:{name}</guid>", "")
        return without.replace(f"<link>/{name}", f"<link>/{name}?sid={number * 7919:08x}")

    for name in "ab":
        put_page(site, name)
    async with polling(store, settings, clock):
        put_feed(site, entry("a", 0), entry("b", 0))
        source_id = await add(store, site, clock)
        await polled(store, source_id, "2 new")
        for number in range(1, 4):
            put_feed(site, item(f"c{number}", "Whole."), entry("a", number), entry("b", number))
            await again(store, clock, source_id, "3 articles, 1 new")
    assert 1 == len(requests_for(site, "/a"))
    stored = await by_title(store)
    assert (5, True) == (len(stored), "harbour" in stored["a"].content_html)
