"""Logs: one line for each event, `time level logger event key=value…`, on stdout; of a command that
prints a result, on stderr.

Only the entry points of processes call `configure`. The event text is constant; values that vary
are passed in `extra`.
"""

from __future__ import annotations

import logging
import sys
import time

import orjson

from service.printable import printable, printable_json

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


REPEAT_S = 60.0
"""Seconds between two log lines about the same lasting fault."""


MAX_REPEATS = 1_000
"""Different tracebacks that are remembered."""


class Throttle:
    """Lets one of many equal log lines pass every REPEAT_S seconds."""

    def __init__(self) -> None:
        self._due = 0.0

    def is_due(self) -> bool:
        """Whether to log now; if so, the next line is due REPEAT_S seconds later."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + REPEAT_S
        return True


class RepeatFilter(logging.Filter):
    """Lets one of many equal tracebacks pass per REPEAT_S; the next one says how many there were.

    Equal are tracebacks of one event that end at the same line with the same type of exception.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; adds `repeated` to one that stands for several."""
        if not record.exc_info or record.exc_info[1] is None:
            return True
        key = _origin(record.exc_info[1], record.getMessage())
        now = time.monotonic()
        due, count = self._counts.get(key, (0.0, 0))
        if now < due:
            self._counts[key] = due, count + 1
            return False
        if len(self._counts) >= MAX_REPEATS:
            self._counts.clear()
        self._counts[key] = now + REPEAT_S, 0
        if count:
            record.repeated = count
        return True


def _origin(exc: BaseException, message: str) -> tuple[object, ...]:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    traceback = exc.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    where = (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno) if traceback else ()
    return message, type(exc), where


class KeyValueFormatter(logging.Formatter):
    """Appends the fields of `extra`; values with spaces or quotes are written as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on lines after it."""
        extra = {k: v for k, v in vars(record).items() if k not in _OWN}
        pairs = " ".join(f"{name}={_value(value)}" for name, value in extra.items())
        head = f"{self.formatTime(record)} {record.levelname.lower():7} {record.name}"
        line = f"{head}: {record.getMessage()}" + (f" {pairs}" if pairs else "")
        if not record.exc_info:
            return printable(line)
        # Indented, so that no line of an exception's text looks like a record.
        traceback = self.formatException(record.exc_info).splitlines()
        return "\n".join([printable(line), *(f"  {printable(each)}" for each in traceback)])


def _value(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(c in text for c in ' "='):
        return text
    return printable_json(orjson.dumps(text.encode("utf-8", "replace").decode()).decode())


def configure(level: str, *, is_result_printed: bool = False) -> None:
    """Write all records of this level and above.

    Args:
        is_result_printed: whether stdout belongs to the result of a command, which another program
            may read: the records go to stderr.
    """
    handler = logging.StreamHandler(sys.stderr if is_result_printed else sys.stdout)
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their lines for each tick and each request add nothing to our own lines.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
