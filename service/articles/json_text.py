"""JSON texts: what others wrote, and what older versions or other hands stored. Pure.

    decode_json     as strict as orjson, but for half characters
    decode_stored   whatever can be read, without the characters that `text` forbids
    stored_object   the same of an object, encoded again

A text that a program cut between the two halves of an emoji ends in half of a surrogate pair,
which JSON writes as the escape `\\ud83d` (RFC 8259 8.2 calls the result unpredictable). orjson
refuses the whole document for it. Here that escape alone is dropped, as `text.normalized` drops
surrogates.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from service.articles.text import may_hold_forbidden, without_forbidden

_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
# Stands for an escaped backslash, so that `\\\\ud83d` is not taken for an escape.
_BACKSLASH = b"\0\0"
# Escapes of control characters, and of characters that orjson writes as they are; and the line
# breaks that end a field of an event stream.
_UNCLEAN = (rb"\u", rb"\b", rb"\f", b"\n")


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


def decode_stored(text: bytes) -> Any:
    """The value of a stored JSON text: bytes that are not UTF-8 are replaced, and characters that
    `text.without_forbidden` removes are removed from every string.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        repaired = text.decode("utf-8", "replace").translate(_NO_CONTROLS).encode()
        return _cleaned(decode_json(repaired))
    return _cleaned(value) if _may_be_unclean(text) else value


def stored_object(text: bytes) -> bytes:
    """A stored JSON object as it may be sent: unchanged if `decode_stored` changes nothing in it.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        value, is_clean = orjson.loads(text), not _may_be_unclean(text)
    except orjson.JSONDecodeError:
        value, is_clean = decode_stored(text), False
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return text if is_clean else orjson.dumps(_cleaned(value))


def _may_be_unclean(text: bytes) -> bool:
    return may_hold_forbidden(text) or any(sign in text for sign in _UNCLEAN)


_NO_CONTROLS = dict.fromkeys(range(0x20), " ")


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return without_forbidden(value)
        case list():
            return [_cleaned(item) for item in value]
        case dict():
            return {_cleaned(name): _cleaned(item) for name, item in value.items()}
        case _:
            return value
