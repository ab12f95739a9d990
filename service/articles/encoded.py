"""Encoding: a Draft as the bytes that storage appends. Pure.

Parser processes encode their articles, so that the event loop which appends them only passes bytes
on. Processes exchange plain values (`to_wire`), never code: parsers read hostile input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import orjson

from service.articles.article import LIVE, WITHDRAWN, Draft, Entry
from service.articles.categories import with_ancestors
from service.articles.hashes import full_hash
from service.articles.times import to_rfc3339

# `{"id":"` and the UUID of 36 characters, with which every doc begins.
_ID_AT, _ID_END = 7, 43


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedArticle:
    """A draft in the form that storage appends."""

    id: str
    form: str
    """A value of `Detail`; with `:` and a name of the document if it was polled. An article is
    compared with the last one of the same form."""
    content_hash: str
    dated_hash: str
    full_hash: str
    """See `full_hash`; empty if nothing but another content hash is a change."""
    doc: bytes
    """The result of `Draft.to_doc`."""
    published: str
    """RFC 3339; empty if the source has no date."""
    updated: str
    titles: tuple[tuple[str, str], ...]
    """(path, title) of its categories and all their ancestors."""
    position: int = 0
    """Its place in its document, from 0: articles without a date keep their order by it."""
    known: bytes = b""
    """What is remembered of its entry, a record of `sources.known_entries`; empty if nothing."""
    aliases: tuple[tuple[bytes, bytes], ...] = ()
    """(alias, fingerprint) pairs, see `aliases`; for articles that may have had another guid."""
    history: str = ""
    """JSON of revision, first_seen and status that another archive gave it; empty if none did. It
    is never on the wire: only an import of the operator may state a history."""

    def with_id(self, article_id: str) -> EncodedArticle:
        """A copy with another id, also in `doc`."""
        doc = self.doc[:_ID_AT] + article_id.encode() + self.doc[_ID_END:]
        return replace(self, id=article_id, doc=doc)

    def with_history(self, entry: Entry, *, now: datetime) -> EncodedArticle:
        """A copy with the history that the entry of an export states."""
        if not entry.first_seen and entry.status != WITHDRAWN:
            return self
        history = {
            "revision": entry.revision or 1,
            "first_seen": to_rfc3339(entry.first_seen or now),
            "status": entry.status or LIVE,
        }
        return replace(self, history=orjson.dumps(history).decode())

    def named(self) -> tuple[str, list[str]]:
        """(source URI, paths of the categories that it is in), read from `doc`."""
        doc = orjson.loads(self.doc)
        return doc["source"], doc["categories"]

    def with_categories(self, paths: Sequence[str]) -> EncodedArticle:
        """A copy in other categories, which are among its own and those above them.

        The content hash stays that of the categories that its publisher named: what is sent again
        without a change is unchanged.
        """
        doc = orjson.loads(self.doc)
        doc["categories"] = paths
        lineage = frozenset(with_ancestors(tuple(paths)))
        titles = tuple((path, title) for path, title in self.titles if path in lineage)
        return replace(self, doc=orjson.dumps(doc), titles=titles)

    def to_wire(self) -> tuple[Any, ...]:
        """The fields in a fixed order: strings, bytes, integers and tuples of them."""
        return tuple(getattr(self, name) for name in _ON_THE_WIRE)

    @classmethod
    def from_wire(cls, values: tuple[Any, ...]) -> EncodedArticle:
        """Rebuild the article from the result of `to_wire`."""
        return cls(**dict(zip(_ON_THE_WIRE, values, strict=True)))


_ON_THE_WIRE = tuple(each.name for each in fields(EncodedArticle) if each.name != "history")


def document_name(url: str) -> str:
    """A short name of the document at a URL, as it stands in the form of an article."""
    return hashlib.blake2b(url.encode(), digest_size=3).hexdigest()


def encode(
    draft: Draft, *, aliases: tuple[tuple[bytes, bytes], ...] = (), document: str = "",
    position: int = 0,
) -> EncodedArticle:  # fmt: skip
    """Encode a draft and the titles of its categories and their ancestors.

    Args:
        document: name of the document that it was polled from; empty if it was not.
        position: its place in the document, from 0.
    """
    titles = (pair for category in draft.categories for pair in category.lineage())
    doc = draft.to_doc()
    return EncodedArticle(
        id=draft.id,
        form=f"{draft.detail:d}:{document}" if document else f"{draft.detail:d}",
        content_hash=draft.content_hash,
        dated_hash=draft.dated_hash,
        full_hash=full_hash(doc),
        doc=doc,
        position=position,
        published=to_rfc3339(draft.published) if draft.published else "",
        updated=to_rfc3339(draft.updated) if draft.updated else "",
        titles=tuple(titles),
        aliases=aliases,
    )


def erased_doc(article_id: str, categories: Sequence[str]) -> bytes:
    """The JSON object that replaces an erased article's, as by `Draft.to_doc`: no text, but the
    categories, because receivers and feeds of these learn that it was withdrawn."""
    texts = dict.fromkeys(("source", "guid", "url", "title", "summary", "content_html"), "")
    more = dict.fromkeys(("language", "image", "attribution", "raw_published"), "")
    return orjson.dumps(
        {
            "id": article_id,
            **texts,
            "authors": [],
            "categories": list(categories),
            "tags": [],
            "enclosures": [],
            **more,
        }
    )
