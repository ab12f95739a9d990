"""Titles of categories, held in each process that renders: those that a page needs, or all.

A title never changes, and categories are only added, so that their number says whether the list of
all is still current.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from service.articles import categories
from service.feeds.category_list import CategoryList
from service.storage.store import Store


class CategoryTitles:
    """Titles of categories, each read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._titles: dict[str, str] = {}
        self._list = CategoryList.of({}, version="")
        self._loading = asyncio.Lock()

    async def of(self, needed: Iterable[str]) -> Mapping[str, str]:
        """Category path → title, at least for these paths and their ancestors; unknown paths are
        left out, and cost one field each time."""
        paths = categories.with_ancestors(tuple(needed))
        missing = [path for path in paths if path not in self._titles]
        if missing:
            self._titles.update(await self._store.articles.titles_of(missing))
        return self._titles

    async def version(self) -> str:
        """The version of the list of all categories as it is now, without reading it."""
        return "-".join(map(str, await self._store.articles.category_counts()))

    async def all(self) -> CategoryList:
        """The list of all categories: one round trip while none is added."""
        async with self._loading:
            # The version is read before the list, which may be newer, never older.
            version = await self.version()
            if version != self._list.version:
                titles = await self._store.articles.category_titles()
                self._list = await asyncio.to_thread(CategoryList.of, titles, version=version)
            return self._list
