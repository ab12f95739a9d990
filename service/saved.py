"""What API and CLI do with views and private feeds, once for both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.articles import categories
from service.errors import InvalidInput, NotFound
from service.feeds.page import VIEWS
from service.feeds.private_feed import PrivateFeed, make_private_feed
from service.feeds.view import View, make_view
from service.settings import Settings
from service.storage.store import Store


async def put(
    store: Store, fields: Mapping[str, object], *, now: datetime, replace: bool = False
) -> tuple[View, bool]:
    """(the view, whether it is new). Raises InvalidInput, also for a name that is taken."""
    view = make_view(fields, created=now)
    before = await store.views.get(view.name)
    if before and not replace:
        raise InvalidInput("name", view.name, "is taken; `--replace`, or PUT, replaces a view")
    if before != view:
        await store.views.put(view)
    return view, before is None


async def find(store: Store, name: str) -> View:
    """The view of this name. Raises NotFound."""
    view = await store.views.get(name)
    if view is None:
        raise NotFound(f"{name}: no such view")
    return view


async def shown(store: Store, view: View, settings: Settings) -> dict[str, Any]:
    """A view with where it is served and how far its index has come."""
    built = (await store.views.built()).get(view.name, {})
    url = None if view.private else f"{settings.base_url}/feeds/{view.path}.rss"
    return {
        **view.shown(),
        "url": url,
        "articles": await store.pages.count(view.path),
        "indexed": bool(built.get("done")),
        "examined": built.get("examined", 0),
    }


async def all_shown(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """All views."""
    return [await shown(store, view, settings) for view in await store.views.all()]


async def remove(store: Store, name: str) -> None:
    """Forget a view, and the private feeds of it.

    Raises:
        NotFound; InvalidInput: webhooks follow it, and would be sent nothing more without a word.
    """
    view = await find(store, name)
    followers = [w.id for w in await store.deliveries.all() if w.selection.view == name]
    if followers:
        raise InvalidInput("view", name, f"is followed by webhooks: {', '.join(followers[:10])}")
    for feed in await store.views.all_private():
        if feed.category == view.path:
            await store.views.revoke(feed)
    await store.views.remove(view)


async def add_private(
    store: Store, fields: Mapping[str, object], settings: Settings, *, now: datetime
) -> dict[str, Any]:
    """Make a private feed; its addresses are shown this once. Raises InvalidInput, NotFound."""
    feed, token = make_private_feed(fields, created=now)
    if feed.category.startswith(VIEWS):
        await find(store, feed.category.removeprefix(VIEWS))
    elif feed.category != categories.ALL and not await store.articles.titles_of([feed.category]):
        raise NotFound(f"{feed.category}: no such category")
    await store.views.add_private(feed)
    return {**feed.shown(), "url": f"{settings.base_url}/private/{token}.rss"}


async def all_private(store: Store) -> list[dict[str, Any]]:
    """All private feeds, without their addresses, which nobody knows but who has them."""
    return [feed.shown() for feed in await store.views.all_private()]


async def revoke(store: Store, feed_id: str) -> None:
    """End a private feed. Raises NotFound."""
    await store.views.revoke(await _find_private(store, feed_id))


async def _find_private(store: Store, feed_id: str) -> PrivateFeed:
    for feed in await store.views.all_private():
        if feed.id == feed_id:
            return feed
    raise NotFound(f"{feed_id}: no such private feed")
