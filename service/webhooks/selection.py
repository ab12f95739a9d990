"""Selections: which events a webhook gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache

from service.articles import categories
from service.articles.event import Event, is_of_types
from service.feeds.query import Filter, Label, parse_query
from service.feeds.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events a webhook gets; equal for all webhooks that get the same."""

    categories: tuple[str, ...] = ()
    """Paths; an article matches if it is in one of them or below. Empty: everything."""
    types: tuple[str, ...] = ()
    """Event types; empty: all but corrections."""
    query: str = ""
    """A feed's query in its canonical spelling, with the parameters of `Filter` alone."""
    view: str = ""
    """Name of a view that must hold the article, too; empty: none."""

    def matches(self, event: Event, views: Mapping[str, View]) -> bool:
        """Whether such a webhook gets the event; an event that cannot be read is sent to none."""
        article = event.article
        if article is None or not is_of_types(event.type, self.types):
            return False
        if self.categories and event.categories.isdisjoint(self.categories):
            return False
        if article.erased:
            # It has no text to select by, and receivers that got its text must learn of it.
            return True
        if self.query and not _filter(self.query).matches(article):
            return False
        return not self.view or self._is_in_view(event, views)

    def label_sets(self) -> list[frozenset[Label]]:
        """Sets of labels, of each of which every event that matches has one, unless it announces an
        erasure: that is not selected by what the article was. Empty if any event may match."""
        paths = frozenset(("category", path) for path in self.categories)
        return [
            *([paths] if paths else []),
            *(_filter(self.query).label_sets() if self.query else ()),
        ]

    def _is_in_view(self, event: Event, views: Mapping[str, View]) -> bool:
        view = views.get(self.view)
        if view is None or event.article is None:
            return False
        is_below = view.category == categories.ALL or view.category in event.categories
        return is_below and view.holds(event.article)


ALL_EVENTS = Selection()


# Those of all webhooks of a worker: to parse one takes longer than to match it.
@lru_cache(maxsize=16_384)
def _filter(query: str) -> Filter:
    return parse_query(query, zone=UTC).filter
