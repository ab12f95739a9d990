"""Changes of pages in Redis: a short log in each shard, written by the scripts that make them.

A process that holds pages reads on from the entry that it read last. If that entry is still there,
it has missed nothing, also where an announcement was lost. If it is not, because the log was cut,
or because Redis has lost the end of its file, any page may be another one now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.articles.event import FIRST
from service.storage import keys
from service.storage.commands import Client, StreamEntry
from service.storage.rendered_pages import Change
from service.storage.shards import Shards
from service.storage.stored import text_of

READ_AT_ONCE = keys.PAGE_CHANGES_MAX


class PageChanges:
    """Reads the logs of all shards."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def after(
        self, ends: Mapping[int, str]
    ) -> tuple[dict[int, str], frozenset[Change] | None]:
        """Read the changes that follow these entries, in one round trip.

        Args:
            ends: shard → id of the entry that was read last; empty to begin.

        Returns:
            The ends for the next call, and the changes; None if some are not known.
        """
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            if shard in ends:
                pipe.xrange(keys.page_changes(shard), min=ends[shard], count=READ_AT_ONCE)
            else:
                pipe.xrevrange(keys.page_changes(shard), count=1)
        replies: list[list[StreamEntry]] = await pipe.execute()
        new_ends: dict[int, str] = {}
        changes: set[Change] = set()
        is_complete = True
        for shard, entries in zip(self._shards, replies, strict=True):
            end = ends.get(shard, "")
            new_ends[shard] = entries[-1][0].decode() if entries else FIRST
            is_complete &= _follows(end, entries)
            for _, pages in entries if end == FIRST else entries[1:]:
                changes.update(_changes(pages))
        return new_ends, frozenset(changes) if is_complete else None


def _follows(end: str, entries: Sequence[StreamEntry]) -> bool:
    """Whether nothing can be missing between the entry that was read last and these."""
    if end == FIRST:
        return len(entries) < READ_AT_ONCE
    return bool(entries) and entries[0][0].decode() == end


def _changes(pages: Mapping[bytes, bytes]) -> list[Change]:
    return [
        (text_of(path), text_of(period))
        for path, periods in pages.items()
        for period in periods.split()
    ]
