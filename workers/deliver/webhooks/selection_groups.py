"""Groups of endpoints that want the same events, and which events those are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from service.articles.event import Event
from service.feeds.view import View
from service.webhooks.selection import Selection
from workers.deliver.webhooks.event_log import MAX_EVENTS, Log

if TYPE_CHECKING:
    from workers.deliver.webhooks.endpoint import WebhookEndpoint


class SelectionGroup:
    """Endpoints that want the same."""

    def __init__(self, selection: Selection, views: Mapping[str, View]) -> None:
        self.selection = selection
        self.members = 0
        self.sleepers: set[WebhookEndpoint] = set()
        """Those who have nothing to send and wait for more."""
        self._views = views
        self._matched: dict[int, _Matched] = {}

    def matches(self, event: Event) -> bool:
        """Whether they want it."""
        return self.selection.matches(event, self._views)

    def waiting(self, log: Log, place: int, *, limit: int) -> list[Event]:
        """The first of what they want from a place in the log on."""
        return self._known(log, place).after(log, place, limit=limit)

    def note(self, log: Log, place: int) -> None:
        """The log has an event that they want."""
        known = self._matched.get(log.shard)
        if known:
            known.places.append(place)
            known.prune(log)

    def forget(self) -> None:
        """What they want has changed: a view has."""
        self._matched.clear()

    def _known(self, log: Log, place: int) -> _Matched:
        """Matched at least from a place on: what nobody asked for was not looked through."""
        known = self._matched.get(log.shard)
        if known is None:
            known = self._matched[log.shard] = _Matched(since=log.end)
        if place < known.since:
            older = [i for i in range(place, known.since) if self.matches(log[i])]
            known.places[:0] = older
            known.since = place
        return known


class _Matched:
    """Places in a log of what a group wants, from one on."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.places: list[int] = []

    def after(self, log: Log, place: int, *, limit: int) -> list[Event]:
        """The first of them from a place on."""
        self.prune(log)
        start = bisect_left(self.places, place)
        return [log[i] for i in self.places[start : start + limit]]

    def prune(self, log: Log) -> None:
        """Forget what the log has forgotten, many at once."""
        if self.places and self.places[0] < log.first - MAX_EVENTS:
            del self.places[: bisect_left(self.places, log.first)]
            self.since = log.first


class SelectionGroups:
    """All groups, found by what an event is about."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views
        self._groups: dict[Selection, SelectionGroup] = {}
        self._by_path: dict[str, dict[Selection, SelectionGroup]] = {}

    def join(self, selection: Selection) -> SelectionGroup:
        """The group of an endpoint, made if it is the first."""
        group = self._groups.get(selection)
        if group is None:
            group = self._groups[selection] = SelectionGroup(selection, self._views)
            for path in selection.categories or ("",):
                self._by_path.setdefault(path, {})[selection] = group
        group.members += 1
        return group

    def leave(self, group: SelectionGroup) -> None:
        """An endpoint is gone; the last one takes the group with it."""
        group.members -= 1
        if not group.members:
            del self._groups[group.selection]
            for path in group.selection.categories or ("",):
                del self._by_path[path][group.selection]
                if not self._by_path[path]:
                    del self._by_path[path]

    def wanting(self, event: Event) -> Iterator[SelectionGroup]:
        """The groups that want an event, each once."""
        seen: set[Selection] = set()
        for path in ("", *event.categories):
            for selection, group in self._by_path.get(path, {}).items():
                if selection not in seen and group.matches(event):
                    seen.add(selection)
                    yield group

    def __len__(self) -> int:
        return len(self._groups)

    def sleeping(self) -> Iterator[WebhookEndpoint]:
        """All who sleep, in whatever group."""
        for group in self._groups.values():
            yield from list(group.sleepers)

    def forget(self) -> None:
        """Views have changed."""
        for group in self._groups.values():
            group.forget()
