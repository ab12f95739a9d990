"""The zstd dictionaries of an archive: which of them documents are compressed with, and all that
were ever used.

Every shard has its own copy, in the slot of its articles, and a dictionary is in the copy before
the first document that needs it: append.lua and recompress.lua refuse such a document without it.
So whatever Redis loses (the end of its file, the newest writes of a primary), it never holds a
document without its dictionary. A dictionary is never removed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cachetools import TTLCache
from redis.exceptions import ResponseError

from service.errors import Unavailable
from service.storage import keys
from service.storage.client import Script, lua_script, of_wrong_type
from service.storage.commands import Client
from service.storage.compression import Dictionary, MissingDictionary, dictionary_id, plain
from service.storage.shards import Shards

logger = logging.getLogger(__name__)

# A process that learns late of a new dictionary compresses with the one before.
REFRESH_S = 30.0
_NEWEST, _ARTICLES, _SWEPT = "newest", "articles", "swept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What one shard compresses with."""

    newest: int = 0
    """Id of the dictionary; 0 if there is none yet."""
    articles: int = 0
    """How many articles the archive had when that one was trained."""
    swept: int = 0
    """Id of the dictionary with which the sweep compressed all older documents of the shard."""


class Dictionaries:
    """Compresses and reads documents with the dictionaries of an archive."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._known: dict[int, Dictionary] = {}
        self._newest: TTLCache[int, Dictionary | None] = TTLCache(len(shards), REFRESH_S)
        self._replace: Script[int] = lua_script(client, "article", "head", "recompress")

    async def newest(self, shard: int) -> Dictionary | None:
        """What documents of a shard are to be compressed with; None if there is none yet. It may
        be REFRESH_S old."""
        if shard not in self._newest:
            present = await self.present(shard)
            await self._load(shard, {present.newest} - {0})
            self._newest[shard] = self._known.get(present.newest)
        return self._newest[shard]

    async def present(self, shard: int) -> Present:
        """What Redis has noted of a shard; what a hand made unreadable there counts as 0."""
        stored = await self._fields(shard, _NEWEST, _ARTICLES, _SWEPT)
        newest, articles, swept = (int(v) if v and v.isdigit() else 0 for v in stored)
        return Present(newest=newest, articles=articles, swept=swept)

    async def load(self, stored: Iterable[tuple[int, bytes | None]]) -> None:
        """Load the dictionaries that these documents need, before `plain`.

        Args:
            stored: (shard, stored document) of each, None for a missing one.
        """
        needed: dict[int, set[int]] = {}
        for shard, doc in stored:
            wanted = dictionary_id(doc) if doc else 0
            if wanted and wanted not in self._known:
                needed.setdefault(shard, set()).add(wanted)
        for shard, ids in needed.items():
            await self._load(shard, ids)

    def plain(self, stored: bytes) -> bytes:
        """The JSON of a stored document.

        Raises:
            MissingDictionary: Redis does not have the dictionary that it needs.
            ValueError: it is not a document.
        """
        return plain(stored, self._known)

    async def read(self, shard: int, stored: bytes) -> bytes:
        """The JSON of one stored document, which the caller must have.

        Raises:
            Unavailable: Redis does not have the dictionary that it needs.
            ValueError: it is not a document.
        """
        await self.load([(shard, stored)])
        try:
            return self.plain(stored)
        except MissingDictionary as exc:
            raise Unavailable(f"an article cannot be read: {exc}") from exc

    async def add(self, content: bytes, *, articles: int) -> Dictionary:
        """Have every shard compress with this dictionary from now on. Can be repeated.

        Args:
            articles: how many the archive has.

        Raises:
            ValueError: the content is not that of a dictionary.
        """
        dictionary = Dictionary(content)
        self._known[dictionary.id] = dictionary
        for shard in self._shards:
            # One command: what is named as the newest is there.
            await self._client.execute_command(
                "HSET", keys.dictionaries(shard), str(dictionary.id), content,
                _NEWEST, dictionary.id, _ARTICLES, articles,
            )  # fmt: skip
        self._newest.clear()
        return dictionary

    async def put(self, shard: int, dictionary: Dictionary) -> None:
        """Store a dictionary that a shard has lost, or never had."""
        field = str(dictionary.id)
        await self._client.hset(keys.dictionaries(shard), field, dictionary.content)

    async def note_swept(self, shard: int, dictionary: Dictionary) -> None:
        """Note that the sweep of a shard has ended."""
        await self._client.hset(keys.dictionaries(shard), _SWEPT, str(dictionary.id))

    async def replace(
        self, shard: int, changes: Sequence[tuple[str, bytes, bytes]], dictionary: Dictionary
    ) -> int:
        """Replace stored documents by shorter forms of the same, made with this dictionary.

        Args:
            changes: (article id, document as it was read, the same in another form).

        Returns:
            How many were replaced: not those that changed since they were read.
        """
        names = [keys.article(shard, article_id) for article_id, _, _ in changes]
        forms = [form for _, before, after in changes for form in (before, after)]
        return await self._replace(
            keys=[keys.dictionaries(shard), *names], args=[str(dictionary.id), *forms]
        )

    async def _load(self, shard: int, ids: Iterable[int]) -> None:
        for wanted in set(ids) - self._known.keys():
            (content,) = await self._fields(shard, str(wanted))
            if content is None:
                continue
            try:
                self._known[wanted] = Dictionary(content)
            except ValueError as exc:
                extra = {"dictionary": wanted, "shard": shard, "reason": str(exc)}
                logger.error("a stored zstd dictionary cannot be read", extra=extra)

    async def _fields(self, shard: int, *names: str) -> list[bytes | None]:
        """These fields of a shard; all None if the key has another type, so that articles are
        appended all the same."""
        try:
            stored: list[bytes | None] = await self._client.execute_command(
                "HMGET", keys.dictionaries(shard), *names
            )
        except ResponseError as exc:
            if "WRONGTYPE" not in str(exc):
                raise
            reason = of_wrong_type(keys.dictionaries(shard))
            logger.error("zstd dictionaries cannot be read", extra={"reason": str(reason)})
            return [None] * len(names)
        return stored
