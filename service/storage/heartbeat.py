"""A heartbeat: does Redis answer at all?

It has a connection of its own, so that no other command and no full pool delays it: a Redis that
is only slow answers it in turn, as soon as it has done what came before.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.settings import Settings
from service.storage.client import client_of

UNREAD_S = 0.1
"""For the answer that has come and was not read yet."""


class Heartbeat:
    """Asks Redis for a sign of life; an asynchronous context manager that closes its
    connection."""

    def __init__(self, settings: Settings) -> None:
        self._client = client_of(settings, retries=0)

    async def is_silent(self, *, within_s: float) -> bool:
        """Whether nothing comes back within this time. An error or a refused connection is an
        answer: commands end by themselves then."""
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(self._is_unanswered())
            await asyncio.wait([beat], timeout=within_s)
            # If the event loop stood still meanwhile, an answer waits to be read.
            await asyncio.wait([beat], timeout=UNREAD_S)
            if beat.done():
                return beat.result()
            while not beat.done():
                # A cancellation that hits redis-py while it connects can be lost.
                beat.cancel()
                await asyncio.wait([beat], timeout=UNREAD_S)
        return True

    async def _is_unanswered(self) -> bool:
        try:
            await self._client.ping()
        except RedisTimeoutError:
            return True
        except RedisError:
            return False
        return False

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first sign of life is asked for."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close the connection of the heartbeat; the others of the process stay open."""
        await self._client.aclose()
