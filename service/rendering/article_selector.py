"""Select the articles of a page by its query: those that meet conditions, or those after a cursor.

What meets conditions is found by examining articles one after another, newest first, at most
MAX_SCANNED for one page; its `next` link continues after the last examined article.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, tzinfo

from service.articles.article import LIVE, Article
from service.feeds.page import Page
from service.feeds.query import EVERYTHING, Filter, PageCursor, Query, cursor_of, parse_query
from service.rendering.article_cache import ArticleCache
from service.storage.category_index import Limits
from service.storage.store import Store

# Articles that one request examines to select from (0.1 s), articles read in one round trip, and
# requests that examine articles at the same time. A client that selects much and often should save
# a view.
MAX_SCANNED = 2_000
SCANNED_AT_ONCE = 100
MAX_SCANS = 2


class ArticleSelector:
    """Selects articles; a few requests at a time examine articles, others wait."""

    def __init__(
        self, store: Store, article_cache: ArticleCache, limits: Limits, *, zone: tzinfo
    ) -> None:
        self._store = store
        self._article_cache = article_cache
        self._limits = limits
        self._zone = zone
        self._scans = asyncio.Semaphore(MAX_SCANS)

    async def listed(self, page: Page, *, limit: int) -> tuple[list[Article], PageCursor | None]:
        """The newest `limit` live articles of a page, after the cursor of its query if it has one,
        and the cursor after them; None if they are the last."""
        query = parse_query(page.query, zone=self._zone)
        since, until = self._bounds(page, query)
        ids = await self._store.category_index.between(
            page.category, since=since, until=until, before=query.before, limit=limit + 1
        )
        articles = await self._article_cache.get(ids[:limit])
        last = cursor_of(articles[-1]) if articles and len(ids) > limit else None
        # One that was just withdrawn is still indexed.
        return [article for article in articles if article.status == LIVE], last

    async def selected(self, page: Page, query: Query) -> tuple[list[Article], PageCursor | None]:
        """The articles that a query selects and the cursor after them; None at the end."""
        limit = query.limit or min(self._limits.of(page.period), MAX_SCANNED)
        # Without conditions, the article after the last shows that there are more.
        scanned = limit + 1 if query.filter == EVERYTHING else MAX_SCANNED
        since, until = self._bounds(page, query)
        ids = await self._store.category_index.between(
            page.category, since=since, until=until, before=query.before, limit=scanned
        )
        articles: list[Article] = []
        last = None
        async with self._scans:
            for at in range(0, len(ids), SCANNED_AT_ONCE):
                chunk = await self._store.articles.get(ids[at : at + SCANNED_AT_ONCE])
                present = [article for article in chunk if article]
                # Searching long texts takes long.
                matches = await asyncio.to_thread(_matches, query.filter, present)
                for article, is_match in zip(present, matches, strict=True):
                    if len(articles) == limit:
                        return articles, last
                    last = cursor_of(article)
                    if is_match:
                        articles.append(article)
        return articles, last if len(ids) == scanned else None

    def _bounds(self, page: Page, query: Query) -> tuple[datetime | None, datetime | None]:
        """The first moment of what a page's query selects, and the first after it."""
        if page.period.is_live:
            return query.since, query.until
        start, end = page.period.bounds(self._zone)
        return max(query.since or start, start), min(query.until or end, end)


def _matches(filter: Filter, articles: Sequence[Article]) -> list[bool]:
    return [article.status == LIVE and filter.matches(article) for article in articles]
