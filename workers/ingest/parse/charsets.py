"""Charsets: bytes to text, although the declared charset is wrong as often as right. Pure.

UTF-8 is tried before any label: text in other charsets is hardly ever valid UTF-8, and servers send
`charset=iso-8859-1` with everything. The labels decide about the rest, and Latin-1 is decoded as
Windows-1252 (https://encoding.spec.whatwg.org/#names-and-labels).
"""

from __future__ import annotations

import codecs
import re

_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
# Text in these looks like ASCII, and so like UTF-8.
_SEVEN_BIT = ("iso-2022", "iso2022", "hz")
_MEANT = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252"}


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type header names; empty if it names none."""
    match = _CHARSET.search(content_type)
    return match.group(1) if match else ""


def decode(body: bytes, *labels: str) -> str:
    """Decode a document; bytes that cannot be decoded are replaced.

    Args:
        labels: charsets that header and document name; the first that works is used, empty and
            unknown ones are ignored.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    for name in _order(body, [label.strip().lower() for label in labels]):
        try:
            return body.decode(_MEANT.get(name, name))
        except (LookupError, UnicodeError):
            continue
    # One character that is cut in half must not make all others wrong.
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
