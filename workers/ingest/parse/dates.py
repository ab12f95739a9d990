"""Dates as feeds and pages write them, by tables. Pure.

Never fuzzy: a text that is not understood in full is not a date, and the caller keeps the text.
Understood are ISO 8601 / RFC 3339, RFC 822 / 2822 with the zones that occur, and day-month-year or
month-day-year in words, in the languages of the table, with an optional time.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_MONTHS_BY_LANGUAGE = (
    # English, French, German, Spanish, Portuguese, Italian, Dutch, Turkish
    "january february march april may june july august september october november december",
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "- - - - - - - - sept - - -",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "janv févr - avr - - juil - - - - déc",
    "- fevrier - - - - - aout - - - decembre",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "jänner feber mär - - - - - - okt - dez",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "ene - - abr - - - ago setiembre - - dic",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "- fev - - mai - - - set out - dez",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "gen - - - mag giu lug - - ott - -",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "- - mrt - - - - - - - - -",
    "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
    "oca şub - nis - haz tem ağu eyl eki kas ara",
    # Russian (genitive, as in dates; nominative)
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
    "янв фев мар апр - июн июл авг сен окт ноя дек",
    "- февр - - - - - - сент - нояб -",
    # Arabic: Egypt and the Gulf; the Levant and Iraq (two words, joined here); the Maghreb
    "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "- - - إبريل - يونيه يوليه اغسطس - اكتوبر - -",
    "كانون-الثاني شباط آذار نيسان أيار حزيران تموز آب أيلول تشرين-الأول تشرين-الثاني كانون-الأول",
    "كانون-ثاني - اذار - ايار - - اب ايلول تشرين-اول تشرين-ثاني كانون-اول",
    "- - - - - - - - - تشرين-الاول - كانون-الاول",
    "جانفي فيفري - أفريل ماي جوان جويلية أوت - - - -",
)
_MONTHS = {
    name: number
    for names in _MONTHS_BY_LANGUAGE
    for number, name in enumerate(names.split(), 1)
    if name != "-"
}
# Minutes east of UTC. Abbreviations mean what feeds mean by them: RFC 822's own, and Europe's.
_ZONES = {
    "ut": 0, "utc": 0, "gmt": 0, "z": 0, "wet": 0, "est": -300, "edt": -240, "cst": -360,
    "cdt": -300, "mst": -420, "mdt": -360, "pst": -480, "pdt": -420, "akst": -540, "akdt": -480,
    "hst": -600, "bst": 60, "west": 60, "cet": 60, "met": 60, "mez": 60, "cest": 120, "mest": 120,
    "mesz": 120, "eet": 120, "sast": 120, "eest": 180, "msk": 180, "trt": 180, "ist": 330,
    "hkt": 480, "sgt": 480, "awst": 480, "jst": 540, "kst": 540, "aest": 600, "aedt": 660,
    "nzst": 720, "nzdt": 780,
}  # fmt: skip
_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹", "01234567890123456789")
_MARKS = dict.fromkeys(
    map(ord, "\u061c\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2069،,\u0640"), " "
)

_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?"
    r"\s*([a-z]{1,5})?\s*([+-]\d{2}:?\d{2}|[+-]\d{2})?(?: [a-z]{1,5})?",
    re.IGNORECASE,
)
_COMPACT = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2})?)?()\s*(z)?()", re.IGNORECASE
)
_TIME = (
    r"(?:\s+(?:at |um |à |- |, )?(\d{1,2})[:.h](\d{2})(?:[:.](\d{2}))?"
    r"\s*(am|pm|a\.m\.|p\.m\.|ص|م)?)?"
)
_ZONE = r"\s*(?:\(?([a-z]{1,5})\)?)?\s*([+-]\d{1,2}:?\d{2})?(?:\s*\([a-z ]{1,40}\))?"
# Nine of ten dates are written in one of these ways; they are tried first.
_RFC_822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):([0-5]\d) "
    r"(?:GMT|([+-])([01]\d|2[0-3])([0-5]\d))",
    re.ASCII,
)
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
# Ignored in every language: Friday, sexta-feira.
_WEEKDAY = r"(?:[^\W\d]+(?:-[^\W\d]+)?\.?\s+)?"
_DAY_FIRST = re.compile(
    _WEEKDAY + r"(\d{1,2})(?:st|nd|rd|th|er|\.|º)?[\s-]+(?:de |of )?"
    r"([^\W\d]+(?:-[^\W\d]+)*)\.?[\s-]+(?:de )?(\d{4}|\d{2})(?: г\.?| года)?" + _TIME + _ZONE,
    re.IGNORECASE,
)
_MONTH_FIRST = re.compile(
    _WEEKDAY + r"([^\W\d]+)\.?\s+(\d{1,2})(?:st|nd|rd|th)?\s+(\d{4})" + _TIME + _ZONE,
    re.IGNORECASE,
)
# C's asctime, which RFC 9110 5.6.7 still allows, and `date`, which puts a zone before the year.
_ASCTIME = re.compile(
    _WEEKDAY + r"([a-z]+) (\d{1,2}) (\d{2}):(\d{2}):(\d{2})(?: ([a-z]{1,5}))? (\d{4})"
)
_TWO_WORDS = re.compile(r"(كانون|تشرين)\s+")
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
        month = _MONTHS.get(name.lower())
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
        text = unicodedata.normalize("NFC", text.translate(_DIGITS))
    text = " ".join(text.translate(_MARKS).split()).lower()
    return _iso(text, zone) or _in_words(text, zone)


def _iso(text: str, zone: tzinfo) -> datetime | None:
    match = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, abbreviation, offset = match.groups()
    known = _zone(abbreviation, offset, zone)
    if known is None:
        return None
    moment = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0),
        min(int(second or 0), 59), int((fraction or "0").ljust(6, "0")[:6]), tzinfo=known,
    )  # fmt: skip
    return moment.astimezone(UTC)


def _in_words(text: str, zone: tzinfo) -> datetime | None:
    text = _TWO_WORDS.sub(r"\1-", text)
    if match := _DAY_FIRST.fullmatch(text):
        day, name, year, *rest = match.groups()
    elif match := _MONTH_FIRST.fullmatch(text):
        name, day, year, *rest = match.groups()
    elif match := _ASCTIME.fullmatch(text):
        name, day, hour, minute, second, abbreviation, year = match.groups()
        rest = [hour, minute, second, None, abbreviation, None]
    else:
        return None
    month = _MONTHS.get(name)
    if month is None:
        return None
    hour, minute, second, half, abbreviation, offset = rest
    known = _zone(abbreviation, offset, zone)
    if known is None:
        return None
    moment = datetime(
        _year(year), month, int(day), _hour(int(hour or 0), half), int(minute or 0),
        min(int(second or 0), 59), tzinfo=known,
    )  # fmt: skip
    return moment.astimezone(UTC)


def _year(text: str) -> int:
    """RFC 2822 4.3: two digits under 50 are 20xx."""
    year = int(text)
    if len(text) == 2:
        return year + (2000 if year < 50 else 1900)
    return year


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    afternoon = half.startswith(("p", "م"))
    return hour % 12 + (12 if afternoon else 0)


def _zone(abbreviation: str | None, offset: str | None, zone: tzinfo) -> tzinfo | None:
    """None for an unknown name: a date that is an hour wrong is worse than none."""
    if offset:
        return _offset(offset)
    if not abbreviation:
        return zone
    minutes = _ZONES.get(abbreviation)
    return None if minutes is None else timezone(timedelta(minutes=minutes))


def _offset(text: str) -> tzinfo:
    digits = text[1:].replace(":", "")
    hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))
