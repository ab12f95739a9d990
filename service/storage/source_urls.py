"""Sources by the URL that they are polled at: an id is made of the URL that a source was added
with, so only those that were moved to another URL have to be noted.

A note is written before the row that it leads to, and may be wrong: what it leads to is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.http import host_of
from service.sources.source import Source
from service.storage import keys
from service.storage.commands import Client
from service.storage.key_reader import chunks
from service.storage.shards import ONE, Shards, shards_of
from service.storage.source_rows import rows_of, to_source
from service.storage.stored import decoded

AT_ONCE = 200


class SourceUrls:
    """The present URLs of the sources that were moved."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def note(self, sources: Iterable[Source]) -> None:
        """Note the URLs of those that have another one than they were added with."""
        moved = [source for source in sources if _is_moved(source)]
        if not moved:
            return
        pipe = self._client.pipeline(transaction=False)
        for source in moved:
            pipe.hset(self._name(source.url), source.url, source.id)
        await pipe.execute()

    async def forget(self, sources: Iterable[Source]) -> None:
        """Remove the notes of those of these sources that are at their URLs no longer."""
        moved = [source for source in sources if _is_moved(source)]
        for url in {s.url for s in moved} - {*await self.sources_at([s.url for s in moved])}:
            await self._client.hdel(self._name(url), url)

    async def sources_at(self, urls: Sequence[str]) -> dict[str, Source]:
        """URL → the source that was moved to it; without URLs to which none was."""
        if not urls:
            return {}
        pipe = self._client.pipeline(transaction=False)
        for url in urls:
            pipe.hget(self._name(url), url)
        ids = [source_id.decode() for source_id in await pipe.execute() if source_id]
        rows = await rows_of(self._client, self._shards, ids)
        sources = [
            decoded(to_source, row, what=f"source {source_id}")
            for source_id, (_, row) in rows.items()
        ]
        wanted = {*urls}
        return {source.url: source for source in sources if source and source.url in wanted}

    def _name(self, url: str) -> str:
        try:
            host = host_of(url)
        except ValueError:
            # A hand has stored it.
            host = ""
        return keys.sources_urls(self._shards.of(host))


def _is_moved(source: Source) -> bool:
    return source.added_url not in ("", source.url)


async def note_urls(client: Client) -> None:
    """Note the URLs of all sources that were moved. Can be repeated."""
    shards = await shards_of(client) or ONE
    urls = SourceUrls(client, shards=shards)
    for shard in shards:
        for names in chunks(await client.hkeys(keys.sources(shard)), AT_ONCE):
            rows = await client.execute_command("HMGET", keys.sources(shard), *names)
            sources = [
                decoded(to_source, row, what=f"source {name!r}")
                for name, row in zip(names, rows, strict=True)
                if row
            ]
            await urls.note(source for source in sources if source)
