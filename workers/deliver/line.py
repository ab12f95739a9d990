"""A way through one shard's stream: a webhook's live one, or that of a replay."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from service.messages import Message, position
from service.storage.deliveries import Range


class Line:
    """Where a webhook is in a shard."""

    def __init__(self, name: str, shard: int, cursor: str, replays: Range | None = None) -> None:
        self.name = name
        """The state field that holds its cursor."""
        self.shard = shard
        self.cursor = cursor
        """Id of the last entry that was settled, or passed because nobody wants it."""
        self.saved = cursor
        """The same as Redis has it."""
        self.replays = replays
        self.buffer: deque[Message] = deque()
        """What it read for itself, being behind the log in memory."""
        self.read_to = cursor
        """How far it did."""

    def move(self, cursor: str) -> None:
        """Go on behind an entry; what was read ahead is read again."""
        self.cursor = self.read_to = cursor
        self.buffer.clear()

    def read(self, read_to: str, wanted: Sequence[Message]) -> None:
        """Keep what was read and is wanted; if nothing is, all of it is passed."""
        self.read_to = read_to
        self.buffer.extend(wanted)
        if not self.buffer:
            self.cursor = read_to

    def settle(self, cursor: str) -> None:
        """Be behind an entry that was sent."""
        self.cursor = self.saved = cursor
        while self.buffer and self.buffer[0].position <= position(cursor):
            self.buffer.popleft()
        if not self.buffer:
            # Nothing between this and what was read is wanted.
            self.cursor = self.read_to = max(cursor, self.read_to, key=position)

    @property
    def is_over(self) -> bool:
        """Whether a replay has come to its end."""
        return self.replays is not None and position(self.cursor) >= position(self.replays.until)
