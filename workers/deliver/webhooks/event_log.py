"""The newest events of each shard, held once for all webhooks; older ones are read from Redis."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Collection, Sequence

from service.articles.event import Event, is_behind, position
from service.storage.event_stream import EventStream

MAX_EVENTS = 5_000
MAX_BYTES = 16_000_000
# Limit for one shard, for webhooks that are behind the log.
MAX_BACKLOG_BYTES = 32_000_000


class Backlog:
    """Events of one shard that are older than its log, read from Redis in pieces that all webhooks
    share.

    Webhooks that are behind store no events themselves: this bounds their memory.
    """

    def __init__(self, shard: int, stream: EventStream) -> None:
        self._shard = shard
        self._stream = stream
        self._pieces: OrderedDict[tuple[int, int], list[Event]] = OrderedDict()
        """Position of the stream entry before the first → events; least recently used first."""
        self._starts: list[tuple[int, int]] = []
        """The same positions, in order."""
        self._bytes = 0
        self._reading = asyncio.Lock()

    async def after(self, entry_id: str, *, count: int) -> tuple[Sequence[Event], str]:
        """Return (events after an entry, ""): at least one if there is any, at most `count` if
        they are not known here; or, if events after it were dropped from the stream, ([], id of
        the newest of those)."""
        # Thousands of webhooks may need the same events at once: only the first reads them.
        async with self._reading:
            known = self._known(entry_id)
            if known:
                return known, ""
            events, trimmed = await self._stream.read_on(self._shard, entry_id, count=count)
            if is_behind(entry_id, trimmed):
                return [], trimmed
            if len(events) == count:
                self._keep(position(entry_id), events)
            return events, ""

    def erase(self, article_ids: Collection[str]) -> None:
        """Drop what is known here of these articles' events."""
        for events in self._pieces.values():
            self._bytes -= _erase(events, article_ids)

    def _known(self, entry_id: str) -> Sequence[Event]:
        wanted = position(entry_id)
        at = bisect_right(self._starts, wanted) - 1
        if at < 0:
            return ()
        events = self._pieces[self._starts[at]]
        self._pieces.move_to_end(self._starts[at])
        if not wanted < events[-1].position:
            return ()
        after = (wanted[0], wanted[1] + 1)
        return events[bisect_left(events, after, key=lambda event: event.position) :]

    def _keep(self, start: tuple[int, int], events: list[Event]) -> None:
        if start in self._pieces:
            self._drop(start)
        insort(self._starts, start)
        self._pieces[start] = events
        self._bytes += sum(len(event.data) for event in events)
        while self._bytes > MAX_BACKLOG_BYTES and len(self._pieces) > 1:
            self._drop(next(iter(self._pieces)))

    def _drop(self, start: tuple[int, int]) -> None:
        self._bytes -= sum(len(event.data) for event in self._pieces.pop(start))
        del self._starts[bisect_left(self._starts, start)]


def _erase(events: Sequence[Event], article_ids: Collection[str]) -> int:
    """Erase the events of these articles; the number of bytes that are free now."""
    erased = [event for event in events if event.subject in article_ids and not event.is_erasure]
    freed = sum(len(event.data) for event in erased)
    for event in erased:
        event.erase()
    return freed


class EventLog:
    """The newest events of one shard's stream. Their offsets are numbers that only rise."""

    def __init__(
        self, backlog: Backlog, shard: int, newest: Sequence[Event], *, start: str
    ) -> None:
        self.backlog = backlog
        """What is older than this log."""
        self.shard = shard
        self.first = 0
        """Offset of the oldest event that is still here."""
        self.start = start
        """Id of the stream entry before that event: all events after it are here."""
        self._events: list[Event] = []
        self._bytes = 0
        self.extend(newest)

    @property
    def end(self) -> int:
        """Offset of the event that comes next."""
        return self.first + len(self._events)

    @property
    def last_id(self) -> str:
        """Stream entry id of the newest event; `start` if the log is empty."""
        return self._events[-1].entry_id if self._events else self.start

    def extend(self, events: Sequence[Event]) -> Sequence[Event]:
        """Add the events that came, forget the oldest ones, and return those that were added."""
        new = list(events)
        self._events += new
        self._bytes += sum(len(event.data) for event in new)
        if len(self._events) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._forget()
        return new

    def erase(self, article_ids: Collection[str]) -> None:
        """Make entries that are not events of these articles' events; their offsets stay."""
        self._bytes -= _erase(self._events, article_ids)
        self.backlog.erase(article_ids)

    def restart(self, start: str) -> None:
        """Forget all: events up to `start` were dropped from the stream before they were read."""
        self.first, self.start = self.end, start
        self._events.clear()
        self._bytes = 0

    def _forget(self) -> None:
        # A quarter at once, because the whole list is moved.
        count = 0
        while count < len(self._events) - 1 and (
            self._bytes > MAX_BYTES * 0.75 or len(self._events) - count > MAX_EVENTS * 0.75
        ):
            self._bytes -= len(self._events[count].data)
            count += 1
        if not count:
            return
        self.start = self._events[count - 1].entry_id
        self.first += count
        del self._events[:count]

    def __getitem__(self, offset: int) -> Event:
        return self._events[offset - self.first]

    def offset_after(self, entry_id: str) -> int | None:
        """Return the offset of the first event after a stream entry; None if the log has forgotten
        some of those."""
        wanted = position(entry_id)
        if wanted < position(self.start):
            return None
        after = (wanted[0], wanted[1] + 1)
        return self.first + bisect_left(self._events, after, key=lambda event: event.position)
