"""The limit on the categories that a source may create, over all processes.

Every append passes here. What exists is known to the process after its first look, so that an
append whose categories exist costs no call; a new category is one script call for all of a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from cachetools import LRUCache

from service.articles import times
from service.articles.category_creator import CategoryCreator, nearest
from service.articles.encoded import EncodedArticle
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.key_reader import chunks
from service.storage.shards import Shards
from service.storage.stored import decoded

logger = logging.getLogger(__name__)

KNOWN_MAX = 10_000
"""Categories that a process remembers to exist."""
AT_ONCE = 200
"""Categories of one script call: Redis serves no other client while it runs."""
ADVICE = (
    "its further ones are filed in the nearest category above that exists, or in none: set a "
    "category or a mapping for the source, or raise DATELINE_MAX_CATEGORIES_PER_SOURCE"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedCategories:
    """How many categories a source has created, and whether it could not create more."""

    created: int = 0
    refused: str = ""
    """The first category that it could not create; empty while it can create more."""
    since: str = ""
    """When that was, RFC 3339."""

    @property
    def note(self) -> str:
        """What an operator should know; empty if nothing was refused."""
        if not self.refused:
            return ""
        return (
            f"has created {self.created} categories and may create no more since {self.since} "
            f"(first {self.refused!r}): {ADVICE}"
        )


@dataclass(slots=True)
class _Wanted:
    """The categories that one source names and that may be new."""

    free: dict[str, str] = field(default_factory=dict)
    """Path → title of those that are not counted."""
    lineages: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Path → (path, title) of each of its steps from the top down."""


class CategoryLimit:
    """Creates categories for sources, and files in another place what they cannot create."""

    def __init__(self, client: Client, *, shards: Shards, limit: int) -> None:
        self._client = client
        self._shards = shards
        self._created = keys.categories_created(shards.tags[0])
        self._limit = limit
        self._known: LRUCache[str, bool] = LRUCache(KNOWN_MAX)
        self._create: Script[list[int]] = lua_script(client, "create_categories")

    async def apply(
        self, articles: Sequence[EncodedArticle], creator: CategoryCreator, *, now: datetime
    ) -> list[EncodedArticle]:
        """The articles in their order, each in categories that exist now.

        A category that its source cannot create is replaced by the nearest one above it that
        exists. Without one the article is in `all` alone; no article is lost.
        """
        filed = list(articles)
        unknown = self._unknown(filed) if creator.is_limited else set()
        if unknown and len(self._shards) > 1:
            unknown -= await self._in_other_shards(unknown)
        if not unknown:
            return filed
        named = {
            index: (creator.name or source, paths)
            for index, article in enumerate(filed)
            if any(path in unknown for path, _ in article.titles)
            for source, paths in [article.named()]
        }
        wanted: dict[str, _Wanted] = {}
        for index, (source, paths) in named.items():
            titles = dict(filed[index].titles)
            _want(wanted.setdefault(source, _Wanted()), paths, titles, creator.free, unknown)
        steps = await self._create_all(wanted, now)
        for index, (source, paths) in named.items():
            existing = [nearest(p, steps.get((source, p), p.count("/") + 1)) for p in paths]
            if existing != paths:
                paths_left = dict.fromkeys(path for path in existing if path)
                filed[index] = filed[index].with_categories(tuple(paths_left))
        return filed

    async def all(self) -> dict[str, CreatedCategories]:
        """Source (the id of a polled one, else a URI) → what it has created."""
        rows: dict[bytes, bytes] = await self._client.hgetall(self._created)
        return {name.decode(): _read(value) for name, value in rows.items()}

    async def of(self, source_id: str) -> CreatedCategories:
        """What one polled source has created."""
        return _read(await self._client.hget(self._created, source_id))

    def _unknown(self, articles: Iterable[EncodedArticle]) -> set[str]:
        return {
            path for article in articles for path, _ in article.titles if not self._known.get(path)
        }

    async def _in_other_shards(self, paths: set[str]) -> set[str]:
        """Those that exist in a shard to which an older version, or an unlimited append, wrote."""
        ordered = sorted(paths)
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.hmget(keys.categories(shard), ordered)
        replies: list[list[bytes | None]] = await pipe.execute()
        existing = {
            path
            for titles in replies
            for path, title in zip(ordered, titles, strict=True)
            if title is not None
        }
        self._remember(existing)
        return existing

    async def _create_all(
        self, wanted: dict[str, _Wanted], now: datetime
    ) -> dict[tuple[str, str], int]:
        """(source, path) → how many steps of the path exist now."""
        pipe = self._client.pipeline(transaction=False)
        self._create.load_in(pipe)
        calls: list[tuple[str, Sequence[str]]] = []
        for source, each in wanted.items():
            free = [part for pair in each.free.items() for part in pair]
            for batch in chunks(list(each.lineages), AT_ONCE) if each.lineages else [[]]:
                argv: list[str | bytes | int] = [source, self._limit, times.to_rfc3339(now)]
                argv += [len(free) // 2, *free]
                for path in batch:
                    lineage = each.lineages[path]
                    argv += [len(lineage), *(part for pair in lineage for part in pair)]
                names = [keys.categories(self._shards.tags[0]), self._created]
                self._create.run_in(pipe, keys=names, args=argv)
                calls.append((source, batch))
        _, *replies = await pipe.execute()
        for each in wanted.values():
            self._remember(each.free)
        steps: dict[tuple[str, str], int] = {}
        for (source, batch), (is_first, *counts) in zip(calls, replies, strict=True):
            for path, count in zip(batch, counts, strict=True):
                steps[source, path] = count
                self._remember(p for p, _ in wanted[source].lineages[path][:count])
            if is_first:
                logger.warning(
                    "a source may create no more categories",
                    extra={"source": source, "limit": self._limit, "advice": ADVICE},
                )
        return steps

    def _remember(self, paths: Iterable[str]) -> None:
        self._known.update((path, True) for path in paths)


def _want(
    wanted: _Wanted,
    paths: Sequence[str],
    titles: dict[str, str],
    free: frozenset[str],
    unknown: set[str],
) -> None:
    """Add those categories of one article that may be new."""
    for path in paths:
        steps = path.split("/")
        lineage = ["/".join(steps[: i + 1]) for i in range(len(steps))]
        if unknown.isdisjoint(lineage):
            continue
        for each in lineage:
            if each in free:
                wanted.free[each] = titles[each]
        if path not in free:
            wanted.lineages.setdefault(path, [(each, titles[each]) for each in lineage])


def _read(value: bytes | None) -> CreatedCategories:
    def read(stored: bytes) -> CreatedCategories:
        fields: dict[str, Any] = orjson.loads(stored)
        return CreatedCategories(
            created=int(fields["created"]),
            refused=str(fields.get("refused", "")),
            since=str(fields.get("since", "")),
        )

    result = decoded(read, value, what="created categories") if value else None
    return result or CreatedCategories()
