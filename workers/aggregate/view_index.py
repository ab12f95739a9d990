"""The views as the aggregate worker applies them to articles, and the indexing of new views.

For each batch of events, a worker uses the views that existed when it began the batch. A new view
is not built before it is BUILD_AFTER old, when no batch that began without it is still running;
then one worker reads the articles of its category, newest first, and adds those that match to the
index of the view. Both steps are idempotent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta, tzinfo
from functools import partial

from service.articles import times
from service.articles.article import Article
from service.articles.categories import with_ancestors_and_all
from service.feeds import query
from service.feeds.index_step import IndexStep, reindex_step
from service.feeds.view import View
from service.storage.rendered_pages import Change
from service.storage.store import Store
from service.storage.views import NOT_BEGUN
from workers.runtime import Clock

logger = logging.getLogger(__name__)

BUILD_AFTER = timedelta(seconds=5)
BUILD_BATCH = 200
# More ids than articles are read at once: to continue among articles of the same date, storage
# reads all of that date.
IDS_AT_ONCE = 5_000
LEASE_MS = 30_000
MAX_ROUNDS = 5

Publish = Callable[[set[Change]], Awaitable[None]]


class ViewIndex:
    """The views that one aggregate worker knows; empty until `load`."""

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
        """The paths of all views, as of the last `load`."""
        return frozenset(view.path for view in self._views)

    async def load(self) -> None:
        """Load the present views; one round trip if none has changed."""
        changes = await self._store.views.changes()
        if changes != self._changes:
            self._views = await self._store.views.all()
            self._changes = changes

    def of(self, article: Article) -> list[str]:
        """Paths of the views that contain an article, whether it is live or not."""
        return [view.path for view in self._views if self._is_in_safely(view, article)]

    def _is_in_safely(self, view: View, article: Article) -> bool:
        """A view that cannot judge an article does not contain it, and costs no other view."""
        try:
            return self._is_in(view, article)
        except Exception:
            extra = {"view": view.name, "article": article.id}
            logger.exception("a view cannot judge an article", extra=extra)
            return False

    def _is_in(self, view: View, article: Article) -> bool:
        if view.category not in with_ancestors_and_all(article.categories):
            return False
        hidden = self._hides and view.category in article.hidden_in
        return not hidden and view.holds(article)

    async def build(self, publish: Publish, stop: asyncio.Event) -> None:
        """Index the views that are not indexed yet, unless another worker is doing it.

        `publish` receives the changed pages after each batch; a stopped build starts again later.
        """
        await self.load()
        built = await self._store.views.built()
        for view in self._views:
            age = self._now() - times.from_rfc3339(view.created)
            if age >= BUILD_AFTER and not built.get(view.name, NOT_BEGUN).is_done:
                build = partial(self._build, view, publish, stop)
                await self._store.faults.isolate("view", view.name, build, now=self._now())

    async def _build(self, view: View, publish: Publish, stop: asyncio.Event) -> None:
        name = f"view:{view.name}"
        lease = await self._store.leases.take(name, token=self._token, ttl_ms=LEASE_MS)
        if lease is None:
            return
        examined, before = 0, None
        while not stop.is_set():
            ids = await self._store.category_index.between(
                view.category, since=None, until=None, limit=IDS_AT_ONCE, before=before
            )
            for at in range(0, len(ids), BUILD_BATCH):
                articles = await self._articles(ids[at : at + BUILD_BATCH])
                await publish(await self._index(view, articles))
                if articles:
                    before = query.cursor_of(articles[-1])
                examined += len(articles)
                lease = await self._store.leases.take(
                    name, token=self._token, ttl_ms=LEASE_MS, held=lease
                )
                if lease is None or stop.is_set() or await self._is_other(view):
                    return
                await self._store.views.note_built(view.name, examined=examined, is_done=False)
            if len(ids) < IDS_AT_ONCE:
                await self._store.views.note_built(view.name, examined=examined, is_done=True)
                await self._store.leases.give_up(lease)
                logger.info("indexed a view", extra={"view": view.name, "articles": examined})
                return

    async def _is_other(self, view: View) -> bool:
        """Whether the view was replaced or removed since it was loaded."""
        return await self._store.views.get(view.name) != view

    async def _articles(self, ids: Sequence[str]) -> list[Article]:
        return [article for article in await self._store.articles.get(ids) if article]

    async def _index(self, view: View, articles: Sequence[Article]) -> set[Change]:
        """Add articles to the view or remove them; retry those that another process indexed."""
        changes: set[Change] = set()
        remaining = list(articles)
        for _ in range(MAX_ROUNDS):
            indexed = await self._store.articles.indexed([article.id for article in remaining])
            steps: list[IndexStep] = []
            for article, (before, _) in zip(remaining, indexed, strict=True):
                step = reindex_step(
                    article, before, view.path, belongs=self._is_in(view, article),
                    stamp_ms=times.to_ms(self._now()), zone=self._zone,
                )  # fmt: skip
                steps += [step] if step else []
            done = await self._store.articles.index(steps)
            lost = set()
            for step, applied in zip(steps, done, strict=True):
                if applied:
                    changes.update((c.category, p) for c in step.changes for p in c.periods)
                else:
                    lost.add(step.article_id)
            remaining = [article for article in remaining if article.id in lost]
            if not remaining:
                break
        return changes
