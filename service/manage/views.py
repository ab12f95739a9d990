"""Views: put, show and remove them, for API and CLI."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.errors import InvalidInput, NotFound
from service.feeds.view import View, make_view
from service.settings import Settings
from service.storage.store import Store
from service.storage.views import NOT_BEGUN


async def put(
    store: Store, fields: Mapping[str, object], *, now: datetime, replace: bool = False
) -> tuple[View, bool]:
    """Create a view, or with `replace` change one. Raises InvalidInput, also for a used name.

    Returns:
        (the view, whether it is new).
    """
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


async def to_public(store: Store, view: View, settings: Settings) -> dict[str, Any]:
    """A view with its URL and the progress of its index, as a JSON object."""
    progress = (await store.views.built()).get(view.name, NOT_BEGUN)
    url = None if view.private else f"{settings.base_url}/feeds/{view.path}.rss"
    return {
        **view.to_public(),
        "url": url,
        "articles": await store.category_index.count(view.path),
        "indexed": progress.is_done,
        "examined": progress.examined,
    }


async def all_public(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """All views, private ones included, sorted by name, each as by `to_public`."""
    return [await to_public(store, view, settings) for view in await store.views.all()]


async def remove(store: Store, name: str) -> None:
    """Delete a view and its private feeds.

    Raises:
        NotFound; InvalidInput: webhooks select this view, and would silently get no more events.
    """
    view = await find(store, name)
    followers = [w.id async for w in store.webhooks.all() if w.selection.view == name]
    if followers:
        raise InvalidInput("view", name, f"is followed by webhooks: {', '.join(followers[:10])}")
    for feed in await store.private_feeds.all():
        if feed.category == view.path:
            await store.private_feeds.revoke(feed)
    await store.views.remove(view)
