"""Dates as feeds and pages write them, by tables. Pure.

Never fuzzy: a text that is not understood in full is not a date, and the caller keeps the text.
Understood are ISO 8601 / RFC 3339, RFC 822 / 2822 with the zones that occur, seconds since the
epoch, and the usual orders of day, month and year, in numbers where only one order can be meant, or
with a name of the month in any language of CLDR; each with an optional time and zone.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from workers.ingest.parse.date_words import month_of, zone_of

_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹", "01234567890123456789")
_MARKS = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2069،,\u0640"), " "
)

# Nine of ten dates are written in one of these ways; they are tried first.
_RFC_822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) ([01]\d|2[0-3]):(\d\d):([0-5]\d) "
    r"(?:GMT|([+-])([01]\d|2[0-3])([0-5]\d))",
    re.ASCII,
)
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
# A word in any script: vowel signs of Indic scripts are not `\w`. No part of it is ever shortened,
# or a text of apostrophes would be divided in every way there is.
_W = r"[^\s\d,.:;/()（）\[\]+'’-]++(?:[-'’][^\s\d,.:;/()（）\[\]+'’-]++)*+['’]?"
# Ignored in every language: Friday, sexta-feira, (日).
_WEEKDAY = rf"(?:{_W}\.?\s+)?"
_HALVES = r"a\.?\s?m\.?|p\.?\s?m\.?|ص|م|π\.?μ\.?|μ\.?μ\.?|上午|下午|午前|午後|오전|오후"
_WEEKDAY_AFTER = rf"(?:\s*[(（]{_W}[)）]|\s+(?!(?:{_HALVES})\s){_W}(?=\s))?"
_DAYS = tuple(
    re.compile(pattern)
    for pattern in (
        # 2017-12-22, 2017/12/22, 2017. 12. 22., 2017年12月22日, 2017년 12월 22일
        rf"{_WEEKDAY}(?P<year>\d{{4}})\s?[-/.年년]\s?(?P<month>\d{{1,2}})\s?[-/.月월]\s?"
        rf"(?P<day>\d{{1,2}})(?!\d)[日일.]?(?:\s*[(（]{_W}[)）]|\s?[월화수목금토일]요일)?",
        # 22.12.2017
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})\.\s?(?P<month>\d{{1,2}})\.\s?(?P<year>\d{{4}}|\d\d)\.?(?!\d)",
        # 22/12/2017 and 12/22/2017, of which only one can be meant
        rf"{_WEEKDAY}(?P<day>1[3-9]|2\d|3[01])(?P<between>[/-])(?P<month>\d{{1,2}})(?P=between)"
        r"(?P<year>\d{4})",
        rf"{_WEEKDAY}(?P<month>\d{{1,2}})(?P<between>[/-])(?P<day>1[3-9]|2\d|3[01])(?P=between)"
        r"(?P<year>\d{4})",
        # 22 December 2017, 22 de dezembro de 2017, 22. joulukuuta 2017, 22 грудня 2017 р.
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|\.|º|ª|a)?[\s-]+"
        rf"(?:tháng (?P<month>\d{{1,2}})|(?:de |of |d['’])?(?P<name>{_W})\.?)[\s-]+"
        r"(?:del? |năm )?(?P<year>\d{4}|\d\d)(?!\d)"
        r"(?: ?(?:г|года|р|року|ж)(?![^\W\d])\.?)?",
        # December 22 2017
        rf"{_WEEKDAY}(?P<name>{_W})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<year>\d{{4}})",
        # 2017 december 22, 2017. december 22., 2017 m. gruodžio 22 d.
        rf"(?P<year>\d{{4}})\.?(?: m\.)?\s+(?P<name>{_W})\.?\s+(?P<day>\d{{1,2}})\.?"
        r"(?: d\.?(?![^\W\d]))?",
        # 2017. gada 22. decembris
        rf"(?P<year>\d{{4}})\.? gada (?P<day>\d{{1,2}})\. (?P<name>{_W})",
    )
)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:t?(\d\d)(\d\d)(\d\d)?)?\s*(z?)")
_BEFORE = r"t|at|um|à|as|às|a las|kl|klo|o|об?|в|v|u|ora|om|ore|pukul|la|στις|-|–|\||@"
_CLOCK = re.compile(
    rf"(?:{_WEEKDAY_AFTER}\s+|(?<=[日일.)）]))?(?:(?:{_BEFORE})\.?\s*)?(?P<before>{_HALVES})?\s*"
    r"(?P<hour>\d{1,2})\s?[:.h時时点點시]\s?(?P<minute>\d\d)(?!\d)[분分]?"
    r"(?:[:.m]?\s?(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?[초秒s]?)?"
    rf"(?:\s*(?P<after>{_HALVES})(?![^\W\d]))?(?:\s*(?:uhr|uur|hrs|h|ч)(?![^\W\d])\.?)?"
)
_AFTERNOON = ("p", "م", "μ", "下", "午後", "오후")
_OFFSET = re.compile(
    r"(?:\(?[a-z]{1,5}\)?)?\s*([+-]\d{1,2}(?::?\d\d)?)(?:\s*[(\[].{1,50}[)\]]|\s[a-z]{1,5})?"
)
_BRACKETED = re.compile(r"([a-z]{1,5})?\s*[(\[](.{1,50})[)\]]")
# C's asctime, which RFC 9110 5.6.7 still allows, and `date`, which puts a zone before the year.
_ASCTIME = re.compile(
    rf"{_WEEKDAY}([a-z]+) (\d{{1,2}}) (\d\d:\d\d:\d\d)(?: ([a-z]{{1,5}}))? (\d{{4}})"
)
_TWO_WORDS = re.compile(r"(كانون|تشرين)\s+")
# Seconds and milliseconds since the epoch, from September 2001 to May 2033.
_EPOCH = re.compile(r"(1\d{9})(?:\.\d{1,9}|(\d{3}))?")
# Thai months, ต.ค.; Greek halves of the day, μ.μ.
_INNER_DOT = re.compile(r"(?<=[^\W\d])\.(?=[^\W\d])")
# Years of the Buddhist calendar, in which Thai dates are written.
_BUDDHIST_YEARS = range(2400, 2700)
_BUDDHIST_OFFSET = 543
# What looks older is a year of another calendar: 1396/10/1 is in December 2017.
_OLDEST_YEAR = 1800
MAX_CHARS = 80


def parse_date(text: str, *, zone: tzinfo) -> datetime | None:
    """The moment in UTC, or None if the text is not understood in full.

    Args:
        zone: for texts that do not name one; a text without a time is the start of its day there.
    """
    if not text or len(text) > MAX_CHARS:
        return None
    try:
        return _usual(text.strip()) or _any(text, zone)
    except (ValueError, OverflowError):
        # 31 April, 25:61, a year 0: it looks like a date and is not one.
        return None


def _usual(text: str) -> datetime | None:
    if match := _RFC_822.fullmatch(text):
        day, name, year, hour, minute, second, sign, hours, minutes = match.groups()
        month = month_of(name.lower())
        if month is None:
            return None
        moment = datetime(
            int(year), month, int(day), int(hour), int(minute), int(second), tzinfo=UTC
        )
        if not sign:
            return moment
        east = timedelta(hours=int(hours), minutes=int(minutes))
        return moment + east if sign == "-" else moment - east
    if _RFC_3339.fullmatch(text):
        return datetime.fromisoformat(text).astimezone(UTC)
    return None


def _any(text: str, zone: tzinfo) -> datetime | None:
    if not text.isascii():
        text = _INNER_DOT.sub("", unicodedata.normalize("NFC", text.translate(_DIGITS)))
    text = _TWO_WORDS.sub(r"\1-", " ".join(text.translate(_MARKS).split()).lower())
    if match := _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(match.group(1)), UTC)
    if match := _COMPACT.fullmatch(text):
        year, month, day, hour, minute, second, utc = match.groups()
        known = UTC if utc else zone
        return _moment(
            datetime(int(year), int(month), int(day), tzinfo=known), hour, minute, second
        )
    if match := _ASCTIME.fullmatch(text):
        name, day, clock, abbreviation, year = match.groups()
        text = f"{day} {name} {year} {clock} {abbreviation or ''}".strip()
    for pattern in _DAYS:
        if match := pattern.match(text):
            moment = _from_day(match, text[match.end() :], zone)
            if moment is not None:
                return moment
    return None


def _from_day(match: re.Match[str], rest: str, zone: tzinfo) -> datetime | None:
    """The moment of a day and of what follows it; None if one of them is not understood."""
    fields = match.groupdict()
    month = _month(fields)
    if month is None:
        return None
    clock = _CLOCK.match(rest)
    known = _zone(rest[clock.end() :] if clock else rest, zone)
    if known is None:
        return None
    start = datetime(_year(fields["year"]), month, int(fields["day"]), tzinfo=known)
    if clock is None:
        return start.astimezone(UTC)
    hour = _hour(int(clock["hour"]), clock["before"] or clock["after"])
    return _moment(start, hour, clock["minute"], clock["second"], clock["fraction"])


def _month(fields: dict[str, str]) -> int | None:
    name = fields.get("name")
    if not name:
        return int(fields["month"])
    return int(name) if name.isdecimal() else month_of(name)


def _moment(
    start: datetime, hour: int | str | None, minute: str | None, second: str | None,
    fraction: str | None = None,
) -> datetime:  # fmt: skip
    """The moment in UTC. 24:00 is the midnight that ends the day (ISO 8601), and a leap second
    counts as the one before it. Raises ValueError for another time that no clock shows."""
    hours, minutes = int(hour or 0), int(minute or 0)
    is_end_of_day = hours == 24 and not minutes and not int(second or 0)
    moment = start.replace(
        hour=0 if is_end_of_day else hours, minute=minutes,
        second=min(int(second or 0), 59) if int(second or 0) <= 60 else int(second or 0),
        microsecond=int((fraction or "0").ljust(6, "0")[:6]),
    )  # fmt: skip
    return (moment + timedelta(days=is_end_of_day)).astimezone(UTC)


def _year(text: str) -> int:
    """RFC 2822 4.3: two digits under 50 are 20xx."""
    year = int(text)
    if len(text) == 2:
        return year + (2000 if year < 50 else 1900)
    if year in _BUDDHIST_YEARS:
        return year - _BUDDHIST_OFFSET
    if year < _OLDEST_YEAR:
        raise ValueError(f"the year {year} is of another calendar, or wrong")
    return year


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    return hour % 12 + (12 if half.startswith(_AFTERNOON) else 0)


def _zone(text: str, zone: tzinfo) -> tzinfo | None:
    """The zone that a date ends with, `zone` if it names none; None if the text is not one."""
    text = text.strip()
    if not text:
        return zone
    if match := _OFFSET.fullmatch(text):
        return _offset(match.group(1))
    if (known := zone_of(text)) is not None:
        return known
    match = _BRACKETED.fullmatch(text)
    return zone_of(match.group(1) or match.group(2)) if match else None


def _offset(text: str) -> tzinfo:
    digits = text[1:].replace(":", "")
    hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))
