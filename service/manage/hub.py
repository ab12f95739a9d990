"""Subscriptions to our hub, as API and CLI manage them: show, remove."""

from __future__ import annotations

from typing import Any

from service.errors import NotFound
from service.storage.store import Store


async def all_public(store: Store) -> list[dict[str, Any]]:
    """Every confirmed subscription, without its secret."""
    return await store.hub_subscriptions.all_public()


async def remove(store: Store, subscription_id: str) -> None:
    """End a subscription without asking its callback, which is notified. Raises NotFound."""
    if not await store.hub_subscriptions.remove(subscription_id):
        raise NotFound(f"{subscription_id}: no such subscription")
