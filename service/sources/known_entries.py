"""Known entries: what is remembered of the entries of a source's last document, so that those which
come again unchanged cost a hash. Pure.

A record is a hint and never a proof: before a poll passes over an entry, storage is asked whether
Redis has its article in this state (storage/known_entries.py). One that Redis has lost, or that was
changed or removed, is looked at again.

Records stay bytes, RECORD_BYTES each and joined, wherever they are only passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from struct import Struct
from typing import NamedTuple

MAX_KNOWN = 1_000
"""Entries that are remembered of a document, 54 kB; the others are composed at each poll."""
DIGEST_BYTES = 8
_RECORD = Struct(">8s16s17sIIIb")
RECORD_BYTES = _RECORD.size
# Hexadecimal digits of each hash of an article that are remembered.
_HASH_CHARS = 8


class KnownEntry(NamedTuple):
    """What is remembered of one entry. Numbers that stand for texts are CRC-32, or 0 for none."""

    digest: bytes
    """Digest of the bytes of its element, and of all else that decides what becomes of it."""
    article_id: bytes
    """The UUID of its article, 16 bytes."""
    state: bytes
    """What the head of its article must say (known.lua): its detail, a digit, and the first 8
    hexadecimal digits of its content hash and of its hash of everything."""
    guid: int
    link: int
    title_and_date: int
    title_balance: int
    """What its title says of how titles of its document are to be read (`text.markup_balance`)."""


names_of = attrgetter("guid", "link", "title_and_date")
"""By what another entry could be taken for this one, or make it ambiguous."""


def to_bytes(record: KnownEntry) -> bytes:
    """The record as it is stored."""
    return _RECORD.pack(*record)


def records_in(stored: bytes) -> list[bytes]:
    """Each of the records that are joined; none of what another version or a hand wrote."""
    if len(stored) % RECORD_BYTES:
        return []
    return [stored[at : at + RECORD_BYTES] for at in range(0, len(stored), RECORD_BYTES)]


def known_entries(stored: bytes) -> list[KnownEntry]:
    """The records that are joined, decoded."""
    return [KnownEntry._make(_RECORD.unpack(record)) for record in records_in(stored)]


def article_ids_in(stored: bytes) -> list[str]:
    """The id of the article of each record."""
    text = stored.hex()
    at, end = 2 * DIGEST_BYTES, 2 * RECORD_BYTES
    ids = [text[start + at : start + at + 32] for start in range(0, len(text), end)]
    return [f"{i[:8]}-{i[8:12]}-{i[12:16]}-{i[16:20]}-{i[20:]}" for i in ids]


def with_article(
    record: bytes, article_id: str, *, form: str, content_hash: str, full_hash: str
) -> bytes:
    """A record with what the article of its entry became."""
    state = f"{form[0]}{content_hash[:_HASH_CHARS]}{full_hash[:_HASH_CHARS]}"
    entry = KnownEntry._make(_RECORD.unpack(record))
    uuid = bytes.fromhex(article_id.replace("-", ""))
    return to_bytes(entry._replace(article_id=uuid, state=state.encode()))


def joined(records: Iterable[bytes]) -> bytes:
    """Records as they are stored of a source, at most MAX_KNOWN of them."""
    return b"".join([*records][:MAX_KNOWN])
