"""A cache, in each process that renders, of the articles that it read last.

A page that changes usually shares all but one of its articles with its previous version. For cached
articles only the heads are read, a fifth of a kilobyte each: an article with an unchanged head is
unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

from cachetools import LRUCache

from service.articles.article import Article
from service.storage.store import Store

MAX_CHARS = 32_000_000
# Longer pages bypass the cache: they would evict all other articles. A page of a month or year
# (PERIOD_PAGE_SIZE) is not longer, so that a new article costs it one read.
MAX_IDS = 1_000


class ArticleCache:
    """Articles with the heads that they were read with, least recently used first out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._articles: LRUCache[str, tuple[bytes, Article]] = LRUCache(
            MAX_CHARS, getsizeof=lambda pair: _chars(pair[1])
        )

    async def get(self, ids: Sequence[str]) -> list[Article]:
        """The articles with these ids, in this order; unknown ids are left out."""
        if len(ids) > MAX_IDS:
            return [article for article in await self._store.articles.get(ids) if article]
        heads = dict(zip(ids, await self._store.articles.heads(ids), strict=True))
        articles = {
            i: pair[1] for i in ids if (pair := self._articles.get(i)) and pair[0] == heads[i]
        }
        missing = [i for i in ids if i not in articles]
        for pair in await self._store.articles.get_with_heads(missing):
            if pair:
                head, article = pair
                self.put(article, head)
                articles[article.id] = article
        return [articles[i] for i in ids if i in articles]

    def clear(self) -> None:
        """Drop all articles: some of them were erased."""
        self._articles.clear()

    def put(self, article: Article, head: bytes) -> None:
        """Keep one, read with this head."""
        if _chars(article) <= MAX_CHARS:
            self._articles[article.id] = head, article


def _chars(article: Article) -> int:
    return len(article.content_html) + len(article.summary) + 1_000
