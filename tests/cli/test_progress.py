"""Progress of a long command, on a terminal and elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import sys
import threading

import pytest

from service.cli import progress
from service.cli.progress import Progress, progress_of


def test_lines_of_the_log_say_how_far_a_command_has_come(caplog: pytest.LogCaptureFixture) -> None:
    """Not at every step, but after a second, and later more rarely; small shares add up."""
    time_s = 0.0
    shown = Progress("Importing", 2, bar=None, now=lambda: time_s)
    with caplog.at_level(logging.INFO):
        for _ in range(10_000):
            shown.add(0.0001)
        assert [] == caplog.messages
        time_s = progress.LOG_EVERY_S
        shown.next_item()
        shown.add(0.5)
        time_s *= 2
        shown.add(0.0)
        time_s = 100 * progress.LOG_EVERY_S
        shown.add(0.0)
        time_s += 5 * progress.LOG_EVERY_S
        shown.add(0.25)
        time_s += 10 * progress.LOG_EVERY_S
        shown.add(0.0)
    percents = [getattr(record, "percent", None) for record in caplog.records]
    assert ["importing"] * 4 == caplog.messages
    assert [50, 75, 75, 87] == percents


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches its end, in any number of steps."""
    main, terminal = pty.openpty()
    pieces: list[bytes] = []

    def read_all() -> None:
        # At the end of the terminal Linux raises.
        with contextlib.suppress(OSError):
            while piece := os.read(main, 4_096):
                pieces.append(piece)

    reader = threading.Thread(target=read_all)
    reader.start()
    with os.fdopen(terminal, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        with progress_of("Importing", 3) as shown:
            for _ in range(3):
                for _ in range(7_000):
                    shown.add(1 / 7_000)
                shown.next_item()
    reader.join()
    os.close(main)
    text = b"".join(pieces).decode()
    assert "Importing" in text
    assert "100%" in text
