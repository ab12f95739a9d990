"""The event stream: read it alone or in a group, acknowledge, trim. Only this module decodes it.

Contract for other services: docs/stream.md. Each event is one stream entry with the attributes of a
CloudEvent 1.0 as fields. Rules for our own groups: start at id 0, read one's own pending entries
first, acknowledge after the effect. Below the cap, entries that a group of ours needs are not
trimmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cachetools import TTLCache
from redis.exceptions import ResponseError

from service.articles.event import FIRST, Event, is_behind
from service.articles.json_text import stored_object
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import (
    Client,
    PendingEntry,
    StreamEntry,
    claimed_of,
    entries_of,
    pending_of,
)
from service.storage.shards import Shards

# A blocking read must end before the socket timeout (5 s), or a quiet stream looks like a dead
# server; and a process that stops waits for it.
BLOCK_MS = 1_000
# The group that maintains the category indexes, on which all feeds depend.
AGGREGATE = "aggregate"
DUPLICATES = "duplicates"
OWN_GROUPS = (AGGREGATE, DUPLICATES)
# Above the longest unit of work: a claim from a live worker would only repeat its work.
CLAIM_IDLE_MS = 15_000
# Entries over the cap that one script call drops: Redis serves no other client meanwhile.
TRIM_AT_ONCE = 500
FIND_AT_ONCE = 200
MAX_PENDING = 10_000
# Events that one group has read and the other of the same worker has not: decoded once for both.
SHARED_BYTES, SHARED_S = 8_000_000, 10.0
_OBJECT_BYTES = 2_000
_FIELDS = {b"id", b"type", b"subject", b"time", b"data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """How far a group is behind on one shard."""

    shard: int
    group: str
    pending: int
    """Number of entries that were read but not acknowledged."""
    lag: int | None
    """Number of unread entries; None if Redis does not know it (6.2, or after deletions)."""


class EventStream:
    """The streams of all shards."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._trim: Script[list[int]] = lua_script(client, "trim")
        self.shards = shards
        # Not longer: an erased text must not stay in memory.
        self._shared: TTLCache[tuple[int, bytes], Event] = TTLCache(
            SHARED_BYTES, SHARED_S, getsizeof=lambda event: len(event.data) + _OBJECT_BYTES
        )

    def forget_decoded(self) -> None:
        """Drop the decoded events that wait for another group: none came to fetch them."""
        self._shared.clear()

    async def create_group(self, group: str) -> None:
        """Create the group on every shard, from the first entry on, unless it exists."""
        for shard in self.shards:
            try:
                await self._client.xgroup_create(keys.stream(shard), group, id="0", mkstream=True)
            except ResponseError as exc:
                if "BUSYGROUP" not in str(exc):
                    raise

    async def read_group(
        self, shard: int, group: str, consumer: str, *, count: int, wait: bool = True
    ) -> list[Event]:
        """Up to `count` new events for this consumer, oldest first; waits up to BLOCK_MS for them.

        A missing group (the stream was deleted) is created again.
        """
        block = BLOCK_MS if wait else None
        return await self._read_group(shard, group, consumer, ">", count=count, block=block)

    async def read_pending(
        self, shard: int, group: str, consumer: str, *, after: str, count: int
    ) -> list[Event]:
        """Up to `count` events after a stream entry that this consumer read and did not
        acknowledge, without waiting. Each read counts as a delivery."""
        return await self._read_group(shard, group, consumer, after, count=count, block=None)

    async def _read_group(
        self, shard: int, group: str, consumer: str, after: str, *, count: int, block: int | None
    ) -> list[Event]:
        try:
            reply = await self._client.xreadgroup(
                group, consumer, {keys.stream(shard): after}, count=count, block=block
            )
        except ResponseError as exc:
            # UNBLOCKED: the stream was deleted during this blocking read.
            if not str(exc).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self.create_group(group)
            return []
        return await self._decode_group(shard, group, pending_of(reply))

    async def deliveries(self, shard: int, group: str, events: Sequence[Event]) -> dict[str, int]:
        """Stream entry id → how often these events were delivered; without acknowledged ones."""
        pending = await self._client.xpending_range(
            keys.stream(shard),
            group,
            min=events[0].entry_id,
            max=events[-1].entry_id,
            count=MAX_PENDING,
        )
        return {entry["message_id"].decode(): entry["times_delivered"] for entry in pending}

    async def claim(self, shard: int, group: str, consumer: str, *, count: int) -> list[Event]:
        """Take over events that other consumers read CLAIM_IDLE_MS ago and did not acknowledge."""
        try:
            reply = await self._client.xautoclaim(
                keys.stream(shard), group, consumer, min_idle_time=CLAIM_IDLE_MS, count=count
            )
        except ResponseError as exc:
            # The stream was deleted; the next read_group creates the group again.
            if not str(exc).startswith("NOGROUP"):
                raise
            return []
        return await self._decode_group(shard, group, claimed_of(reply))

    async def read(self, shard: int, after: str, *, count: int, wait: bool = True) -> list[Event]:
        """Up to `count` events after an entry id (`0-0`: from the start); waits up to BLOCK_MS."""
        block = BLOCK_MS if wait else None
        reply = await self._client.xread({keys.stream(shard): after}, count=count, block=block)
        return _events(shard, entries_of(reply))

    async def newest(self, shard: int, *, count: int) -> list[Event]:
        """The newest events on the stream, at most `count`, oldest first."""
        entries = await self._client.xrevrange(keys.stream(shard), count=count or 1)
        return _events(shard, entries[::-1])[:count]

    async def ack(self, group: str, events: Sequence[Event]) -> None:
        """Acknowledge events; call it after their effect."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self.shards:
            ids = [event.entry_id for event in events if event.shard == shard]
            if ids:
                pipe.xack(keys.stream(shard), group, *ids)
        await pipe.execute()

    async def last_id(self, shard: int) -> str:
        """Id of the newest entry ever added; `0-0` for a stream that was never written."""
        newest = await self._client.xrevrange(keys.stream(shard), count=1)
        return newest[0][0].decode() if newest else await self.trimmed(shard) or FIRST

    async def trimmed(self, shard: int) -> str:
        """Id of the newest entry that was dropped; empty if none was ever dropped."""
        entry_id = await self._client.get(keys.trimmed(shard))
        return entry_id.decode() if entry_id else ""

    async def first_id(self, shard: int) -> str | None:
        """Id of the oldest stream entry; None for an empty stream."""
        oldest = await self._client.xrange(keys.stream(shard), count=1)
        return oldest[0][0].decode() if oldest else None

    async def is_behind(self, shard: int, cursor: str) -> bool:
        """Whether events after a cursor were dropped from the stream."""
        return is_behind(cursor, await self.trimmed(shard))

    async def find(self, event_id: str) -> Event | None:
        """Search the stream for the event of this id, newest first; None if it is not on it."""
        shard = self.shards.of(event_id.partition("_")[0])
        until = "+"
        while True:
            entries = await self._client.xrevrange(
                keys.stream(shard), max=until, count=FIND_AT_ONCE
            )
            for event in _events(shard, entries):
                if event.id == event_id:
                    return event
            if len(entries) < FIND_AT_ONCE:
                return None
            until = f"({entries[-1][0].decode()}"

    async def length(self, shard: int) -> int:
        """Number of entries that were not trimmed yet; 0 for a stream that was never written."""
        return await self._client.xlen(keys.stream(shard))

    async def backlogs(self) -> list[GroupLag]:
        """The lag of every group on every shard, groups of other services included."""
        lags = []
        for shard in self.shards:
            try:
                groups = await self._client.xinfo_groups(keys.stream(shard))
            except ResponseError as exc:
                if "no such key" not in str(exc):
                    raise
                continue
            lags += [
                GroupLag(
                    shard=shard,
                    group=group["name"].decode(),
                    pending=group["pending"],
                    lag=group.get("lag"),
                )
                for group in groups
            ]
        return lags

    async def needed_from(self, shard: int, group: str) -> str:
        """Id of the oldest entry that the group still needs; `0-0` if the group does not exist."""
        try:
            pending = await self._client.xpending(keys.stream(shard), group)
        except ResponseError as exc:
            if not str(exc).startswith("NOGROUP"):
                raise
            return FIRST
        if pending["min"]:
            return pending["min"].decode()
        groups = await self._client.xinfo_groups(keys.stream(shard))
        last = next((g["last-delivered-id"] for g in groups if g["name"] == group.encode()), b"0-0")
        return last.decode()

    async def needed_from_all(self, shard: int) -> list[str]:
        """`needed_from` of each of our groups; a group whose loop never ran here needs nothing."""
        exist = {backlog.group for backlog in await self.backlogs() if backlog.shard == shard}
        groups = [group for group in OWN_GROUPS if group == AGGREGATE or group in exist]
        return [await self.needed_from(shard, group) for group in groups]

    async def trim(
        self, shard: int, *, min_id: str, max_entries: int, max_bytes: int = 0, needed: str = FIRST
    ) -> tuple[int, int, int]:
        """Drop entries before `min_id`, then the oldest until `max_entries` are left, then the
        oldest before `needed` until the stream takes about `max_bytes` of memory.

        Args:
            max_bytes: 0 for no cap in bytes.

        Returns:
            (entries dropped before min_id, only because of the cap, only because of that in bytes).
        """
        names = [keys.stream(shard), keys.trimmed(shard)]
        args: list[str | int] = [min_id, max_entries, TRIM_AT_ONCE, max_bytes, needed]
        total = (0, 0, 0)
        while True:
            before, over, heavy = await self._trim(keys=names, args=args)
            total = (total[0] + before, total[1] + over, total[2] + heavy)
            if max(over, heavy) < TRIM_AT_ONCE:
                return total

    async def read_on(self, shard: int, after: str, *, count: int) -> tuple[list[Event], str]:
        """Up to `count` events after an entry id, and the id of the newest dropped entry or '': a
        cursor before that id has a gap."""
        pipe = self._client.pipeline(transaction=True)
        pipe.get(keys.trimmed(shard))
        pipe.xrange(keys.stream(shard), min=f"({after}", count=count)
        trimmed: bytes | None
        entries: list[StreamEntry]
        trimmed, entries = await pipe.execute()
        return _events(shard, entries), trimmed.decode() if trimmed else ""

    async def _decode_group(
        self, shard: int, group: str, entries: Sequence[PendingEntry]
    ) -> list[Event]:
        """Decode the entries that a group read.

        Entries that are not events (deleted while pending, or added by somebody else) would be read
        again forever: they are acknowledged and counted.
        """
        decoded = [self._decoded(shard, i, fields or {}) for i, fields in entries if i]
        events = [event for event in decoded if event.type]
        if len(events) < len(entries):
            useless = [event.entry_id.encode() for event in decoded if not event.type]
            if any(i is None for i, _ in entries):  # Redis 6.2 does not say which are gone.
                useless += await self._vanished(shard, group)
            await self._client.xack(keys.stream(shard), group, *(useless or [b"0-0"]))
            await self._client.hincrby(keys.counters(0), f"events_lost_{group}", len(useless))
        return events

    def _decoded(self, shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> Event:
        """Decode an entry, or take what another group of this process has decoded."""
        event = self._shared.pop((shard, entry_id), None) if fields else None
        if event is None:
            event = _event(shard, entry_id, fields)
            if fields:  # Else it was deleted, and another group may read it whole.
                with suppress(ValueError):  # Larger than the cache.
                    self._shared[shard, entry_id] = event
        return event

    async def _vanished(self, shard: int, group: str) -> list[bytes]:
        key = keys.stream(shard)
        pending = await self._client.xpending_range(key, group, min="-", max="+", count=100)
        ids = [entry["message_id"] for entry in pending]
        return [i for i in ids if not await self._client.xrange(key, min=i, max=i)]


def _events(shard: int, entries: Sequence[StreamEntry]) -> list[Event]:
    """Decode entries; one that is not an event gets an empty type, so that a cursor can pass it."""
    return [_event(shard, entry_id, fields) for entry_id, fields in entries]


def _event(shard: int, entry_id: bytes, fields: dict[bytes, bytes]) -> Event:
    """Decode an entry. Attributes become headers and lines, data becomes a part of JSON texts: what
    would break those is not an event."""
    names = ("id", "type", "subject", "time")
    texts = {name: fields.get(name.encode(), b"").decode("utf-8", "replace") for name in names}
    data = b""
    with suppress(ValueError):
        data = stored_object(fields.get(b"data", b""))
    if not (data and fields.keys() >= _FIELDS and "".join(texts.values()).isprintable()):
        texts["type"] = ""
    return Event(
        entry_id=entry_id.decode(), shard=shard, id=texts["id"], type=texts["type"],
        subject=texts["subject"], time=texts["time"], data=data,
    )  # fmt: skip
