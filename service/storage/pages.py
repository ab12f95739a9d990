"""Pages in Redis: what is on one, its version, its rendered bytes, who asked, who is told.

A page's version is the versions of its category and period in all shards; it moves when something
on the page may have moved. Rendered bytes are shared between servers under the version that they
were made of, so one render serves all.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import orjson

from service import articles as article_rules
from service.pages import Page, Period
from service.storage import keys, stream
from service.storage.connecting import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """State of a page's content; equal versions mean equal content."""

    stamps_ms: tuple[int, ...]
    """One a shard: when the newest event on the page happened; 0 if there was none."""

    @property
    def changed_ms(self) -> int:
        """When the page changed last; 0 if never."""
        return max(self.stamps_ms)

    def __str__(self) -> str:
        return "-".join(map(str, self.stamps_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A page's bytes in one format."""

    version: str
    """What they were made of and by; opaque here."""
    body: bytes
    changed_ms: int
    """When these bytes came to be different from the ones before: Last-Modified."""


Change = tuple[str, str]
"""(category path or `all`, period): a page of which servers may hold something old."""


class Pages:
    """The category indexes, as pages."""

    def __init__(self, client: Client, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    async def ids(self, page: Page, *, limit: int, zone: tzinfo) -> list[str]:
        """Ids of the live articles on a page, newest first: the newest `limit` of a live page, all
        of a period."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            key = keys.category(shard, page.category)
            if page.period.is_live:
                pipe.zrevrange(key, 0, limit - 1, withscores=True)
            else:
                start, end = page.period.bounds(zone)
                low, high = article_rules.to_ms(start), f"({article_rules.to_ms(end)}"
                pipe.zrevrangebyscore(key, high, low, withscores=True)
        replies: list[list[tuple[bytes, float]]] = await pipe.execute()
        ids = _merge(replies)
        return ids[:limit] if page.period.is_live else ids

    async def between(
        self, category: str, *, since: datetime, until: datetime, limit: int
    ) -> list[str]:
        """Ids of a category's live articles published in [since, until), newest first."""
        low, high = article_rules.to_ms(since), f"({article_rules.to_ms(until)}"
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zrevrangebyscore(
                keys.category(shard, category), high, low, start=0, num=limit, withscores=True
            )
        return _merge(await pipe.execute())[:limit]

    async def version(self, page: Page) -> Version:
        """The version of a page now; one round trip."""
        return (await self.versions([page]))[0]

    async def versions(self, pages: Sequence[Page]) -> list[Version]:
        """The same for many pages, in one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for page in pages:
            for shard in range(self._shards):
                pipe.hget(keys.versions(shard, page.category), str(page.period))
        stamps = [int(stamp or 0) for stamp in await pipe.execute()]
        size = self._shards
        return [Version(stamps_ms=tuple(stamps[i : i + size])) for i in range(0, len(stamps), size)]

    async def month_days(self, category: str, month: Period, zone: tzinfo) -> frozenset[int]:
        """Days of a month on which a category has articles."""
        start, end = month.bounds(zone)
        scores = await self._scores(category, start, end)
        return frozenset(article_rules.from_ms(ms).astimezone(zone).day for ms in scores)

    async def neighbour(self, category: str, moment: datetime, *, newer: bool) -> datetime | None:
        """When the nearest article before (or at and after) a moment was published."""
        pipe = self._client.pipeline(transaction=False)
        ms = article_rules.to_ms(moment)
        for shard in range(self._shards):
            key = keys.category(shard, category)
            if newer:
                pipe.zrangebyscore(key, ms, "+inf", start=0, num=1, withscores=True)
            else:
                pipe.zrevrangebyscore(key, f"({ms}", "-inf", start=0, num=1, withscores=True)
        found = [int(score) for pairs in await pipe.execute() for _, score in pairs]
        if not found:
            return None
        return article_rules.from_ms(min(found) if newer else max(found))

    async def count(self, category: str) -> int:
        """Live articles of a category and those below it."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zcard(keys.category(shard, category))
        return sum(await pipe.execute())

    async def _scores(self, category: str, start: datetime, end: datetime) -> list[int]:
        pipe = self._client.pipeline(transaction=False)
        low, high = article_rules.to_ms(start), f"({article_rules.to_ms(end)}"
        for shard in range(self._shards):
            pipe.zrangebyscore(keys.category(shard, category), low, high, withscores=True)
        return [int(score) for pairs in await pipe.execute() for _, score in pairs]

    async def load(self, page: Page, extension: str) -> Rendered | None:
        """Bytes that some process rendered, under whatever version."""
        found = await self._client.hmget(
            self._rendered(page, extension), ["version", "body", "changed_ms"]
        )
        version, body, changed_ms = found
        if version is None or body is None or changed_ms is None:
            return None
        return Rendered(version=version.decode(), body=body, changed_ms=int(changed_ms))

    async def save(self, page: Page, extension: str, rendered: Rendered) -> None:
        """Share rendered bytes with all servers."""
        key = self._rendered(page, extension)
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(
            key,
            mapping={
                "version": rendered.version,
                "body": rendered.body,
                "changed_ms": rendered.changed_ms,
            },
        )
        pipe.expire(key, keys.RENDERED_TTL_S)
        await pipe.execute()

    def _rendered(self, page: Page, extension: str) -> str:
        return keys.rendered(keys.shard_of(str(page), self._shards), str(page), extension)

    async def ask(self, asked: Sequence[tuple[Page, str]], *, now: datetime) -> None:
        """Note that somebody reads these (page, extension), so that they are rendered ahead."""
        if not asked:
            return
        pipe = self._client.pipeline(transaction=False)
        ms = article_rules.to_ms(now)
        pipe.zadd(keys.ASKED, {f"{page}.{extension}": ms for page, extension in asked})
        pipe.zremrangebyrank(keys.ASKED, 0, -keys.ASKED_MAX - 1)
        await pipe.execute()

    async def asked(self, *, since: datetime) -> frozenset[str]:
        """`{page}.{extension}` of all that was read since then."""
        members = await self._client.zrangebyscore(keys.ASKED, article_rules.to_ms(since), "+inf")
        return frozenset(member.decode() for member in members)

    async def announce(self, changes: Sequence[Change]) -> None:
        """Tell all servers that these pages changed."""
        if changes:
            await self._client.publish(keys.CHANGED, orjson.dumps(changes))

    @asynccontextmanager
    async def announcements(self) -> AsyncIterator[AsyncIterator[list[Change]]]:
        """What others announce from now on; an empty list each BLOCK_MS in between, so that
        the reader can see to other things; messages sent while the connection was away are lost."""
        pubsub: Any = self._client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(keys.CHANGED)

        async def messages() -> AsyncIterator[list[Change]]:
            while True:
                message = await pubsub.get_message(timeout=stream.BLOCK_MS / 1000)
                yield [(c, p) for c, p in orjson.loads(message["data"])] if message else []

        try:
            yield messages()
        finally:
            await pubsub.aclose()


def _merge(replies: list[list[tuple[bytes, float]]]) -> list[str]:
    """Members of all shards in Redis's own order: by score, then by member, descending."""
    merged = heapq.merge(*replies, key=lambda pair: (pair[1], pair[0]), reverse=True)
    return [member.decode() for member, _ in merged]
