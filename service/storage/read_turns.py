"""Turns at reading: which worker reads the new events of a shard for our groups.

While little happens, one worker reads alone, for both groups, which decode an event once together:
a second one would halve the batches for nothing. All read when a backlog is too long for one. This
saves work, and guards nothing: two that read at the same time do no harm.
"""

from __future__ import annotations

from enum import IntEnum

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client

_LEAVE = """
-- KEYS 1 reader  ARGV 1 worker
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
# Longer than a reader takes from one renewal to the next: its longest wait and its work.
READER_TTL_MS = 4_000
# Of one group: a reader that keeps up has fewer at any moment, up to some hundred events a second.
ALONE_UP_TO = 50


class Turn(IntEnum):
    """What a worker may do now."""

    WAIT = 0
    """Another one reads, and needs no help."""
    HELP = 1
    """Read some events, and ask again."""
    READ = 2
    """Read as the only one; ask again within READER_TTL_MS."""


class ReadTurns:
    """Whose turn it is on each shard."""

    def __init__(self, client: Client) -> None:
        self._turn: Script[int] = lua_script(client, "read_turn")
        self._leave: Script[int] = Script(client, _LEAVE)

    async def turn(self, shard: int, group: str, worker: str) -> Turn:
        """Whether this worker reads for a group now. It becomes the reader of the shard if there is
        none, or if the last one has not asked for READER_TTL_MS; it remains that by asking."""
        return Turn(
            await self._turn(
                keys=[keys.stream(shard), keys.reader(shard)],
                args=[group, worker, READER_TTL_MS, ALONE_UP_TO],
            )
        )

    async def leave(self, shard: int, worker: str) -> None:
        """Let another worker become the reader at once, if this one is."""
        await self._leave(keys=[keys.reader(shard)], args=[worker])
