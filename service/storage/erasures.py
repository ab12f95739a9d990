"""Erasures: the text of erased articles in everything but the article itself, and what is left to
do of an order (`service.manage.erasure`).

Redis has copies of an article's text that no key of the article's own names: events, rendered
pages, what receivers answered, reasons of faults. They are found by the article's id, because the
text is gone once the article is erased; where they do not have the id, all that may contain text
goes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from redis.exceptions import ResponseError

from service.articles import times
from service.articles.event import FIRST
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.shards import Shards

logger = logging.getLogger(__name__)

# Redis serves no other client while a script runs: 200 events of 4 kB take about 1 ms, and so do
# 20 pages of 100 kB and the logs of 20 endpoints.
EVENTS_AT_ONCE = 200
KEYS_AT_ONCE = 20
SCAN_COUNT = 500
_END = """
-- KEYS 1 orders  ARGV 1 ms of the newest order to end 2... article ids. Returns their number.
local ended = 0
for i = 2, #ARGV do
  local ms = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if ms and tonumber(ms) <= tonumber(ARGV[1]) then
    ended = ended + redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return ended
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubbed:
    """Numbers of what was deleted of some articles; the API shows them with these names."""

    events: int
    """Entries of the event stream."""
    pages: int
    """Rendered pages."""
    attempts: int
    """Answers in the logs of webhooks and of the hub."""
    dead_events: int


class Erasures:
    """Deletes copies of texts, and keeps the orders whose second pass is due."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._events: Script[tuple[bytes, int]] = lua_script(client, "erase_events")
        self._pages: Script[int] = lua_script(client, "erase_pages")
        self._attempts: Script[int] = lua_script(client, "erase_attempts")
        self._end: Script[int] = Script(client, _END)

    async def order(self, article_ids: Sequence[str], *, now: datetime) -> None:
        """Note that these articles are to be erased, until `end`; another order starts anew."""
        await self._client.zadd(keys.ERASING, dict.fromkeys(article_ids, times.to_ms(now)))

    async def ordered(self, *, before: datetime) -> list[str]:
        """Ids of the articles whose last order is older than this and has not ended."""
        ids = await self._client.zrangebyscore(keys.ERASING, "-inf", times.to_ms(before))
        return [article_id.decode() for article_id in ids]

    async def count(self) -> int:
        """Number of orders that have not ended."""
        return int(await self._client.execute_command("ZCARD", keys.ERASING))

    async def end(self, article_ids: Sequence[str], *, before: datetime) -> None:
        """End the orders of these articles, unless there are newer ones."""
        await self._end(keys=[keys.ERASING], args=[times.to_ms(before), *article_ids])

    async def scrub(self, article_ids: Sequence[str], *, since: datetime | None) -> Scrubbed:
        """Delete the copies of the texts of these articles. Idempotent.

        Args:
            since: when the first of them was taken in; None if that is not known.
        """
        return Scrubbed(
            events=await self._scrub_events(article_ids),
            pages=await self._scrub_pages(article_ids),
            attempts=await self._scrub_attempts(article_ids, since),
            dead_events=await self._scrub_dead_events(article_ids),
        )

    async def announce(self, article_ids: Sequence[str]) -> None:
        """Have every process drop what it has of these articles in memory."""
        pipe = self._client.pipeline(transaction=False)
        pipe.publish(keys.ERASED, orjson.dumps(list(article_ids)))
        await pipe.execute()

    async def rewrite_log(self) -> None:
        """Have Redis rewrite its append-only file, which repeats every write since the last time.

        A server that refuses (it is at it already, or does not let its clients) is left alone.
        """
        try:
            await self._client.execute_command("BGREWRITEAOF")
        except ResponseError as exc:
            extra = {"reason": str(exc)}
            logger.info("Redis does not rewrite its append-only file now", extra=extra)

    async def _scrub_events(self, article_ids: Sequence[str]) -> int:
        by_shard: dict[int, list[str]] = {}
        for article_id in article_ids:
            by_shard.setdefault(self._shards.of(article_id), []).append(article_id)
        total = 0
        for shard, ids in by_shard.items():
            after = FIRST
            while after:
                last, deleted = await self._events(
                    keys=[keys.stream(shard)], args=[after, EVENTS_AT_ONCE, *ids]
                )
                after, total = last.decode(), total + deleted
        return total

    async def _scrub_pages(self, article_ids: Sequence[str]) -> int:
        total = 0
        for names in (await self._keys_by_slot("dateline:{*}:rendered:*")).values():
            for at in range(0, len(names), KEYS_AT_ONCE):
                total += await self._pages(keys=names[at : at + KEYS_AT_ONCE], args=article_ids)
        return total

    async def _scrub_attempts(self, article_ids: Sequence[str], since: datetime | None) -> int:
        first_ms = times.to_ms(since) if since else 0
        total = 0
        for names in (await self._keys_by_slot("dateline:{*}:attempts:*")).values():
            for at in range(0, len(names), KEYS_AT_ONCE):
                chunk = names[at : at + KEYS_AT_ONCE]
                total += await self._attempts(keys=chunk, args=[first_ms, *article_ids])
        return total

    async def _scrub_dead_events(self, article_ids: Sequence[str]) -> int:
        total, ids = 0, set(article_ids)
        for shard in self._shards:
            name = keys.dead_events(shard)
            fields = [field.decode() for field in await self._client.hkeys(name)]
            theirs = [field for field in fields if field.rpartition(" ")[2] in ids]
            if theirs:
                total += await self._client.hdel(name, *theirs)
        return total

    async def _keys_by_slot(self, pattern: str) -> Mapping[str, list[str]]:
        """Hash tag → the names of the keys that match a pattern, each once."""
        by_tag: dict[str, dict[str, None]] = {}
        async for key in self._client.scan_iter(match=pattern, count=SCAN_COUNT):
            name = key.decode()
            tag = name.partition("{")[2].partition("}")[0]
            by_tag.setdefault(tag, {})[name] = None
        return {tag: list(names) for tag, names in by_tag.items()}
