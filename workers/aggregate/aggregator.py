"""Aggregate: events → category indexes → page versions → servers notified.

    wake (on each event) → read → index step (pure) → index → ack
                                                        └ render recently read pages → notify

Indexing comes before the ack and is idempotent (`service.feeds.index_step`), so events may arrive
twice and in any order. The `dirty` set is the safety net of the stream: an article whose event was
trimmed or deleted before it was read is indexed from that set at the next tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from cachetools import LRUCache

from service import process
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
from service.storage.dead_events import dead_event
from service.storage.event_stream import AGGREGATE
from service.storage.faults import each_alone, reason_of
from service.storage.rendered_pages import Change
from service.storage.store import Store
from workers import runtime
from workers.aggregate.compaction import Compaction
from workers.aggregate.erasures import SecondPass
from workers.aggregate.group_consumer import MAX_TRIES, GroupConsumer
from workers.aggregate.retention import Retention
from workers.aggregate.view_index import ViewIndex
from workers.runtime import Clock, Stopwatch
from workers.schedule import ticking

logger = logging.getLogger(__name__)

BATCH = 200
# Two processes may index one article at the same time; the one that loses reads it again.
MAX_ROUNDS = 5
MAX_FAILURES = 10_000
SWEEP_EVERY_S = 5.0
TRIM_EVERY_S = 30.0
VIEWS_EVERY_S = 2.0
ERASURES_EVERY_S = 10.0
RETENTION_EVERY_S = 30.0
COMPACTION_EVERY_S = 60.0
TICK_TIMEOUT_S = 60.0
# An event that arrives at all arrives sooner than this.
DIRTY_AFTER = timedelta(seconds=10)
# Pages that clients read within this time are rendered before the servers are notified.
READ_LATELY = timedelta(minutes=15)
MAX_AHEAD = 60
# Servers are notified of the first change at once, and of the rest of a burst together: each
# notification makes every server load each page that is read, which slows clients that poll.
NOTIFY_EVERY_S = 0.05


class Aggregator:
    """The loops of one aggregate worker: consume, notify, sweep, trim, build views."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._renderer = FeedRenderer(store, settings, now=now)
        self._recent_reads: frozenset[str] = frozenset()
        self._failures: LRUCache[str, int] = LRUCache(MAX_FAILURES)
        """Id of an article that the sweep cannot index → how often it tried."""
        self._pending: set[Change] = set()
        self._has_pending = asyncio.Event()
        self._second_pass = SecondPass(store, settings, now=now)
        token = uuid.uuid4().hex
        self._view_index = ViewIndex(
            store,
            zone=settings.timezone,
            hides=settings.duplicates == "hide",
            token=token,
            now=now,
        )
        self._compaction = Compaction(store, token=token)
        self._retention = Retention(store, settings, self._view_index, token=token, now=now)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume every shard and sweep at each tick, until stopped."""
        consumer = GroupConsumer(
            self._store, AGGREGATE, ordinal=self._settings.worker_ordinal,
            batch=BATCH, process=self._apply, process_articles=self._reindex,
            on_idle=self._renderer.forget_articles, now=self._now,
        )  # fmt: skip
        works: dict[str, tuple[float, runtime.Unit]] = {
            "sweep": (SWEEP_EVERY_S, self._sweep),
            "trim": (TRIM_EVERY_S, self._trim),
            "views": (VIEWS_EVERY_S, partial(self._view_index.build, self._publish, stop)),
            "erasures": (ERASURES_EVERY_S, self._second_pass.run),
            "retention": (RETENTION_EVERY_S, partial(self._retention.run, self._publish, stop)),
            "compaction": (COMPACTION_EVERY_S, partial(self._compaction.run, stop)),
        }
        try:
            async with (
                ticking({what: every_s for what, (every_s, _) in works.items()}) as ticks,
                stopping_group(stop) as group,
            ):
                consumer.start(group, stop)
                group.create_task(self._notify(stop))
                for what, (_, work) in works.items():
                    group.create_task(self._tick(ticks[what], work, stop, what=what))
        finally:
            self._renderer.close()

    async def _tick(
        self, tick: asyncio.Event, work: runtime.Unit, stop: asyncio.Event, *, what: str
    ) -> None:
        async def unit() -> None:
            if await runtime.woken(tick, stop, timeout_s=TICK_TIMEOUT_S):
                await work()

        await runtime.repeat_safely(unit, stop, what=f"aggregate {what}", faults=self._store.faults)

    async def _sweep(self) -> None:
        """Index what no event announced, and note which pages were read recently."""
        await self._index_dirty()
        now = self._now()
        self._recent_reads = await self._store.rendered_pages.recent_reads(since=now - READ_LATELY)

    async def _index_dirty(self) -> None:
        ids = await self._store.articles.dirty(before=self._now() - DIRTY_AFTER)
        if ids:
            await each_alone(ids, self._reindex_lost, self._give_up)

    async def _reindex_lost(self, ids: Sequence[str]) -> None:
        articles = await self._reindex(ids)
        # Marks of duplicates and corrections without an event are left to the sweep.
        lost = sum(not any((a.duplicate_revision, a.corrections)) for a in articles)
        if lost:
            logger.warning("indexed articles whose events did not arrive", extra={"count": lost})
            await self._store.count({"articles_swept": lost})

    async def _reindex(self, ids: Sequence[str]) -> list[Article]:
        """Index the present revisions of these articles, and return them."""
        by_id = dict(zip(ids, await self._store.articles.get(ids), strict=True))
        await self._store.articles.forget_dirty([i for i, article in by_id.items() if not article])
        articles = [article for article in by_id.values() if article]
        now_ms = times.to_ms(self._now())
        await self._index(articles, {article.id: now_ms for article in articles})
        return articles

    async def _give_up(self, article_id: str, exc: Exception) -> None:
        """Make a dead event of an article that has none and cannot be indexed after MAX_TRIES."""
        now = self._now()
        await self._store.faults.report("event", f"{AGGREGATE} {article_id}", exc, now=now)
        tries = self._failures[article_id] = self._failures.pop(article_id, 0) + 1
        if tries < MAX_TRIES:
            return
        letter = dead_event(
            group=AGGREGATE, article_id=article_id, entry_id="", reason=reason_of(exc),
            tries=tries, now=now,
        )  # fmt: skip
        del self._failures[article_id]
        await self._store.dead_events.bury(letter, is_dirty=True)

    async def _apply(self, events: Sequence[Event]) -> None:
        watch = Stopwatch()
        latest: dict[str, tuple[Article, int]] = {}
        for event in events:
            article = _article(event)
            known = latest.get(event.subject)
            if article and (known is None or article.version > known[0].version):
                latest[event.subject] = article, event.position[0]
        changes = await self._index(
            [article for article, _ in latest.values()],
            {article_id: stamp for article_id, (_, stamp) in latest.items()},
        )
        logger.info(
            "indexed events",
            extra={"events": len(events), "pages": len(changes), "ms": watch.ms},
        )

    async def _index(self, articles: Sequence[Article], stamps: dict[str, int]) -> set[Change]:
        """Update the indexes to these revisions, and notify the servers; return the changes."""
        changes: set[Change] = set()
        remaining = list(articles)
        await self._view_index.load()
        for _ in range(MAX_ROUNDS):
            before = await self._before(remaining)
            remaining = await self._present(remaining, before)
            steps = {
                article.id: step
                for article in remaining
                if (step := self._index_step(article, before[article.id][0], stamps[article.id]))
            }
            done = await self._store.articles.index(list(steps.values()))
            for step, applied in zip(steps.values(), done, strict=True):
                if applied:
                    changes.update(_changes(step))
            lost = {s.article_id for s, ok in zip(steps.values(), done, strict=True) if not ok}
            remaining = [article for article in remaining if article.id in lost]
            if not remaining:
                break
        await self._publish(changes)
        return changes

    async def _before(self, articles: Sequence[Article]) -> dict[str, tuple[bytes, bytes]]:
        """Id → (`idx`, `head`) of these articles."""
        ids = [article.id for article in articles]
        return dict(zip(ids, await self._store.articles.indexed(ids), strict=True))

    async def _present(
        self, articles: Sequence[Article], before: Mapping[str, tuple[bytes, bytes]]
    ) -> list[Article]:
        """Replace articles that are not stored as their events have them: they were changed since,
        or Redis has lost the end of its file, and they are older now, others, or not there."""
        present: list[Article] = []
        outdated: list[str] = []
        for article in articles:
            head = before[article.id][1]
            if article.is_of(head):
                self._renderer.prime(article, head)
                present.append(article)
            else:
                outdated.append(article.id)
        stored = await self._store.articles.get(outdated) if outdated else []
        return present + [article for article in stored if article]

    def _index_step(self, article: Article, before: bytes, stamp_ms: int) -> IndexStep | None:
        return index_step(
            article,
            before,
            stamp_ms=stamp_ms,
            zone=self._settings.timezone,
            hide_duplicates=self._settings.duplicates == "hide",
            views=self._view_index.of(article),
            all_views=self._view_index.paths,
        )

    async def _publish(self, changes: set[Change]) -> None:
        """Schedule a notification: at once, or NOTIFY_EVERY_S after the last one."""
        self._pending |= changes
        if changes:
            self._has_pending.set()

    async def _notify(self, stop: asyncio.Event) -> None:
        async def unit() -> None:
            if await runtime.woken(self._has_pending, stop, timeout_s=TICK_TIMEOUT_S):
                await self._notify_now()
                await process.sleep(stop, NOTIFY_EVERY_S)

        await runtime.repeat_safely(unit, stop, what="aggregate notify", faults=self._store.faults)
        with contextlib.suppress(Unavailable), redis_errors_as_unavailable():
            await self._notify_now()

    async def _notify_now(self) -> None:
        """Render the changed pages that clients read recently, then notify the servers."""
        changes, self._pending = self._pending, set()
        try:
            await self._render_and_notify(changes)
        except BaseException:
            self._pending |= changes
            self._has_pending.set()
            raise

    async def _render_and_notify(self, changes: set[Change]) -> None:
        pages = [Page(category, Period.parse(period)) for category, period in sorted(changes)]
        wanted = [
            (page, extension)
            for page in pages
            for extension in FORMATS
            if f"{page}.{extension}" in self._recent_reads
        ][:MAX_AHEAD]
        await self._renderer.render_ahead(wanted, changes=sorted(changes))

    async def _trim(self) -> None:
        """Delete events that are old, or beyond the caps; before the caps in number, only those
        that no consumer group of ours and no webhook cursor needs any more."""
        oldest_ms = times.to_ms(self._now()) - int(self._settings.stream_retention_s * 1000)
        by_webhooks = await self._store.webhooks.needed()
        for shard in self._store.event_stream.shards:
            needed = await self._store.event_stream.needed_from_all(shard)
            needed += [by_webhooks[shard]] if shard in by_webhooks else []
            min_ids = [position(entry_id) for entry_id in needed]
            needed_ms, needed_seq = min(min_ids)
            low = min((needed_ms, needed_seq), (oldest_ms, 0))
            _, dropped, heavy = await self._store.event_stream.trim(
                shard,
                min_id=f"{low[0]}-{low[1]}",
                max_entries=self._settings.stream_max_entries,
                max_bytes=self._settings.stream_max_bytes,
                needed=f"{needed_ms}-{needed_seq}",
            )
            if heavy:
                logger.info("stream is over its bytes", extra={"shard": shard, "dropped": heavy})
                await self._store.count({"stream_dropped_over_bytes": heavy})
            if dropped:
                logger.info("stream is over its cap", extra={"shard": shard, "dropped": dropped})
                await self._store.count({"stream_dropped_over_cap": dropped})
                await self._warn_of_loss(shard, min(min_ids))

    async def _warn_of_loss(self, shard: int, needed: tuple[int, int]) -> None:
        first = await self._store.event_stream.first_id(shard)
        if first and position(first) > needed and needed != (0, 0):
            logger.error(
                "STREAM_MAX_ENTRIES dropped events that a consumer group or webhook had not read",
                extra={"shard": shard, "needed": f"{needed[0]}-{needed[1]}", "first": first},
            )
            await self._store.count({"stream_dropped_unread": 1})


def _article(event: Event) -> Article | None:
    """Return the event's article; None, with an error in the log, if it cannot be read."""
    if event.article is None:
        logger.error("unreadable event", extra={"entry": event.entry_id})
    return event.article


def _changes(step: IndexStep) -> list[Change]:
    return [(change.category, period) for change in step.changes for period in change.periods]
