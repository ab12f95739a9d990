"""Webhooks in Redis: their cursors in the streams, logs of attempts, and ranges to send again.

The streams are the queue; an endpoint is a cursor into each shard's stream. Nothing is stored per
event and endpoint. Only the worker that holds the endpoint's lease writes cursors and retries; API
and CLI leave orders for it (a test, another cursor, a replay).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, StreamEntry, Value
from service.storage.leases import Lease
from service.storage.needed_events import NeededEvents
from service.storage.operations import operations_of
from service.storage.partitions import PARTITIONS, partition_of, registries, shard_of
from service.storage.shards import Shards
from service.storage.stored import decoded, typed
from service.webhooks.webhook import Webhook

_CURSOR = "cursor:"
REPLAY = "replay"
"""Name of the state field that holds the position of the first replay."""
_AT_ONCE, _PARTITIONS_AT_ONCE = 500, 16


@dataclass(frozen=True, slots=True)
class Range:
    """Entries of one shard's stream that are to be sent again."""

    shard: int
    after: str
    until: str
    """Id of the last stream entry of the range."""

    def __str__(self) -> str:
        return f"{self.shard} {self.after} {self.until}"

    @classmethod
    def parse(cls, text: str) -> Range:
        """The inverse of `str`."""
        shard, after, until = text.split(" ")
        return cls(int(shard), after, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The delivery state of a webhook."""

    cursors: Mapping[int, str] = field(default_factory=dict)
    """Shard → id of the last settled stream entry."""
    failures: int = 0
    """Attempts that failed since the last success."""
    next_ms: int = 0
    """Time before which no attempt is made."""
    first_failure_ms: int = 0
    """Time of the first failure since the last success; 0 without one."""
    until: str = ""
    """Last entry of the failed request, which is repeated unchanged: `cursor:0 5-0` or
    `replay 5-0`."""
    disabled: str = ""
    """Why nothing is sent any more; empty while active."""
    gaps: int = 0
    """How often events were dropped from the stream before they were sent."""
    test: str = ""
    """Order: id of a test event to be sent."""
    resume: str = ""
    """Order: JSON of shard → entry id from which to continue, even if disabled."""
    replay: str = ""
    """Progress of the first replay: an entry id."""
    replays: tuple[Range, ...] = ()
    """The waiting replays; `Webhooks.states` reads only the first."""

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes], replays: Sequence[bytes] = ()) -> State:
        """Decode the endpoint hash, and the ranges of the list of replays."""
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return cls(
            cursors={
                int(name.removeprefix(_CURSOR)): value
                for name, value in text.items()
                if name.startswith(_CURSOR)
            },
            failures=int(text.get("failures") or 0),
            next_ms=int(text.get("next_ms") or 0),
            first_failure_ms=int(text.get("first_failure_ms") or 0),
            gaps=int(text.get("gaps") or 0),
            until=text.get("until", ""),
            disabled=text.get("disabled", ""),
            test=text.get("test", ""),
            resume=text.get("resume", ""),
            replay=text.get(REPLAY, ""),
            replays=tuple(Range.parse(each.decode()) for each in replays),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The changes to store after an attempt, all or nothing."""

    registry: str = ""
    """Key of the hash in which a subscription must still exist; empty for a webhook, which must be
    among those of its partition."""
    endpoint_id: str
    fields: Mapping[str, str | int] = field(default_factory=dict)
    orders: Mapping[str, str] = field(default_factory=dict)
    """Orders that were handled: removed, unless there are newer ones."""
    replayed: Range | None = None
    """The replay that is finished; None if none is."""
    attempt: Mapping[str, str | int] = field(default_factory=dict)
    dead_letter: Mapping[str, str | int] = field(default_factory=dict)
    event: Mapping[str, str | bytes] = field(default_factory=dict)
    """Event for the operations stream; empty for no event."""


class Settled(Enum):
    """The result of an ack."""

    WRITTEN = 1
    REMOVED = -1
    """The endpoint was removed."""
    LOST = 0
    """Another worker holds the lease."""


class Webhooks:
    """Webhooks, their delivery states and logs, in partitions (partitions.py)."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._needed = NeededEvents(client, shards=shards)
        self._settle: Script[list[int]] = lua_script(client, "settle", is_durable=True)
        self._change: Script[int] = lua_script(client, "needed", "change_webhook")

    def shard_of(self, webhook_id: str) -> int:
        """The shard that has everything of a webhook."""
        return shard_of(partition_of(webhook_id), self._shards)

    async def add(self, webhook: Webhook, cursors: Mapping[int, str]) -> None:
        """Store a webhook that starts at these cursors (shard → entry id)."""
        fields = {cursor_field(shard): cursor for shard, cursor in cursors.items()}
        await self._changed(webhook.id, before=b"-", after=webhook.to_json(), fields=fields)

    async def remove(self, webhook_id: str) -> bool:
        """Delete a webhook with its state and logs; False if it is unknown."""
        shard = self.shard_of(webhook_id)
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(self._registry(webhook_id), webhook_id)
        pipe.delete(
            keys.endpoint(shard, webhook_id),
            keys.attempts(shard, webhook_id),
            keys.dead_letters(shard, webhook_id),
            keys.replays(shard, webhook_id),
        )
        pipe.xadd(keys.endpoints_changes(shard), {"id": webhook_id}, maxlen=keys.CHANGES_MAX)
        is_removed = bool((await pipe.execute())[0])
        # The stream is not kept for it any longer, also while no worker runs.
        await self.note_needed(partition_of(webhook_id))
        return is_removed

    async def replace(self, before: Webhook, after: Webhook) -> bool:
        """Store changed settings; False if the webhook was changed or removed meanwhile."""
        stored = await self._client.hget(self._registry(before.id), before.id)
        if stored is None or Webhook.from_json(stored) != before:
            return False
        is_done = await self._changed(before.id, before=stored, after=after.to_json()) == 1
        if after.paused:
            await self.note_needed(partition_of(before.id))
        return is_done

    async def get(self, webhook_id: str) -> Webhook | None:
        """The webhook of this id; None if it is unknown."""
        stored = await self._client.hget(self._registry(webhook_id), webhook_id)
        return decoded(_webhook, stored, what=f"webhook {webhook_id}") if stored else None

    async def is_stored(self, webhook_id: str) -> bool:
        """Whether there is a webhook of this id, readable or not."""
        return await self._client.hexists(self._registry(webhook_id), webhook_id)

    async def in_partition(self, partition: int) -> list[Webhook]:
        """The webhooks of a partition whose settings can be read."""
        return [webhook async for webhook in self._in_partitions(range(partition, partition + 1))]

    async def part(self, *, after: str, limit: int) -> list[Webhook]:
        """The first webhooks after an id, in the order of partitions and ids; at most `limit`.

        Args:
            after: id of the webhook before, which may be gone; empty for the first ones.
        """
        start = (partition_of(after), after) if after else (0, "")
        webhooks: list[Webhook] = []
        async for webhook in self._in_partitions(range(start[0], PARTITIONS)):
            if (partition_of(webhook.id), webhook.id) > start:
                webhooks.append(webhook)
            if len(webhooks) == limit:
                break
        return webhooks

    async def all(self) -> AsyncIterator[Webhook]:
        """Every webhook whose settings can be read, a few partitions at a time."""
        async for webhook in self._in_partitions(range(PARTITIONS)):
            yield webhook

    async def _in_partitions(self, partitions: range) -> AsyncIterator[Webhook]:
        """The webhooks of these partitions, in the order of partitions and ids."""
        for at in range(0, len(partitions), _PARTITIONS_AT_ONCE):
            pipe = self._client.pipeline(transaction=False)
            for partition in partitions[at : at + _PARTITIONS_AT_ONCE]:
                pipe.hgetall(keys.endpoints(shard_of(partition, self._shards), partition))
            stored: list[dict[bytes, bytes]] = await pipe.execute()
            for values in stored:
                for name in sorted(values):
                    webhook = decoded(_webhook, values[name], what=f"webhook {name!r}")
                    if webhook:
                        yield webhook

    async def count(self) -> int:
        """Number of webhooks, with those whose settings cannot be read."""
        pipe = self._client.pipeline(transaction=False)
        for _, registry in registries(self._shards):
            pipe.execute_command("HLEN", registry)
        return sum(await pipe.execute())

    async def state(self, webhook_id: str) -> State:
        """The delivery state of a webhook; an empty state for an unknown id."""
        return (await self.states([webhook_id]))[0]

    async def states(self, webhook_ids: Sequence[str]) -> list[State]:
        """The delivery states of many webhooks in their order, each with its first replay only."""
        states: list[State] = []
        for at in range(0, len(webhook_ids), _AT_ONCE):
            pipe = self._client.pipeline(transaction=False)
            for webhook_id in webhook_ids[at : at + _AT_ONCE]:
                shard = self.shard_of(webhook_id)
                pipe.hgetall(keys.endpoint(shard, webhook_id))
                pipe.lrange(keys.replays(shard, webhook_id), 0, 0)
            replies = iter(await pipe.execute())
            states += [
                State.from_fields(fields, first)
                for fields, first in zip(replies, replies, strict=True)
            ]
        return states

    async def needed(self) -> Mapping[int, str]:
        """Stream shard → the cursor after which entries are still to be sent, or sent again, to
        webhooks that are neither disabled nor paused. It may be too low, never too high."""
        return await self._needed.lowest()

    async def note_needed(self, partition: int) -> None:
        """Note anew what the webhooks of a partition need, for `needed`."""
        await self._needed.note(partition)

    async def order(self, webhook_id: str, **orders: str) -> None:
        """Store an order for the worker of a webhook: `test` or `resume`."""
        await self._changed(webhook_id, fields=orders)

    async def replay(self, webhook_id: str, ranges: Sequence[Range]) -> bool:
        """Append ranges to the waiting replays; False, without a change, if they are too many."""
        return await self._changed(webhook_id, ranges=ranges) >= 0

    async def changes(self, shard: int, after: str, *, block_ms: int) -> tuple[str, list[str]]:
        """Wait for changes in a shard after a position, `$` at first.

        Returns:
            The position for the next call, and the ids of the changed endpoints.
        """
        name = keys.endpoints_changes(shard)
        if after == "$":
            newest = await self._client.xrevrange(name, count=1)
            return (newest[0][0].decode() if newest else "0-0"), []
        reply = await self._client.xread({name: after}, block=block_ms)
        entries: list[StreamEntry] = reply[0][1] if reply else []
        ids = [fields[b"id"].decode() for _, fields in entries]
        return (entries[-1][0].decode() if entries else after), ids

    async def settle(
        self, acks: Sequence[tuple[Lease, Ack]], *, counters: Mapping[str, int]
    ) -> list[Settled]:
        """Store acks of one shard, that of their leases, each if this process still holds its lease
        and its endpoint exists."""
        (shard,) = {lease.shard for lease, _ in acks}
        epochs = {lease.name: lease.epoch for lease, _ in acks}
        numbers = {name: number for number, name in enumerate(epochs, 1)}
        names = [operations_of(shard), keys.counters(shard)]
        names += [keys.epoch(name, shard) for name in epochs]
        args: list[Value] = [keys.ATTEMPTS_MAX, keys.DEAD_LETTERS_MAX, keys.OPERATIONS_MAX]
        args += [*_pairs(counters), len(epochs), *epochs.values()]
        for lease, ack in acks:
            names += [
                ack.registry or self._registry(ack.endpoint_id),
                keys.endpoint(shard, ack.endpoint_id),
                keys.attempts(shard, ack.endpoint_id),
                keys.dead_letters(shard, ack.endpoint_id),
                keys.replays(shard, ack.endpoint_id),
            ]
            args += [ack.endpoint_id, numbers[lease.name], str(ack.replayed or "")]
            for pairs in (ack.fields, ack.orders, ack.attempt, ack.dead_letter, ack.event):
                args += _pairs(pairs)
        return [Settled(done) for done in await self._settle(keys=names, args=args)]

    async def attempts(self, webhook_id: str, *, limit: int) -> list[dict[str, str | int]]:
        """The last attempts, newest first, at most `limit`."""
        name = keys.attempts(self.shard_of(webhook_id), webhook_id)
        entries = await self._client.xrevrange(name, count=limit)
        return [_record(entry_id, fields) for entry_id, fields in entries]

    async def dead_letters(self, webhook_id: str, *, limit: int) -> list[dict[str, str | int]]:
        """The last ranges of events whose delivery was given up, newest first."""
        name = keys.dead_letters(self.shard_of(webhook_id), webhook_id)
        entries = await self._client.xrevrange(name, count=limit)
        return [_record(entry_id, fields) for entry_id, fields in entries]

    def _registry(self, webhook_id: str) -> str:
        return keys.endpoints(self.shard_of(webhook_id), partition_of(webhook_id))

    async def _changed(
        self,
        webhook_id: str,
        *,
        before: bytes = b"",
        after: bytes = b"",
        fields: Mapping[str, str] | None = None,
        ranges: Sequence[Range] = (),
    ) -> int:
        """Run change_webhook.lua; its reply."""
        shard = self.shard_of(webhook_id)
        names = [
            self._registry(webhook_id),
            keys.endpoint(shard, webhook_id),
            keys.replays(shard, webhook_id),
            keys.needed(shard),
            keys.endpoints_changes(shard),
        ]
        args: list[Value] = [
            webhook_id, partition_of(webhook_id), keys.CHANGES_MAX, keys.REPLAYS_MAX, before, after,
            *_pairs(fields or {}), *map(str, ranges),
        ]  # fmt: skip
        return await self._change(keys=names, args=args)


def _webhook(stored: bytes) -> Webhook:
    return typed(Webhook.from_json(stored))


def cursor_field(shard: int) -> str:
    """Name of the state field that holds a shard's cursor."""
    return f"{_CURSOR}{shard}"


def _pairs(fields: Mapping[str, Value]) -> Iterator[Value]:
    yield 2 * len(fields)
    for pair in fields.items():
        yield from pair


def _record(entry_id: bytes, fields: Mapping[bytes, bytes]) -> dict[str, str | int]:
    """Decode a log entry: `time_ms` and its fields, those of _COUNTS as integers."""
    texts = _texts(fields)
    numbers = {name: int(texts[name]) for name in _COUNTS if name in texts}
    return {"time_ms": int(entry_id.partition(b"-")[0]), **texts, **numbers}


_COUNTS = ("status", "duration_ms", "attempt", "events", "shard")


def _texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
