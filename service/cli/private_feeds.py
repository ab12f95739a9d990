"""`dateline private …`: addresses for one subscriber. As the API
(web/handlers/private_feeds.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, show
from service.cli.running import settings_from, with_store
from service.manage import private_feeds
from service.storage.store import Store


@click.group("private")
def group() -> None:
    """Feeds at addresses that only one subscriber knows."""


@group.command("add")
@click.option("--category", default="", help="Of this category; of everything if not given.")
@click.option("--view", default="", help="Of this view.")
@click.option("--label", default="", help="Whose it is.")
@AS_JSON
def add_private(category: str, view: str, label: str, as_json: bool) -> None:
    """Make an address. It is shown this once."""
    settings, now = settings_from(), datetime.now(UTC)
    fields = {"category": category, "view": view, "label": label}

    async def work(store: Store) -> dict[str, Any]:
        return await private_feeds.add_private(store, fields, settings, now=now)

    show(with_store(settings, work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_private(as_json: bool) -> None:
    """All of them, without their addresses."""
    show(with_store(settings_from(), private_feeds.all_public), as_json=as_json)


@group.command("revoke")
@click.argument("feed_id")
def revoke_private(feed_id: str) -> None:
    """From now on its address leads nowhere."""

    async def work(store: Store) -> None:
        await private_feeds.revoke(store, feed_id)

    with_store(settings_from(), work)
