"""Previews in Redis: what a server or command asks for, until an ingest worker has answered.

Nothing here is kept: a request that is lost is asked again. Both lists expire before the second
pass of an erasure (erasures.py), so that no text of an article survives one here.
"""

from __future__ import annotations

import time
import uuid

from service.errors import NoAnswer
from service.storage import keys
from service.storage.commands import Client

BLOCK_S = 1
"""Below the timeout of a connection."""
TAKE_S = 10
"""Time after which a request that no worker has taken is withdrawn."""


class Previews:
    """Requests for previews, and their answers."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def answer_to(self, request: bytes, *, within_s: float) -> bytes:
        """Have an ingest worker do a preview, and return its answer.

        Raises:
            NoAnswer: no worker takes it, too many wait, or it takes longer than `within_s`.
        """
        if await self._client.llen(keys.PREVIEWS) >= keys.PREVIEWS_MAX:
            raise NoAnswer("too many previews wait")
        name = uuid.uuid4().hex
        message = f"{name} ".encode() + request
        pipe = self._client.pipeline(transaction=True)
        pipe.rpush(keys.PREVIEWS, message)
        pipe.expire(keys.PREVIEWS, keys.PREVIEWS_TTL_S)
        await pipe.execute()
        start = time.monotonic()
        is_taken = False
        while (waited_s := time.monotonic() - start) < within_s:
            answer = await self._pop(keys.preview(name))
            if answer is not None:
                return answer
            if not is_taken and waited_s > TAKE_S:
                is_taken = not await self._client.execute_command("LREM", keys.PREVIEWS, 1, message)
                if not is_taken:
                    raise NoAnswer("no ingest worker takes previews: is one running?")
        raise NoAnswer(f"the preview was not done in {within_s:g} s")

    async def take(self) -> tuple[str, bytes] | None:
        """(name, request) for this caller alone; None after BLOCK_S without one."""
        message = await self._pop(keys.PREVIEWS)
        if message is None:
            return None
        name, _, request = message.partition(b" ")
        return name.decode("ascii", "replace"), request

    async def answer(self, name: str, answer: bytes) -> None:
        """Answer a request, whether or not somebody still waits for it."""
        key = keys.preview(name)
        pipe = self._client.pipeline(transaction=True)
        pipe.rpush(key, answer)
        pipe.expire(key, keys.PREVIEWS_TTL_S)
        await pipe.execute()

    async def _pop(self, key: str) -> bytes | None:
        reply: list[bytes] | None = await self._client.execute_command("BLPOP", key, BLOCK_S)
        return reply[1] if reply else None
