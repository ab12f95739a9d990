"""Encoding: a Draft as the bytes that storage appends. Pure.

Parser processes encode their articles, so that the event loop which appends them only passes bytes
on. Processes exchange plain values (`to_wire`), never code: parsers read hostile input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from service.articles.article import LIVE, WITHDRAWN, Draft, Entry
from service.articles.categories import with_ancestors
from service.articles.times import to_rfc3339

# `{"id":"` and the UUID of 36 characters, with which every doc begins.
_ID_AT, _ID_END = 7, 43


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedArticle:
    """A draft in the form that storage appends."""

    id: str
    detail: int
    """A value of `Detail`."""
    content_hash: str
    doc: bytes
    """The result of `Draft.to_doc`."""
    published: str
    """RFC 3339; empty if the source has no date."""
    updated: str
    titles: tuple[tuple[str, str], ...]
    """(path, title) of its categories and all their ancestors."""
    aliases: tuple[tuple[bytes, bytes], ...] = ()
    """(alias, fingerprint) pairs, see `aliases`; for articles that may have had another guid."""
    history: str = ""
    """JSON of revision, first_seen and status that another archive gave it; empty if none did. It
    is never on the wire: only an import of the operator may state a history."""

    def with_id(self, article_id: str) -> EncodedArticle:
        """A copy with another id, also in `doc`."""
        doc = self.doc[:_ID_AT] + article_id.encode() + self.doc[_ID_END:]
        return EncodedArticle(
            id=article_id,
            detail=self.detail,
            content_hash=self.content_hash,
            doc=doc,
            published=self.published,
            updated=self.updated,
            titles=self.titles,
            aliases=self.aliases,
            history=self.history,
        )

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
        fields = orjson.loads(self.doc)
        return fields["source"], fields["categories"]

    def with_categories(self, paths: Sequence[str]) -> EncodedArticle:
        """A copy in other categories, which are among its own and those above them.

        The content hash stays that of the categories that its publisher named: what is sent again
        without a change is unchanged.
        """
        fields = orjson.loads(self.doc)
        fields["categories"] = paths
        lineage = frozenset(with_ancestors(tuple(paths)))
        titles = tuple((path, title) for path, title in self.titles if path in lineage)
        return replace(self, doc=orjson.dumps(fields), titles=titles)

    def to_wire(self) -> tuple[Any, ...]:
        """The fields in a fixed order: strings, bytes, integers and tuples of them."""
        return (
            self.id, self.detail, self.content_hash, self.doc, self.published, self.updated,
            self.titles, self.aliases,
        )  # fmt: skip

    @classmethod
    def from_wire(cls, values: tuple[Any, ...]) -> EncodedArticle:
        """Rebuild the article from the result of `to_wire`."""
        article_id, detail, content_hash, doc, published, updated, titles, aliases = values
        return cls(
            id=article_id,
            detail=detail,
            content_hash=content_hash,
            doc=doc,
            published=published,
            updated=updated,
            titles=titles,
            aliases=aliases,
        )


def encode(draft: Draft, *, aliases: tuple[tuple[bytes, bytes], ...] = ()) -> EncodedArticle:
    """Encode a draft and the titles of its categories and their ancestors."""
    titles = (pair for category in draft.categories for pair in category.lineage())
    return EncodedArticle(
        id=draft.id,
        detail=int(draft.detail),
        content_hash=draft.content_hash,
        doc=draft.to_doc(),
        published=to_rfc3339(draft.published) if draft.published else "",
        updated=to_rfc3339(draft.updated) if draft.updated else "",
        titles=tuple(titles),
        aliases=aliases,
    )
