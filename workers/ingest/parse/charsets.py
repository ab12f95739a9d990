"""Charsets: bytes to text, when what they call themselves is as often wrong as right. Pure.

UTF-8 is believed before any label: other charsets hardly ever come out as valid UTF-8, and servers
put `charset=iso-8859-1` on everything. The labels decide about the rest, and Windows-1252 is what
Latin-1 means (https://encoding.spec.whatwg.org/#names-and-labels).
"""

from __future__ import annotations

import codecs
import re

# They look like ASCII, and so like UTF-8.
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_SEVEN_BIT = ("iso-2022", "iso2022", "hz")
_MEANT = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252"}


def charset_of(content_type: str) -> str:
    """What a Content-Type header calls the charset; empty if it does not."""
    match = _CHARSET.search(content_type)
    return match.group(1) if match else ""


def decode(body: bytes, *labels: str) -> str:
    """The text.

    Args:
        labels: what header and document call the charset; the first that works is taken, empty and
            unknown ones are passed over.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    for name in _order(body, [label.strip().lower() for label in labels]):
        try:
            return body.decode(_MEANT.get(name, name))
        except (LookupError, UnicodeError):
            continue
    # One character cut in half is no reason to misread all the others.
    text = body.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    right = sum(not character.isascii() for character in text) - wrong
    return text if right > wrong else body.decode("cp1252", "replace")


def _order(body: bytes, names: list[str]) -> list[str]:
    if b"\0" in body:
        return [*(name for name in names if name.startswith("utf-16")), "utf-8"]
    names = [name for name in names if name and not name.startswith(("utf-16", "utf-32"))]
    if body.isascii():
        return [*(name for name in names if name.startswith(_SEVEN_BIT)), "utf-8"]
    return ["utf-8", *names]
