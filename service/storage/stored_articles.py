"""Decode articles from what Redis has of them: `doc` and `head` (append.lua)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from service.articles.article import STORED_FIELDS, Article
from service.articles.head import decode_head
from service.articles.json_text import decode_stored
from service.storage.stored import decoded

Plain = Callable[[bytes], bytes]
"""The JSON of a stored document (`Dictionaries.plain`)."""


def decoded_articles(
    article_ids: Sequence[str], stored: Sequence[Sequence[bytes | None]], plain: Plain
) -> list[tuple[bytes, Article] | None]:
    """(head, article) of each (doc, head); None where one is missing or cannot be read."""
    pairs: list[tuple[bytes, Article] | None] = []
    decode = partial(_article, plain)
    for article_id, (doc, head) in zip(article_ids, stored, strict=True):
        parts = (article_id, doc, head) if doc and head else None
        article = decoded(decode, parts, what=f"article {article_id}") if parts else None
        pairs.append((head, article) if head and article else None)
    return pairs


def _article(plain: Plain, stored: tuple[str, bytes, bytes]) -> Article:
    """Decode (id, doc, head) as they are stored."""
    article_id, doc, head = stored
    decided, fields = decode_head(head), decode_stored(plain(doc))
    fields.update((name, decided[name]) for name in STORED_FIELDS if name in decided)
    fields["content_hash"] = decided["hash"]
    fields["duplicate_revision"] = decided.get("marks", 0)
    fields["corrections"] = decided.get("corrections", 0)
    if fields["id"] != article_id:
        raise ValueError(f"has the id of another article: {fields['id']!r}")
    return Article.from_dict(fields)


def categories_in(doc: bytes, plain: Plain) -> list[str]:
    """The category paths of a stored document; none if a hand made it unreadable."""
    try:
        paths = decode_stored(plain(doc))["categories"]
    except (ValueError, TypeError, KeyError):
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


# The first byte of a stored article; article.lua reads it.
_FORM = b"\1"


def stored_article(fields: Mapping[bytes, bytes]) -> bytes:
    """The form in which article.lua reads an article with these fields: doc, head, idx."""
    doc, head, idx = (fields.get(name, b"") for name in (b"doc", b"head", b"idx"))
    return _FORM + struct.pack(">II", len(head), len(idx)) + head + idx + doc
