"""Groups of webhooks that want the same events, and which events those are."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from service.articles.event import Event
from service.feeds.view import View
from service.webhooks.selection import Selection
from workers.deliver.webhooks.event_log import MAX_EVENTS, EventLog

logger = logging.getLogger(__name__)
Wake = Callable[[], None]


class SelectionGroup:
    """Webhooks with equal selections; events are matched once for all of them."""

    def __init__(self, selection: Selection, views: Mapping[str, View]) -> None:
        self.selection = selection
        self.members = 0
        self.waiting: set[Wake] = set()
        """Wakes each member that has nothing to send and waits for more."""
        self._views = views
        self._matches: dict[int, _Matches] = {}

    def matches(self, event: Event) -> bool:
        """Whether the members want an event; not one that their selection cannot judge."""
        try:
            return self.selection.matches(event, self._views)
        except Exception:
            extra = {"event": event.id, "selection": self.selection}
            logger.exception("a selection cannot judge an event", extra=extra)
            return False

    def wanted(self, log: EventLog, offset: int, *, limit: int) -> list[Event]:
        """Return the first events from an offset on that the members want; at most `limit`."""
        return self._known(log, offset).after(log, offset, limit=limit)

    def note(self, log: EventLog, offset: int) -> None:
        """Note that the members want the event at an offset, the newest one so far."""
        matches = self._matches.get(log.shard)
        if matches:
            matches.offsets.append(offset)
            matches.prune(log)

    def forget(self) -> None:
        """Match all events again: a view that the selection names may have changed."""
        self._matches.clear()

    def _known(self, log: EventLog, offset: int) -> _Matches:
        """Return the matches, complete from an offset on: older ones are matched when needed."""
        matches = self._matches.get(log.shard)
        if matches is None:
            matches = self._matches[log.shard] = _Matches(since=log.end)
        if offset < matches.since:
            older = [i for i in range(offset, matches.since) if self.matches(log[i])]
            matches.offsets[:0] = older
            matches.since = offset
        return matches


class _Matches:
    """Offsets in a log of what a group wants, complete from `since` on."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.offsets: list[int] = []

    def after(self, log: EventLog, offset: int, *, limit: int) -> list[Event]:
        """Return the first of the events from an offset on; at most `limit`."""
        self.prune(log)
        start = bisect_left(self.offsets, offset)
        return [log[i] for i in self.offsets[start : start + limit]]

    def prune(self, log: EventLog) -> None:
        """Forget what the log has forgotten, many at once."""
        if self.offsets and self.offsets[0] < log.first - MAX_EVENTS:
            del self.offsets[: bisect_left(self.offsets, log.first)]
            self.since = log.first


class SelectionGroups:
    """All groups, found by the categories of an event."""

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views
        self._groups: dict[Selection, SelectionGroup] = {}
        self._by_path: dict[str, dict[Selection, SelectionGroup]] = {}

    def join(self, selection: Selection) -> SelectionGroup:
        """Add a member to the group of a selection; the first one creates the group."""
        group = self._groups.get(selection)
        if group is None:
            group = self._groups[selection] = SelectionGroup(selection, self._views)
            for path in selection.categories or ("",):
                self._by_path.setdefault(path, {})[selection] = group
        group.members += 1
        return group

    def leave(self, group: SelectionGroup) -> None:
        """Remove a member; the last one removes the group."""
        group.members -= 1
        if not group.members:
            del self._groups[group.selection]
            for path in group.selection.categories or ("",):
                del self._by_path[path][group.selection]
                if not self._by_path[path]:
                    del self._by_path[path]

    def wanting(self, event: Event) -> Iterator[SelectionGroup]:
        """Yield the groups that want an event, each once."""
        seen: set[Selection] = set()
        for path in ("", *event.categories):
            for selection, group in self._by_path.get(path, {}).items():
                if selection not in seen and group.matches(event):
                    seen.add(selection)
                    yield group

    def __len__(self) -> int:
        return len(self._groups)

    def wake_all(self) -> None:
        """Wake the waiting members of every group."""
        for group in self._groups.values():
            for wake in list(group.waiting):
                wake()

    def forget(self) -> None:
        """Match all events again: views have changed."""
        for group in self._groups.values():
            group.forget()
