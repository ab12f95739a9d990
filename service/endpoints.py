"""What API and CLI do with webhooks, once for both."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service import webhooks
from service.articles import from_ms, to_rfc3339
from service.errors import NotFound
from service.storage.deliveries import State
from service.storage.store import Store
from service.webhooks import Webhook

MAX_ATTEMPTS = 100


async def add(store: Store, fields: Mapping[str, object], *, now: datetime) -> dict[str, Any]:
    """Keep a new webhook that gets what happens from now on; shown with its secret, this once.

    Raises:
        InvalidInput: naming the field.
    """
    webhook = webhooks.make(fields, webhook_id=_new_id("wh"), created=now)
    shards = range(store.stream.shards)
    state = State(cursors={shard: await store.stream.last_id(shard) for shard in shards})
    await store.deliveries.add(webhook, state)
    return webhook.shown_once()


async def find(store: Store, webhook_id: str) -> Webhook:
    """The webhook of this id. Raises NotFound."""
    webhook = await store.deliveries.get(webhook_id)
    if webhook is None:
        raise NotFound(f"{webhook_id}: no such webhook")
    return webhook


async def shown(store: Store, webhook: Webhook) -> dict[str, Any]:
    """A webhook with its state, without its secret."""
    state = await store.deliveries.state(webhook.id)
    return {
        **webhook.shown(),
        "state": "disabled" if state.disabled else "failing" if state.failures else "active",
        "disabled": state.disabled or None,
        "failures": state.failures,
        "next_attempt": to_rfc3339(from_ms(state.next_ms)) if state.failures else None,
    }


async def all_shown(store: Store) -> list[dict[str, Any]]:
    """All webhooks with their states."""
    return [await shown(store, webhook) for webhook in await store.deliveries.all()]


async def request_test(store: Store, webhook_id: str) -> str:
    """Have a test message sent; its id. Raises NotFound."""
    await find(store, webhook_id)
    message_id = _new_id("test")
    await store.deliveries.request_test(webhook_id, message_id)
    return message_id


async def rotate(
    store: Store, webhook_id: str, fields: Mapping[str, object], *, now: datetime
) -> dict[str, Any]:
    """Give a webhook another key; shown with its secret, this once.

    Raises:
        InvalidInput, NotFound.
    """
    while True:
        webhook = await find(store, webhook_id)
        made = webhooks.rotate(webhook, fields, now=now)
        if await store.deliveries.replace(webhook, made):
            return made.shown_once()


async def remove(store: Store, webhook_id: str) -> None:
    """Forget a webhook. Raises NotFound."""
    if not await store.deliveries.remove(webhook_id):
        raise NotFound(f"{webhook_id}: no such webhook")


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"
