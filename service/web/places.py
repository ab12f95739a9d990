"""Places for connections: each is an open file, and past the limit new ones are silently dropped.

So the server refuses them itself, a little before, and says so.
"""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

# For Redis (64 connections and what waits on streams), files, and what libraries open.
RESERVED_FILES = 128
REPEAT_S = 60.0


class Places:
    """How many connections a server process has, and may have."""

    def __init__(self, open_files: int) -> None:
        """Of a process that may have so many files open."""
        self.most = max(open_files - RESERVED_FILES, open_files // 2)
        self.taken = 0
        self._refused = 0
        self._told = -REPEAT_S

    def take(self) -> bool:
        """Take one for a new connection; False if there is none."""
        if self.taken < self.most:
            self.taken += 1
            return True
        self._refused += 1
        now = time.monotonic()
        if now >= self._told + REPEAT_S:
            extra = {"refused": self._refused, "connections": self.taken}
            logger.warning(
                "new connections are refused: raise the limit on open files (ulimit -n, "
                "LimitNOFILE), or start more servers",
                extra=extra,
            )
            self._told, self._refused = now, 0
        return False

    def give_back(self) -> None:
        """A connection that had one has ended."""
        self.taken -= 1
