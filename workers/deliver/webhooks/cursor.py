"""How far a webhook has come in one shard's stream, live or in a replay."""

from __future__ import annotations

from service.articles.event import position
from service.storage.webhooks import Range


class Cursor:
    """A position in one shard's stream that only rises."""

    def __init__(
        self, name: str, shard: int, entry_id: str, replay_range: Range | None = None
    ) -> None:
        self.name = name
        """The stored field that holds its position."""
        self.shard = shard
        self.entry_id = entry_id
        """Id of the last stream entry that was settled, or passed because it is not wanted."""
        self.saved_id = entry_id
        """The same as it is in Redis."""
        self.replay_range = replay_range
        """What a replay sends again; None for the live cursor."""

    def advance(self, entry_id: str) -> None:
        """Pass the stream entries up to this one; an older id changes nothing."""
        if position(entry_id) > position(self.entry_id):
            self.entry_id = entry_id

    def settle(self, entry_id: str) -> None:
        """Take over the position that was written to Redis, which may be an older one."""
        self.entry_id = self.saved_id = entry_id

    @property
    def is_over(self) -> bool:
        """Whether a replay has reached its end; never true of a live cursor."""
        return self.replay_range is not None and (
            position(self.entry_id) >= position(self.replay_range.until)
        )
