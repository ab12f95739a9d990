"""Pages in Redis: the articles on a page, its version, its links in the archive.

The version of a page is that of its category and period in all shards; it changes whenever the
content of the page may have changed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from service.articles import times
from service.feeds.archive import NO_ARCHIVE_LINKS, ArchiveLinks
from service.feeds.page import Page, Period
from service.feeds.query import PageCursor
from service.storage import keys
from service.storage.commands import Client, Pipeline, ScoredMembers


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


# Maximum number of tombstones in a feed.
GONE_SHOWN = 100
# Maximum number of articles with the same date: those of a day whose source gives no times.
MAX_EQUAL = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Ids of the articles on a page, newest first."""

    ids: list[str]
    gone: list[str]
    """Ids of articles that were withdrawn from it; GONE_SHOWN at most."""


class CategoryIndex:
    """Reads pages from the sorted sets of categories."""

    def __init__(self, client: Client, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    async def ids(self, page: Page, *, limit: int, zone: tzinfo) -> list[str]:
        """Ids of the live articles on a page, newest first.

        A live page has the newest `limit` articles; the page of a period has all of them.
        """
        return (await self.entries([page], limit=limit, zone=zone))[0].ids

    async def entries(self, pages: Sequence[Page], *, limit: int, zone: tzinfo) -> list[Entries]:
        """The article ids of each of these pages, read in one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for page in pages:
            low, high = _range(page, zone)
            count = limit if page.period.is_live else -1
            for shard in range(self._shards):
                name = keys.category(shard, page.category)
                pipe.zrevrangebyscore(name, high, low, start=0, num=count, withscores=True)
            for shard in range(self._shards):
                name = keys.gone(shard, page.category)
                pipe.zrevrangebyscore(name, high, low, start=0, num=GONE_SHOWN, withscores=True)
        replies = iter(await pipe.execute())
        return [self._entries(page, replies, limit) for page in pages]

    def _entries(self, page: Page, replies: Iterator[ScoredMembers], limit: int) -> Entries:
        shown = _merged([next(replies) for _ in range(self._shards)])
        gone = _merged([next(replies) for _ in range(self._shards)])
        if page.period.is_live:
            shown = shown[:limit]
            # A full page never showed the withdrawn articles that are older than its oldest one.
            oldest = shown[-1][1] if len(shown) == limit else float("-inf")
            gone = [pair for pair in gone if pair[1] >= oldest]
        return Entries(
            ids=[member.decode() for member, _ in shown],
            gone=[member.decode() for member, _ in gone[:GONE_SHOWN]],
        )

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
        # A Redis range of scores cannot begin between equal scores: read more, and filter.
        more = MAX_EQUAL if before else 0
        if before and (until is None or before.ms < times.to_ms(until)):
            high = str(before.ms)
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zrevrangebyscore(
                keys.category(shard, category), high, low, start=0, num=limit + more,
                withscores=True,
            )  # fmt: skip
        merged = _merged(await pipe.execute())
        if before:
            cursor = (float(before.ms), before.id.encode())
            merged = [pair for pair in merged if (pair[1], pair[0]) < cursor]
        return [member.decode() for member, _ in merged[:limit]]

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
            version = _version([next(replies) for _ in range(self._shards)])
            neighbours = [[next(replies) for _ in range(self._shards)] for _ in range(_reads(page))]
            archive_links = _archive_links(page, neighbours, today, zone, page_size)
            states.append(
                State(version, archive_links, _changed_ms(version, archive_links, now, zone))
            )
        return states

    def _read_version(self, pipe: Pipeline, page: Page) -> None:
        for shard in range(self._shards):
            pipe.hget(keys.versions(shard, page.category), str(page.period))

    def _read_neighbours(self, pipe: Pipeline, page: Page, today: Period, zone: tzinfo) -> None:
        """Read the newest article before the page; then for a day, the oldest article after it, and
        for a live page, the number of today's articles."""
        if not _reads(page):
            return
        day = today if page.period.is_live else page.period
        start, end = (times.to_ms(moment) for moment in day.bounds(zone))
        names = [keys.category(shard, page.category) for shard in range(self._shards)]
        for name in names:
            pipe.zrevrangebyscore(name, f"({start}", "-inf", start=0, num=1, withscores=True)
        for name in names:
            if page.period.is_live:
                pipe.zcount(name, start, "+inf")
            else:
                pipe.zrangebyscore(name, end, "+inf", start=0, num=1, withscores=True)

    async def periods(self, category: str) -> dict[Period, int]:
        """Each year, month and day that ever had an article → ms of the newest event in it."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.hgetall(keys.versions(shard, category))
        newest_ms: dict[Period, int] = {}
        replies: list[dict[bytes, bytes]] = await pipe.execute()
        for stamps in replies:
            for name, stamp in stamps.items():
                period = Period.parse(name.decode())
                if not period.is_live:
                    newest_ms[period] = max(int(stamp), newest_ms.get(period, 0))
        return newest_ms

    async def counts(self, category: str, periods: Sequence[Period], zone: tzinfo) -> list[int]:
        """Number of live articles of a category in each period, in their order."""
        pipe = self._client.pipeline(transaction=False)
        for period in periods:
            start, end = period.bounds(zone)
            low, high = times.to_ms(start), f"({times.to_ms(end)}"
            for shard in range(self._shards):
                pipe.zcount(keys.category(shard, category), low, high)
        counts: list[int] = await pipe.execute()
        size = self._shards
        return [sum(counts[i : i + size]) for i in range(0, len(counts), size)]

    async def month_days(self, category: str, month: Period, zone: tzinfo) -> frozenset[int]:
        """Days of a month, 1 to 31, on which a category has live articles."""
        start, end = month.bounds(zone)
        scores = await self._scores(category, start, end)
        return frozenset(times.from_ms(ms).astimezone(zone).day for ms in scores)

    async def neighbour(self, category: str, moment: datetime, *, newer: bool) -> datetime | None:
        """Publication time of the nearest article before a moment, or with `newer`, at or after it;
        None if no such article exists."""
        pipe = self._client.pipeline(transaction=False)
        ms = times.to_ms(moment)
        for shard in range(self._shards):
            key = keys.category(shard, category)
            if newer:
                pipe.zrangebyscore(key, ms, "+inf", start=0, num=1, withscores=True)
            else:
                pipe.zrevrangebyscore(key, f"({ms}", "-inf", start=0, num=1, withscores=True)
        replies: list[ScoredMembers] = await pipe.execute()
        dates_ms = [int(score) for pairs in replies for _, score in pairs]
        if not dates_ms:
            return None
        return times.from_ms(min(dates_ms) if newer else max(dates_ms))

    async def count(self, category: str) -> int:
        """Number of live articles in a category and its descendants."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.zcard(keys.category(shard, category))
        counts: list[int] = await pipe.execute()
        return sum(counts)

    async def _scores(self, category: str, start: datetime, end: datetime) -> list[int]:
        pipe = self._client.pipeline(transaction=False)
        low, high = times.to_ms(start), f"({times.to_ms(end)}"
        for shard in range(self._shards):
            pipe.zrangebyscore(keys.category(shard, category), low, high, withscores=True)
        replies: list[ScoredMembers] = await pipe.execute()
        return [int(score) for pairs in replies for _, score in pairs]


def _version(stamps: Sequence[bytes | None]) -> Version:
    return Version(stamps_ms=tuple(int(stamp or 0) for stamp in stamps))


def _changed_ms(version: Version, archive_links: ArchiveLinks, now: datetime, zone: tzinfo) -> int:
    if not version.changed_ms:
        return 0
    ends = [times.to_ms(moment) for moment in archive_links.ends(zone) if moment <= now]
    return max([version.changed_ms, *ends])


def _reads(page: Page) -> int:
    """Number of commands of `_read_neighbours` for each shard; selections have no archive links."""
    if not page.is_shared:
        return 0
    return 2 if page.period.is_live or page.period.day else 0


def _archive_links(
    page: Page, neighbours: Sequence[Sequence[Any]], today: Period, zone: tzinfo, page_size: int
) -> ArchiveLinks:
    if not neighbours:
        return NO_ARCHIVE_LINKS
    before = [int(score) for pairs in neighbours[0] for _, score in pairs]
    older = Period.of(times.from_ms(max(before)), zone) if before else None
    if page.period.is_live:
        return ArchiveLinks(older=today if sum(neighbours[1]) > page_size else older)
    after = [int(score) for pairs in neighbours[1] for _, score in pairs]
    newer = Period.of(times.from_ms(min(after)), zone) if after else None
    over = today.bounds(zone)[0]
    newer = newer if newer and newer.bounds(zone)[1] <= over else None
    is_over = page.period.bounds(zone)[1] <= over
    # A single day is not an archive yet (W3C: ArchiveIncomplete).
    return ArchiveLinks(older=older, newer=newer, is_archive=is_over and bool(older or newer))


def _range(page: Page, zone: tzinfo) -> tuple[str, str]:
    """Lowest and highest score of the articles on a page."""
    if page.period.is_live:
        return "-inf", "+inf"
    start, end = page.period.bounds(zone)
    return str(times.to_ms(start)), f"({times.to_ms(end)}"


def _merged(replies: Sequence[ScoredMembers]) -> ScoredMembers:
    """Members and scores of all shards in the order of Redis: by score, then member, descending."""
    return list(heapq.merge(*replies, key=lambda pair: (pair[1], pair[0]), reverse=True))
