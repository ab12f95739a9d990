"""Heads: what storage has decided of an article, as append.lua stores it. Pure.

A head is a msgpack map with short names and packed texts, which head.lua writes; or JSON with the
long names, which versions before December 2026 wrote.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any

import msgpack

from service.articles.json_text import decode_stored
from service.articles.text import without_forbidden

# As in head.lua; `event`, `call` and what else only scripts read is left out.
_NAMES = {
    b"r": "revision", b"h": "hash", b"f": "full", b"p": "published", b"u": "updated",
    b"s": "first_seen", b"t": "status", b"k": "marks", b"n": "corrections", b"d": "duplicate_of",
    b"i": "hidden_in", b"x": "erased",
}  # fmt: skip
_PLAIN, _HEX, _MOMENT, _UUID = b"=", b"\1", b"\4", b"\5"
_MSGPACK = b"\x80"
"""No map of msgpack begins with a byte below this, and JSON with none above."""
_PACKED = frozenset((b"h", b"f", b"p", b"u", b"s", b"d"))


def is_json(head: bytes) -> bool:
    """Whether a version before December 2026 wrote it."""
    return head < _MSGPACK


def decode_head(head: bytes) -> dict[str, Any]:
    """The fields of a stored head by their long names, texts as they are in an article's JSON.

    Raises:
        ValueError: it cannot be read.
    """
    if is_json(head):
        fields = decode_stored(head)
        if not isinstance(fields, dict):
            raise ValueError("is not a JSON object")
        return fields
    try:
        stored = msgpack.unpackb(head, raw=True)
        published = _text(stored[b"p"])
        decoded: dict[str, Any] = {"status": "live"}
        for short, name in _NAMES.items():
            if short in stored:
                value = stored[short]
                decoded[name] = _text(value, published) if short in _PACKED else _plain(value)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as exc:
        raise ValueError(f"not the head of an article: {exc!r}") from exc
    return decoded


def _text(packed: bytes, published: str = "") -> str:
    """A packed text; an empty one is that of `published`."""
    kind, value = packed[:1], packed[1:]
    if kind == _MOMENT:
        day, ms = struct.unpack(">II", value)
        d, t = f"{day:08}", f"{ms:09}"
        return f"{d[:4]}-{d[4:6]}-{d[6:]}T{t[:2]}:{t[2:4]}:{t[4:6]}.{t[6:]}Z"
    if kind == _HEX:
        return value.hex()
    if kind == _UUID:
        return str(uuid.UUID(bytes=value))
    if kind == _PLAIN:
        return without_forbidden(value.decode("utf-8", "replace"))
    if kind:
        raise ValueError(f"a text of an unknown kind: {packed!r}")
    return published


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return without_forbidden(value.decode("utf-8", "replace"))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
