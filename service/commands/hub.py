"""`dateline hub …`: who is pushed our feeds. As the API (service/web/hub.py)."""

from __future__ import annotations

from typing import Any

import click

from service.cli import main, settings_from, with_store
from service.commands.showing import AS_JSON, show
from service.errors import NotFound
from service.storage.store import Store


@main.group("hub")
def hub_group() -> None:
    """Who is pushed our feeds."""


@hub_group.command("list")
@AS_JSON
def list_subscribers(as_json: bool) -> None:
    """All subscriptions that their callbacks confirmed."""

    async def work(store: Store) -> list[dict[str, Any]]:
        return await store.subscribers.all_shown()

    show(with_store(settings_from(), work), as_json=as_json)


@hub_group.command("remove")
@click.argument("subscription_id")
def remove_subscriber(subscription_id: str) -> None:
    """End one; its callback is not asked, but told."""

    async def work(store: Store) -> None:
        if not await store.subscribers.remove(subscription_id):
            raise NotFound(f"{subscription_id}: no such subscription")

    with_store(settings_from(), work)
