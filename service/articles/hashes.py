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


def content_hash(*, title: str, text: str, categories: list[str]) -> str:
    """128 bits in hex over what makes a revision; line breaks and the order of categories do not.

    Args:
        title, text: cleaned (`text.line`, `text.plain_text`): one space at most between words.
    """
    return _hash_of(title, _on_one_line(text), "\n".join(sorted(categories)))


def dated_hash(*, title: str, text: str, date: datetime | None, categories: list[str]) -> str:
    """The content hash as versions until November 2026 computed it, with the date. Their archives
    hold it, and an article that did not change since must not look changed."""
    date_text = to_rfc3339(date) if date else ""
    return _hash_of(title, _on_one_line(text), date_text, "\n".join(sorted(categories)))


def _on_one_line(text: str) -> str:
    return text.replace("\n\n", " ").replace("\n", " ")


def _hash_of(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def full_hash(doc: bytes) -> str:
    """64 bits in hex over the JSON object of a draft without what identifies it, which comes first:
    what is known under another guid is not another article."""
    fields = doc[doc.index(b',"url":') :]
    return hashlib.blake2b(_RAW_PUBLISHED.sub(b"", fields), digest_size=8).hexdigest()
