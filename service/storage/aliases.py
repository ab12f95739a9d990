"""Aliases in Redis: the id of the article that a new guid belongs to (articles/aliases.py)."""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Sequence
from dataclasses import replace

from service.articles.aliases import ALIAS_BYTES, EXACT, SAME
from service.articles.encoded import EncodedArticle
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.shards import Shards

# Redis serves no other client while a script runs: an alias takes about 3 µs.
MAX_BATCH = 200
_SOURCE_BYTES, _ID_BYTES = 2, 16
_ALIAS_BYTES = ALIAS_BYTES - _SOURCE_BYTES
_KNOWN = """
-- KEYS articles. Returns for each whether it exists, 1 or 0.
local answer = {}
for i, key in ipairs(KEYS) do answer[i] = redis.call('EXISTS', key) end
return answer
"""


class Aliases:
    """Finds the existing article that a new guid belongs to."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._alias: Script[list[bytes]] = lua_script(client, "alias")
        # One command: a pipeline of one command each would cost ten times as much.
        self._known: Script[list[int]] = Script(client, _KNOWN)

    async def resolve(
        self, articles: Sequence[EncodedArticle], standing: frozenset[str]
    ) -> list[EncodedArticle]:
        """The articles in their order; an article that exists under another guid gets its id, and
        its guid is remembered as an alias.

        Aliases of new articles are stored before the articles are appended: if two workers append
        one article under two guids, the second one gets the id of the first. If nothing is appended
        after all, the next call returns the same ids.
        """
        resolved = list(articles)
        unknown = await self._unknown([i for i, a in enumerate(resolved) if a.aliases], resolved)
        # Only an article that came without others of its poor guid has an id made of that guid.
        poor = [i for i, article in enumerate(resolved) if _exact(article)]
        by_shard: dict[int, list[int]] = {}
        for i in sorted({*unknown, *poor}):
            shard = shard_of_aliases(resolved[i].aliases[0][0], self._shards)
            by_shard.setdefault(shard, []).append(i)
        is_unknown = frozenset(unknown)
        ids_in_use = b"".join(map(_bytes, standing)) if by_shard else b""
        for shard, indexes in by_shard.items():
            for at in range(0, len(indexes), MAX_BATCH):
                part = indexes[at : at + MAX_BATCH]
                await self._resolve(shard, part, resolved, is_unknown, ids_in_use)
        return resolved

    async def _unknown(self, indexes: list[int], articles: list[EncodedArticle]) -> list[int]:
        """Return the indexes of articles whose id is new: only they can exist under another id."""
        by_shard: dict[int, list[int]] = {}
        for i in indexes:
            by_shard.setdefault(self._shards.of(articles[i].id), []).append(i)
        unknown: list[int] = []
        for shard, in_shard in by_shard.items():
            names = [keys.article(shard, articles[i].id) for i in in_shard]
            known = await self._known(keys=names)
            unknown += [i for i, is_known in zip(in_shard, known, strict=True) if not is_known]
        return sorted(unknown)

    async def _resolve(
        self,
        shard: int,
        indexes: list[int],
        articles: list[EncodedArticle],
        is_unknown: frozenset[int],
        ids_in_use: bytes,
    ) -> None:
        """Replace the ids of those articles that are known by an alias.

        An article whose id is known is looked up by its EXACT alias only.

        Args:
            ids_in_use: ids that belong to other entries of the document, 16 bytes each.
        """
        key_names: list[str] = []
        in_call = b"".join(_bytes(a.id) for a in articles)
        argv: list[bytes | int] = [in_call + ids_in_use]
        for i in indexes:
            article = articles[i]
            id_bytes = _bytes(article.id)
            aliases = article.aliases if i in is_unknown else _exact(article)
            # An id is a hash of the guid.
            own = article.aliases[0][0][:_SOURCE_BYTES] + id_bytes[:_ALIAS_BYTES]
            key_names.append(keys.aliases(shard, _bucket(own)))
            argv += [id_bytes, int(i in is_unknown), len(aliases)]
            for alias, fingerprint in aliases:
                key_names.append(keys.aliases(shard, _bucket(alias)))
                argv += [alias[_SOURCE_BYTES:], fingerprint]
        answers = await self._alias(keys=key_names, args=argv)
        for i, answer in zip(indexes, answers, strict=True):
            article_id = str(uuid.UUID(bytes=answer[:_ID_BYTES]))
            if article_id != articles[i].id:
                articles[i] = articles[i].with_id(article_id)
            if answer[_ID_BYTES:] == SAME:
                articles[i] = replace(articles[i], full_hash="")


def shard_of_aliases(alias: bytes, shards: Shards) -> int:
    """The shard of all aliases of a source, by one of them or its `source_part`."""
    return shards.tags[zlib.crc32(alias[:_SOURCE_BYTES]) % len(shards)]


def _bytes(article_id: str) -> bytes:
    return bytes.fromhex(article_id.replace("-", ""))


def _exact(article: EncodedArticle) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(alias for alias in article.aliases if alias[1] == EXACT)


def _bucket(alias: bytes) -> int:
    return zlib.crc32(alias[_SOURCE_BYTES:]) % keys.ALIAS_BUCKETS
