"""Pages in Redis: the articles on a page, its version, its links in the archive.

The version of a page is that of its category and period in all shards; it changes whenever the
content of the page may have changed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from service.articles import times
from service.feeds.archive import ArchiveLinks, Neighbours, has_archive_links
from service.feeds.page import MAX_YEAR, MIN_YEAR, Page, Period
from service.feeds.query import PageCursor
from service.storage import keys
from service.storage.commands import Client, Pipeline, ScoredMembers
from service.storage.shards import Shards
from service.storage.stored import decoded, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """State of a page's content; equal versions mean equal content."""

    stamps_ms: tuple[int, ...]
    """For each shard the time of the newest event on the page; 0 without one."""

    @property
    def changed_ms(self) -> int:
        """Time of the last change of the page in ms; 0 if it never had an article."""
        return max(self.stamps_ms)

    def __str__(self) -> str:
        return "-".join(map(str, self.stamps_ms))


@dataclass(frozen=True, slots=True)
class State:
    """Everything that a feed of a page depends on: equal states mean equal bytes."""

    version: Version
    archive_links: ArchiveLinks
    changed_ms: int
    """Time of the last known change to this state; 0 if the page never had an article."""

    def __str__(self) -> str:
        """A text that differs between different states."""
        return f"{self.version}/{self.archive_links}"


# The dates that a page can have, in whatever time zone.
_OLDEST_MS = times.to_ms(datetime(MIN_YEAR, 1, 2, tzinfo=UTC))
_NEWEST_MS = times.to_ms(datetime(MAX_YEAR, 12, 30, tzinfo=UTC))
# Maximum number of tombstones in a feed.
GONE_SHOWN = 100
# More than any day has; a number, so that it can be compared.
MAX_OF_DAY = 1_000_000_000
# Members of a sorted set in one reply: the event loop parses 12,000 in 10 ms.
READ_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many articles a page has at most."""

    live: int
    period: int
    """Of a month or year; a day has all of its articles."""

    def of(self, period: Period) -> int:
        """The limit of the page of a period."""
        if period.is_live:
            return self.live
        return MAX_OF_DAY if period.day else self.period


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Ids of the articles on a page, newest first."""

    ids: list[str]
    gone: list[str]
    """Ids of articles that were withdrawn from it; GONE_SHOWN at most."""
    is_cut: bool = False
    """Whether the page has older articles than these."""


class CategoryIndex:
    """Reads pages from the sorted sets of categories."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def entries(
        self, pages: Sequence[Page], *, limits: Limits, zone: tzinfo
    ) -> list[Entries]:
        """The article ids of each of these pages, read in one round trip.

        Only for a day of over READ_AT_ONCE articles more follow: all of them at once would block
        the event loop.
        """
        pipe = self._client.pipeline(transaction=False)
        for page in pages:
            low, high = _range(page, zone)
            count = min(limits.of(page.period) + 1, READ_AT_ONCE)
            for shard in self._shards:
                name = keys.category(shard, page.category)
                pipe.zrevrangebyscore(name, high, low, start=0, num=count, withscores=True)
            for shard in self._shards:
                name = keys.gone(shard, page.category)
                pipe.zrevrangebyscore(name, high, low, start=0, num=GONE_SHOWN, withscores=True)
        replies = iter(await pipe.execute())
        return [await self._entries(page, replies, limits, zone) for page in pages]

    async def _entries(
        self, page: Page, replies: Iterator[ScoredMembers], limits: Limits, zone: tzinfo
    ) -> Entries:
        limit = limits.of(page.period)
        first = [next(replies) for _ in self._shards]
        gone = merged([next(replies) for _ in self._shards])
        newest = [
            await self._read_on(shard, page.category, _range(page, zone), reply, limit + 1)
            for shard, reply in zip(self._shards, first, strict=True)
        ]
        shown = merged(newest)
        is_cut = len(shown) > limit
        shown = shown[:limit]
        if is_cut or (page.period.is_live and len(shown) == limit):
            # A full page never showed the withdrawn articles that are older than its oldest one.
            gone = [pair for pair in gone if pair[1] >= shown[-1][1]]
        return Entries(
            ids=[text_of(member) for member, _ in shown],
            gone=[text_of(member) for member, _ in gone[:GONE_SHOWN]],
            is_cut=is_cut,
        )

    async def _read_on(
        self,
        shard: int,
        category: str,
        bounds: tuple[str, str],
        members: ScoredMembers,
        limit: int,
    ) -> ScoredMembers:
        """Continue a range that begins with `members`, up to `limit` of them.

        An article that is added meanwhile moves the others on, so that one is read twice; one that
        is withdrawn makes another be missed: either is a change that has the page loaded again.
        """
        low, high = bounds
        members, size = list(members), len(members)
        while size == READ_AT_ONCE and len(members) < limit:
            more: ScoredMembers = await self._client.zrevrangebyscore(
                keys.category(shard, category), high, low,
                start=len(members), num=READ_AT_ONCE, withscores=True,
            )  # fmt: skip
            size = len(more)
            members += more
        return list(dict.fromkeys(members))[:limit]

    async def between(
        self,
        category: str,
        *,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        before: PageCursor | None = None,
    ) -> list[str]:
        """Ids of a category's live articles published in [since, until), newest first.

        Args:
            before: only those that follow this cursor in that order.
        """
        low = "-inf" if since is None else str(times.to_ms(since))
        high = "+inf" if until is None else f"({times.to_ms(until)}"
        if before and (until is None or before.ms < times.to_ms(until)):
            high = str(before.ms)
        # A Redis range of scores cannot begin between equal scores: those before the cursor are
        # left out here.
        cursor = (float(before.ms), before.id.encode()) if before else None
        async with asyncio.TaskGroup() as group:
            reads = [
                group.create_task(self._read_before(cursor, shard, category, (low, high), limit))
                for shard in self._shards
            ]
        members = merged([read.result() for read in reads])
        return [text_of(member) for member, _ in members[:limit]]

    async def _read_before(
        self,
        cursor: tuple[float, bytes] | None,
        shard: int,
        category: str,
        bounds: tuple[str, str],
        limit: int,
    ) -> ScoredMembers:
        """The first `limit` members of a range that follow a cursor, of one shard."""
        low, high = bounds
        members: ScoredMembers = []
        start, count = 0, min(limit + 1, READ_AT_ONCE)
        while True:
            reply: ScoredMembers = await self._client.zrevrangebyscore(
                keys.category(shard, category), high, low, start=start, num=count, withscores=True
            )
            if cursor:
                members += [pair for pair in reply if (pair[1], pair[0]) < cursor]
            else:
                members += reply
            if len(reply) < count or len(members) >= limit:
                return list(dict.fromkeys(members))
            start, count = start + count, READ_AT_ONCE

    async def version(self, page: Page) -> Version:
        """The present version of a page, read in one round trip."""
        pipe = self._client.pipeline(transaction=False)
        self._read_version(pipe, page)
        return _version(await pipe.execute())

    async def states(
        self, pages: Sequence[Page], *, now: datetime, zone: tzinfo, page_size: int
    ) -> list[State]:
        """The states of these pages in their order, read in one round trip."""
        today = Period.of(now, zone)
        pipe = self._client.pipeline(transaction=False)
        for page in pages:
            self._read_version(pipe, page)
            self._read_neighbours(pipe, page, today, zone)
        replies = iter(await pipe.execute())
        states = []
        for page in pages:
            version = _version([next(replies) for _ in self._shards])
            neighbours = self._neighbours(page, replies, zone)
            archive_links = neighbours.links(page, today=today, zone=zone, page_size=page_size)
            states.append(
                State(version, archive_links, _changed_ms(version, archive_links, now, zone))
            )
        return states

    def _read_version(self, pipe: Pipeline, page: Page) -> None:
        for shard in self._shards:
            pipe.hget(keys.versions(shard, page.category), str(page.period))

    def _read_neighbours(self, pipe: Pipeline, page: Page, today: Period, zone: tzinfo) -> None:
        """Read the newest article before the page; then for a day, the oldest article after it, and
        for a live page, the number of today's articles."""
        if not has_archive_links(page):
            return
        day = today if page.period.is_live else page.period
        start, end = (times.to_ms(moment) for moment in day.bounds(zone))
        names = [keys.category(shard, page.category) for shard in self._shards]
        for name in names:
            pipe.zrevrangebyscore(name, f"({start}", "-inf", start=0, num=1, withscores=True)
        for name in names:
            if page.period.is_live:
                pipe.zcount(name, start, "+inf")
            else:
                pipe.zrangebyscore(name, end, "+inf", start=0, num=1, withscores=True)

    def _neighbours(self, page: Page, replies: Iterator[Any], zone: tzinfo) -> Neighbours:
        if not has_archive_links(page):
            return Neighbours()
        before, others = ([next(replies) for _ in self._shards] for _ in range(2))
        older = _day_of(max, before, zone)
        if page.period.is_live:
            return Neighbours(older=older, today_count=sum(others))
        return Neighbours(older=older, newer=_day_of(min, others, zone))

    async def periods(self, category: str) -> dict[Period, int]:
        """Each year, month and day that ever had an article → ms of the newest event in it."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.hgetall(keys.versions(shard, category))
        newest_ms: dict[Period, int] = {}
        replies: list[dict[bytes, bytes]] = await pipe.execute()
        for stamps in replies:
            for name, stamp in stamps.items():
                period = decoded(_period, name, what=f"period {name!r} of {category}")
                if period and not period.is_live:
                    newest_ms[period] = max(_stamp_ms(stamp), newest_ms.get(period, 0))
        return newest_ms

    async def counts(self, category: str, periods: Sequence[Period], zone: tzinfo) -> list[int]:
        """Number of live articles of a category in each period, in their order."""
        pipe = self._client.pipeline(transaction=False)
        for period in periods:
            start, end = period.bounds(zone)
            low, high = times.to_ms(start), f"({times.to_ms(end)}"
            for shard in self._shards:
                pipe.zcount(keys.category(shard, category), low, high)
        counts: list[int] = await pipe.execute()
        size = len(self._shards)
        return [sum(counts[i : i + size]) for i in range(0, len(counts), size)]

    async def month_days(self, category: str, month: Period, zone: tzinfo) -> frozenset[int]:
        """Days of a month, 1 to 31, on which a category has live articles."""
        days = month.days()
        counts = await self.counts(category, days, zone)
        return frozenset(day.day for day, count in zip(days, counts, strict=True) if count)

    async def neighbour(self, category: str, moment: datetime, *, newer: bool) -> datetime | None:
        """Publication time of the nearest article before a moment, or with `newer`, at or after it;
        None if no such article exists."""
        pipe = self._client.pipeline(transaction=False)
        ms = times.to_ms(moment)
        for shard in self._shards:
            key = keys.category(shard, category)
            if newer:
                pipe.zrangebyscore(key, ms, "+inf", start=0, num=1, withscores=True)
            else:
                pipe.zrevrangebyscore(key, f"({ms}", "-inf", start=0, num=1, withscores=True)
        replies: list[ScoredMembers] = await pipe.execute()
        dates_ms = [_date_ms(score) for pairs in replies for _, score in pairs]
        if not dates_ms:
            return None
        return times.from_ms(min(dates_ms) if newer else max(dates_ms))

    async def count(self, category: str) -> int:
        """Number of live articles in a category and its descendants."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.zcard(keys.category(shard, category))
        counts: list[int] = await pipe.execute()
        return sum(counts)


def _date_ms(score: float) -> int:
    """The date of a score; one that no calendar has, which a hand wrote, becomes the nearest."""
    return int(min(max(score, _OLDEST_MS), _NEWEST_MS))


def _stamp_ms(stamp: bytes | None) -> int:
    return int(stamp) if stamp and stamp.isdigit() else 0


def _period(name: bytes) -> Period:
    period = Period.parse(name.decode())
    if not period.is_live and not MIN_YEAR <= period.bounds(UTC)[0].year <= MAX_YEAR:
        raise ValueError("is out of the calendar")
    return period


def _version(stamps: Sequence[bytes | None]) -> Version:
    return Version(stamps_ms=tuple(map(_stamp_ms, stamps)))


def _changed_ms(version: Version, archive_links: ArchiveLinks, now: datetime, zone: tzinfo) -> int:
    if not version.changed_ms:
        return 0
    ends = [times.to_ms(moment) for moment in archive_links.ends(zone) if moment <= now]
    return max([version.changed_ms, *ends])


def _day_of(
    closest: Callable[[list[int]], int], replies: Sequence[ScoredMembers], zone: tzinfo
) -> Period | None:
    """The day of the article that is closest to a page, in all shards; None without one."""
    dates_ms = [_date_ms(score) for pairs in replies for _, score in pairs]
    return Period.of(times.from_ms(closest(dates_ms)), zone) if dates_ms else None


def _range(page: Page, zone: tzinfo) -> tuple[str, str]:
    """Lowest and highest score of the articles on a page."""
    if page.period.is_live:
        return "-inf", "+inf"
    start, end = page.period.bounds(zone)
    return str(times.to_ms(start)), f"({times.to_ms(end)}"


def merged(replies: Sequence[ScoredMembers]) -> ScoredMembers:
    """Members and scores of all shards in the order of Redis: by score, then member, descending."""
    if len(replies) == 1:
        return replies[0]
    return list(heapq.merge(*replies, key=lambda pair: (pair[1], pair[0]), reverse=True))
