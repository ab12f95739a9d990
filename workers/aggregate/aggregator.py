"""Aggregate: events → category indexes → page versions → servers told.

    wake (an event, at once) → read → fold (pure) → index → ack
                                                      └ render what is read → tell

The effect comes before the ack and is idempotent (`service.feeds.index_step`), so an event may come
twice and in any order. The net under the stream is the `dirty` set: an article whose event was
trimmed or deleted unread is indexed from there at the next tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from service.articles import times
from service.articles.article import Article
from service.articles.event import Event, position
from service.errors import Unavailable
from service.feeds.formats import FORMATS
from service.feeds.index_step import IndexStep, index_step
from service.feeds.page import Page, Period
from service.process import stopping_group
from service.rendering.feed_renderer import FeedRenderer
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.event_stream import AGGREGATE
from service.storage.rendered_pages import Change
from service.storage.store import Store
from workers import runtime
from workers.aggregate.view_index import ViewIndex
from workers.runtime import Clock, Stopwatch
from workers.schedule import ticking

logger = logging.getLogger(__name__)

BATCH = 200
# Two processes may index one article at once; one of them reads again.
MAX_ROUNDS = 5
SWEEP_EVERY_S = 5.0
TRIM_EVERY_S = 30.0
VIEWS_EVERY_S = 2.0
TICK_TIMEOUT_S = 60.0
# Older than any event still on its way to us.
DIRTY_AFTER = timedelta(seconds=10)
# Pages that were read within this time are rendered ahead.
READ_LATELY = timedelta(minutes=15)
MAX_AHEAD = 60
# The first change is told at once, those of a burst together: each costs every server a load of
# each page that is read, which those who poll meanwhile would feel.
TELL_EVERY_S = 0.05


class Aggregator:
    """The loops of one aggregate worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._renderer = FeedRenderer(store, settings, now=now)
        self._consumer = f"{AGGREGATE}-{settings.worker_ordinal}"
        self._asked: frozenset[str] = frozenset()
        self._untold: set[Change] = set()
        self._news = asyncio.Event()
        self._viewing = ViewIndex(
            store,
            zone=settings.timezone,
            hides=settings.duplicates == "hide",
            token=uuid.uuid4().hex,
            now=now,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Consume every shard and sweep at each tick, until stopped."""
        try:
            async with (
                ticking(
                    {"sweep": SWEEP_EVERY_S, "trim": TRIM_EVERY_S, "views": VIEWS_EVERY_S}
                ) as ticks,
                stopping_group(stop) as group,
            ):
                for shard in range(self._store.event_stream.shards):
                    group.create_task(self._consume(shard, stop))
                group.create_task(self._tell(stop))
                group.create_task(self._tick(ticks["sweep"], self._sweep, stop))
                group.create_task(self._tick(ticks["trim"], self._trim, stop))
                build = partial(self._viewing.build, self._publish, stop)
                group.create_task(self._tick(ticks["views"], build, stop))
        finally:
            self._renderer.close()

    async def _consume(self, shard: int, stop: asyncio.Event) -> None:
        await runtime.attempt(lambda: self._recover(shard), stop, what="recover")

        async def unit() -> None:
            await self._apply(
                await self._store.event_stream.read_group(
                    shard, AGGREGATE, self._consumer, count=BATCH
                )
            )

        await runtime.repeat(unit, stop, what="aggregate")

    async def _tick(self, tick: asyncio.Event, work: runtime.Unit, stop: asyncio.Event) -> None:
        async def unit() -> None:
            if await runtime.woken(tick, stop, timeout_s=TICK_TIMEOUT_S):
                await work()

        await runtime.repeat(unit, stop, what=getattr(work, "__name__", "views"))

    async def _recover(self, shard: int) -> None:
        """Finish what this consumer was given before it died, then what dead ones were given."""
        await self._store.event_stream.create_group(AGGREGATE)
        while events := await self._store.event_stream.read_group(
            shard, AGGREGATE, self._consumer, count=BATCH, pending=True
        ):
            await self._apply(events)

    async def _sweep(self) -> None:
        """See to what fell through: claims of dead consumers, replies lost, events trimmed."""
        for shard in range(self._store.event_stream.shards):
            await self._apply(
                await self._store.event_stream.claim(shard, AGGREGATE, self._consumer, count=BATCH)
            )
        await self._index_dirty()
        now = self._now()
        self._asked = await self._store.rendered_pages.asked(since=now - READ_LATELY)

    async def _index_dirty(self) -> None:
        now = self._now()
        ids = await self._store.articles.dirty(before=now - DIRTY_AFTER)
        if not ids:
            return
        found = dict(zip(ids, await self._store.articles.get(ids), strict=True))
        await self._store.articles.forget_dirty([i for i, article in found.items() if not article])
        articles = [article for article in found.values() if article]
        await self._index(articles, {a.id: times.to_ms(now) for a in articles})
        lost = sum(not article.duplicate_revision for article in articles)
        if lost:
            logger.warning("indexed articles whose events never came", extra={"count": lost})
            await self._store.count({"articles_swept": lost})

    async def _apply(self, events: Sequence[Event]) -> None:
        if not events:
            return
        watch = Stopwatch()
        latest: dict[str, tuple[Article, int]] = {}
        for event in events:
            article = _article(event)
            known = latest.get(event.subject)
            if article and (known is None or article.revision > known[0].revision):
                latest[event.subject] = article, event.position[0]
        changes = await self._index(
            [article for article, _ in latest.values()],
            {article_id: stamp for article_id, (_, stamp) in latest.items()},
        )
        await self._store.event_stream.ack(AGGREGATE, events)
        logger.info(
            "folded",
            extra={"events": len(events), "pages": len(changes), "ms": watch.ms},
        )

    async def _index(self, articles: Sequence[Article], stamps: dict[str, int]) -> set[Change]:
        """Bring the indexes up to these revisions, and tell the servers."""
        changes: set[Change] = set()
        left = list(articles)
        await self._viewing.load()
        for _ in range(MAX_ROUNDS):
            held = await self._store.articles.indexed([article.id for article in left])
            for article, (_, head) in zip(left, held, strict=True):
                if article.is_of(head):
                    self._renderer.prime(article, head)
            steps = {
                article.id: step
                for article, (before, _) in zip(left, held, strict=True)
                if (step := self._fold(article, before, stamps[article.id]))
            }
            done = await self._store.articles.index(list(steps.values()))
            for step, applied in zip(steps.values(), done, strict=True):
                if applied:
                    changes.update(_changes(step))
            lost = {s.article_id for s, ok in zip(steps.values(), done, strict=True) if not ok}
            left = [article for article in left if article.id in lost]
            if not left:
                break
        await self._publish(changes)
        return changes

    def _fold(self, article: Article, before: bytes, stamp_ms: int) -> IndexStep | None:
        return index_step(
            article,
            before,
            stamp_ms=stamp_ms,
            zone=self._settings.timezone,
            hide_duplicates=self._settings.duplicates == "hide",
            views=self._viewing.of(article),
            all_views=self._viewing.paths,
        )

    async def _publish(self, changes: set[Change]) -> None:
        """Have these told, at once or with what comes until it is time."""
        self._untold |= changes
        if changes:
            self._news.set()

    async def _tell(self, stop: asyncio.Event) -> None:
        async def unit() -> None:
            if await runtime.woken(self._news, stop, timeout_s=TICK_TIMEOUT_S):
                await self._tell_now()
                await runtime.sleep(stop, TELL_EVERY_S)

        await runtime.repeat(unit, stop, what="tell")
        with contextlib.suppress(Unavailable), redis_errors_as_unavailable():
            await self._tell_now()

    async def _tell_now(self) -> None:
        """Render what is read lately, then tell the servers, which find it ready."""
        changes, self._untold = self._untold, set()
        try:
            await self._render_and_tell(changes)
        except BaseException:
            self._untold |= changes
            self._news.set()
            raise

    async def _render_and_tell(self, changes: set[Change]) -> None:
        pages = [Page(category, Period.parse(period)) for category, period in sorted(changes)]
        wanted = [
            (page, extension)
            for page in pages
            for extension in FORMATS
            if f"{page}.{extension}" in self._asked
        ][:MAX_AHEAD]
        await self._renderer.render_ahead(wanted, changes=sorted(changes))

    async def _trim(self) -> None:
        """Drop events that are old and that none of our own readers needs any more."""
        oldest_ms = times.to_ms(self._now()) - int(self._settings.stream_retention_s * 1000)
        for shard in range(self._store.event_stream.shards):
            needed = await self._store.event_stream.needed_from_all(shard)
            cursors = await self._store.webhooks.needed_from(shard)
            min_ids = [position(entry_id) for entry_id in (*needed, *cursors)]
            low = min([*min_ids, (oldest_ms, 0)])
            _, over = await self._store.event_stream.trim(
                shard,
                min_id=f"{low[0]}-{low[1]}",
                max_entries=self._settings.stream_max_entries,
            )
            if over:
                logger.info("stream is over its cap", extra={"shard": shard, "dropped": over})
                await self._store.count({"stream_dropped_over_cap": over})
                await self._warn_of_loss(shard, min(min_ids))

    async def _warn_of_loss(self, shard: int, needed: tuple[int, int]) -> None:
        first = await self._store.event_stream.first_id(shard)
        if first and position(first) > needed and needed != (0, 0):
            logger.error(
                "STREAM_MAX_ENTRIES dropped events that a reader of ours had not seen",
                extra={"shard": shard, "needed": f"{needed[0]}-{needed[1]}", "first": first},
            )
            await self._store.count({"stream_dropped_unread": 1})


def _article(event: Event) -> Article | None:
    """The event's article; None for an event that somebody else put there and nobody can read."""
    try:
        return Article.from_json(event.data)
    except (ValueError, KeyError, TypeError) as exc:
        logger.error("unreadable event", extra={"entry": event.entry_id, "reason": repr(exc)})
        return None


def _changes(step: IndexStep) -> list[Change]:
    return [(touch.category, period) for touch in step.changes for period in touch.periods]
