"""Rendering from storage: what is shared, and when it is rendered again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
import pytest

from service.articles.article import Entry
from service.articles.compose import compose
from service.feeds.page import Page
from service.rendering.feed_renderer import FeedRenderer
from service.settings import Settings
from service.storage.store import Store
from service.web.app import utc_now
from tests.waiting import wait_until

PAGE = Page("news")


@pytest.fixture
async def renderer(store: Store, settings: Settings) -> AsyncIterator[FeedRenderer]:
    """The renderer of one process, closed after the test."""
    renderer = FeedRenderer(store, settings, now=utc_now)
    yield renderer
    renderer.close()


async def publish(store: Store, title: str, year: int = 0) -> None:
    """Append an article and wait until it is indexed."""
    count = await store.category_index.count("all")
    published = datetime(year, 1, 1, tzinfo=UTC) if year else None
    entry = Entry(guid=title, title=title, categories=("News",), published=published)
    draft = compose(entry, source="s")
    await store.articles.append([draft], now=datetime.now(UTC))

    async def indexed() -> bool:
        return await store.category_index.count("all") > count

    await wait_until(indexed)


@pytest.mark.usefixtures("aggregating")
async def test_a_revision_that_comes_again_is_in_the_difference(
    store: Store, renderer: FeedRenderer
) -> None:
    """Redis may lose the end of its file: a revision with another link is an entry that changed."""
    await publish(store, "Kept", year=2020)
    digests = []
    for number in range(2):
        entry = Entry(guid="x", title="x", categories=("News",), url=f"http://s.example/{number}")
        await store.articles.append([compose(entry, source="s")], now=datetime.now(UTC))

        async def indexed() -> bool:
            return await store.category_index.count("all") == 2

        await wait_until(indexed)
        rendered = await renderer.render(PAGE, "json", (await renderer.states([PAGE]))[0])
        digests.append(rendered.entry_digests)
        lost = orjson.loads(rendered.body)["items"][0]
        assert f"http://s.example/{number}" == lost["url"]
        article_id = lost["id"].removeprefix("urn:uuid:")
        await store.client.delete(f"dateline:{{0}}:article:{article_id}")
        await store.client.zrem("dateline:{0}:category:all", article_id)
    first, second = digests
    assert first[:8] != second[:8]
    assert first[8:] == second[8:]


@pytest.mark.usefixtures("aggregating")
async def test_what_one_process_rendered_serves_all(
    store: Store, settings: Settings, renderer: FeedRenderer
) -> None:
    """The bytes in Redis are taken while their version holds."""
    await publish(store, "One")
    (state,) = await renderer.states([PAGE])
    first = await renderer.render(PAGE, "json", state)
    await store.client.hset("dateline:{0}:rendered:news.json", "body", b"from another process")
    assert b"from another process" == (await renderer.render(PAGE, "json", state)).body
    await publish(store, "Two")
    second = await renderer.render(PAGE, "json", (await renderer.states([PAGE]))[0])
    assert 1 == len(orjson.loads(first.body)["items"])
    assert 2 == len(orjson.loads(second.body)["items"])
    assert second.changed_ms >= first.changed_ms


@pytest.mark.usefixtures("aggregating")
async def test_other_settings_do_not_take_what_these_made(
    store: Store, settings: Settings, renderer: FeedRenderer
) -> None:
    """A new site title is in the feeds at once, though no article changed."""
    await publish(store, "One")
    (state,) = await renderer.states([PAGE])
    await renderer.render(PAGE, "json", state)
    renamed = FeedRenderer(store, settings.model_copy(update={"site_title": "Other"}), now=utc_now)
    rendered = await renamed.render(PAGE, "json", state)
    renamed.close()
    assert "News · Other" == orjson.loads(rendered.body)["title"]


@pytest.mark.usefixtures("aggregating")
async def test_last_modified_stays_while_the_bytes_do(
    store: Store, settings: Settings, renderer: FeedRenderer
) -> None:
    """An article older than the live page's last moves its version, but not its validators."""
    small = FeedRenderer(store, settings.model_copy(update={"page_size": 1}), now=utc_now)
    await publish(store, "New")
    await publish(store, "Last year's", 2002)
    before = await small.render(PAGE, "rss", (await small.states([PAGE]))[0])
    await publish(store, "Old", 2001)
    after = await small.render(PAGE, "rss", (await small.states([PAGE]))[0])
    small.close()
    assert after.version != before.version
    assert (before.body, before.changed_ms) == (after.body, after.changed_ms)


async def test_unknown_categories_are_not_remembered(store: Store, renderer: FeedRenderer) -> None:
    """A category that was requested before it existed is known once it exists."""
    assert not await renderer.is_known("news")
    draft = compose(Entry(title="x", categories=("News",)), source="s")
    await store.articles.append([draft], now=datetime.now(UTC))
    assert await renderer.is_known("news")
    assert await renderer.is_known("all")
