"""Times: aware UTC datetimes in memory; RFC 3339 or milliseconds since the epoch when stored.

The RFC 3339 texts have a fixed width, so that their order as text is their order in time.
"""

from __future__ import annotations

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_rfc3339(moment: datetime) -> str:
    """`2017-12-22T16:41:07.000Z`: UTC, milliseconds, always 24 characters."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def from_rfc3339(text: str) -> datetime:
    """Parse an RFC 3339 text with a zone into an aware UTC datetime. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(f"{text!r} is out of the years 1 to 9999 in UTC") from exc


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down without floating-point error."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of milliseconds since the epoch; the inverse of `to_ms`."""
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
