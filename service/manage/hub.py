"""Subscriptions to our hub: as API and CLI manage them, and how often strangers may ask."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.addresses import network_of
from service.articles.times import to_ms
from service.errors import NotFound
from service.settings import Settings
from service.storage.hub_subscriptions import host_of_callback
from service.storage.store import Store
from service.storage.token_buckets import Bucket
from service.websub.hub import SubscriptionRequest

MINUTE_S = 60
# A host may have this many times what a client may: one client alone cannot use up the share of a
# host, and so keep the host's own subscriptions out.
HOST_SHARE = 2


async def all_public(store: Store) -> list[dict[str, Any]]:
    """All confirmed subscriptions as JSON objects, without their secrets."""
    return await store.hub_subscriptions.all_public()


async def remove(store: Store, subscription_id: str) -> None:
    """End a subscription: its callback is notified, but does not confirm. Raises NotFound."""
    if not await store.hub_subscriptions.remove(subscription_id):
        raise NotFound(f"{subscription_id}: no such subscription")


async def take_tokens(
    store: Store, wanted: SubscriptionRequest, *, client: str, settings: Settings, now: datetime
) -> float:
    """Count a request to the hub against its client and the host of its callback.

    Args:
        client: the IP address of the one who asks; empty if it has none (a unix socket).

    Returns:
        Seconds until such a request is taken; 0 if this one is.
    """
    buckets = [host_bucket(f"host:{host_of_callback(wanted.callback)}", settings)]
    if client:
        name = f"hub:client:{network_of(client)}"
        buckets.append(Bucket(name=name, size=settings.hub_requests_per_minute, period_s=MINUTE_S))
    return await store.token_buckets.take(buckets, now_ms=to_ms(now))


def host_bucket(name: str, settings: Settings) -> Bucket:
    """Return the bucket of a callback's host (`host:…`), or of an address of it (`address:…`)."""
    size = HOST_SHARE * settings.hub_requests_per_minute
    return Bucket(name=f"hub:{name}", size=size, period_s=MINUTE_S)
