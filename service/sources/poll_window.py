"""Poll windows: the hours and days at which a source may be polled. Pure.

    8-18                 from 8:00 to 18:00 each day
    22-6                 at night
    mon-fri 8-18         on these days alone; a night belongs to the day on which it begins
    sat,sun              the whole day

Times are in the TIMEZONE setting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache

from service.errors import InvalidInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_STEP = timedelta(minutes=15)
# A week, and a night that belongs to its last day.
_MAX_STEPS = 8 * 24 * 4
_HOURS = re.compile(r"(\d{1,2})(?::00)?-(\d{1,2})(?::00)?")
_ONE_DAY = re.compile(rf"({'|'.join(DAYS)})(?:-({'|'.join(DAYS)}))?")


@dataclass(frozen=True, slots=True)
class PollWindow:
    """Hours of these days."""

    days: frozenset[int]
    """0 is Monday."""
    begin: int
    """The first hour, 0 to 23."""
    end: int
    """The hour after the last one, 1 to 24; at most `begin` if the window ends on the next day."""

    def contains(self, moment: datetime, zone: tzinfo) -> bool:
        """Whether a source may be polled at this moment."""
        local = moment.astimezone(zone)
        if self.begin < self.end:
            return local.weekday() in self.days and self.begin <= local.hour < self.end
        if local.hour >= self.begin:
            return local.weekday() in self.days
        return local.hour < self.end and (local.weekday() - 1) % 7 in self.days

    def first_from(self, moment: datetime, zone: tzinfo) -> datetime:
        """The first moment from this one on at which a source may be polled."""
        for _ in range(_MAX_STEPS):
            if self.contains(moment, zone):
                break
            minute = moment.minute // 15 * 15
            moment = moment.replace(minute=minute, second=0, microsecond=0) + _STEP
        return moment


@lru_cache(maxsize=1_024)
def parse_window(text: str) -> PollWindow | None:
    """Read a window; None for an empty text, which allows any time.

    Raises:
        InvalidInput: it is not a window.
    """
    words = text.lower().replace(", ", ",").split()
    if not words:
        return None
    days, hours = frozenset(range(7)), (0, 24)
    try:
        if words[0][0].isalpha():
            days = _days(words.pop(0))
        if words:
            hours = _hours(words.pop(0))
    except ValueError as exc:
        raise InvalidInput("window", text, f"must be such as `mon-fri 8-18`: {exc}") from exc
    if words:
        raise InvalidInput("window", text, "must be days, hours or both, such as `mon-fri 8-18`")
    return PollWindow(days, *hours)


def checked_window(value: object) -> str:
    """The text of a window; empty for none. Raises InvalidInput."""
    text = "" if value is None else value
    if not isinstance(text, str) or len(text) > 100:
        raise InvalidInput("window", value, "must be a text such as `mon-fri 8-18`")
    parse_window(text.strip())
    return text.strip()


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        match = _ONE_DAY.fullmatch(part)
        if match is None:
            raise ValueError(f"{part} is not a day or a range of days")
        first = DAYS.index(match.group(1))
        last = DAYS.index(match.group(2) or match.group(1))
        days.update((first + n) % 7 for n in range((last - first) % 7 + 1))
    return frozenset(days)


def _hours(text: str) -> tuple[int, int]:
    match = _HOURS.fullmatch(text)
    begin, end = (int(match.group(1)), int(match.group(2))) if match else (24, 0)
    if begin > 23 or end > 24 or begin == end:
        raise ValueError(f"{text} is not a range of full hours")
    return begin, end or 24
