"""Duplicates in Redis: URLs and bands by which they are recognised, and their marks.

The rules are in articles/duplicates.py.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections.abc import Sequence

import orjson

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value

_WINDOW_MS = 3 * 86_400_000
_BANDS = """
-- Find articles that share a band with this one, and store its bands for later articles.
--
-- KEYS  for each band its bucket in this window, then for each its bucket in the window before
-- ARGV  1 id (16 bytes)  2 TTL of a bucket in s  then the bands
-- Returns the ids.
local ids, seen, count = {}, {}, #ARGV - 2
for i = 1, count * 2 do
  local id = redis.call('HGET', KEYS[i], ARGV[2 + (i - 1) % count + 1])
  if id and id ~= ARGV[1] and not seen[id] then
    seen[id] = true
    ids[#ids + 1] = id
  end
end
for i = 1, count do
  redis.call('HSETNX', KEYS[i], ARGV[2 + i], ARGV[1])
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
return ids
"""

_LEAVE_URL = """
-- KEYS 1 URLs  ARGV 1 digest of a URL 2 id (16 bytes). Returns the number of fields removed.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
"""


class Duplicates:
    """Finds articles with the same URL or words, and marks duplicates."""

    def __init__(self, client: Client, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._bands: Script[list[bytes]] = Script(client, _BANDS)
        self._leave_url: Script[int] = Script(client, _LEAVE_URL)
        self._mark: Script[int] = lua_script(client, "head", "mark")

    async def by_url(self, canonical: str, article_id: str) -> str:
        """Id of the first article with this canonical URL: this article's own if it is the first,
        which is then stored."""
        key, field = _url(canonical)
        await self._client.hsetnx(key, field, uuid.UUID(article_id).bytes)
        return str(uuid.UUID(bytes=await self._client.hget(key, field)))

    async def claim_url(self, canonical: str, article_id: str) -> None:
        """Store this article as the first one with the canonical URL, in place of any other."""
        key, field = _url(canonical)
        await self._client.hset(key, field, uuid.UUID(article_id).bytes)

    async def by_bands(self, bands: Sequence[bytes], article_id: str, *, now_ms: int) -> list[str]:
        """Ids of articles of the last three to six days that may have nearly the same words."""
        if not bands:
            return []
        window = now_ms // _WINDOW_MS
        buckets = [zlib.crc32(band) % keys.BAND_BUCKETS for band in bands]
        key_names = [keys.bands(w, bucket) for w in (window, window - 1) for bucket in buckets]
        argv: list[Value] = [uuid.UUID(article_id).bytes, keys.BANDS_TTL_S, *bands]
        return [str(uuid.UUID(bytes=i)) for i in await self._bands(keys=key_names, args=argv)]

    async def mark(self, article_id: str, *, original: str, hidden_in: Sequence[str]) -> bool:
        """Mark an article as a duplicate of `original`, or as none if that is empty.

        Returns:
            False if the mark was the same before.
        """
        shard = keys.shard_of(article_id, self._shards)
        changed = await self._mark(
            keys=[keys.dirty(shard), keys.article(shard, article_id)],
            args=[article_id, original, orjson.dumps(list(hidden_in))],
        )
        if original and await self._client.scard(keys.twins(original)) < keys.TWINS_MAX:
            await self._client.sadd(keys.twins(original), article_id)
        return bool(changed)

    async def twins(self, article_id: str) -> list[str]:
        """Ids of the articles that were marked as duplicates of this one."""
        members = await self._client.smembers(keys.twins(article_id))
        return sorted(member.decode() for member in members)

    async def leave(self, articles: Sequence[tuple[str, str, str]]) -> None:
        """Forget articles that are not there any more: as the first ones with their URLs, and as
        duplicates.

        Args:
            articles: of each its id, its canonical URL or '', and the id of its original or ''.
        """
        pipe = self._client.pipeline(transaction=False)
        self._leave_url.load_in(pipe)
        for article_id, canonical, original in articles:
            if canonical:
                key, field = _url(canonical)
                args = [field, uuid.UUID(article_id).bytes]
                self._leave_url.run_in(pipe, keys=[key], args=args)
            if original:
                pipe.execute_command("SREM", keys.twins(original), article_id)
        await pipe.execute()

    async def twins_of(self, article_ids: Sequence[str]) -> dict[str, list[str]]:
        """Those of the articles that have duplicates → the ids of these."""
        pipe = self._client.pipeline(transaction=False)
        for article_id in article_ids:
            pipe.execute_command("SMEMBERS", keys.twins(article_id))
        replies: list[set[bytes]] = await pipe.execute()
        return {
            article_id: sorted(member.decode() for member in members)
            for article_id, members in zip(article_ids, replies, strict=True)
            if members
        }

    async def forget_twins(self, article_id: str) -> None:
        """Forget the duplicates of an article that is no longer an original."""
        await self._client.delete(keys.twins(article_id))


def _url(canonical: str) -> tuple[str, bytes]:
    field = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
    return keys.urls(zlib.crc32(field) % keys.URL_BUCKETS), field
