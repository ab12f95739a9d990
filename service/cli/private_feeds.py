"""`dateline private …`: feed addresses for one subscriber each, as in the API
(service/web/handlers/private_feeds.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, show, show_list
from service.cli.running import settings_from, with_store
from service.manage import private_feeds
from service.storage.store import Store


@click.group("private")
def group() -> None:
    """Manage private feeds: each has an address that only its subscriber knows."""


@group.command("add")
@click.option("--category", default="", help="Feed of this category; all articles if omitted.")
@click.option("--view", default="", help="Feed of this view, instead of a category.")
@click.option("--label", default="", help="Name of the subscriber, for your own lists.")
@AS_JSON
def add_private(category: str, view: str, label: str, as_json: bool) -> None:
    """Create a private feed. Its address is shown only this once.

    For example: dateline private add --category news --label "Reading room"
    """
    settings, now = settings_from(), datetime.now(UTC)
    fields = {"category": category, "view": view, "label": label}

    async def work(store: Store) -> dict[str, Any]:
        return await private_feeds.add_private(store, fields, settings, now=now)

    show(with_store(settings, work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_private(as_json: bool) -> None:
    """List all private feeds, without their addresses."""
    feeds = with_store(settings_from(), private_feeds.all_public)
    show_list(feeds, "id", "category", "view", "label", "created", as_json=as_json)


@group.command("revoke")
@click.argument("feed_id")
def revoke_private(feed_id: str) -> None:
    """Revoke a private feed: its address answers 404 from now on.

    `dateline private list` shows the ids.
    """

    async def work(store: Store) -> None:
        await private_feeds.revoke(store, feed_id)

    with_store(settings_from(), work)
