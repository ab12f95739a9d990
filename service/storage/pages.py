"""Pages in Redis: what is on one, its version, its rendered bytes, who asked, who is told.

A page's version is the versions of its category and period in all shards; it moves when something
on the page may have moved. Rendered bytes are shared between servers under the version that they
were made of, so one render serves all.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from typing import Any

import msgpack
import orjson

from service import articles as article_rules
from service.filters import Place
from service.pages import UNCHAINED, Chain, Page, Period
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
    tag: str
    """Hash of the body."""
    entries: bytes
    """One mark of 8 bytes for each entry, in no use but for differences."""
    past: tuple[tuple[str, bytes], ...] = ()
    """(tag, entries) of versions before, newest first."""


@dataclass(frozen=True, slots=True)
class State:
    """All that a feed of a page depends on: equal states mean equal bytes."""

    version: Version
    chain: Chain
    changed_ms: int
    """When it came to be this, as far as one can tell; 0 for what never had anything."""

    def __str__(self) -> str:
        """Changes with it."""
        return f"{self.version}/{self.chain}"


# Tombstones in a feed.
GONE_SHOWN = 100
# Articles that may be dated the same: a day's without times.
MAX_EQUAL = 5_000

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
        self,
        category: str,
        *,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        before: Place | None = None,
    ) -> list[str]:
        """Ids of a category's live articles published in [since, until), newest first.

        Args:
            before: only those that come after this place in that order.
        """
        low = "-inf" if since is None else str(article_rules.to_ms(since))
        high = "+inf" if until is None else f"({article_rules.to_ms(until)}"
        # Redis has no range of scores that begins amid equal ones.
        more = MAX_EQUAL if before else 0
        if before and (until is None or before.ms < article_rules.to_ms(until)):
            high = str(before.ms)
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zrevrangebyscore(
                keys.category(shard, category), high, low, start=0, num=limit + more,
                withscores=True,
            )  # fmt: skip
        merged = _merged(await pipe.execute())
        if before:
            place = (float(before.ms), before.id.encode())
            merged = [pair for pair in merged if (pair[1], pair[0]) < place]
        return [member.decode() for member, _ in merged[:limit]]

    async def gone(self, page: Page, *, since: datetime | None, zone: tzinfo) -> list[str]:
        """Ids of articles that were withdrawn from a page, newest first; GONE_SHOWN at most.

        Args:
            since: of a live page: of its oldest article; None if it has room for more.
        """
        low, high = ("-inf" if since is None else str(article_rules.to_ms(since))), "+inf"
        if not page.period.is_live:
            start, end = page.period.bounds(zone)
            low, high = str(article_rules.to_ms(start)), f"({article_rules.to_ms(end)}"
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zrevrangebyscore(
                keys.gone(shard, page.category), high, low, start=0, num=GONE_SHOWN, withscores=True
            )
        return _merge(await pipe.execute())[:GONE_SHOWN]

    async def version(self, page: Page) -> Version:
        """The version of a page now; one round trip."""
        pipe = self._client.pipeline(transaction=False)
        self._ask_version(pipe, page)
        return _version(await pipe.execute())

    async def states(
        self, pages: Sequence[Page], *, now: datetime, zone: tzinfo, page_size: int
    ) -> list[State]:
        """What feeds of these pages depend on besides their articles; one round trip."""
        today = Period.of(now, zone)
        pipe = self._client.pipeline(transaction=False)
        for page in pages:
            self._ask_version(pipe, page)
            self._ask_neighbours(pipe, page, today, zone)
        replies = iter(await pipe.execute())
        states = []
        for page in pages:
            version = _version([next(replies) for _ in range(self._shards)])
            found = [[next(replies) for _ in range(self._shards)] for _ in range(_asks(page))]
            chain = _chain(page, found, today, zone, page_size)
            states.append(State(version, chain, _changed_ms(version, chain, now, zone)))
        return states

    def _ask_version(self, pipe: Any, page: Page) -> None:
        for shard in range(self._shards):
            pipe.hget(keys.versions(shard, page.category), str(page.period))

    def _ask_neighbours(self, pipe: Any, page: Page, today: Period, zone: tzinfo) -> None:
        """The newest article before the page; then of a day, the oldest one after it, and of a live
        page, how many there are of today."""
        if not _asks(page):
            return
        day = today if page.period.is_live else page.period
        start, end = (article_rules.to_ms(moment) for moment in day.bounds(zone))
        names = [keys.category(shard, page.category) for shard in range(self._shards)]
        for name in names:
            pipe.zrevrangebyscore(name, f"({start}", "-inf", start=0, num=1, withscores=True)
        for name in names:
            if page.period.is_live:
                pipe.zcount(name, start, "+inf")
            else:
                pipe.zrangebyscore(name, end, "+inf", start=0, num=1, withscores=True)

    async def periods(self, category: str) -> dict[Period, int]:
        """Year, month or day that ever had an article → ms of the newest event in it."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.hgetall(keys.versions(shard, category))
        found: dict[Period, int] = {}
        for stamps in await pipe.execute():
            for name, stamp in stamps.items():
                period = Period.parse(name.decode())
                if not period.is_live:
                    found[period] = max(int(stamp), found.get(period, 0))
        return found

    async def counts(self, category: str, periods: Sequence[Period], zone: tzinfo) -> list[int]:
        """How many live articles of a category each period has."""
        pipe = self._client.pipeline(transaction=False)
        for period in periods:
            start, end = period.bounds(zone)
            low, high = article_rules.to_ms(start), f"({article_rules.to_ms(end)}"
            for shard in range(self._shards):
                pipe.zcount(keys.category(shard, category), low, high)
        found = await pipe.execute()
        size = self._shards
        return [sum(found[i : i + size]) for i in range(0, len(found), size)]

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
        if len(found) < len(fields(Rendered)):
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
        found = await self._client.hgetall(self._rendered(page, extension))
        if not found:
            return None
        return Rendered(
            version=found[b"version"].decode(),
            body=found[b"body"],
            changed_ms=int(found[b"changed_ms"]),
            tag=found[b"tag"].decode(),
            entries=found[b"entries"],
            past=tuple((tag, entries) for tag, entries in msgpack.unpackb(found[b"past"])),
        )

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
                "tag": rendered.tag,
                "entries": rendered.entries,
                "past": msgpack.packb(rendered.past),
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


def _version(stamps: Sequence[bytes | None]) -> Version:
    return Version(stamps_ms=tuple(int(stamp or 0) for stamp in stamps))


def _changed_ms(version: Version, chain: Chain, now: datetime, zone: tzinfo) -> int:
    if not version.changed_ms:
        return 0
    ends = [article_rules.to_ms(moment) for moment in chain.ends(zone) if moment <= now]
    return max([version.changed_ms, *ends])


def _asks(page: Page) -> int:
    """How many questions `_ask_neighbours` asks of each shard; selections are in no chain."""
    if not page.is_shared:
        return 0
    return 2 if page.period.is_live or page.period.day else 0


def _chain(
    page: Page, found: Sequence[Sequence[Any]], today: Period, zone: tzinfo, page_size: int
) -> Chain:
    if not found:
        return UNCHAINED
    before = [int(score) for pairs in found[0] for _, score in pairs]
    older = Period.of(article_rules.from_ms(max(before)), zone) if before else None
    if page.period.is_live:
        return Chain(older=today if sum(found[1]) > page_size else older)
    after = [int(score) for pairs in found[1] for _, score in pairs]
    newer = Period.of(article_rules.from_ms(min(after)), zone) if after else None
    over = today.bounds(zone)[0]
    newer = newer if newer and newer.bounds(zone)[1] <= over else None
    is_over = page.period.bounds(zone)[1] <= over
    # One day alone is no archive yet (W3C: ArchiveIncomplete).
    return Chain(older=older, newer=newer, is_archive=is_over and bool(older or newer))


def _merge(replies: list[list[tuple[bytes, float]]]) -> list[str]:
    return [member.decode() for member, _ in _merged(replies)]


def _merged(replies: list[list[tuple[bytes, float]]]) -> list[tuple[bytes, float]]:
    """Members and scores of all shards in Redis's own order: by score, then member, descending."""
    return list(heapq.merge(*replies, key=lambda pair: (pair[1], pair[0]), reverse=True))
