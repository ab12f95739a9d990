"""Dead letters of our own consumer groups: events that could not be processed after several tries.

A dead letter is acknowledged, so that it does not block other events, and the newest revision of
its article is tried again at growing intervals. It is removed when a try succeeds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import orjson

from service.articles import times
from service.articles.event import Event
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.shards import Shards
from service.storage.stored import decoded

FIRST_RETRY = timedelta(minutes=10)
LONGEST_RETRY = timedelta(days=1)
MAX_AT_ONCE = 100

_BEGIN_TRY = """
-- KEYS 1 tries  ARGV 1 field 2 process
-- Adds the process to those that began a try; safe to send twice. Returns how many there are.
local processes = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if not string.find(processes, ARGV[2], 1, true) then
  processes = processes .. ' ' .. ARGV[2]
  redis.call('HSET', KEYS[1], ARGV[1], processes)
end
local _, count = string.gsub(processes, '%S+', '')
return count
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEvent:
    """An article whose event a group could not process."""

    group: str
    article_id: str
    entry_id: str
    """Id of the stream entry; empty if the article failed without an event."""
    reason: str
    tries: int
    since: str
    """Time of the first failure, RFC 3339."""
    retry_ms: int | None
    """Time of the next try; None if it needs an operator's order, because workers died of it."""

    def tried_again(self, reason: str, *, now: datetime) -> DeadEvent:
        """Return a copy after one more failure, with a longer delay until the next try."""
        tries = self.tries + 1
        return replace(self, reason=reason, tries=tries, retry_ms=_retry_ms(tries, now))


def dead_event(
    *, group: str, article_id: str, entry_id: str, reason: str, tries: int, now: datetime,
    is_deadly: bool = False,
) -> DeadEvent:  # fmt: skip
    """Return a new dead letter.

    Args:
        is_deadly: whether processes died while they processed it; only an order retries it then.
    """
    return DeadEvent(
        group=group,
        article_id=article_id,
        entry_id=entry_id,
        reason=reason,
        tries=tries,
        since=times.to_rfc3339(now),
        retry_ms=None if is_deadly else _retry_ms(0, now),
    )


def _retry_ms(tries: int, now: datetime) -> int:
    delay = min(FIRST_RETRY * 2 ** min(tries, 20), LONGEST_RETRY)
    return times.to_ms(now + delay)


class DeadEvents:
    """The dead letters of all shards."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._bury: Script[int] = lua_script(client, "bury")
        self._begin_try: Script[int] = Script(client, _BEGIN_TRY)

    async def bury(self, event: DeadEvent, *, is_dirty: bool) -> None:
        """Add a dead letter and acknowledge its stream entry, in one step.

        Args:
            is_dirty: whether to remove the article from the set of those with an outdated index.
        """
        shard = self._shards.of(event.article_id)
        await self._bury(
            keys=[keys.dead_events(shard), keys.stream(shard), keys.dirty(shard)],
            args=[
                _field(event.group, event.article_id), orjson.dumps(event), event.group,
                event.entry_id, event.article_id if is_dirty else "",
            ],
        )  # fmt: skip

    async def put(self, event: DeadEvent) -> None:
        """Store a dead letter in place of the one of the same group and article."""
        name = keys.dead_events(self._shards.of(event.article_id))
        field = _field(event.group, event.article_id)
        await self._client.hset(name, field, orjson.dumps(event))

    async def due(self, group: str, *, shard: int, now: datetime) -> list[DeadEvent]:
        """Dead letters of a group whose next try is due, at most MAX_AT_ONCE."""
        now_ms = times.to_ms(now)
        events = await self._of_shard(shard)
        return [
            event
            for event in events
            if event.group == group and event.retry_ms is not None and event.retry_ms <= now_ms
        ][:MAX_AT_ONCE]

    async def remove(self, group: str, article_ids: Sequence[str]) -> None:
        """Remove the dead letters of articles that were processed; unknown ids are ignored."""
        for article_id in article_ids:
            name = keys.dead_events(self._shards.of(article_id))
            await self._client.hdel(name, _field(group, article_id))

    async def begin_try(self, group: str, event: Event, *, process: str) -> int:
        """Note that a process handles an event that other processes may have died of.

        Args:
            process: identifies it. A try that it began before counts once: it has survived that.

        Returns:
            How many processes began and did not end a try, this one included.
        """
        names = [keys.event_tries(event.shard)]
        return await self._begin_try(keys=names, args=[_field(group, event.entry_id), process])

    async def end_try(self, group: str, event: Event) -> None:
        """Remove the notes: this process has survived the event."""
        await self._client.hdel(keys.event_tries(event.shard), _field(group, event.entry_id))

    async def all(self) -> list[DeadEvent]:
        """All dead letters, oldest first."""
        events = [e for shard in self._shards for e in await self._of_shard(shard)]
        return sorted(events, key=lambda event: (event.since, event.article_id))

    async def count(self) -> int:
        """Number of dead letters in all shards."""
        counts = [await self._client.hlen(keys.dead_events(s)) for s in self._shards]
        return sum(map(int, counts))

    async def retry(self, article_ids: Collection[str] = (), *, now: datetime) -> int:
        """Make dead letters due now: those of these articles, or all.

        Returns:
            The number of dead letters that are due now.
        """
        events = [e for e in await self.all() if not article_ids or e.article_id in article_ids]
        for event in events:
            await self.put(replace(event, retry_ms=times.to_ms(now)))
        return len(events)

    async def _of_shard(self, shard: int) -> list[DeadEvent]:
        values: dict[bytes, bytes] = await self._client.hgetall(keys.dead_events(shard))
        events = [
            decoded(_dead_event, value, what=f"dead event {field!r}")
            for field, value in values.items()
        ]
        return [event for event in events if event]


def _dead_event(stored: bytes) -> DeadEvent:
    return DeadEvent(**orjson.loads(stored))


def _field(group: str, name: str) -> str:
    return f"{group} {name}"
