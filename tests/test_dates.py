"""Dates as feeds and pages write them; what is not understood is no date."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from workers.ingest.parse.dates import parse_date

OSLO = ZoneInfo("Europe/Oslo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 22 Dec 2017 16:41:07 +0000", "2017-12-22T16:41:07"),
        ("Fri, 22 Dec 2017 16:41:07 GMT", "2017-12-22T16:41:07"),
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
        ("Fri, 22 Dec 99 00:00:00 Z", "1999-12-22T00:00:00"),
    ],
)
def test_understood(text: str, expected: str) -> None:
    """The moment in UTC; without a zone, in the one given."""
    assert datetime.fromisoformat(expected).replace(tzinfo=UTC) == parse_date(text, zone=OSLO)


@pytest.mark.parametrize(
    "text",
    ["", "0000-00-00 00:00:00", "2017-02-30", "31 April 2017", "22 Foo 2017", "yesterday", "41",
     "22 Dec 2017 25:61", "22 Dec 2017 16:41 XYZ", "2017", "12/22/2017", "1396/10/1", "x" * 100,
     "22 Dec 2017 and more words", "2017-13-01T00:00:00Z"],
)  # fmt: skip
def test_no_date(text: str) -> None:
    """No guess is better than a wrong one."""
    assert parse_date(text, zone=UTC) is None
