"""Words in dates: names of months in the languages of CLDR, and names of time zones. Pure.

The languages that most feeds are written in have their names here, with the short forms and
spellings that feeds use and CLDR does not have. All names of CLDR are in months.tsv, a line for
each month, which tests/ingest/parse/cldr_months.py writes.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from datetime import timedelta, timezone, tzinfo
from functools import cache
from pathlib import Path

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
    # Finnish and Estonian, as RFC 822 dates have them: three or four letters
    "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
    "jaan veebr märts aprill - juuni juuli - sept okt - dets",
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
_CLDR = Path(__file__).with_name("months.tsv")
# Minutes east of UTC. Abbreviations mean what feeds mean by them: RFC 822's own, and Europe's.
_ZONES = {
    "ut": 0, "utc": 0, "gmt": 0, "z": 0, "wet": 0, "est": -300, "edt": -240, "cst": -360,
    "cdt": -300, "mst": -420, "mdt": -360, "pst": -480, "pdt": -420, "akst": -540, "akdt": -480,
    "hst": -600, "ast": -240, "adt": -180, "nst": -210, "ndt": -150, "brt": -180, "art": -180,
    "clt": -240, "bst": 60, "west": 60, "cet": 60, "met": 60, "mez": 60, "wat": 60, "cest": 120,
    "mest": 120, "mesz": 120, "eet": 120, "cat": 120, "sast": 120, "eest": 180, "eat": 180,
    "idt": 180, "msk": 180, "trt": 180, "pkt": 300, "ist": 330, "npt": 345, "ict": 420, "wib": 420,
    "hkt": 480, "sgt": 480, "pht": 480, "awst": 480, "jst": 540, "kst": 540, "acst": 570,
    "aest": 600, "acdt": 630, "aedt": 660, "nzst": 720, "nzdt": 780,
}  # fmt: skip
# Names as JavaScript and Java write them; `standard` and `summer` or `daylight` decide the hour.
_LONG_ZONES = {
    "coordinated universal": 0, "greenwich mean": 0, "british": 0, "western european": 0,
    "central european": 60, "eastern european": 120, "moscow": 180, "india": 330, "china": 480,
    "japan": 540, "korean": 540, "australian eastern": 600, "new zealand": 720, "atlantic": -240,
    "eastern": -300, "central": -360, "mountain": -420, "pacific": -480,
}  # fmt: skip


def month_of(name: str) -> int | None:
    """The number of a month, 1 to 12; None for a word that is not the name of one.

    Args:
        name: in lower case and NFC, without dots.
    """
    number = _MONTHS.get(name)
    return number if number is not None else _months_of_cldr().get(name)


@cache
def _months_of_cldr() -> Mapping[str, int]:
    lines = _CLDR.read_text(encoding="utf-8").splitlines()
    return {name: number for number, line in enumerate(lines, 1) for name in line.split("\t")}


def zone_of(name: str) -> tzinfo | None:
    """The zone of an abbreviation, an IANA name or an English name; None for an unknown one: a date
    that is an hour wrong is worse than none.

    Args:
        name: in lower case.
    """
    minutes = _ZONES.get(name)
    if minutes is None:
        minutes = _minutes_of_long_zone(name)
    if minutes is not None:
        return timezone(timedelta(minutes=minutes))
    key = _iana_zones().get(name) if "/" in name else None
    return zoneinfo.ZoneInfo(key) if key else None


def _minutes_of_long_zone(name: str) -> int | None:
    place, _, last = name.rpartition(" ")
    if last != "time":
        return None
    for word, extra in ((" standard", 0), (" daylight", 60), (" summer", 60), ("", 0)):
        minutes = _LONG_ZONES.get(place.removesuffix(word)) if place.endswith(word) else None
        if minutes is not None:
            return minutes + extra
    return None


@cache
def _iana_zones() -> Mapping[str, str]:
    return {key.lower(): key for key in zoneinfo.available_timezones()}
