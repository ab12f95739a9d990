"""Digests of a document's entries: what has not changed since the last poll costs a hash. Pure.

A digest is that of an entry as it was parsed, with its identity and with all settings that decide
what becomes of it. So an entry that comes with a known digest would be composed to what was
appended then, and is passed over. Another version of dateline composes otherwise, and knows none.

Polls do not use it yet: `make chaos` found articles that Redis had lost at a restart and whose
digests it had not, which kept them away for good (docs/decisions.md).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version

import orjson

from service.articles.article import Entry
from service.articles.text import Plain

DIGEST_BYTES = 8
MAX_DIGESTS = 1_000
"""That are kept of a document, 11 kB; its further entries are composed in each poll."""


class EntryDigests:
    """The digests of the entries of one document.

    Args:
        settings: all that decides what becomes of an entry, besides the entry.
    """

    def __init__(self, settings: bytes) -> None:
        self._start = hashlib.blake2b(settings, digest_size=DIGEST_BYTES)
        self._start.update(_version().encode())

    def of(self, entry: Entry, identity: tuple[str, str]) -> bytes:
        """The digest of an entry; empty if it has a text that is not Unicode."""
        digest = self._start.copy()
        try:
            data = orjson.dumps((entry, identity), default=_plain, option=_OPTIONS)
        except TypeError:
            return b""
        digest.update(data)
        return digest.digest()


@lru_cache(maxsize=1)
def _version() -> str:
    return version("dateline")


# Whether a text is plain decides what becomes of it.
_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS


def _plain(value: object) -> list[str]:
    if isinstance(value, Plain):
        return [str.__str__(value)]
    raise TypeError(f"no digest of a {type(value).__name__}")


def joined(digests: Iterable[bytes]) -> str:
    """Digests as one text, at most MAX_DIGESTS of them."""
    kept = [digest for digest in digests if digest][:MAX_DIGESTS]
    return base64.b64encode(b"".join(kept)).decode()


def split(text: str) -> frozenset[bytes]:
    """The digests in such a text; none if a hand made it unreadable."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return frozenset()
    return frozenset(data[i : i + DIGEST_BYTES] for i in range(0, len(data), DIGEST_BYTES))
