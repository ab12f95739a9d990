"""Our WebSub subscriptions in Redis, and the pushes of hubs until a worker has processed them.

A subscription is in the shard that its id chooses: requests to callbacks have the id alone, and
most feeds have one of a few hubs, whose host would fill one slot. Pushes are with their source, a
stream a shard with one group: one ingest worker gets each push, or another if that one dies. A
processed push is deleted.
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
)
from service.storage.key_reader import chunks
from service.storage.shards import ONE, Shards, shards_of
from service.storage.stored import decoded, typed
from service.websub.subscriber import HubSubscription

GROUP = "ingest"
# The shard that had all subscriptions until December 2026; its pushes are read as those of any.
FORMER = 0
MOVED_AT_ONCE = 500
# Longer than a worker may need to read and append a document.
RECLAIM_MS = 180_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The content of a topic, as its hub sent it."""

    shard: int
    entry_id: str
    source_id: str
    body: bytes
    content_type: str


class OurSubscriptions:
    """Subscriptions at hubs, and the pushes that hubs sent."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self.shards = shards

    async def put(self, subscription: HubSubscription) -> None:
        """Store a subscription in place of one with the same id."""
        name = self._name(subscription.id)
        await self._client.hset(name, subscription.id, orjson.dumps(subscription))

    async def get(self, subscription_id: str) -> HubSubscription | None:
        """The subscription of this id, even after its lease ended; None if unknown."""
        stored = await self._client.hget(self._name(subscription_id), subscription_id)
        return decoded(_subscription, stored, what="subscription at a hub") if stored else None

    async def remove(self, subscription_id: str) -> None:
        """Delete a subscription: requests to its callback are refused from now on."""
        await self._client.hdel(self._name(subscription_id), subscription_id)

    def _name(self, subscription_id: str) -> str:
        return keys.subscriptions(self.shards.of(subscription_id))

    async def count(self) -> int:
        """Number of subscriptions, also of those that are over."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self.shards:
            pipe.execute_command("HLEN", keys.subscriptions(shard))
        return sum(await pipe.execute())

    async def sweep(self, now_ms: int) -> None:
        """Forget the subscriptions that are over: hubs need not confirm that one has ended."""
        for shard in self.shards:
            stored = await self._client.hgetall(keys.subscriptions(shard))
            subscriptions = (
                decoded(_subscription, value, what=f"subscription {name!r}")
                for name, value in stored.items()
            )
            over = [each.id for each in subscriptions if each and each.is_over(now_ms)]
            if over:
                await self._client.hdel(keys.subscriptions(shard), *over)

    async def push(self, source_id: str, body: bytes, content_type: str, *, host: str) -> bool:
        """Store a push; False if it is too long or too many wait: poll the source instead.

        Args:
            host: that of the source.
        """
        name = keys.pushes(self.shards.of(host))
        if len(body) > keys.PUSH_MAX_BYTES:
            return False
        if await self._client.xlen(name) >= keys.PUSHES_MAX:
            return False
        fields: dict[str, Value] = {"source": source_id, "body": body, "type": content_type}
        await self._client.xadd(name, fields)
        return True

    async def pushes(
        self, shard: int, consumer: str, *, count: int, block_ms: int, again: bool = False
    ) -> list[Push]:
        """Pushes of a shard for this caller only, first those that a dead worker left; call `taken`
        with each.

        Waits up to `block_ms` for new ones.

        Args:
            again: only those that this consumer was sent before and did not take, without waiting.
        """
        name = keys.pushes(shard)
        try:
            if again:
                entries = await self._read(name, consumer, "0", count=count, block_ms=None)
            else:
                left = await self._client.xautoclaim(name, GROUP, consumer, RECLAIM_MS, count=count)
                entries = left[1] or await self._read(
                    name, consumer, ">", count=count, block_ms=block_ms
                )
        except ResponseError as exc:
            if "NOGROUP" not in str(exc):
                raise
            await self._make_group(name)
            return []
        pushes = {
            entry_id.decode(): decoded(
                _push, (shard, (entry_id, fields)), what=f"push {entry_id!r}"
            )
            for entry_id, fields in entries
            if entry_id and fields
        }
        # Otherwise they would come first forever.
        for entry_id in [entry_id for entry_id, push in pushes.items() if push is None]:
            await self._delete(name, entry_id)
        return [push for push in pushes.values() if push]

    async def _read(
        self, name: str, consumer: str, after: str, *, count: int, block_ms: int | None
    ) -> list[PendingEntry]:
        reply = await self._client.xreadgroup(
            GROUP, consumer, {name: after}, count=count, block=block_ms
        )
        return reply[0][1] if reply else []

    async def taken(self, push: Push) -> None:
        """Acknowledge and delete a push."""
        await self._delete(keys.pushes(push.shard), push.entry_id)

    async def _delete(self, name: str, *entry_ids: str) -> None:
        pipe = self._client.pipeline(transaction=True)
        pipe.xack(name, GROUP, *entry_ids)
        pipe.xdel(name, *entry_ids)
        await pipe.execute()

    async def drop_pushes(self) -> list[str]:
        """Delete every push that waits; ids of their sources, which must be polled instead."""
        source_ids: list[str] = []
        for shard in self.shards:
            entries = await self._client.xrange(keys.pushes(shard))
            if entries:
                await self._delete(keys.pushes(shard), *(i.decode() for i, _ in entries))
            source_ids += [fields[b"source"].decode() for _, fields in entries]
        return list(dict.fromkeys(source_ids))

    async def _make_group(self, name: str) -> None:
        try:
            await self._client.xgroup_create(name, GROUP, id="0", mkstream=True)
        except ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise


def _subscription(stored: bytes) -> HubSubscription:
    return typed(HubSubscription(**decode_stored(stored)))


def _push(at: tuple[int, StreamEntry]) -> Push:
    shard, (entry_id, fields) = at
    return Push(
        shard=shard,
        entry_id=entry_id.decode(),
        source_id=fields[b"source"].decode(),
        body=fields[b"body"],
        content_type=fields[b"type"].decode(),
    )


async def place_subscriptions(client: Client) -> None:
    """Move the subscriptions of an archive that had all of them in the first shard to the shards
    that their ids choose. Can be repeated."""
    shards = await shards_of(client) or ONE
    former = keys.subscriptions(FORMER)
    for names in chunks(await client.hkeys(former), MOVED_AT_ONCE):
        elsewhere = [
            (shard, name)
            for name in names
            if name.isascii() and (shard := shards.of(name.decode())) != FORMER
        ]
        values = await client.hmget(former, [n.decode() for _, n in elsewhere]) if elsewhere else []
        pipe = client.pipeline(transaction=False)
        for (shard, name), value in zip(elsewhere, values, strict=True):
            if value:
                # One that is there already was renewed by another process since.
                pipe.hsetnx(keys.subscriptions(shard), name.decode(), value)
        if elsewhere:
            await pipe.execute()
            await client.hdel(former, *(name.decode() for _, name in elsewhere))
