"""Marks of articles whose pages were wanted for their texts: what became of each page.

An article is recognised by the hashes of the feed's entry, so that its page is fetched once for
each revision of that entry. Marks only save work: without them a stored text shows what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from service.sources.source import Source
from service.storage import keys
from service.storage.commands import Client
from service.storage.shards import Shards
from service.storage.stored import decoded, typed

FULL, TEASER, WAITING, REFUSED = "full", "teaser", "waiting", "refused"
# Marks of articles that the feed has no longer are removed when there are so many more.
SPARE = 500


@dataclass(frozen=True, slots=True)
class PageMark:
    """What became of the page of an article."""

    state: str
    """FULL (its text is stored), TEASER (the feed's text is, for good), WAITING (it is to be
    fetched; the feed's text is stored meanwhile) or REFUSED (with the text of its page it is no
    article of its source: a rule drops it, or retention has removed it)."""
    content_hash: str
    """Hash of the entry as the feed had it; if it is REFUSED, together with what decided so."""
    full_hash: str
    tries: int = 0
    """Failed fetches of the page since it was wanted."""


class PageMarks:
    """The marks of all sources."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def get(self, source: Source, article_ids: Sequence[str]) -> dict[str, PageMark]:
        """The marks of these articles, without those that have none."""
        if not article_ids:
            return {}
        key = self._key(source)
        stored = await self._client.execute_command("HMGET", key, *article_ids)
        marks = {
            article_id: decoded(_mark, value, what=f"page of {article_id}")
            for article_id, value in zip(article_ids, stored, strict=True)
            if value
        }
        return {article_id: mark for article_id, mark in marks.items() if mark}

    async def put(
        self, source: Source, marks: Mapping[str, PageMark], *, present: Sequence[str]
    ) -> None:
        """Store marks, and forget those of articles that the feed has no longer.

        Args:
            present: ids of all articles in the feed.
        """
        if not marks:
            return
        key = self._key(source)
        pipe = self._client.pipeline(transaction=True)
        values = {name: orjson.dumps([*_values(mark)]) for name, mark in marks.items()}
        pipe.hset(key, mapping=values)
        pipe.expire(key, keys.PAGE_MARKS_TTL_S)
        await pipe.execute()
        if await self._client.hlen(key) > len(present) + SPARE:
            names = [name.decode() for name in await self._client.hkeys(key)]
            unused = sorted({*names} - {*present} - marks.keys())
            if unused:
                await self._client.hdel(key, *unused)

    def _key(self, source: Source) -> str:
        return keys.page_marks(self._shards.of(source.host), source.id)


def _values(mark: PageMark) -> tuple[object, ...]:
    return mark.state, mark.content_hash, mark.full_hash, mark.tries


def _mark(stored: bytes) -> PageMark:
    state, content_hash, full_hash, tries = orjson.loads(stored)
    return typed(PageMark(state, content_hash, full_hash, tries))
