"""Groups of webhooks that want the same events, and which events those are."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping

from service.articles.event import Event
from service.feeds.query import WORD, Label, labels_of, word_labels_of
from service.feeds.view import View
from service.webhooks.selection import Selection
from workers.deliver.webhooks.event_log import MAX_EVENTS, EventLog

logger = logging.getLogger(__name__)
Wake = Callable[[], None]
ANY: Label = ("any", "")
"""Label of every event, for selections that want all."""


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
    """All groups, found by what an event is, so that it is matched with few of them.

    Each group is filed under one set of labels (`Selection.label_sets`): that under which the
    fewest groups are when it is created, as a category with one webhook in it says more than a
    language that all of them want.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        self._views = views
        self._groups: dict[Selection, SelectionGroup] = {}
        self._by_label: dict[Label, dict[Selection, SelectionGroup]] = {}
        self._filed: dict[Selection, frozenset[Label]] = {}
        self._word_indexed = 0
        """Number of groups that are filed under a word."""

    def join(self, selection: Selection) -> SelectionGroup:
        """Add a member to the group of a selection; the first one creates the group."""
        group = self._groups.get(selection)
        if group is None:
            group = self._groups[selection] = SelectionGroup(selection, self._views)
            self._file(group)
        group.members += 1
        return group

    def leave(self, group: SelectionGroup) -> None:
        """Remove a member; the last one removes the group."""
        group.members -= 1
        if not group.members:
            del self._groups[group.selection]
            labels = self._filed.pop(group.selection)
            self._word_indexed -= _is_of_words(labels)
            for label in labels:
                del self._by_label[label][group.selection]
                if not self._by_label[label]:
                    del self._by_label[label]

    def wanting(self, event: Event) -> Iterator[SelectionGroup]:
        """Yield the groups that want an event, each once."""
        for group in self.candidates(event):
            if group.matches(event):
                yield group

    def candidates(self, event: Event) -> Collection[SelectionGroup]:
        """The groups that may want an event, each once."""
        article = event.article
        if article is None:
            return ()
        if article.erased:
            return list(self._groups.values())
        try:
            labels = labels_of(article)
            if self._word_indexed:
                labels |= word_labels_of(article)
        except Exception:
            # What another program wrote: each selection says for itself what it cannot judge.
            logger.exception("an event has no labels", extra={"event": event.id})
            return list(self._groups.values())
        labels.add(ANY)
        # The smaller side is walked: an article may have thousands of words.
        known = labels & self._by_label.keys()
        groups: dict[Selection, SelectionGroup] = {}
        for label in known:
            groups.update(self._by_label[label])
        return groups.values()

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

    def _file(self, group: SelectionGroup) -> None:
        try:
            sets = group.selection.label_sets()
        except Exception:
            # Its webhooks get nothing (`SelectionGroup.matches`); others are not harmed.
            logger.exception("a selection has no labels", extra={"selection": group.selection})
            sets = []
        sets = sets or [frozenset({ANY})]
        # Of equal ones the first: words are last.
        labels = min(sets, key=lambda each: sum(len(self._by_label.get(lb, ())) for lb in each))
        self._filed[group.selection] = labels
        self._word_indexed += _is_of_words(labels)
        for label in labels:
            self._by_label.setdefault(label, {})[group.selection] = group


def _is_of_words(labels: frozenset[Label]) -> bool:
    return any(kind == WORD for kind, _ in labels)
