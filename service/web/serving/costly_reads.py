"""Costly reads: how much work anonymous requests may cause at the same time.

A read is costly if the server does not hold the bytes of its answer: a page must be rendered or
compressed, or the archive searched. This work is done in threads, which compete with the event
loop, so few reads are worked on at the same time, and of one client one: a client with many costly
reads waits for its own, not others for it. A client with more than its share of reads that wait is
refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import TooManyReads, Unavailable
from service.logs import Throttle
from service.web.serving.address_limit import AddressLimit, Full

logger = logging.getLogger(__name__)

# Reads of all clients that wait or are worked on; each waits in a task of about 10 kB.
MAX_WAITING = 1_000
# A costly read takes a tenth of a second.
RETRY_AFTER_S = 2

Client = str | None
"""The network of a client (`request.client_address`), empty for a unix socket; None for whom no
limit holds: a request with a token, and the server itself."""


class CostlyReads:
    """Counts the costly reads of each client, and lets few of them proceed at the same time.

    Args:
        at_once: most reads that are worked on.
        per_address: most reads of one client that wait or are worked on.
    """

    def __init__(self, *, at_once: int, per_address: int) -> None:
        self._limit = AddressLimit(total=MAX_WAITING, per_address=per_address)
        self._slots = asyncio.Semaphore(at_once)
        self._turns: dict[str, asyncio.Lock] = {}
        self._throttle = Throttle()
        self.begun = 0
        self.refused = 0

    @asynccontextmanager
    async def slot(self, client: Client) -> AsyncIterator[None]:
        """Wait for a slot, and hold it during the block. Slots must not be nested.

        Raises:
            TooManyReads: the client has as many reads as one may have.
            Unavailable: all clients together have.
        """
        if client is None:
            self.begun += 1
            yield
            return
        self._check(client)
        self._limit.add(client)
        turn = self._turns.setdefault(client, asyncio.Lock())
        try:
            if client:
                async with turn, self._slots:
                    self.begun += 1
                    yield
            else:
                # Clients behind a unix socket cannot be distinguished.
                async with self._slots:
                    self.begun += 1
                    yield
        finally:
            self._limit.remove(client)
            if not self._limit.has(client):
                self._turns.pop(client, None)

    def _check(self, client: str) -> None:
        full = self._limit.full(client)
        if full is None:
            return
        self.refused += 1
        if self._throttle.is_due():
            extra = {"limit": full.value, "last_network": client, "refused": self.refused}
            logger.warning("costly reads are refused", extra=extra)
        if full is Full.ADDRESS:
            raise TooManyReads(client, most=self._limit.per_address, retry_after_s=RETRY_AFTER_S)
        raise Unavailable("too many costly reads wait", retry_after_s=RETRY_AFTER_S)
