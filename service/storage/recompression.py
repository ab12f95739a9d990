"""Documents in bulk: samples for a dictionary, and the sweep that compresses older ones with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from service.articles.head import decode_head, is_json
from service.storage import keys
from service.storage.client import Script, lua_text
from service.storage.commands import Client
from service.storage.compression import Dictionary, compressed, dictionary_id
from service.storage.dictionaries import Dictionaries
from service.storage.shards import Shards

# Redis serves no other client while a script runs, and this process none while it compresses: 100
# documents of 2 kB take each about 4 ms.
AT_ONCE = 100
SCAN_COUNT = 500
_ARTICLES = "dateline:{*}:article:*"
_DOCS = """
-- KEYS articles. Returns `doc` and `head` of each in turn, false where another type is stored.
local answer = {}
for i = 1, #KEYS do
  local is_article, doc, head = pcall(load_article, KEYS[i])
  answer[2 * i - 1], answer[2 * i] = is_article and doc or false, is_article and head or false
end
return answer
"""

_Article = tuple[str, bytes, bytes]
"""(article id, document and head as they are stored)"""


class Recompression:
    """Reads and rewrites the documents of all articles."""

    def __init__(self, client: Client, *, shards: Shards, dictionaries: Dictionaries) -> None:
        self._client = client
        self._shards = shards
        self._dictionaries = dictionaries
        self._docs: Script[list[bytes | None]] = Script(client, lua_text("article") + _DOCS)

    async def count(self) -> int:
        """Number of live articles that are indexed."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.execute_command("ZCARD", keys.category(shard, "all"))
        return sum(await pipe.execute())

    async def sample(self, count: int) -> list[bytes]:
        """The JSON of up to so many live articles, chosen at random; not of duplicates, so that no
        text is among them many times."""
        documents: list[bytes] = []
        share = -(-count // len(self._shards))
        for shard in self._shards:
            ids: list[bytes] = await self._client.execute_command(
                "ZRANDMEMBER", keys.category(shard, "all"), share
            )
            for at in range(0, len(ids), AT_ONCE):
                part = [article_id.decode() for article_id in ids[at : at + AT_ONCE]]
                articles = await self._read(shard, part)
                await self._dictionaries.load((shard, doc) for _, doc, _ in articles)
                for _, doc, head in articles:
                    # A hand made it unreadable: another one will do.
                    with suppress(ValueError):
                        if not decode_head(head).get("duplicate_of"):
                            documents.append(self._dictionaries.plain(doc))
        return documents

    async def sweep(self, newest: Mapping[int, Dictionary]) -> AsyncIterator[int]:
        """Compress the documents of these shards with their dictionaries, where that makes them
        shorter; yield after each chunk how many were rewritten. Can be cut and begun anew.

        Args:
            newest: by shard.
        """
        waiting: dict[int, list[str]] = {shard: [] for shard in newest}
        # Once for all shards: a scan looks at every key of the server.
        async for key in self._client.scan_iter(match=_ARTICLES, count=SCAN_COUNT):
            article_id = key.decode("utf-8", "replace").rpartition(":")[2]
            shard = self._shards.of(article_id)
            if shard in waiting:
                waiting[shard].append(article_id)
                if len(waiting[shard]) == AT_ONCE:
                    yield await self._rewrite(shard, waiting[shard], newest[shard])
                    waiting[shard] = []
        for shard, article_ids in waiting.items():
            if article_ids:
                yield await self._rewrite(shard, article_ids, newest[shard])

    async def _rewrite(self, shard: int, article_ids: Sequence[str], newest: Dictionary) -> int:
        stored = [
            (article_id, doc)
            for article_id, doc, head in await self._read(shard, article_ids)
            if dictionary_id(doc) != newest.id or is_json(head)
        ]
        await self._dictionaries.load((shard, doc) for _, doc in stored)
        changes = []
        for article_id, doc in stored:
            # One that cannot be read stays as it is.
            with suppress(ValueError):
                plain = self._dictionaries.plain(doc)
                changes.append((article_id, doc, min(compressed(plain, newest), doc, key=len)))
        return await self._dictionaries.replace(shard, changes, newest) if changes else 0

    async def _read(self, shard: int, article_ids: Sequence[str]) -> list[_Article]:
        stored = await self._docs(keys=[keys.article(shard, i) for i in article_ids])
        return [
            (article_id, doc, head)
            for article_id, doc, head in zip(article_ids, stored[::2], stored[1::2], strict=True)
            if doc and head
        ]
