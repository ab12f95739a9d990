"""The limit on connections of a server process: each is an open file.

Past the limit on open files the event loop drops new connections silently. So the server refuses
them itself, a little before, and says so.
"""

from __future__ import annotations

import logging

from service.logs import Throttle

logger = logging.getLogger(__name__)


class ConnectionLimit:
    """How many connections a server process has, and may have.

    Args:
        open_files: the process's limit.
        reserved: of these, for everything but connections of clients.
    """

    def __init__(self, open_files: int, *, reserved: int) -> None:
        self.max_connections = max(open_files - reserved, open_files // 2)
        self.open_connections = 0
        self._refused = 0
        self._throttle = Throttle()

    def acquire(self) -> bool:
        """Count a new connection; False if it must be refused."""
        if self.open_connections < self.max_connections:
            self.open_connections += 1
            return True
        self._refused += 1
        if self._throttle.is_due():
            extra = {"refused": self._refused, "connections": self.open_connections}
            self._refused = 0
            logger.warning(
                "connections are refused, the limit on open files is reached: raise it (ulimit -n, "
                "LimitNOFILE) or start more servers",
                extra=extra,
            )
        return False

    def release(self) -> None:
        """Count the end of a connection that was acquired."""
        self.open_connections -= 1
