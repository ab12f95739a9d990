"""What an answer to a request of ours means, and when to ask again. Pure.

Sources: RFC 9110 (Retry-After), Standard Webhooks 1.0.0 (what is a success, retries).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from service.http import retry_after_s

# ± this part of a delay, so that endpoints that failed together do not come back together.
JITTER = 0.2
# A receiver that is away until tomorrow says so; none may stop us forever.
MAX_RETRY_AFTER_S = 86_400.0


class Verdict(Enum):
    """What an answer means for the next attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"
    """410: the receiver wants nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one attempt, or why there was none."""

    status: int
    """HTTP status; 0 if there was no answer."""
    error: str = ""
    """Why there was no answer; empty if there was one."""
    retry_after: str = ""
    """The Retry-After header, unparsed; empty if it is missing."""
    duration_ms: int = 0
    text: str = ""
    """The beginning of the body, decoded as UTF-8."""

    @property
    def verdict(self) -> Verdict:
        """Only 2xx is a success; redirects are failures and never followed; 410 is final."""
        if 200 <= self.status < 300:
            return Verdict.DELIVERED
        return Verdict.GONE if self.status == 410 else Verdict.RETRY


def retry_delay_s(
    attempt: int,
    *,
    schedule_s: Sequence[float],
    retry_after: str,
    now: datetime,
    chance: float,
) -> float:
    """Return the seconds until the next attempt.

    Args:
        attempt: failed attempts so far, from 1. Past the end of the schedule its last step repeats.
        schedule_s: delay after the first, second, … failure.
        retry_after: the receiver's header, which is believed up to a day.
        chance: from 0 to 1, evenly spread; the jitter.
    """
    delay_s = schedule_s[min(attempt, len(schedule_s)) - 1] * (1 - JITTER + 2 * JITTER * chance)
    requested_s = min(retry_after_s(retry_after, now) or 0.0, MAX_RETRY_AFTER_S)
    # Never before the time that was asked for, and not all at that time.
    return max(delay_s, requested_s * (1 + JITTER * chance))
