"""Rendering from storage: what is shared, and when it is made anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
import pytest

from service.articles import Entry
from service.compose import compose
from service.pages import Page
from service.rendering import FeedRenderer
from service.settings import Settings
from service.storage.store import Store
from tests.conftest import wait_until

PAGE = Page("news")


@pytest.fixture
async def renderer(store: Store, settings: Settings) -> AsyncIterator[FeedRenderer]:
    """One process's renderer."""
    made = FeedRenderer(store, settings)
    yield made
    made.close()


async def publish(store: Store, title: str) -> None:
    """Append an article and wait until it is indexed."""
    count = await store.pages.count("all")
    draft = compose(Entry(guid=title, title=title, categories=("News",)), source="s")
    await store.articles.append([draft], now=datetime.now(UTC))

    async def indexed() -> bool:
        return await store.pages.count("all") > count

    await wait_until(indexed)


@pytest.mark.usefixtures("aggregating")
async def test_what_one_process_rendered_serves_all(
    store: Store, settings: Settings, renderer: FeedRenderer
) -> None:
    """The bytes in Redis are taken while their version holds."""
    await publish(store, "One")
    version = await store.pages.version(PAGE)
    first = await renderer.render(PAGE, "json", version)
    await store.client.hset("dateline:{0}:rendered:news.json", "body", b"from another process")
    assert b"from another process" == (await renderer.render(PAGE, "json", version)).body
    await publish(store, "Two")
    second = await renderer.render(PAGE, "json", await store.pages.version(PAGE))
    assert 1 == len(orjson.loads(first.body)["items"])
    assert 2 == len(orjson.loads(second.body)["items"])
    assert second.changed_ms >= first.changed_ms


@pytest.mark.usefixtures("aggregating")
async def test_other_settings_do_not_take_what_these_made(
    store: Store, settings: Settings, renderer: FeedRenderer
) -> None:
    """A new site title is in the feeds at once, though no article changed."""
    await publish(store, "One")
    version = await store.pages.version(PAGE)
    await renderer.render(PAGE, "json", version)
    renamed = FeedRenderer(store, settings.model_copy(update={"site_title": "Other"}))
    found = await renamed.render(PAGE, "json", version)
    renamed.close()
    assert "News · Other" == orjson.loads(found.body)["title"]


@pytest.mark.usefixtures("aggregating")
async def test_last_modified_stays_while_the_bytes_do(
    store: Store, settings: Settings, renderer: FeedRenderer
) -> None:
    """An article older than the live page's last moves its version, but not its validators."""
    small = FeedRenderer(store, settings.model_copy(update={"page_size": 1}))
    await publish(store, "New")
    before = await small.render(PAGE, "rss", await store.pages.version(PAGE))
    old = Entry(
        guid="old", title="Old", categories=("News",), published=datetime(2001, 1, 1, tzinfo=UTC)
    )
    await store.articles.append([compose(old, source="s")], now=datetime.now(UTC))

    async def indexed() -> bool:
        return 2 == await store.pages.count("news")

    await wait_until(indexed)
    after = await small.render(PAGE, "rss", await store.pages.version(PAGE))
    small.close()
    assert after.version != before.version
    assert (before.body, before.changed_ms) == (after.body, after.changed_ms)


async def test_unknown_categories_are_not_remembered(store: Store, renderer: FeedRenderer) -> None:
    """What was asked for before it existed is found once it does."""
    assert not await renderer.is_known("news")
    draft = compose(Entry(title="x", categories=("News",)), source="s")
    await store.articles.append([draft], now=datetime.now(UTC))
    assert await renderer.is_known("news")
    assert await renderer.is_known("all")
