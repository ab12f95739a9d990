"""Decoding: removes HTTP content codings (RFC 9110 8.4) in small steps and within limits. Pure.

A decompression bomb is recognised by its ratio long before it is large; the rest of its bytes is
never decompressed.
"""

from __future__ import annotations

import codecs
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
MAX_CODINGS = 2
"""Codings of one body that are removed: a proxy may compress what its server has compressed."""
# Among this many bytes of compressed data, at least one is a control character.
_HEAD_BYTES = 512
_TEXT_BYTES = bytes({9, 10, 12, 13, 27} | set(range(32, 256)) - {127})
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


class ResponseDecoder:
    """Removes the content codings that the body of a response has, which are not always those that
    its header names: some name charsets, or gzip for plain text, others gzip what is asked for and
    name nothing."""

    def __init__(self, header: str) -> None:
        self._names = [name.strip().lower() for name in header.split(",") if name.strip()]
        self._head = b""
        self._decoders: list[Decoder] | None = None

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded bytes, at most about STEP_BYTES at a time. Raises Undecodable."""
        if self._decoders is None:
            self._head += chunk
            if len(self._head) < _HEAD_BYTES:
                return
            chunk = self._begin()
        yield from self._through(self._decoders or [], chunk)

    def finish(self) -> Iterator[bytes]:
        """What is left of a short body. Raises Undecodable, also for a body whose end is
        missing."""
        if self._decoders is None:
            chunk = self._begin()
            yield from self._through(self._decoders or [], chunk)
        if not all(decoder.is_whole for decoder in self._decoders or ()):
            raise Undecodable("ends in the middle of its compressed data")

    def _begin(self) -> bytes:
        self._decoders = [Decoder(name) for name in _codings_of(self._names, self._head)]
        head, self._head = self._head, b""
        return head

    def _through(self, decoders: list[Decoder], chunk: bytes) -> Iterator[bytes]:
        if not decoders:
            yield chunk
            return
        for step in decoders[0].decode(chunk):
            yield from self._through(decoders[1:], step)


def _codings_of(names: list[str], head: bytes) -> list[str]:
    """The codings to remove, the last one applied first (RFC 9110 8.4).

    Args:
        names: those of the header.
        head: the first bytes of the body.
    """
    if head.startswith(_MEMBER):
        known = [name for name in names if name in _CODINGS and name not in ("deflate", "identity")]
        return known[-MAX_CODINGS:][::-1] or ["gzip"]
    if not head or _is_text(head):
        return []
    unknown = [name for name in names if name not in _CODINGS]
    if unknown:
        raise Undecodable(f"is coded as {unknown[0]!r}, which was not asked for")
    outer_first = names[-MAX_CODINGS:][::-1]
    if outer_first[:1] == ["deflate"] and not _is_zlib(head):
        outer_first[0] = _RAW_DEFLATE
    return outer_first


def _is_text(head: bytes) -> bool:
    """Whether a body is text as it is: compressed data has control characters soon."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0", b"\0<")):
        return True
    return not head.translate(None, _TEXT_BYTES)


def _is_zlib(head: bytes) -> bool:
    """RFC 1950 2.2: the method is deflate, and the first two bytes are a multiple of 31."""
    return head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2], "big") % 31 == 0


_Steps = Callable[[bytes], Iterator[bytes]]
_Coding = tuple[_Steps, Callable[[], bool]]


def _identity() -> _Coding:
    def steps(chunk: bytes) -> Iterator[bytes]:
        yield chunk

    return steps, lambda: True


def _gzip(wbits: int = 32 + zlib.MAX_WBITS) -> _Coding:
    # 32: gzip or zlib, recognised by the first bytes; `deflate` is zlib by its definition.
    inflater = zlib.decompressobj(wbits)
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


# Not a name that HTTP has: the deflate data that old servers send without its zlib header.
_RAW_DEFLATE = "raw deflate"
_CODINGS: dict[str, Callable[[], _Coding]] = {
    "": _identity,
    "identity": _identity,
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _gzip,
    "br": _brotli,
    _RAW_DEFLATE: lambda: _gzip(-zlib.MAX_WBITS),
}
