"""JSON texts that others wrote: half characters are dropped, the rest is strict."""

from __future__ import annotations

import json
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles.json_text import decode_json

_ANY_CODE_POINT = st.text(st.characters(exclude_categories=()) | st.sampled_from("\\\ud83d\ude00"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'"a\ud83db"', "ab"),
        (rb'"a\uDE00b"', "ab"),
        (rb'"\ud83d\ud83d\ude00\ude00"', "\U0001f600"),
        (rb'"\ude00\ud83d"', ""),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'"\\\ud83d"', "\\"),
        (rb'"\\\\ud83d \ud83d"', r"\\ud83d "),
        (rb'{"\ud83d": [1, "\ude00"]}', {"": [1, ""]}),
    ],
)
def test_half_a_character_is_dropped(text: bytes, value: object) -> None:
    """Whole pairs stay, and so does what looks like an escape behind an escaped backslash."""
    assert value == decode_json(text)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"NaN", rb'"\ud83', rb'"\ud83d', b'"\xff"', b'"\xed\xa0\x80"', b'"\0' rb'\ud83d"',
     rb'["\ud83d", NaN]', b'"\0\0ud83d"', b"[" * 5_000],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: bytes) -> None:
    """Dropping half characters makes nothing valid that is invalid for another reason."""
    with pytest.raises(orjson.JSONDecodeError):
        decode_json(text)


@given(_ANY_CODE_POINT)
def test_every_string_keeps_its_other_characters(text: str) -> None:
    """As Python's lenient decoder reads it, less the lone surrogates."""
    escaped = json.dumps(text)
    expected = re.sub("[\ud800-\udfff]", "", json.loads(escaped))
    assert expected == decode_json(escaped.encode())
