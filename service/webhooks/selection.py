"""Selections: which events an endpoint gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache

from service.articles import categories
from service.articles.event import Event
from service.feeds.query import Filter, parse_query
from service.feeds.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events an endpoint gets; equal for all endpoints that get the same."""

    categories: tuple[str, ...] = ()
    """Paths; an article matches if it is in one of them or below. Empty: everything."""
    types: tuple[str, ...] = ()
    """Event types; empty: all."""
    query: str = ""
    """A feed's query part, in its one spelling, with nothing in it but what `Filter` has."""
    view: str = ""
    """Name of a view, which has to hold the article, too."""

    def matches(self, event: Event, views: Mapping[str, View]) -> bool:
        """Whether the event goes to such an endpoint; one that is unreadable goes to nobody."""
        article = event.article
        if article is None or (self.types and event.type not in self.types):
            return False
        if self.categories and event.categories.isdisjoint(self.categories):
            return False
        if self.query and not _filter(self.query).matches(article):
            return False
        return not self.view or self._is_in_view(event, views)

    def _is_in_view(self, event: Event, views: Mapping[str, View]) -> bool:
        view = views.get(self.view)
        if view is None or event.article is None:
            return False
        is_below = view.category == categories.ALL or view.category in event.categories
        return is_below and view.holds(event.article)


ALL_EVENTS = Selection()


@lru_cache(maxsize=1_024)
def _filter(query: str) -> Filter:
    return parse_query(query, zone=UTC).filter
