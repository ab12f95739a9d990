"""The list of all categories, in the order in which a tree shows them. Pure.

A category stands directly before those below it; siblings are sorted by their slugs.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.articles import categories

Named = tuple[str, str]
"""(path, title) of a category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryList:
    """All categories at one time; computing it for 20,000 takes 60 ms of CPU."""

    version: str
    """Equal versions mean equal lists."""
    titles: Mapping[str, str]
    """Path → title."""
    ordered: Sequence[Named]
    """All of them, in the order of the tree."""
    children: Mapping[str, Sequence[Named]]
    """Path → the categories directly below it, sorted; those at the top are below the empty path.
    Categories without any are left out."""

    @classmethod
    def of(cls, titles: Mapping[str, str], *, version: str) -> CategoryList:
        """The list of the categories with these titles."""
        ordered = sorted(titles.items(), key=lambda pair: _order(pair[0]))
        children: dict[str, list[Named]] = {}
        for path, title in ordered:
            children.setdefault(path.rpartition("/")[0], []).append((path, title))
        return cls(version=version, titles=titles, ordered=ordered, children=children)

    def below(self, category: str) -> Sequence[Named]:
        """The categories directly below one, sorted; for `all`, those at the top."""
        return self.children.get("" if category == categories.ALL else category, ())

    def overview(self, limit: int) -> Sequence[Named]:
        """At most `limit` categories, in order: all down to the level to which they fit; if those
        at the top do not fit, the first of them."""
        if len(self.ordered) <= limit:
            return self.ordered
        count_of: dict[int, int] = {}
        for path, _ in self.ordered:
            depth = path.count("/")
            count_of[depth] = count_of.get(depth, 0) + 1
        deepest, shown = 0, 0
        for depth in sorted(count_of):
            shown += count_of[depth]
            if shown > limit:
                break
            deepest = depth
        fitting = [pair for pair in self.ordered if pair[0].count("/") <= deepest]
        return fitting[:limit]

    def after(self, path: str, limit: int) -> Sequence[Named]:
        """At most `limit` categories that follow this path in the order; the first for an empty
        path. A path that does not exist has its place, too."""
        start = 0
        if path:
            start = bisect.bisect_right(
                self.ordered, _order(path), key=lambda pair: _order(pair[0])
            )
        return self.ordered[start : start + limit]


def _order(path: str) -> list[str]:
    return path.split("/")
