"""Duplicates: events → articles that another source published, too → marks as duplicates.

    a batch of events → sketches → note all of them, learn who had their links and landmarks before
                      → read those of them that may be the same story → judge → mark

This runs off the hot path, in a separate consumer group of the stream and after append and index,
so an article may be visible for a moment before its mark hides it. Marks are idempotent and are
written before the ack. An article costs the same whatever it says: MAX_SUSPECTS others are compared
with it at most, and texts that were compared lately are not read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cachetools import LRUCache

from service.articles.article import LIVE, Article
from service.articles.categories import with_ancestors_and_all
from service.articles.duplicates import (
    Sketch,
    are_alike,
    are_duplicates,
    link_of,
    outranks,
    sketch_of,
)
from service.articles.event import Event
from service.articles.times import to_ms
from service.process import stopping_group
from service.settings import Settings
from service.storage.duplicates import Mark, Owners, Trace
from service.storage.event_stream import DUPLICATES
from service.storage.store import Store
from workers.aggregate.group_consumer import GroupConsumer
from workers.runtime import Clock

logger = logging.getLogger(__name__)

BATCH = 64
AT_ONCE = 16
"""Articles that are sketched without a pause, in which the loop does other work (2 ms)."""
MAX_SUSPECTS = 3
"""By their words; besides those with the same link, two at most, and the present original."""
MAX_SKETCHES = 512
"""Those of articles that were seen last; up to 30 kB each."""


class DuplicateFinder:
    """The loop that finds and marks duplicates."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._now = now
        self._ordinal = settings.worker_ordinal
        self._sketches: LRUCache[str, tuple[str, Sketch]] = LRUCache(MAX_SKETCHES)

    async def run(self, stop: asyncio.Event) -> None:
        """Find and mark the duplicate of each event's article, until stopped."""
        consumer = GroupConsumer(
            self._store, DUPLICATES, ordinal=self._ordinal, batch=BATCH,
            process=self._judge_events, process_articles=self._judge_all,
            on_idle=self._sketches.clear, now=self._now,
        )  # fmt: skip
        async with stopping_group(stop) as group:
            consumer.start(group, stop)

    async def _judge_events(self, events: Sequence[Event]) -> None:
        newest = {event.subject: event.article for event in events}
        heads = await self._store.articles.heads(list(newest))
        current = {
            article.id
            for article, head in zip(newest.values(), heads, strict=True)
            if article and article.is_of(head)
        }
        # An older event of an article is obsolete; its marks may have changed since it was written.
        others = [each for each in newest if each not in current]
        read = await self._store.articles.get(others) if others else []
        newest |= dict(zip(others, read, strict=True))
        await self._judge([article for article in newest.values() if article])

    async def _judge_all(self, article_ids: Sequence[str]) -> None:
        read = await self._store.articles.get(list(dict.fromkeys(article_ids)))
        await self._judge([article for article in read if article])

    async def _judge(self, articles: Sequence[Article]) -> None:
        """Judge articles, each in its present revision."""
        live = [article for article in articles if article.status == LIVE]
        await self._release([article.id for article in articles if article.status != LIVE])
        if not live:
            return
        traces = []
        for number, article in enumerate(live):
            landmarks = self._sketch(article).landmarks()
            traces.append(Trace(article_id=article.id, link=link_of(article), landmarks=landmarks))
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        owners = await self._store.duplicates.note(traces, now_ms=to_ms(self._now()))
        suspects = {
            article.id: self._suspects(article, found)
            for article, found in zip(live, owners, strict=True)
        }
        known = {article.id: article for article in live}
        await self._read(known, (each for ids in suspects.values() for each in ids))
        await self._read(known, [each.duplicate_of for each in known.values()])
        marks = [
            mark
            for article in live
            for mark in self._decide(known[article.id], suspects[article.id], known)
        ]
        await self._write(marks)
        await self._renew([known[article.id] for article in live if article.revision > 1])

    def _sketch(self, article: Article) -> Sketch:
        content_hash, sketch = self._sketches.get(article.id, ("", None))
        if sketch is None or content_hash != article.content_hash:
            sketch = sketch_of(article)
            self._sketches[article.id] = (article.content_hash, sketch)
        return sketch

    def _suspects(self, article: Article, owners: Owners) -> list[str]:
        """Ids of the articles that this one may repeat, the most probable first."""
        sketch = self._sketch(article)
        ids = [article.duplicate_of] if article.duplicate_of else []
        ids += owners.of_link
        for article_id in owners.of_landmarks[:MAX_SUSPECTS]:
            # Unlike a text that was sketched lately: it need not be read.
            _, other = self._sketches.get(article_id, ("", None))
            if other is None or are_alike(sketch, other):
                ids.append(article_id)
        return list(dict.fromkeys(ids))

    async def _read(self, known: dict[str, Article], ids: Iterable[str]) -> None:
        """Add articles that are not known yet."""
        missing = [each for each in dict.fromkeys(ids) if each and each not in known]
        if missing:
            read = await self._store.articles.get(missing)
            known.update((article.id, article) for article in read if article)

    def _decide(
        self, article: Article, suspects: Sequence[str], known: dict[str, Article]
    ) -> list[Mark]:
        """The marks that follow from what is known; they are noted there."""
        original = self._original(article, suspects, known)
        if original is None:
            marks = [Mark(article_id=article.id)] if article.duplicate_of else []
        elif outranks(article, original):
            marks = [_mark(original, article)]
        else:
            marks = [_mark(article, original)]
        for mark in marks:
            known[mark.article_id] = replace(
                known[mark.article_id], duplicate_of=mark.original, hidden_in=mark.hidden_in
            )
        return marks

    def _original(
        self, article: Article, suspects: Sequence[str], known: Mapping[str, Article]
    ) -> Article | None:
        """The live original of another source that this article, or a copy of it, repeats."""
        for suspect in filter(None, map(known.get, suspects)):
            root = known.get(suspect.duplicate_of)
            for other, original in ((suspect, root or suspect), (root, root)):
                if (
                    other
                    and original
                    and article.source not in (other.source, original.source)
                    and original.status == LIVE
                    and not original.duplicate_of
                    and are_duplicates(article, other, self._sketch(article), self._sketch(other))
                ):
                    return original
        return None

    async def _write(self, marks: Sequence[Mark]) -> None:
        changed = await self._store.duplicates.mark_all(marks)
        duplicates = [mark for mark in changed if mark.original]
        for mark in duplicates:
            extra = {"article": mark.article_id, "original": mark.original}
            logger.info("marked a duplicate", extra=extra)
        if duplicates:
            await self._store.count({"articles_duplicate": len(duplicates)})

    async def _renew(self, articles: Sequence[Article]) -> None:
        """Mark the duplicates of changed articles again: the categories of an original, which hide
        them, may have changed."""
        originals = {article.id: article for article in articles if not article.duplicate_of}
        if originals:
            twins = await self._twins(list(originals))
            await self._write([_mark(twin, originals[twin.duplicate_of]) for twin in twins])

    async def _release(self, article_ids: Sequence[str]) -> None:
        """Show the duplicates of withdrawn articles again."""
        if article_ids:
            twins = await self._twins(article_ids)
            await self._write([Mark(article_id=twin.id) for twin in twins])
            await self._store.duplicates.forget_twins(article_ids)

    async def _twins(self, article_ids: Sequence[str]) -> list[Article]:
        """The articles that are marked as duplicates of these."""
        twins_of = await self._store.duplicates.twins_of(article_ids)
        ids = dict.fromkeys(twin for twins in twins_of.values() for twin in twins)
        read = await self._store.articles.get(list(ids))
        originals = set(article_ids)
        return [twin for twin in read if twin and twin.duplicate_of in originals]


def _mark(article: Article, original: Article) -> Mark:
    return Mark(
        article_id=article.id,
        original=original.id,
        hidden_in=tuple(with_ancestors_and_all(original.categories)),
    )
