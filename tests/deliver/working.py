"""A deliver worker at work, and what happens around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from service.articles.article import Entry
from service.articles.compose import compose
from service.manage import webhooks
from service.settings import Settings
from service.storage import keys
from service.storage.leases import Lease
from service.storage.partitions import partition_of
from service.storage.store import Store
from tests.loops import at_work
from tests.receiver import FakeReceiver
from tests.waiting import wait_until
from workers.deliver.endpoint import HUB_LEASES, WEBHOOK_LEASES, shared_leases
from workers.deliver.worker import DeliverWorker

LEASES = len(HUB_LEASES) + len(WEBHOOK_LEASES)
"""Number of leases of all deliver workers."""
QUICK = {
    "webhook_retry_schedule_s": (0.05, 0.1),
    "webhook_timeout_s": 0.5,
    "hub_debounce_s": 0.3,
}
"""Settings for quick retries, and for a hub that waits for little."""


@asynccontextmanager
async def delivering(store: Store, settings: Settings) -> AsyncIterator[None]:
    """A deliver worker at work."""
    async with at_work(DeliverWorker(store, settings, now=lambda: datetime.now(UTC)).run):
        yield


async def subscribe(store: Store, receiver: FakeReceiver, **fields: object) -> str:
    """A webhook to the receiver; its id."""
    made = await webhooks.add(store, {"url": receiver.url, **fields}, now=datetime.now(UTC))
    receiver.secret = made["secret"]
    return str(made["id"])


async def publish(store: Store, *names: str, category: str = "News") -> list[str]:
    """Append an article for each name; the ids of their events."""
    drafts = [
        compose(Entry(guid=name, title=name, categories=(category,)), source="s") for name in names
    ]
    receipts = await store.articles.append(drafts, now=datetime.now(UTC))
    return [receipt.event_id for receipt in receipts]


async def shares(store: Store) -> list[int]:
    """How many leases each worker holds, the most first; empty if no worker holds any."""
    holders = [
        holder
        for shared in shared_leases(store.event_stream.shards)
        for holder in await store.client.mget(
            [keys.lease(name, shared.shard) for name in shared.names]
        )
    ]
    return sorted(Counter(holder for holder in holders if holder).values(), reverse=True)


async def shared(store: Store, *expected: int) -> None:
    """Wait until workers hold these numbers of leases, the most first."""

    async def there() -> bool:
        return [*expected] == await shares(store)

    await wait_until(there)


async def take_all(store: Store, *, token: str, ttl_ms: int) -> list[tuple[int, dict[str, Lease]]]:
    """Share all leases as a worker of this token does; (fair share, leases) of each group."""
    return [
        await store.leases.share(shared, token=token, ttl_ms=ttl_ms, held={})
        for shared in shared_leases(store.event_stream.shards)
    ]


async def leave_all(store: Store, *, token: str) -> None:
    """Release the leases of a worker of this token."""
    for shared in shared_leases(store.event_stream.shards):
        await store.leases.leave(shared, token=token)


def registry_of(store: Store, webhook_id: str) -> str:
    """Key of the webhooks of a webhook's partition."""
    return keys.endpoints(store.webhooks.shard_of(webhook_id), partition_of(webhook_id))


async def delivered(receiver: FakeReceiver, count: int) -> list[str]:
    """Message ids, once there are that many."""

    async def enough() -> bool:
        return len(receiver.ids) >= count

    await wait_until(enough)
    return receiver.ids


async def operations(store: Store, *types: str) -> list[dict[str, Any]]:
    """Events on the operations stream, once the newest are of these types; the oldest first."""

    async def there() -> bool:
        found = await store.operations.newest(limit=100)
        return [f"dateline.webhook.{name}.v1" for name in types] == [
            event["type"] for event in reversed(found)
        ]

    await wait_until(there)
    return (await store.operations.newest(limit=100))[::-1]


async def shown(store: Store, webhook_id: str) -> dict[str, Any]:
    """A webhook as the API shows it."""
    return (await webhooks.to_public(store, [await webhooks.find(store, webhook_id)]))[0]
