"""Decoding: removes HTTP content codings (RFC 9110 8.4) in small steps and within limits. Pure.

A decompression bomb is recognised by its ratio long before it is large; the rest of its bytes is
never decompressed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import brotli

# Output of one step at most: about a millisecond of work.
STEP_BYTES = 262_144
# Feeds shrink to a tenth, the most repetitive ones seen to a sixtieth.
MAX_RATIO = 200
TRUSTED_BYTES = 1_000_000
"""Decoded bytes up to which the ratio is not checked."""
ACCEPTED = "gzip, br"
# First bytes of a gzip member; a body may have several members in a row (RFC 1952 2.2). Each costs
# a copy of the rest of a slice, so both are limited: only an attacker sends a body of nothing but
# empty members.
_MEMBER = b"\x1f\x8b"
MAX_MEMBERS = 2_000
_SLICE_BYTES = 16_384


class Undecodable(ValueError):
    """The content coding is unknown, the coded data is broken, or it is a decompression bomb."""


class Bomb(Undecodable):
    """The body decompresses to far more than any real document does."""


class Decoder:
    """Removes one content coding, chunk by chunk."""

    def __init__(self, coding: str) -> None:
        """Raises Undecodable for an unknown coding."""
        make = _CODINGS.get(coding.strip().lower())
        if make is None:
            raise Undecodable(f"is coded as {coding!r}, which was not asked for")
        self._steps, self._is_whole = make()
        self._received = self._decoded = 0

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded bytes, at most about STEP_BYTES at a time. Raises Undecodable."""
        self._received += len(chunk)
        for step in self._steps(chunk):
            self._decoded += len(step)
            if self._decoded > max(TRUSTED_BYTES, self._received * MAX_RATIO):
                raise Bomb(f"unpacks to more than {MAX_RATIO} times its size")
            yield step

    @property
    def is_whole(self) -> bool:
        """Whether the end of the coded data was reached."""
        return self._is_whole()


_Steps = Callable[[bytes], Iterator[bytes]]
_Coding = tuple[_Steps, Callable[[], bool]]


def _identity() -> _Coding:
    def steps(chunk: bytes) -> Iterator[bytes]:
        yield chunk

    return steps, lambda: True


def _gzip() -> _Coding:
    # 32: gzip or zlib, recognised by the first bytes; `deflate` is zlib by its definition.
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
    pending, members = b"", 1

    def steps(chunk: bytes) -> Iterator[bytes]:
        for at in range(0, len(chunk), _SLICE_BYTES):
            try:
                yield from slice_steps(chunk[at : at + _SLICE_BYTES])
            except zlib.error as exc:
                raise Undecodable(f"has broken gzip data: {exc}") from exc

    def slice_steps(part: bytes) -> Iterator[bytes]:
        nonlocal inflater, pending, members
        part, pending = pending + part, b""
        while part:
            if inflater.eof:
                if part == _MEMBER[:1]:
                    pending = part  # Its second byte is still to come.
                    return
                if not part.startswith(_MEMBER):
                    return  # Padding.
                members += 1
                if members > MAX_MEMBERS:
                    raise Bomb(f"has more than {MAX_MEMBERS} gzip members")
                inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
            yield inflater.decompress(part, STEP_BYTES)
            part = inflater.unconsumed_tail or inflater.unused_data

    return steps, lambda: inflater.eof


def _brotli() -> _Coding:
    decompressor = brotli.Decompressor()

    def steps(chunk: bytes) -> Iterator[bytes]:
        try:
            yield decompressor.process(chunk, output_buffer_limit=STEP_BYTES)
            while not decompressor.can_accept_more_data() and not decompressor.is_finished():
                yield decompressor.process(b"", output_buffer_limit=STEP_BYTES)
        except brotli.error as exc:
            raise Undecodable(f"has broken brotli data: {exc}") from exc

    return steps, decompressor.is_finished


_CODINGS: dict[str, Callable[[], _Coding]] = {
    "": _identity,
    "identity": _identity,
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _gzip,
    "br": _brotli,
}
