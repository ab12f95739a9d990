"""Private feeds: add, list and revoke them, for API and CLI."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.articles import categories
from service.errors import NotFound
from service.feeds.page import VIEWS
from service.feeds.private_feed import PrivateFeed, make_private_feed
from service.manage.views import find
from service.settings import Settings
from service.storage.store import Store


async def add_private(
    store: Store, fields: Mapping[str, object], settings: Settings, *, now: datetime
) -> dict[str, Any]:
    """Create a private feed. Raises InvalidInput, NotFound.

    Returns:
        Its public fields and `url`, which is never shown again.
    """
    feed, token = make_private_feed(fields, created=now)
    if feed.category.startswith(VIEWS):
        await find(store, feed.category.removeprefix(VIEWS))
    elif feed.category != categories.ALL and not await store.articles.titles_of([feed.category]):
        raise NotFound(f"{feed.category}: no such category")
    await store.private_feeds.add(feed)
    return {**feed.to_public(), "url": f"{settings.base_url}/private/{token}.rss"}


async def all_public(store: Store) -> list[dict[str, Any]]:
    """All private feeds as JSON objects, without their URLs: only hashes of those are stored."""
    return [feed.to_public() for feed in await store.private_feeds.all()]


async def revoke(store: Store, feed_id: str) -> None:
    """Delete a private feed: its URLs answer 404 from now on. Raises NotFound."""
    await store.private_feeds.revoke(await _find_private(store, feed_id))


async def _find_private(store: Store, feed_id: str) -> PrivateFeed:
    for feed in await store.private_feeds.all():
        if feed.id == feed_id:
            return feed
    raise NotFound(f"{feed_id}: no such private feed")
