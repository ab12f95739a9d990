"""Content codings of pages: quick while a client waits, as small as possible when there is time."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The best trade of time against size, for 390 kB: br 5 takes 5 ms, br 11 547 ms; gzip 6 takes
# 6 times as long as 1 for 4 % less; zstd 3 takes 0.7 ms.
_QUICK: dict[str, Callable[[bytes], bytes]] = {
    "br": lambda body: brotli.compress(body, quality=5),
    "zstd": lambda body: zstd.compress(body, 3),
    "gzip": lambda body: gzip.compress(body, 4, mtime=0),
}
CODINGS = tuple(_QUICK)
"""Content codings besides identity, the preferred one first."""
# The highest level that needs no more memory to be decompressed; it takes half as long as br 11.
_ZSTD_BEST = 19
# br 11 takes 90 ms for so many bytes, after which it can be cancelled.
_PIECE_BYTES = 65_536


def quick(coding: str, body: bytes) -> bytes:
    """The body in a coding, compressed in milliseconds; in any other coding the body itself."""
    return _QUICK[coding](body) if coding in _QUICK else body


def best(coding: str, body: bytes, *, is_cancelled: Callable[[], bool]) -> bytes | None:
    """The body, compressed as far as its coding can; for 390 kB it takes half a second.

    Returns:
        None if it was cancelled meanwhile.
    """
    if coding == "gzip":
        return gzip.compress(body, 9, mtime=0)
    if coding == "zstd":
        compressed: bytes = zstd.compress(body, _ZSTD_BEST)
        return compressed
    compressor = brotli.Compressor(quality=11)
    pieces = []
    for at in range(0, len(body), _PIECE_BYTES):
        if is_cancelled():
            return None
        pieces.append(compressor.process(body[at : at + _PIECE_BYTES]))
    return b"".join([*pieces, compressor.finish()])
