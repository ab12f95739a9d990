"""Charsets: bytes to text, although the declared charset is wrong as often as right. Pure.

A byte order mark decides. UTF-8 is tried before any label: text in other charsets is hardly ever
valid UTF-8, and servers send `charset=iso-8859-1` with everything. Then the labels are tried, as
browsers mean them (https://encoding.spec.whatwg.org/#names-and-labels): `gb2312` is GB18030,
`shift_jis` Windows-31J, `iso-8859-1` Windows-1252. What no label fits is detected as Firefox does.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

import webencodings

try:
    from chardetng_py import detect as _detect
except ImportError:  # No wheel for this platform: what is not declared is Windows-1252 there.
    _detect = None

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:+-]+)", re.IGNORECASE)
# Text in these looks like ASCII, and so like UTF-8. WHATWG refuses the last two; feeds have them.
_SEVEN_BIT = {"iso-2022-jp": "iso2022_jp_ext", "hz-gb-2312": "hz", "iso-2022-kr": "iso2022_kr"}
# Labels of programs, which no standard lists: cp-1251, win1251, windows_1251.
_WINDOWS = re.compile(r"(?:cp|win|windows|ms)[-_ ]?(125\d|874)")
_CODE_PAGE = re.compile(r"(?:cp|ibm)[-_ ]?(\d{3,4})")
# WHATWG's name → Python's codec, where webencodings has a narrower one.
_CODECS = {"gbk": "gb18030", "x-user-defined": "", "replacement": ""}
# What servers add to everything they send, whatever it is.
_DEFAULT = "cp1252"
_SAMPLE_BYTES = 32_768
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_PYTHONS_UTF16 = re.compile(r"utf-?16-?([lb]e)")
_HYPHENS = re.compile(r"[-_]")


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type header names; empty if it names none."""
    match = _CHARSET.search(content_type)
    return match.group(1) if match else ""


def decode(body: bytes, *labels: str) -> str:
    """Decode a document; bytes that cannot be decoded are replaced.

    Args:
        labels: charsets that header and document name, in the order of their authority; empty and
            unknown ones are ignored.
    """
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace")
    body = body.removeprefix(codecs.BOM_UTF8)
    names = list(dict.fromkeys(_codecs(body, labels)))
    for name in names:
        try:
            return body.decode(name)
        except UnicodeError:
            continue
    guesses = ((_wrong_part(text), text) for text in (body.decode(n, "replace") for n in names))
    wrong_part, text = min(guesses, key=lambda guess: guess[0])
    # One character that is cut in half must not make all others wrong.
    return text if wrong_part < 0.5 else body.decode(_detected(body), "replace")


def is_utf8(label: str) -> bool:
    """Whether a label names UTF-8, or a charset that is a part of it, or none at all."""
    return label.strip().lower() in ("", "utf-8", "utf8", "us-ascii", "ascii")


def _codecs(body: bytes, labels: tuple[str, ...]) -> Iterator[str]:
    """Names of the codecs to try, in this order."""
    known = [name for label in labels if (name := _codec(label.strip().lower()))]
    if b"\0" in body:
        yield from (name for name in known if name.startswith("utf-16"))
        yield "utf-8"
        return
    known = [name for name in known if not name.startswith("utf-16")]
    if body.isascii():
        yield from (name for name in known if name in _SEVEN_BIT.values())
        yield "utf-8"
        return
    yield "utf-8"
    # A stable sort: the default of servers gives way to what a document says of itself.
    yield from sorted(known, key=lambda name: name == _DEFAULT)


def _codec(label: str) -> str:
    """Python's codec for a label; empty for an unknown one."""
    if label in _SEVEN_BIT:
        return _SEVEN_BIT[label]
    if match := _WINDOWS.fullmatch(label):
        label = f"windows-{match.group(1)}"
    # Python's spellings, too: euc_jp, latin-1, utf-16-le.
    for spelling in (label, label.replace("_", "-"), _HYPHENS.sub("", label)):
        encoding = webencodings.lookup(_PYTHONS_UTF16.sub(r"utf-16\1", spelling))
        if encoding is not None:
            return _CODECS.get(encoding.name, str(encoding.codec_info.name))
    match = _CODE_PAGE.fullmatch(label)
    try:
        return codecs.lookup(f"cp{match.group(1)}").name if match else ""
    except LookupError:
        return ""


def _wrong_part(text: str) -> float:
    """The part of the characters beyond ASCII that could not be decoded."""
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return text.count("\ufffd") / beyond if beyond else 0.0


def _detected(body: bytes) -> str:
    """The codec of a text of which nothing is known."""
    if _detect is None:
        return _DEFAULT
    beyond = _BEYOND_ASCII.search(body)
    first = beyond.start() if beyond else 0
    sample = body[max(0, first - 256) : first + _SAMPLE_BYTES]
    return _codec(_detect(sample).lower()) or _DEFAULT
