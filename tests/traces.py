"""Traces of a text in Redis: in every key of every type, and in what is compressed or packed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

from service.storage.compression import Dictionary, plain
from tests.storage.backups import contents

_ARTICLE = b"\1\0\0"
"""A stored article (article.lua), whose head has less than 64 kB."""
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


async def traces(client: Any, text: str) -> list[str]:
    """The names of the keys in which the text is found, in any case."""
    wanted = text.lower().encode()
    keys = await contents(client)
    known = dict(_dictionaries(keys))
    return sorted(
        name
        for name, value in keys.items()
        if any(wanted in part.lower() for part in _parts([name, value], known))
    )


def _dictionaries(keys: dict[str, Any]) -> Iterator[tuple[int, Dictionary]]:
    """(id, dictionary) of all zstd dictionaries."""
    for name, fields in keys.items():
        if name.endswith(":dictionaries"):
            yield from ((int(id), Dictionary(d)) for id, d in fields.items() if id.isdigit())


def _parts(value: Any, known: dict[int, Dictionary]) -> Iterator[bytes]:
    """Every string in a value, and what it is the encoding of."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        yield value
        if value.startswith(_ARTICLE):
            head_bytes, idx_bytes = struct.unpack(">II", value[1:9])
            yield from _parts(value[9 + head_bytes + idx_bytes :], known)
        if value.startswith(_ZSTD_MAGIC):
            yield plain(value, known)
        try:
            unpacked = msgpack.unpackb(value)
        except ValueError:
            return
        if not isinstance(unpacked, int):
            yield from _parts(unpacked, known)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _parts(part, known)
