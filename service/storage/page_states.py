"""States of pages: what their bytes depend on, read for many pages at once.

One script call reads many pages in all shards of a server; of a cluster, where a script keeps to
one slot, each shard needs a call. The version of a page is that of its category and period in all
shards; it changes whenever the content of the page may have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from service.articles import times
from service.feeds.archive import ArchiveLinks, Neighbours, has_archive_links
from service.feeds.page import MAX_YEAR, MIN_YEAR, Page, Period
from service.storage import keys
from service.storage.client import Script, groups_on_servers, lua_script
from service.storage.commands import Client, Value
from service.storage.key_reader import chunks
from service.storage.shards import Shards

# Of a page in one shard: 3 commands of a script, so this many take about a millisecond of Redis.
READ_AT_ONCE = 300
# The dates that a page can have, in whatever time zone.
_OLDEST_MS = times.to_ms(datetime(MIN_YEAR, 1, 2, tzinfo=UTC))
_NEWEST_MS = times.to_ms(datetime(MAX_YEAR, 12, 30, tzinfo=UTC))

_Read = tuple[list[bytes], bytes, bytes | int]
"""(version in each shard, score of the article before, score of the one after or a count)."""


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


class PageStates:
    """Reads the states of pages."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._read: Script[list[bytes | int]] = lua_script(client, "page_states")

    async def version(self, page: Page) -> Version:
        """The present version of a page, read in one round trip."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.hget(keys.versions(shard, page.category), str(page.period))
        return Version(stamps_ms=tuple(map(stamp_ms, await pipe.execute())))

    async def states(
        self, pages: Sequence[Page], *, now: datetime, zone: tzinfo, page_size: int
    ) -> list[State]:
        """The states of these pages in their order."""
        today = Period.of(now, zone)
        stamps: list[dict[int, int]] = [{} for _ in pages]
        neighbours: list[list[tuple[bytes, bytes | int]]] = [[] for _ in pages]
        for group in await groups_on_servers(self._client, list(self._shards)):
            reads = await self._read_all(pages, group, today, zone)
            for number, (versions, before, other) in enumerate(reads):
                stamps[number].update(zip(group, map(stamp_ms, versions), strict=True))
                neighbours[number].append((before, other))
        states = []
        for page, of_shards, around in zip(pages, stamps, neighbours, strict=True):
            version = Version(stamps_ms=tuple([of_shards[shard] for shard in self._shards]))
            links = _neighbours(page, around, zone).links(
                page, today=today, zone=zone, page_size=page_size
            )
            states.append(State(version, links, _changed_ms(version, links, now, zone)))
        return states

    async def _read_all(
        self, pages: Sequence[Page], shards: Sequence[int], today: Period, zone: tzinfo
    ) -> list[_Read]:
        """Read pages in shards that one script can read."""
        reads: list[_Read] = []
        for part in chunks(pages, max(1, READ_AT_ONCE // len(shards))):
            names: list[str] = []
            args: list[Value] = [len(shards)]
            for page in part:
                for shard in shards:
                    names.append(keys.versions(shard, page.category))
                    names.append(keys.category(shard, page.category))
                args += [str(page.period), *_day(page, today, zone)]
            reply = iter(await self._read(keys=names, args=args))
            reads += [
                (_bytes(versions).split(b"-"), _bytes(before), other)
                for versions, before, other in zip(reply, reply, reply, strict=True)
            ]
        return reads


def stamp_ms(stamp: bytes | None) -> int:
    """The version of a page in one shard; 0 if it has none, or a hand made it unreadable."""
    return int(stamp) if stamp and stamp.isdigit() else 0


def date_ms(score: float) -> int:
    """The date of a score; one that no calendar has, which a hand wrote, becomes the nearest."""
    return int(min(max(score, _OLDEST_MS), _NEWEST_MS))


def _day(page: Page, today: Period, zone: tzinfo) -> tuple[str, int, int]:
    """(kind of archive links, ms at which the day begins from which they lead, and ends)."""
    if not has_archive_links(page):
        return "", 0, 0
    day = today if page.period.is_live else page.period
    start, end = day.bounds(zone)
    return "live" if page.period.is_live else "day", times.to_ms(start), times.to_ms(end)


def _neighbours(
    page: Page, around: Iterable[tuple[bytes, bytes | int]], zone: tzinfo
) -> Neighbours:
    if not has_archive_links(page):
        return Neighbours()
    before, others = zip(*around, strict=True)
    older = _day_of(max, before, zone)
    if page.period.is_live:
        return Neighbours(older=older, today_count=sum(map(int, others)))
    return Neighbours(older=older, newer=_day_of(min, others, zone))


def _day_of(
    nearest: Callable[[Iterable[float]], float], scores: Iterable[bytes], zone: tzinfo
) -> Period | None:
    dates = [float(score) for score in scores if score]
    return Period.of(times.from_ms(date_ms(nearest(dates))), zone) if dates else None


def _bytes(value: bytes | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _changed_ms(version: Version, archive_links: ArchiveLinks, now: datetime, zone: tzinfo) -> int:
    if not version.changed_ms:
        return 0
    ends = [times.to_ms(moment) for moment in archive_links.ends(zone) if moment <= now]
    return max([version.changed_ms, *ends])
