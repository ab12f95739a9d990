"""When to ask again: the Retry-After of others, and dates of HTTP. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(header: str, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110 10.2.3: seconds or a date), else None."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    moment = http_date(header)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """A date of HTTP (RFC 9110 5.6.7) in any form that occurs; None if it is none."""
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
