"""Stored documents: JSON, compressed by zstd if that is shorter, with a dictionary if there is one.

A plain document begins with a brace and a zstd frame never does (RFC 8878 3.1.1): the first byte
distinguishes them. A frame names the dictionary that it needs (3.1.1.1.3), and cannot be read
without it; `dictionaries.py` keeps them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Level 3 takes 12 us for 2.4 kB, 21 if a compressor is made each time; 9 saves another 2 % and
# takes four times as long.
LEVEL = 3
_COMPRESSOR = zstd.ZstdCompressor(level=LEVEL)


class MissingDictionary(ValueError):
    """A document was compressed with a dictionary that this archive does not have."""


class Dictionary:
    """A trained zstd dictionary, ready to compress and to decompress.

    Raises:
        ValueError: the content is not that of a dictionary.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._zstd = zstd.ZstdDict(content)
            # Digested once: a compressor that loads 64 kB for each document takes 20 times as long.
            self._compressor = zstd.ZstdCompressor(
                level=LEVEL, zstd_dict=self._zstd.as_digested_dict
            )
        except zstd.ZstdError as exc:
            raise ValueError(f"not a zstd dictionary: {exc}") from exc
        self.content = content
        self.id: int = self._zstd.dict_id
        """The number by which frames name it; never 0."""

    def compress(self, doc: bytes) -> bytes:
        """The document as a frame that names this dictionary."""
        frame: bytes = self._compressor.compress(doc, zstd.ZstdCompressor.FLUSH_FRAME)
        return frame

    def decompress(self, frame: bytes) -> bytes:
        """The document of a frame that names this dictionary."""
        doc: bytes = zstd.decompress(frame, zstd_dict=self._zstd)
        return doc


def compressed(doc: bytes, dictionary: Dictionary | None = None) -> bytes:
    """The document in the shorter of both forms, for storing."""
    if dictionary:
        frame = dictionary.compress(doc)
    else:
        frame = _COMPRESSOR.compress(doc, zstd.ZstdCompressor.FLUSH_FRAME)
    return frame if len(frame) < len(doc) else doc


def dictionary_id(stored: bytes) -> int:
    """Id of the dictionary that a stored document needs; 0 if it needs none, or is not one."""
    if stored.startswith(b"{"):
        return 0
    try:
        return int(zstd.get_frame_info(stored).dictionary_id)
    except zstd.ZstdError:
        return 0


def plain(stored: bytes, dictionaries: Mapping[int, Dictionary] | None = None) -> bytes:
    """The JSON of a document in any stored form.

    Args:
        dictionaries: those that are known, by their ids.

    Raises:
        MissingDictionary: it needs another one.
        ValueError: it is not a document.
    """
    if stored.startswith(b"{"):
        return stored
    needed = dictionary_id(stored)
    try:
        if not needed:
            doc: bytes = zstd.decompress(stored)
            return doc
        dictionary = (dictionaries or {}).get(needed)
        if dictionary is None:
            raise MissingDictionary(
                f"it needs the zstd dictionary {needed}, which Redis does not have: restore the "
                f"field {needed} of the key `…:dictionaries` from a backup"
            )
        return dictionary.decompress(stored)
    except zstd.ZstdError as exc:
        raise ValueError(f"not a stored document: {exc}") from exc
