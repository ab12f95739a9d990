"""Duplicates: events → articles that another source published before → marks as duplicates.

This runs off the hot path, in a separate consumer group of the stream and after append and index,
so an article may be visible for a moment before its mark hides it. Marks are idempotent and are
written before the ack.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

from service.articles.aliases import canonical
from service.articles.article import LIVE, Article
from service.articles.categories import with_ancestors_and_all
from service.articles.duplicates import are_alike, bands, outranks, shingles
from service.articles.event import Event
from service.articles.times import to_ms
from service.process import stopping_group
from service.settings import Settings
from service.storage.event_stream import DUPLICATES
from service.storage.store import Store
from workers import runtime
from workers.runtime import Clock

logger = logging.getLogger(__name__)

BATCH = 20


class DuplicateFinder:
    """The loop that finds and marks duplicates."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._now = now
        self._consumer = f"duplicates-{settings.worker_ordinal}"

    async def run(self, stop: asyncio.Event) -> None:
        """Find and mark the duplicate of each event's article, until stopped."""
        async with stopping_group(stop) as group:
            for shard in range(self._store.event_stream.shards):
                group.create_task(self._consume(shard, stop))

    async def _consume(self, shard: int, stop: asyncio.Event) -> None:
        stream = self._store.event_stream
        is_behind = True

        async def unit() -> None:
            nonlocal is_behind
            if is_behind:
                # Events that this consumer read before it died, then those of dead consumers.
                await stream.create_group(DUPLICATES)
                events = await stream.read_group(
                    shard, DUPLICATES, self._consumer, count=BATCH, pending=True
                ) or await stream.claim(shard, DUPLICATES, self._consumer, count=BATCH)
                is_behind = bool(events)
            else:
                events = await stream.read_group(shard, DUPLICATES, self._consumer, count=BATCH)
                is_behind = not events
            for event in events:
                await self._judge(event)
            await stream.ack(DUPLICATES, events)

        await runtime.repeat(unit, stop, what="duplicates")

    async def _judge(self, event: Event) -> None:
        # The present revision: an older event of the same article is obsolete.
        (article,) = await self._store.articles.get([event.subject])
        if article is None:
            return
        if article.status != LIVE:
            await self._release(article)
            return
        original = await self._original(article)
        if original is None:
            if article.duplicate_of:
                await self._mark(article, None)
            await self._renew(article)
        elif outranks(article, original):
            if article.url:
                await self._store.duplicates.claim_url(canonical(article.url), article.id)
            await self._mark(original, article)
        else:
            await self._mark(article, original)

    async def _original(self, article: Article) -> Article | None:
        """Return the article of another source that this one repeats, or None."""
        duplicates = self._store.duplicates
        ids = []
        if article.url and urlsplit(article.url).path.strip("/"):
            ids.append(await duplicates.by_url(canonical(article.url), article.id))
        by_link = await self._others(article, ids)
        if by_link:
            return by_link[0]
        alike = await duplicates.by_bands(
            bands(shingles(article)), article.id, now_ms=to_ms(self._now())
        )
        others = await self._others(article, alike)
        return next((other for other in others if are_alike(article, other)), None)

    async def _others(self, article: Article, ids: list[str]) -> list[Article]:
        """Return the live originals from other sources among these ids and their originals."""
        others = [a for a in await self._store.articles.get(ids) if a and a.id != article.id]
        roots = [a.duplicate_of for a in others if a.duplicate_of not in ("", article.id)]
        others += [a for a in await self._store.articles.get(roots) if a]
        return [
            other
            for other in others
            if other.source != article.source and other.status == LIVE and not other.duplicate_of
        ]

    async def _mark(self, article: Article, original: Article | None) -> None:
        changed = await self._store.duplicates.mark(
            article.id,
            original=original.id if original else "",
            hidden_in=with_ancestors_and_all(original.categories) if original else (),
        )
        if changed and original:
            extra = {"article": article.id, "original": original.id}
            logger.info("marked a duplicate", extra=extra)
            await self._store.count({"articles_duplicate": 1})

    async def _renew(self, article: Article) -> None:
        """Mark an article's duplicates again: its categories, which hide them, may have changed."""
        for twin in await self._twins(article):
            await self._mark(twin, article)

    async def _release(self, article: Article) -> None:
        """Show the duplicates of a withdrawn article again."""
        for twin in await self._twins(article):
            await self._mark(twin, None)
        await self._store.duplicates.forget_twins(article.id)

    async def _twins(self, article: Article) -> list[Article]:
        ids = await self._store.duplicates.twins(article.id)
        twins = await self._store.articles.get(ids)
        return [twin for twin in twins if twin and twin.duplicate_of == article.id]
