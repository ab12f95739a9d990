"""Packing: a Draft as the bytes that storage appends, made where the CPU is to spare. Pure.

Reader processes pack what they read, so that the loop which appends it only hands bytes on. The
form between processes is plain values (`to_wire`), never code: readers meet hostile input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.articles.article import Draft
from service.articles.times import to_rfc3339

# `{"id":"` and the UUID of 36 characters, with which every doc begins.
_ID_AT, _ID_END = 7, 43


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A draft that is ready to be appended."""

    id: str
    form: int
    """Of `Form`."""
    content_hash: str
    doc: bytes
    """`Draft.to_doc`."""
    published: str
    """RFC 3339; empty if the source does not say."""
    updated: str
    titles: tuple[tuple[str, str], ...]
    """(path, title) of its categories and all above them."""
    kin: tuple[tuple[bytes, bytes], ...] = ()
    """(alias, likeness), see `aliases`; for articles that may be known by another guid."""

    def with_id(self, article_id: str) -> Packed:
        """The same article under another id."""
        doc = self.doc[:_ID_AT] + article_id.encode() + self.doc[_ID_END:]
        return Packed(
            id=article_id,
            form=self.form,
            content_hash=self.content_hash,
            doc=doc,
            published=self.published,
            updated=self.updated,
            titles=self.titles,
            kin=self.kin,
        )

    def to_wire(self) -> tuple[Any, ...]:
        """Strings, bytes, integers and tuples of them."""
        return (
            self.id, self.form, self.content_hash, self.doc, self.published, self.updated,
            self.titles, self.kin,
        )  # fmt: skip

    @classmethod
    def from_wire(cls, values: tuple[Any, ...]) -> Packed:
        """The inverse of `to_wire`."""
        article_id, form, content_hash, doc, published, updated, titles, kin = values
        return cls(
            id=article_id,
            form=form,
            content_hash=content_hash,
            doc=doc,
            published=published,
            updated=updated,
            titles=titles,
            kin=kin,
        )


def pack(draft: Draft, *, kin: tuple[tuple[bytes, bytes], ...] = ()) -> Packed:
    """The bytes of a draft."""
    titles = (pair for category in draft.categories for pair in category.lineage())
    return Packed(
        id=draft.id,
        form=int(draft.form),
        content_hash=draft.content_hash,
        doc=draft.to_doc(),
        published=to_rfc3339(draft.published) if draft.published else "",
        updated=to_rfc3339(draft.updated) if draft.updated else "",
        titles=tuple(titles),
        kin=kin,
    )
