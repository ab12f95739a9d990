"""Events for operators: webhooks disabled, failing, recovered, with a gap.

They are on one stream, of shard 0. What is settled in another shard is noted there in the same
step, and copied: at least once, under the same id.
"""

from __future__ import annotations

from typing import Any

import orjson

from service.storage import keys
from service.storage.commands import Client, StreamEntry

_AT_ONCE = 100


class Operations:
    """The stream of events for operators."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def newest(self, *, limit: int) -> list[dict[str, Any]]:
        """The last events, newest first."""
        entries = await self._client.xrevrange(keys.OPERATIONS, count=limit)
        events = [
            {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
            for _, fields in entries
        ]
        return [{**event, "data": orjson.loads(event["data"])} for event in events]

    async def collect(self, shard: int) -> None:
        """Move the events that wait in a shard to the stream."""
        unsent = keys.unsent_operations(shard)
        while entries := await self._client.xrange(unsent, count=_AT_ONCE):
            pipe = self._client.pipeline(transaction=False)
            for _, fields in entries:
                pipe.execute_command("XADD", *_arguments(fields))
            await pipe.execute()
            # Only now: what was not copied is copied the next time.
            await self._delete(unsent, entries)

    async def _delete(self, unsent: str, entries: list[StreamEntry]) -> None:
        pipe = self._client.pipeline(transaction=False)
        pipe.xdel(unsent, *(entry_id.decode() for entry_id, _ in entries))
        await pipe.execute()


def operations_of(shard: int) -> str:
    """Key of the stream to which the events of a shard are added when they are settled."""
    return keys.unsent_operations(shard) if shard else keys.OPERATIONS


def _arguments(fields: dict[bytes, bytes]) -> list[str | bytes | int]:
    pairs = [part for pair in fields.items() for part in pair]
    return [keys.OPERATIONS, "MAXLEN", "~", keys.OPERATIONS_MAX, "*", *pairs]
