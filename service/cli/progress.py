"""Progress of a long command: a bar on a terminal, elsewhere lines of the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

logger = logging.getLogger(__name__)

LOG_EVERY_S, LOG_SHARE = 1.0, 0.1
"""Least time between two lines, and the same as a share of the time since the beginning."""
STEPS = 1_000
"""Steps of the bar for the whole command."""


class Progress:
    """How far a command has come, which works on one item after the other."""

    def __init__(
        self, label: str, items: int, *, bar: Any, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._items = items
        self._bar = bar
        """The bar of click; None where there is no terminal."""
        self._now = now
        self._began_s = self._last_s = now()
        self._done = 0
        """Items that are done."""
        self._share = 0.0
        """Share of the present item that is done, 0 to 1."""

    def add(self, share: float) -> None:
        """Note that a further share of the present item, 0 to 1, was done."""
        self._share = min(self._share + share, 1.0)
        self._show()

    def next_item(self) -> None:
        """Note that the present item is done."""
        self._done, self._share = self._done + 1, 0.0
        self._show()

    def _show(self) -> None:
        share = (self._done + self._share) / max(self._items, 1)
        if self._bar is not None:
            self._bar.update(int(share * STEPS) - self._bar.pos)
            return
        now_s = self._now()
        if now_s - self._last_s >= max(LOG_EVERY_S, LOG_SHARE * (now_s - self._began_s)):
            self._last_s = now_s
            extra = {"percent": int(share * 100), "done": self._done, "of": self._items}
            logger.info(self._label.lower(), extra=extra)


@contextmanager
def progress_of(label: str, items: int) -> Iterator[Progress]:
    """Show on stderr how far a command has come with so many items, while the context is open."""
    if not sys.stderr.isatty():
        yield Progress(label, items, bar=None)
        return
    with click.progressbar(length=STEPS, label=label, file=sys.stderr) as bar:
        yield Progress(label, items, bar=bar)
