"""The views as the aggregate worker applies them, and the indexing of new ones.

Every worker knows the views that were there when it read a batch of events. A new view waits for
BUILD_AFTER, until no batch is under way that began without it; then one worker goes through its
category, newest first, and puts what is there into the index. Both steps are idempotent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta, tzinfo

from service.articles import times
from service.articles.article import Article
from service.articles.categories import with_ancestors_and_all
from service.feeds import query
from service.feeds.index_step import IndexStep, reindex_step
from service.feeds.view import View
from service.storage.rendered_pages import Change
from service.storage.store import Store
from workers.runtime import Clock

logger = logging.getLogger(__name__)

BUILD_AFTER = timedelta(seconds=5)
BUILD_BATCH = 200
# Ids are read in longer runs: where to go on among equal dates is found by reading all of them.
PLACES_AT_ONCE = 5_000
LEASE_MS = 30_000
MAX_ROUNDS = 5

Publish = Callable[[set[Change]], Awaitable[None]]


class ViewIndex:
    """The views of one aggregate worker."""

    def __init__(self, store: Store, *, zone: tzinfo, hides: bool, token: str, now: Clock) -> None:
        self._store = store
        self._zone = zone
        self._hides = hides
        self._token = token
        self._now = now
        self._changes = -1
        self._views: list[View] = []

    @property
    def paths(self) -> frozenset[str]:
        """Of all views."""
        return frozenset(view.path for view in self._views)

    async def load(self) -> None:
        """Know the views as they are now; one round trip if nothing changed."""
        changes = await self._store.views.changes()
        if changes != self._changes:
            self._views = await self._store.views.all()
            self._changes = changes

    def of(self, article: Article) -> list[str]:
        """Paths of the views that an article is in."""
        return [view.path for view in self._views if self._is_in(view, article)]

    def _is_in(self, view: View, article: Article) -> bool:
        if view.category not in with_ancestors_and_all(article.categories):
            return False
        hidden = self._hides and view.category in article.hidden_in
        return not hidden and view.holds(article)

    async def build(self, publish: Publish, stop: asyncio.Event) -> None:
        """Index what views have not been indexed, if no other worker does."""
        await self.load()
        built = await self._store.views.built()
        for view in self._views:
            age = self._now() - times.from_rfc3339(view.created)
            if age >= BUILD_AFTER and not built.get(view.name, {}).get("done"):
                await self._build(view, publish, stop)

    async def _build(self, view: View, publish: Publish, stop: asyncio.Event) -> None:
        name = f"view:{view.name}"
        lease = await self._store.leases.take(name, token=self._token, ttl_ms=LEASE_MS)
        if lease is None:
            return
        examined, before = 0, None
        while not stop.is_set():
            ids = await self._store.category_index.between(
                view.category, since=None, until=None, limit=PLACES_AT_ONCE, before=before
            )
            for at in range(0, len(ids), BUILD_BATCH):
                articles = await self._articles(ids[at : at + BUILD_BATCH])
                await publish(await self._place(view, articles))
                if articles:
                    before = query.cursor_of(articles[-1])
                examined += len(articles)
                lease = await self._store.leases.take(
                    name, token=self._token, ttl_ms=LEASE_MS, held=lease
                )
                if lease is None or stop.is_set() or await self._is_other(view):
                    return
                await self._store.views.note_built(view.name, examined=examined, is_done=False)
            if len(ids) < PLACES_AT_ONCE:
                await self._store.views.note_built(view.name, examined=examined, is_done=True)
                await self._store.leases.give_up(lease)
                logger.info("indexed a view", extra={"view": view.name, "articles": examined})
                return

    async def _is_other(self, view: View) -> bool:
        """Whether it was replaced or removed meanwhile."""
        return await self._store.views.get(view.name) != view

    async def _articles(self, ids: Sequence[str]) -> list[Article]:
        return [article for article in await self._store.articles.get(ids) if article]

    async def _place(self, view: View, articles: Sequence[Article]) -> set[Change]:
        """Put each where it belongs; again for those that somebody else indexed meanwhile."""
        changes: set[Change] = set()
        left = list(articles)
        for _ in range(MAX_ROUNDS):
            held = await self._store.articles.indexed([article.id for article in left])
            steps: list[IndexStep] = []
            for article, (before, _) in zip(left, held, strict=True):
                step = reindex_step(
                    article, before, view.path, belongs=self._is_in(view, article),
                    stamp_ms=times.to_ms(self._now()), zone=self._zone,
                )  # fmt: skip
                steps += [step] if step else []
            done = await self._store.articles.index(steps)
            lost = set()
            for step, applied in zip(steps, done, strict=True):
                if applied:
                    changes.update((t.category, p) for t in step.changes for p in t.periods)
                else:
                    lost.add(step.article_id)
            left = [article for article in left if article.id in lost]
            if not left:
                break
        return changes
