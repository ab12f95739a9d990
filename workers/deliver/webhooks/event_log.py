"""The newest events of each shard, held once for all endpoints."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Sequence

from service.articles.event import Event, is_behind, position
from service.storage.event_stream import EventStream

MAX_EVENTS = 5_000
MAX_BYTES = 16_000_000
# Of a shard, for those who are behind the log.
MAX_PAST_BYTES = 32_000_000


class Backlog:
    """What is older than the log, read from Redis in pieces that all share who are there.

    Endpoints that are behind keep nothing for themselves: what they hold is bounded by this.
    """

    def __init__(self, shard: int, stream: EventStream) -> None:
        self._shard = shard
        self._stream = stream
        self._pieces: OrderedDict[tuple[int, int], list[Event]] = OrderedDict()
        """Position of the entry before the first → events; what was used last is last."""
        self._starts: list[tuple[int, int]] = []
        """The same positions, in order."""
        self._bytes = 0
        self._reading = asyncio.Lock()

    async def after(self, entry_id: str, *, count: int) -> tuple[Sequence[Event], str]:
        """Some events after an entry, at least one if there is any; or, if events after it were
        dropped, the id of the newest of those."""
        # Thousands come at once, for the same: the first reads it.
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
        return events[bisect_left(events, after, key=lambda m: m.position) :]

    def _keep(self, start: tuple[int, int], events: list[Event]) -> None:
        if start in self._pieces:
            self._drop(start)
        insort(self._starts, start)
        self._pieces[start] = events
        self._bytes += sum(len(event.data) for event in events)
        while self._bytes > MAX_PAST_BYTES and len(self._pieces) > 1:
            self._drop(next(iter(self._pieces)))

    def _drop(self, start: tuple[int, int]) -> None:
        self._bytes -= sum(len(event.data) for event in self._pieces.pop(start))
        del self._starts[bisect_left(self._starts, start)]


class Log:
    """The newest events of one shard's stream. Places in it are numbers that only rise."""

    def __init__(self, past: Backlog, shard: int, newest: Sequence[Event], *, start: str) -> None:
        self.past = past
        """For those who are behind."""
        self.shard = shard
        self.first = 0
        """Place of the oldest event that is still here."""
        self.start = start
        """Id of the entry before that one: who stands there or later finds all here."""
        self._events: list[Event] = []
        self._bytes = 0
        self.extend(newest)

    @property
    def end(self) -> int:
        """Place of the event that comes next."""
        return self.first + len(self._events)

    @property
    def last_id(self) -> str:
        """Of the newest event."""
        return self._events[-1].entry_id if self._events else self.start

    def extend(self, events: Sequence[Event]) -> Sequence[Event]:
        """Add what came, and forget the oldest."""
        new = list(events)
        self._events += new
        self._bytes += sum(len(event.data) for event in new)
        if len(self._events) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self._forget()
        return new

    def restart(self, start: str) -> None:
        """Events up to this one were dropped from the stream before they were read."""
        self.first, self.start = self.end, start
        self._events.clear()
        self._bytes = 0

    def _forget(self) -> None:
        # A quarter at once: the list is moved as a whole.
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

    def __getitem__(self, place: int) -> Event:
        return self._events[place - self.first]

    def place_after(self, entry_id: str) -> int | None:
        """Where one goes on who has got everything up to this entry; None: not from here."""
        wanted = position(entry_id)
        if wanted < position(self.start):
            return None
        after = (wanted[0], wanted[1] + 1)
        return self.first + bisect_left(self._events, after, key=lambda m: m.position)
