"""Webhooks in Redis: their cursors in the streams, logs of attempts, and ranges to send again.

The streams are the queue; an endpoint is a cursor into each shard's stream. Nothing is stored per
event and endpoint. Only the worker that holds the endpoint's lease writes cursors and retries; API
and CLI leave orders for it (a test, another cursor, a replay).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Pipeline, StreamEntry, Value
from service.storage.leases import Lease
from service.storage.partitions import partition_of
from service.storage.stored import decoded, typed
from service.webhooks.webhook import Webhook

_CURSOR = "cursor:"
REPLAY = "replay"
"""Name of the state field that holds the position of the first replay."""
_AT_ONCE = 500

_REPLACE = """
-- KEYS 1 endpoints  ARGV 1 id 2 settings as they were 3 new settings
-- Returns 1; 0 if the settings have changed since.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


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

    registry: str
    """Key of the hash in which the endpoint must still exist."""
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
    """Webhooks, their delivery states and logs."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._settle: Script[list[int]] = lua_script(client, "settle", is_durable=True)
        self._replace: Script[int] = Script(client, _REPLACE)

    async def add(self, webhook: Webhook, cursors: Mapping[int, str]) -> None:
        """Store a webhook that starts at these cursors (shard → entry id)."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(
            keys.endpoint(webhook.id),
            mapping={cursor_field(shard): cursor for shard, cursor in cursors.items()},
        )
        pipe.hset(keys.ENDPOINTS, webhook.id, webhook.to_json())
        _note_change(pipe, webhook.id)
        await pipe.execute()

    async def remove(self, webhook_id: str) -> bool:
        """Delete a webhook with its state and logs; False if it is unknown."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.ENDPOINTS, webhook_id)
        pipe.delete(
            keys.endpoint(webhook_id),
            keys.attempts(webhook_id),
            keys.dead_letters(webhook_id),
            keys.replays(webhook_id),
        )
        _note_change(pipe, webhook_id)
        return bool((await pipe.execute())[0])

    async def replace(self, before: Webhook, after: Webhook) -> bool:
        """Store changed settings; False if the webhook was changed or removed meanwhile."""
        stored = await self._client.hget(keys.ENDPOINTS, before.id)
        if stored is None or Webhook.from_json(stored) != before:
            return False
        args: list[Value] = [before.id, stored, after.to_json()]
        is_done = await self._replace(keys=[keys.ENDPOINTS], args=args) == 1
        await self._changed(before.id)
        return is_done

    async def get(self, webhook_id: str) -> Webhook | None:
        """The webhook of this id; None if it is unknown."""
        stored = await self._client.hget(keys.ENDPOINTS, webhook_id)
        return decoded(_webhook, stored, what=f"webhook {webhook_id}") if stored else None

    async def is_stored(self, webhook_id: str) -> bool:
        """Whether there is a webhook of this id, readable or not."""
        return await self._client.hexists(keys.ENDPOINTS, webhook_id)

    async def all(self) -> list[Webhook]:
        """All webhooks, oldest first."""
        stored: dict[bytes, bytes] = await self._client.hgetall(keys.ENDPOINTS)
        webhooks = [
            decoded(_webhook, value, what=f"webhook {name!r}") for name, value in stored.items()
        ]
        return sorted((w for w in webhooks if w), key=lambda w: (w.created, w.id))

    async def part(self, *, after: str, limit: int) -> list[Webhook]:
        """The first webhooks after an id, in the order of partitions and ids; at most `limit`.

        Args:
            after: id of the webhook before, which may be gone; empty for the first ones.
        """
        start = (partition_of(after), after) if after else (0, "")
        webhooks = [w for w in await self.all() if (partition_of(w.id), w.id) > start]
        return sorted(webhooks, key=lambda w: (partition_of(w.id), w.id))[:limit]

    async def count(self) -> int:
        """Number of webhooks, with those whose settings cannot be read."""
        return await self._client.hlen(keys.ENDPOINTS)

    async def state(self, webhook_id: str) -> State:
        """The delivery state of a webhook; an empty state for an unknown id."""
        return (await self.states([webhook_id]))[0]

    async def states(self, webhook_ids: Sequence[str]) -> list[State]:
        """The delivery states of many webhooks in their order, each with its first replay only."""
        states: list[State] = []
        for at in range(0, len(webhook_ids), _AT_ONCE):
            pipe = self._client.pipeline(transaction=False)
            for webhook_id in webhook_ids[at : at + _AT_ONCE]:
                pipe.hgetall(keys.endpoint(webhook_id))
                pipe.lrange(keys.replays(webhook_id), 0, 0)
            replies = iter(await pipe.execute())
            states += [
                State.from_fields(fields, first)
                for fields, first in zip(replies, replies, strict=True)
            ]
        return states

    async def needed_from(self, shard: int) -> list[str]:
        """Cursors in a shard's stream after which entries are still to be sent, or sent again, to
        webhooks that are neither disabled nor paused."""
        active = [webhook.id for webhook in await self.all() if not webhook.paused]
        cursors = []
        for state in await self.states(active):
            if not state.disabled and shard in state.cursors:
                cursors.append(state.cursors[shard])
            cursors += [r.after for r in state.replays if r.shard == shard and not state.disabled]
        return cursors

    async def order(self, webhook_id: str, **orders: str) -> None:
        """Store an order for the worker of a webhook: `test` or `resume`."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.endpoint(webhook_id), mapping=orders)
        _note_change(pipe, webhook_id)
        await pipe.execute()

    async def replay(self, webhook_id: str, ranges: Sequence[Range]) -> bool:
        """Append ranges to the waiting replays; False, without a change, if they are too many."""
        key = keys.replays(webhook_id)
        if await self._client.llen(key) + len(ranges) > keys.REPLAYS_MAX:
            return False
        pipe = self._client.pipeline(transaction=True)
        pipe.rpush(key, *map(str, ranges))
        _note_change(pipe, webhook_id)
        await pipe.execute()
        return True

    async def changes(self, after: str, *, block_ms: int) -> tuple[str, list[str]]:
        """Wait for changes after a position, `$` at first.

        Returns:
            The position for the next call, and the ids of the changed endpoints.
        """
        if after == "$":
            newest = await self._client.xrevrange(keys.ENDPOINTS_CHANGES, count=1)
            return (newest[0][0].decode() if newest else "0-0"), []
        reply = await self._client.xread({keys.ENDPOINTS_CHANGES: after}, block=block_ms)
        entries: list[StreamEntry] = reply[0][1] if reply else []
        ids = [fields[b"id"].decode() for _, fields in entries]
        return (entries[-1][0].decode() if entries else after), ids

    async def settle(
        self, acks: Sequence[tuple[Lease, Ack]], *, counters: Mapping[str, int]
    ) -> list[Settled]:
        """Store acks, each if this process still holds its lease and its endpoint exists."""
        epochs = {lease.name: lease.epoch for lease, _ in acks}
        numbers = {name: number for number, name in enumerate(epochs, 1)}
        names = [keys.OPERATIONS, keys.COUNTERS, *map(keys.epoch, epochs)]
        args: list[Value] = [keys.ATTEMPTS_MAX, keys.DEAD_LETTERS_MAX, keys.OPERATIONS_MAX]
        args += [*_pairs(counters), len(epochs), *epochs.values()]
        for lease, ack in acks:
            names += [
                ack.registry,
                keys.endpoint(ack.endpoint_id),
                keys.attempts(ack.endpoint_id),
                keys.dead_letters(ack.endpoint_id),
                keys.replays(ack.endpoint_id),
            ]
            args += [ack.endpoint_id, numbers[lease.name], str(ack.replayed or "")]
            for pairs in (ack.fields, ack.orders, ack.attempt, ack.dead_letter, ack.event):
                args += _pairs(pairs)
        return [Settled(done) for done in await self._settle(keys=names, args=args)]

    async def attempts(self, webhook_id: str, *, limit: int) -> list[dict[str, str | int]]:
        """The last attempts, newest first, at most `limit`."""
        entries = await self._client.xrevrange(keys.attempts(webhook_id), count=limit)
        return [_record(entry_id, fields) for entry_id, fields in entries]

    async def dead_letters(self, webhook_id: str, *, limit: int) -> list[dict[str, str | int]]:
        """The last ranges of events whose delivery was given up, newest first."""
        entries = await self._client.xrevrange(keys.dead_letters(webhook_id), count=limit)
        return [_record(entry_id, fields) for entry_id, fields in entries]

    async def operations(self, *, limit: int) -> list[dict[str, Any]]:
        """The last events of the operations stream, newest first."""
        entries = await self._client.xrevrange(keys.OPERATIONS, count=limit)
        events = [_texts(fields) for _, fields in entries]
        return [{**event, "data": orjson.loads(event["data"])} for event in events]

    async def _changed(self, endpoint_id: str) -> None:
        await self._client.xadd(
            keys.ENDPOINTS_CHANGES, {"id": endpoint_id}, maxlen=keys.CHANGES_MAX
        )


def _webhook(stored: bytes) -> Webhook:
    return typed(Webhook.from_json(stored))


def cursor_field(shard: int) -> str:
    """Name of the state field that holds a shard's cursor."""
    return f"{_CURSOR}{shard}"


def _note_change(pipe: Pipeline, endpoint_id: str) -> None:
    pipe.xadd(keys.ENDPOINTS_CHANGES, {"id": endpoint_id}, maxlen=keys.CHANGES_MAX)


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
