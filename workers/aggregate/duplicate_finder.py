"""Duplicates: events → articles that another source published before → marks as duplicates.

This runs off the hot path, in a separate consumer group of the stream and after append and index,
so an article may be visible for a moment before its mark hides it. Marks are idempotent and are
written before the ack.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
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
from workers.aggregate.group_consumer import GroupConsumer
from workers.runtime import Clock

logger = logging.getLogger(__name__)

BATCH = 20


class DuplicateFinder:
    """The loop that finds and marks duplicates."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._now = now
        self._consumer = f"{DUPLICATES}-{settings.worker_ordinal}"

    async def run(self, stop: asyncio.Event) -> None:
        """Find and mark the duplicate of each event's article, until stopped."""
        consumer = GroupConsumer(
            self._store, DUPLICATES, self._consumer, batch=BATCH,
            process=self._judge_events, process_articles=self._judge_all, now=self._now,
        )  # fmt: skip
        async with stopping_group(stop) as group:
            consumer.start(group, stop)

    async def _judge_events(self, events: Sequence[Event]) -> None:
        await self._judge_all([event.subject for event in events])

    async def _judge_all(self, article_ids: Sequence[str]) -> None:
        for article_id in article_ids:
            await self._judge(article_id)

    async def _judge(self, article_id: str) -> None:
        # The present revision: an older event of the same article is obsolete.
        (article,) = await self._store.articles.get([article_id])
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
