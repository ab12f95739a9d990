"""Known entries in Redis (sources/known_entries.py): which of them hold.

They lie beside the polls of sources, which claim.lua reads and finish.lua writes, and only save
work: where they are missing, or Redis has not what they say, all entries are looked at.
"""

from __future__ import annotations

from service.sources.known_entries import article_ids_in, joined, records_in
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.shards import Shards

# Redis serves no other client while a script runs: a head takes about 1 µs.
MAX_BATCH = 500
_YES = ord("1")


class KnownEntries:
    """The known entries of all sources."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._known: Script[bytes] = lua_script(client, "article", "head", "known")

    async def holding(self, records: bytes, *, document: str) -> bytes:
        """Those of the records whose articles Redis has as they were appended, in no order.

        Args:
            document: see `encoded.document_name`.
        """
        each = records_in(records)
        by_shard: dict[int, list[tuple[str, bytes]]] = {}
        for article_id, record in zip(article_ids_in(b"".join(each)), each, strict=True):
            shard = self._shards.of(article_id)
            by_shard.setdefault(shard, []).append((keys.article(shard, article_id), record))
        holding_records: list[bytes] = []
        for in_shard in by_shard.values():
            for at in range(0, len(in_shard), MAX_BATCH):
                names, batch = zip(*in_shard[at : at + MAX_BATCH], strict=True)
                answers = await self._known(keys=names, args=[document, b"".join(batch)])
                holding_records += [
                    r for r, answer in zip(batch, answers, strict=True) if answer == _YES
                ]
        return joined(holding_records)
