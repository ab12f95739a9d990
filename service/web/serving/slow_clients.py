"""Clients that hold a connection by being slow: cut off by one look at all connections, now and
then.

- The head of a request must come within HEAD_TIMEOUT_S.
- A client must take at least MIN_SENT_BYTES of what waits for it within SEND_TIMEOUT_S. How much it
  took is what it has acknowledged, because more may be written meanwhile; where the platform does
  not say, how much less waits. This holds for answers, for streams of events, and for connections
  that are being closed: the event loop waits for them without end.

Bodies of requests have their own limit, BODY_TIMEOUT_S (service/web/request/body.py).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from dataclasses import dataclass

from service.logs import Throttle
from service.process import sleep
from service.web.serving.connections import Connection, Connections, Refused

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Time between two looks at all connections."""
MIN_SENT_BYTES = 32_768
"""With SEND_TIMEOUT_S, the slowest rate at which an answer is taken: 1 kB/s."""
AT_ONCE = 500
"""Connections that are looked at before requests have their turn: 0.5 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """How far a client was that had something left to take."""

    at: float
    unsent_bytes: int
    acknowledged_bytes: int


class SlowClients:
    """Finds and cuts off slow clients.

    Args:
        head_timeout_s: for the head of a request.
        send_timeout_s: for the next MIN_SENT_BYTES of an answer.
    """

    def __init__(
        self, connections: Connections, *, head_timeout_s: float, send_timeout_s: float
    ) -> None:
        self._connections = connections
        self._head_timeout_s = head_timeout_s
        self._send_timeout_s = send_timeout_s
        self._marks: dict[Connection, _Mark] = {}
        self._slow_heads = self._slow_readers = self._without_files = 0
        self._throttle, self._files_throttle = Throttle(), Throttle()

    async def run(self, stop: asyncio.Event) -> None:
        """Look at all connections each LOOK_S, until `stop` is set."""
        while not stop.is_set():
            await self.look()
            self._look_at_files()
            if self._throttle_is_due():
                extra = {"slow_heads": self._slow_heads, "slow_readers": self._slow_readers}
                logger.warning("slow clients were cut off", extra=extra)
                self._slow_heads = self._slow_readers = 0
            await sleep(stop, LOOK_S)

    async def look(self) -> None:
        """Look at all connections once, and cut off those that are slow."""
        marks = {}
        for number, connection in enumerate(list(self._connections), 1):
            mark = self._judge(connection, time.monotonic())
            if mark is not None:
                marks[connection] = mark
            if not number % AT_ONCE:
                await asyncio.sleep(0)
        self._marks = marks

    def _judge(self, connection: Connection, now: float) -> _Mark | None:
        """Cut a slow one off; its mark if it has something left to take."""
        if connection.head_since and now - connection.head_since > self._head_timeout_s:
            self._slow_heads += 1
            self._connections.refused[Refused.SLOW_HEAD] += 1
            connection.cut_off()
            return None
        unsent = connection.unsent_bytes()
        if not unsent:
            return None
        mark = self._marks.get(connection)
        if mark is not None and now - mark.at < self._send_timeout_s:
            return mark
        latest = _Mark(
            at=now, unsent_bytes=unsent, acknowledged_bytes=connection.acknowledged_bytes()
        )
        if mark is not None and _taken_bytes(mark, latest) < MIN_SENT_BYTES:
            self._slow_readers += 1
            self._connections.refused[Refused.SLOW_READER] += 1
            connection.cut_off()
            return None
        return latest

    def _throttle_is_due(self) -> bool:
        return bool(self._slow_heads or self._slow_readers) and self._throttle.is_due()

    def _look_at_files(self) -> None:
        """The event loop accepts and closes connections that it has no file for, and says nothing.
        Limits on connections leave room, so other files must have taken it."""
        try:
            os.close(os.open(os.sep, os.O_RDONLY))
        except OSError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE):
                return
            self._without_files += 1
            if self._files_throttle.is_due():
                extra = {"reason": exc.strerror, "looks": self._without_files}
                logger.error("no file can be opened: new connections are dropped", extra=extra)
                self._without_files = 0


def _taken_bytes(earlier: _Mark, later: _Mark) -> int:
    return max(
        later.acknowledged_bytes - earlier.acknowledged_bytes,
        earlier.unsent_bytes - later.unsent_bytes,
    )
