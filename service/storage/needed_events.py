"""From where on webhooks need events: a note for each partition, so that nobody reads all webhooks.

Cursors only rise, so an old note is too low at worst, and trimming by it loses nothing. What lowers
a need (a new webhook, an order to resume or replay, the end of a pause) lowers the note in the same
step (change_webhook.lua). Deliver workers raise it (`note`); without any it stays as it is. A
note that is missing, as after a restore, is computed from what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from redis.exceptions import ResponseError

from service.articles.event import FIRST, position
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.partitions import partitions_of, shard_of
from service.storage.shards import Shards

# How often a partition is read whose webhooks change meanwhile.
_TRIES = 5


class NeededEvents:
    """The notes of all partitions."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._note: Script[int] = lua_script(client, "needed", "note_needed")

    async def note(self, partition: int) -> bool:
        """Note what the webhooks of a partition need now; False if that cannot be said: they change
        all the time, or their key holds something else."""
        shard = shard_of(partition, self._shards)
        registry = keys.endpoints(shard, partition)
        for _ in range(_TRIES):
            try:
                ids = await self._client.hkeys(registry)
            except ResponseError as exc:
                if "WRONGTYPE" not in str(exc):
                    raise
                return False
            names: list[Any] = [registry, keys.needed(shard)]
            prefixes = (keys.endpoint(shard, "").encode(), keys.replays(shard, "").encode())
            # Bytes: what another program wrote may be no text.
            names += [prefix + each for each in ids for prefix in prefixes]
            if await self._note(keys=cast(list[str], names), args=[partition, *ids]):
                return True
        return False

    async def lowest(self) -> Mapping[int, str]:
        """Stream shard → the cursor after which a webhook needs its entries; without those that no
        webhook needs. FIRST, of every shard, if what a partition needs is unknown."""
        lowest: dict[int, str] = {}
        for shard in self._shards:
            partitions = partitions_of(shard, self._shards)
            for note in await self._notes(shard, partitions) if partitions else []:
                if note is None:
                    return dict.fromkeys(self._shards, FIRST)
                for need in note.split():
                    stream, _, cursor = need.partition(":")
                    lowest[int(stream)] = min(lowest.get(int(stream), cursor), cursor, key=position)
        return lowest

    async def _notes(self, shard: int, partitions: range) -> list[str | None]:
        """The notes of these partitions; those that are missing are computed."""
        fields = [str(partition) for partition in partitions]
        notes = await self._client.hmget(keys.needed(shard), fields)
        missing = [p for p, note in zip(partitions, notes, strict=True) if note is None]
        for partition in missing:
            await self.note(partition)
        if missing:
            notes = await self._client.hmget(keys.needed(shard), fields)
        return [None if note is None else note.decode() for note in notes]
