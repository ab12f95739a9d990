"""Pages in Redis: what is on one, its version, its place in the archive.

A page's version is the versions of its category and period in all shards; it moves when something
on the page may have moved.
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
    """One a shard: when the newest event on the page happened; 0 if there was none."""

    @property
    def changed_ms(self) -> int:
        """When the page changed last; 0 if never."""
        return max(self.stamps_ms)

    def __str__(self) -> str:
        return "-".join(map(str, self.stamps_ms))


@dataclass(frozen=True, slots=True)
class State:
    """All that a feed of a page depends on: equal states mean equal bytes."""

    version: Version
    archive_links: ArchiveLinks
    changed_ms: int
    """When it became this, as far as is known; 0 if the page never had an article."""

    def __str__(self) -> str:
        """Different for different states."""
        return f"{self.version}/{self.archive_links}"


# Tombstones in a feed.
GONE_SHOWN = 100
# Articles that may be dated the same: a day's without times.
MAX_EQUAL = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What is on a page: ids, newest first."""

    ids: list[str]
    gone: list[str]
    """Of articles that were withdrawn from it; GONE_SHOWN at most."""


class CategoryIndex:
    """The sorted sets of categories, read as pages."""

    def __init__(self, client: Client, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    async def ids(self, page: Page, *, limit: int, zone: tzinfo) -> list[str]:
        """Ids of the live articles on a page, newest first: the newest `limit` of a live page, all
        of a period."""
        return (await self.entries([page], limit=limit, zone=zone))[0].ids

    async def entries(self, pages: Sequence[Page], *, limit: int, zone: tzinfo) -> list[Entries]:
        """What is on each of these pages, in one round trip."""
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
            # Of those older than all that it shows, a page that is full never had anything.
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
            before: only those that come after this place in that order.
        """
        low = "-inf" if since is None else str(times.to_ms(since))
        high = "+inf" if until is None else f"({times.to_ms(until)}"
        # Redis has no range of scores that begins amid equal ones.
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
            place = (float(before.ms), before.id.encode())
            merged = [pair for pair in merged if (pair[1], pair[0]) < place]
        return [member.decode() for member, _ in merged[:limit]]

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
            archive_links = _chain(page, found, today, zone, page_size)
            states.append(
                State(version, archive_links, _changed_ms(version, archive_links, now, zone))
            )
        return states

    def _ask_version(self, pipe: Pipeline, page: Page) -> None:
        for shard in range(self._shards):
            pipe.hget(keys.versions(shard, page.category), str(page.period))

    def _ask_neighbours(self, pipe: Pipeline, page: Page, today: Period, zone: tzinfo) -> None:
        """The newest article before the page; then of a day, the oldest one after it, and of a live
        page, how many there are of today."""
        if not _asks(page):
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
        """Year, month or day that ever had an article → ms of the newest event in it."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shards):
            pipe.hgetall(keys.versions(shard, category))
        found: dict[Period, int] = {}
        replies: list[dict[bytes, bytes]] = await pipe.execute()
        for stamps in replies:
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
            low, high = times.to_ms(start), f"({times.to_ms(end)}"
            for shard in range(self._shards):
                pipe.zcount(keys.category(shard, category), low, high)
        counts: list[int] = await pipe.execute()
        size = self._shards
        return [sum(counts[i : i + size]) for i in range(0, len(counts), size)]

    async def month_days(self, category: str, month: Period, zone: tzinfo) -> frozenset[int]:
        """Days of a month on which a category has articles."""
        start, end = month.bounds(zone)
        scores = await self._scores(category, start, end)
        return frozenset(times.from_ms(ms).astimezone(zone).day for ms in scores)

    async def neighbour(self, category: str, moment: datetime, *, newer: bool) -> datetime | None:
        """When the nearest article before (or at and after) a moment was published."""
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
        """Live articles of a category and those below it."""
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


def _asks(page: Page) -> int:
    """How many questions `_ask_neighbours` asks of each shard; selections are in no
    archive_links."""
    if not page.is_shared:
        return 0
    return 2 if page.period.is_live or page.period.day else 0


def _chain(
    page: Page, found: Sequence[Sequence[Any]], today: Period, zone: tzinfo, page_size: int
) -> ArchiveLinks:
    if not found:
        return NO_ARCHIVE_LINKS
    before = [int(score) for pairs in found[0] for _, score in pairs]
    older = Period.of(times.from_ms(max(before)), zone) if before else None
    if page.period.is_live:
        return ArchiveLinks(older=today if sum(found[1]) > page_size else older)
    after = [int(score) for pairs in found[1] for _, score in pairs]
    newer = Period.of(times.from_ms(min(after)), zone) if after else None
    over = today.bounds(zone)[0]
    newer = newer if newer and newer.bounds(zone)[1] <= over else None
    is_over = page.period.bounds(zone)[1] <= over
    # One day alone is no archive yet (W3C: ArchiveIncomplete).
    return ArchiveLinks(older=older, newer=newer, is_archive=is_over and bool(older or newer))


def _range(page: Page, zone: tzinfo) -> tuple[str, str]:
    """Lowest and highest score of what is on a page."""
    if page.period.is_live:
        return "-inf", "+inf"
    start, end = page.period.bounds(zone)
    return str(times.to_ms(start)), f"({times.to_ms(end)}"


def _merged(replies: Sequence[ScoredMembers]) -> ScoredMembers:
    """Members and scores of all shards in Redis's own order: by score, then member, descending."""
    return list(heapq.merge(*replies, key=lambda pair: (pair[1], pair[0]), reverse=True))
