"""Our WebSub subscriptions in Redis, and the pushes of hubs until a worker has processed them.

Pushes are a stream with one group: one ingest worker gets each push, or another if that one dies.
A processed push is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from redis.exceptions import ResponseError

from service.articles.json_text import decode_stored
from service.storage import keys
from service.storage.commands import (
    Client,
    PendingEntry,
    StreamEntry,
    Value,
    claimed_of,
    pending_of,
)
from service.storage.stored import decoded, typed
from service.websub.subscriber import HubSubscription

GROUP = "ingest"
# Longer than a worker may need to read and append a document.
RECLAIM_MS = 180_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The content of a topic, as its hub sent it."""

    entry_id: str
    source_id: str
    body: bytes
    content_type: str


class OurSubscriptions:
    """Subscriptions at hubs, and the pushes that hubs sent."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def put(self, subscription: HubSubscription) -> None:
        """Store a subscription in place of one with the same id."""
        await self._client.hset(keys.SUBSCRIPTIONS, subscription.id, orjson.dumps(subscription))

    async def get(self, subscription_id: str) -> HubSubscription | None:
        """The subscription of this id, even after its lease ended; None if unknown."""
        stored = await self._client.hget(keys.SUBSCRIPTIONS, subscription_id)
        return decoded(_subscription, stored, what="subscription at a hub") if stored else None

    async def remove(self, subscription_id: str) -> None:
        """Delete a subscription: requests to its callback are refused from now on."""
        await self._client.hdel(keys.SUBSCRIPTIONS, subscription_id)

    async def sweep(self, now_ms: int) -> None:
        """Forget the subscriptions that are over: hubs need not confirm that one has ended."""
        stored = await self._client.hgetall(keys.SUBSCRIPTIONS)
        subscriptions = (
            decoded(_subscription, value, what=f"subscription {name!r}")
            for name, value in stored.items()
        )
        over = [each.id for each in subscriptions if each and each.is_over(now_ms)]
        if over:
            await self._client.hdel(keys.SUBSCRIPTIONS, *over)

    async def push(self, source_id: str, body: bytes, content_type: str) -> bool:
        """Store a push; False if it is too long or too many wait: poll the source instead."""
        if len(body) > keys.PUSH_MAX_BYTES:
            return False
        if await self._client.xlen(keys.PUSHES) >= keys.PUSHES_MAX:
            return False
        fields: dict[str, Value] = {"source": source_id, "body": body, "type": content_type}
        await self._client.xadd(keys.PUSHES, fields)
        return True

    async def pushes(
        self, consumer: str, *, count: int, block_ms: int, again: bool = False
    ) -> list[Push]:
        """Pushes for this caller only, first those that a dead worker left; call `taken` with each.

        Waits up to `block_ms` for new ones.

        Args:
            again: only those that this consumer was sent before and did not take, without waiting.
        """
        try:
            if again:
                entries = await self._read(consumer, "0", count=count, block_ms=None)
            else:
                left = await self._client.xautoclaim(
                    keys.PUSHES, GROUP, consumer, RECLAIM_MS, count=count
                )
                entries = claimed_of(left)
                if not entries:
                    entries = await self._read(consumer, ">", count=count, block_ms=block_ms)
        except ResponseError as exc:
            if "NOGROUP" not in str(exc):
                raise
            await self._make_group()
            return []
        pushes = {
            entry_id.decode(): decoded(_push, (entry_id, fields), what=f"push {entry_id!r}")
            for entry_id, fields in entries
            if entry_id and fields
        }
        # Otherwise they would come first forever.
        for entry_id in [entry_id for entry_id, push in pushes.items() if push is None]:
            await self._delete(entry_id)
        return [push for push in pushes.values() if push]

    async def _read(
        self, consumer: str, after: str, *, count: int, block_ms: int | None
    ) -> list[PendingEntry]:
        reply = await self._client.xreadgroup(
            GROUP, consumer, {keys.PUSHES: after}, count=count, block=block_ms
        )
        return pending_of(reply)

    async def taken(self, push: Push) -> None:
        """Acknowledge and delete a push."""
        await self._delete(push.entry_id)

    async def _delete(self, entry_id: str) -> None:
        pipe = self._client.pipeline(transaction=True)
        pipe.xack(keys.PUSHES, GROUP, entry_id)
        pipe.xdel(keys.PUSHES, entry_id)
        await pipe.execute()

    async def drop_pushes(self) -> list[str]:
        """Delete every push that waits; ids of their sources, which must be polled instead."""
        entries = await self._client.xrange(keys.PUSHES)
        if not entries:
            return []
        ids = [entry_id.decode() for entry_id, _ in entries]
        pipe = self._client.pipeline(transaction=True)
        pipe.xack(keys.PUSHES, GROUP, *ids)
        pipe.xdel(keys.PUSHES, *ids)
        await pipe.execute()
        return list(dict.fromkeys(fields[b"source"].decode() for _, fields in entries))

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(keys.PUSHES, GROUP, id="0", mkstream=True)
        except ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise


def _subscription(stored: bytes) -> HubSubscription:
    return typed(HubSubscription(**decode_stored(stored)))


def _push(entry: StreamEntry) -> Push:
    entry_id, fields = entry
    return Push(
        entry_id=entry_id.decode(),
        source_id=fields[b"source"].decode(),
        body=fields[b"body"],
        content_type=fields[b"type"].decode(),
    )
