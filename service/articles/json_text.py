"""JSON texts that others wrote, decoded as strictly as orjson does, but for half characters. Pure.

A text that a program cut between the two halves of an emoji ends in half of a surrogate pair,
which JSON writes as the escape `\\ud83d` (RFC 8259 8.2 calls the result unpredictable). orjson
refuses the whole document for it. Here that escape alone is dropped, as `text.normalized` drops
surrogates.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
# Stands for an escaped backslash, so that `\\\\ud83d` is not taken for an escape.
_BACKSLASH = b"\0\0"


def decode_json(text: bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        orjson.JSONDecodeError: it is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # NUL is nowhere valid in JSON.
        masked = b"" if b"\0" in text else text.replace(rb"\\", _BACKSLASH)
        whole, count = _LONE.subn(b"", masked)
        if not count:
            raise
    return orjson.loads(whole.replace(_BACKSLASH, rb"\\"))
