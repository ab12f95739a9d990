"""Dates as feeds and pages write them; what is not understood is no date."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies

from tests.effort import cpu_s
from tests.ingest.parse import cldr_months
from workers.ingest.parse import date_words
from workers.ingest.parse.dates import MAX_CHARS, parse_date

OSLO = ZoneInfo("Europe/Oslo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 22 Dec 2017 16:41:07 +0000", "2017-12-22T16:41:07"),
        ("Fri, 22 Dec 2017 16:41:07 GMT", "2017-12-22T16:41:07"),
        (" 22 Dec 2017 23:41:07 -0530 ", "2017-12-23T05:11:07"),
        ("Sat, 23 Dec 2017 01:41:07 +0200", "2017-12-22T23:41:07"),
        ("2017-12-22T23:41:07.5-05:30", "2017-12-23T05:11:07.500000"),
        ("22 Dec 2017 16:41 EST", "2017-12-22T21:41:00"),
        ("Fri, 22 Dec 17 16:41:07 CEST", "2017-12-22T14:41:07"),
        ("Fri, 22 Dec 2017 16:41:07 +0200 (EET)", "2017-12-22T14:41:07"),
        ("Fri, 22 Dec 2017 16:41:07 -5:30", "2017-12-22T22:11:07"),
        ("Fri, 22 Dec 2017 23:59:60 GMT", "2017-12-22T23:59:59"),
        ("2017-12-22T16:41:07Z", "2017-12-22T16:41:07"),
        ("2017-12-22T16:41:07.123456789+02:00", "2017-12-22T14:41:07.123456"),
        ("2017-12-22 16:41:07", "2017-12-22T15:41:07"),
        ("2017-12-22", "2017-12-21T23:00:00"),
        ("20171222", "2017-12-21T23:00:00"),
        ("20171222T164107Z", "2017-12-22T16:41:07"),
        ("Friday, 22 December 2017 18:41", "2017-12-22T17:41:00"),
        ("22 December 2017", "2017-12-21T23:00:00"),
        ("December 22, 2017", "2017-12-21T23:00:00"),
        ("Dec 22nd, 2017 6:41 pm", "2017-12-22T17:41:00"),
        ("Dec 22, 2017 at 12:05 a.m. GMT", "2017-12-22T00:05:00"),
        ("vendredi 22 décembre 2017 18:41", "2017-12-22T17:41:00"),
        ("22. Dezember 2017 um 18:41", "2017-12-22T17:41:00"),
        ("22 de diciembre de 2017", "2017-12-21T23:00:00"),
        ("22 de dezembro de 2017", "2017-12-21T23:00:00"),
        ("22 dicembre 2017", "2017-12-21T23:00:00"),
        ("22 Aralık 2017", "2017-12-21T23:00:00"),
        ("22 декабря 2017", "2017-12-21T23:00:00"),
        ("الجمعة، 22 ديسمبر 2017", "2017-12-21T23:00:00"),
        ("٢٢ كانون الأول ٢٠١٧", "2017-12-21T23:00:00"),
        ("5 تشرين الثاني 2017", "2017-11-04T23:00:00"),
        ("Fri, 22 Dec 49 00:00:00 Z", "2049-12-22T00:00:00"),
        ("Fri Dec 22 16:41:07 2017", "2017-12-22T15:41:07"),
        ("Fri Dec 22 16:41:07 EST 2017", "2017-12-22T21:41:07"),
        ("2017-12-22T16:41:07 EST", "2017-12-22T21:41:07"),
        ("2017-12-22 16:41:07 +0200", "2017-12-22T14:41:07"),
        ("2017-12-22 16:41:07 +0000 UTC", "2017-12-22T16:41:07"),
        ("2017-12-22T16:41:60Z", "2017-12-22T16:41:59"),
        ("2017-12-22T16:41+02", "2017-12-22T14:41:00"),
        ("Fri, 22 Dec 2017 16:41:07 UT", "2017-12-22T16:41:07"),
        ("22-Dec-2017 16:41:07 GMT", "2017-12-22T16:41:07"),
        ("Sexta-feira, 22 Dezembro 2017 18:41", "2017-12-22T17:41:00"),
        ("vrijdag 22 december 2017 18:41", "2017-12-22T17:41:00"),
        ("venerdì, 22 dicembre 2017 18:41", "2017-12-22T17:41:00"),
        ("1er janvier 2018", "2017-12-31T23:00:00"),
        ("22 déc. 2017 à 18h41", "2017-12-22T17:41:00"),
        ("22 de\u0301cembre 2017", "2017-12-21T23:00:00"),
        ("22 FEVRIER 2017", "2017-02-21T23:00:00"),
        ("3 mrt 2017", "2017-03-02T23:00:00"),
        ("3 Kas 2017", "2017-11-02T23:00:00"),
        ("пятница, 22 декабря 2017 г. 18:41", "2017-12-22T17:41:00"),
        ("3 сент. 2017", "2017-09-02T22:00:00"),
        ("5 كانون الاول 2017", "2017-12-04T23:00:00"),
        ("\u200f5 تشرين الأول، 2017", "2017-10-04T22:00:00"),
        ("5 جانفي 2018", "2018-01-04T23:00:00"),
        ("Fri, 22 Dec 99 00:00:00 Z", "1999-12-22T00:00:00"),
        ("12/22/2017", "2017-12-21T23:00:00"),
        ("22/12/2017 18:41", "2017-12-22T17:41:00"),
        ("2017-12-22T24:00:00Z", "2017-12-23T00:00:00"),
        ("Fri, 22 Dec 2017 24:00:00 GMT", "2017-12-23T00:00:00"),
        ("2017/12/22 16:41:07", "2017-12-22T15:41:07"),
        ("22.12.2017 18:41", "2017-12-22T17:41:00"),
        ("22.12.17, 18:41 Uhr", "2017-12-22T17:41:00"),
        ("2017. 12. 22. 18:41", "2017-12-22T17:41:00"),
        ("2017年12月22日 18:41", "2017-12-22T17:41:00"),
        ("2017年12月22日(金) 18時41分", "2017-12-22T17:41:00"),
        ("2017年12月22日 下午6:41", "2017-12-22T17:41:00"),
        ("2017년 12월 22일 금요일 오후 6:41", "2017-12-22T17:41:00"),
        ("2017. december 22., péntek 18:41", "2017-12-22T17:41:00"),
        ("22. joulukuuta 2017 klo 18.41", "2017-12-22T17:41:00"),
        ("Pe, 22 Joulu 2017 18:41:00 +0000", "2017-12-22T18:41:00"),
        ("pt., 22 gru 2017 18:41:00 +0000", "2017-12-22T18:41:00"),
        ("22 listopada 2017", "2017-11-21T23:00:00"),
        ("22 грудня 2017 р. о 18:41", "2017-12-22T17:41:00"),
        ("22. prosince 2017 v 18:41", "2017-12-22T17:41:00"),
        ("22 Δεκεμβρίου 2017, 6:41 μ.μ.", "2017-12-22T17:41:00"),
        ("2017 m. gruodžio 22 d. 18:41", "2017-12-22T17:41:00"),
        ("2017. gada 22. decembris 18:41", "2017-12-22T17:41:00"),
        ("22 ธ.ค. 2560 18:41", "2017-12-22T17:41:00"),
        ("22 दिसंबर 2017 18:41", "2017-12-22T17:41:00"),
        ("22 tháng 12, 2017 18:41", "2017-12-22T17:41:00"),
        ("22 de diciembre de 2017, 6:41 p. m.", "2017-12-22T17:41:00"),
        ("22 de desembre del 2017", "2017-12-21T23:00:00"),
        ("Fri, 22 Dec 2017 18:41:00 UTC+2", "2017-12-22T16:41:00"),
        ("Fri, 22 Dec 2017 18:41:00 Europe/Athens", "2017-12-22T16:41:00"),
        ("Fri, 22 Dec 2017 08:41:00 Pacific Standard Time", "2017-12-22T16:41:00"),
        ("2017-12-22T18:41:00+02:00[Europe/Athens]", "2017-12-22T16:41:00"),
        ("2017-12-22T16:41:00Z[UTC]", "2017-12-22T16:41:00"),
        (
            "Fri Dec 22 2017 18:41:00 GMT+0200 (Eastern European Standard Time)",
            "2017-12-22T16:41:00",
        ),
        ("1513960867", "2017-12-22T16:41:07"),
        ("1513960867000", "2017-12-22T16:41:07"),
    ],
)
def test_understood(text: str, expected: str) -> None:
    """The moment in UTC; without a zone, in the one given."""
    assert datetime.fromisoformat(expected).replace(tzinfo=UTC) == parse_date(text, zone=OSLO)


@pytest.mark.parametrize(
    "text",
    ["", "0000-00-00 00:00:00", "2017-02-30", "31 April 2017", "22 Foo 2017", "yesterday", "41",
     "22 Dec 2017 25:61", "22 Dec 2017 16:41 XYZ", "2017", "12/11/2017", "1396/10/1", "x" * 100,
     "22 Dec 2017 and more words", "Fri, 22 Dec 2017 16:41:07 A", "2017-12-22T16:41:07 XYZ",
     "2017-12", "December 2017", "2017-12-22T24:00:01Z", "0001-01-01T00:00:00+14:00",
     "Fri, 22 Dec 2017 16:41:07 +9999", "Fri, 22 Foo 2017 16:41:07 GMT",
     "22 Dec 2017 Mars/Olympus", "Thg 10 2, 2017", "10 2 2017", "10-2-2017",
     "9999999999", "15139608670", "0022-12-22", "22:12:2017",
     "Fri, 31 Nov 2017 16:41:07 GMT", "Fri Dec 32 16:41:07 2017", "2017-13-01T00:00:00Z"],
)  # fmt: skip
def test_no_date(text: str) -> None:
    """A text that is not clearly a date gives no date: a wrong one would be worse."""
    assert parse_date(text, zone=UTC) is None


@pytest.mark.parametrize("piece", ["a'", "a-", "a ", "'", "1 ", "1.", "(a)", "22 a-a", "a’"])
def test_no_text_takes_long(piece: str) -> None:
    """Repeated, it could be divided into words in more ways than anybody can try."""
    text = (piece * MAX_CHARS)[:MAX_CHARS]
    for date in (text, f"{text[:-1]}!", f"22.12.2017 {text[:60]}", f"22 {text[:60]} 2017"):
        assert cpu_s(lambda date: parse_date(date, zone=UTC), date) < 0.2


def test_cldr() -> None:
    """The names of months are those of CLDR, and mean what the table beside them says."""
    assert cldr_months.table() == date_words._CLDR.read_text(encoding="utf-8")
    months = date_words._months_of_cldr()
    assert set() == {
        name for name, number in date_words._MONTHS.items() if months.get(name, number) != number
    }


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    strategies.text(
        strategies.sampled_from("0123456789:-/. ,TZ年月日[]()+dec пт") | strategies.characters(),
        max_size=40,
    )
)
def test_any_text(text: str) -> None:
    """Whatever the text is, it is a moment in UTC or no date."""
    moment = parse_date(text, zone=OSLO)
    assert moment is None or moment.tzinfo is UTC
