"""Subscriptions to our hub: list and remove them, for API and CLI."""

from __future__ import annotations

from typing import Any

from service.errors import NotFound
from service.storage.store import Store


async def all_public(store: Store) -> list[dict[str, Any]]:
    """All confirmed subscriptions as JSON objects, without their secrets."""
    return await store.hub_subscriptions.all_public()


async def remove(store: Store, subscription_id: str) -> None:
    """End a subscription: its callback is notified, but does not confirm. Raises NotFound."""
    if not await store.hub_subscriptions.remove(subscription_id):
        raise NotFound(f"{subscription_id}: no such subscription")
