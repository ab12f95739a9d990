"""Hashes: what of an article has changed. Pure.

content_hash    title, text and categories: another one is a revision and an event
full_hash       everything but the dates: another one alone is a correction
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from service.articles.times import to_rfc3339

# A quotation mark inside a JSON string is escaped, so this is the field.
_RAW_PUBLISHED = re.compile(rb',"raw_published":"(?:[^"\\]|\\.)*"')


def content_hashes(
    *, title: str, text: str, date: datetime | None, categories: list[str]
) -> tuple[str, str]:
    """(content hash, dated hash), each of 128 bits in hex.

    The first is over what makes a revision; line breaks and the order of categories do not. The
    second is the one of versions until November 2026, with the date: their archives hold it, and an
    article that did not change since must not look changed.

    Args:
        title, text: cleaned (`text.line`, `text.plain_text`): one space at most between words.
    """
    # Both begin with the words.
    words = hashlib.blake2b(f"{title}\0{_on_one_line(text)}\0".encode(), digest_size=16)
    rest = "\n".join(sorted(categories))
    dated = words.copy()
    words.update(rest.encode())
    dated.update(f"{to_rfc3339(date) if date else ''}\0{rest}".encode())
    return words.hexdigest(), dated.hexdigest()


def _on_one_line(text: str) -> str:
    return text.replace("\n\n", " ").replace("\n", " ")


def full_hash(doc: bytes) -> str:
    """64 bits in hex over the JSON object of a draft without what identifies it, which comes first:
    what is known under another guid is not another article."""
    fields = doc[doc.index(b',"url":') :]
    return hashlib.blake2b(_RAW_PUBLISHED.sub(b"", fields), digest_size=8).hexdigest()
