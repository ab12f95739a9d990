"""Text: the one gate that every string of an article passes. Pure, and total on any str.

What comes out can stand in any XML 1.0 or JSON document: one forbidden character in one article
would make a whole feed unreadable. Forbidden are C0 (but tab and line breaks), DEL, C1, surrogates
and the 66 non-characters of Unicode (XML 1.0 2.2; Unicode 23.7).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

MAX_LANGUAGE_CHARS = 35
"""What RFC 5646 4.4.1 asks every implementation to have room for."""

_NONCHARACTERS = "".join(map(chr, range(0xFFFE, 0x110000, 0x10000))) + "".join(
    map(chr, range(0xFFFF, 0x110000, 0x10000))
)
_FORBIDDEN = re.compile(
    f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]"
)
# C1 in XML is what somebody took from Windows-1252 for Latin-1; HTML reads it as this, too
# (https://html.spec.whatwg.org/#numeric-character-reference-end-state).
_MEANT = {chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
# Bytes that begin neither a forbidden character nor CR LF. Deleting them from the UTF-8 form is
# five times faster than searching with the pattern.
_HARMLESS = bytes({*range(256)} - {*range(32), 0x7F, 0xC2, 0xEF, *range(0xF0, 0xF5)} | {9, 10})
_SHORT = 64
"""Up to here `isprintable` is quicker still."""
# Well-formed by RFC 5646 2.1, but for languages of four to eight letters: none is registered, and
# what stands there in practice is the English name of a language.
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z0-9]{1,8})*|[xi](?:-[a-z0-9]{1,8})+)", re.IGNORECASE | re.ASCII
)


def normalized(text: str) -> str:
    """The text in NFC and without forbidden characters; C1 becomes what was meant by it."""
    text = without_forbidden(text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_forbidden(text: str) -> str:
    """The same without a change of the Unicode form: identifiers are compared as they are spelled
    (RFC 4287 4.2.6.1)."""
    if _may_hold_forbidden(text):
        return _FORBIDDEN.sub(_meant, text).replace("\r\n", "\n")
    return text


def _may_hold_forbidden(text: str) -> bool:
    if len(text) <= _SHORT:
        return not text.isprintable()
    try:
        return bool(text.encode().translate(None, _HARMLESS))
    except UnicodeEncodeError:
        return True  # A surrogate.


def _meant(match: re.Match[str]) -> str:
    return _MEANT.get(match.group(), "")


@lru_cache(maxsize=1_024)
def language_tag(text: str) -> str:
    """A BCP 47 tag, empty if the text is none; `en_US.UTF-8` is `en-US`."""
    tag = re.split(r"[.@\s]", text.strip(), maxsplit=1)[0].replace("_", "-")
    is_tag = len(tag) <= MAX_LANGUAGE_CHARS and _LANGUAGE.fullmatch(tag)
    return tag if is_tag else ""
