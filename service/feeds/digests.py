"""Digests of a feed's entries: which of them are new or changed since a version of it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from service.articles.article import Article

# The longest page, in articles, for which differences are computed.
MAX_COMPARED = 1_000
_DIGEST_BYTES = 8


def digest_of(article: Article) -> bytes:
    """Hash all that an entry shows.

    The revision alone is not enough: if Redis loses the end of its file, it can come again with
    another content.
    """
    shown = (
        article.id, article.revision, article.content_hash, article.published, article.updated,
        article.url, article.authors, article.tags, article.language, article.image,
        article.enclosures, article.attribution,
    )  # fmt: skip
    if article.corrections:
        # Not of others: digests that are stored since before there were corrections stay valid.
        shown += (article.corrections,)  # type: ignore[assignment]
    return hashlib.blake2b(orjson.dumps(shown), digest_size=_DIGEST_BYTES).digest()


def digests_of(articles: Sequence[Article]) -> bytes:
    """The digests of these articles, joined; empty if they are more than MAX_COMPARED."""
    return b"".join(map(digest_of, articles)) if len(articles) <= MAX_COMPARED else b""


def split_digests(digests: bytes) -> set[bytes]:
    """The single digests in joined ones."""
    return {digests[i : i + _DIGEST_BYTES] for i in range(0, len(digests), _DIGEST_BYTES)}
