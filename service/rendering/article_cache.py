"""Articles that were read lately, by the process that renders them.

A page that changes shares all but one of its articles with its last version. Of those only the
heads are read, a fifth of a kilobyte each: an article whose head is the same is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.articles.article import Article
from service.storage.store import Store

MAX_CHARS = 32_000_000
# Longer pages are read through: they would push out all others.
MAX_IDS = 500


class ArticleCache:
    """First in, first out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, tuple[bytes, Article]] = {}
        self._chars = 0

    async def get(self, ids: Sequence[str]) -> list[Article]:
        """The articles of these ids, in their order, less those that are unknown."""
        if len(ids) > MAX_IDS:
            return [article for article in await self._store.articles.get(ids) if article]
        heads = dict(zip(ids, await self._store.articles.heads(ids), strict=True))
        found = {i: kept[1] for i in ids if (kept := self._kept.get(i)) and kept[0] == heads[i]}
        missing = [i for i in ids if i not in found]
        for pair in await self._store.articles.get_with_heads(missing):
            if pair:
                head, article = pair
                self.put(article, head)
                found[article.id] = article
        return [found[i] for i in ids if i in found]

    def put(self, article: Article, head: bytes) -> None:
        """Keep one, read with this head."""
        before = self._kept.pop(article.id, None)
        if before:
            self._chars -= _chars(before[1])
        self._kept[article.id] = head, article
        self._chars += _chars(article)
        while self._chars > MAX_CHARS:
            _, oldest = self._kept.pop(next(iter(self._kept)))
            self._chars -= _chars(oldest)


def _chars(article: Article) -> int:
    return len(article.content_html) + len(article.summary) + 1_000
