"""A way through one shard's stream: a webhook's live one, or that of a replay."""

from __future__ import annotations

from service.articles.event import position
from service.storage.webhooks import Range


class Cursor:
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

    def advance(self, entry_id: str) -> None:
        """Nothing up to this entry is wanted; never goes back."""
        if position(entry_id) > position(self.cursor):
            self.cursor = entry_id

    def settle(self, cursor: str) -> None:
        """Be where Redis has it now."""
        self.cursor = self.saved = cursor

    @property
    def is_over(self) -> bool:
        """Whether a replay has come to its end."""
        return self.replays is not None and position(self.cursor) >= position(self.replays.until)
