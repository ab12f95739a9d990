"""Articles: what one is, how it is identified, and its wire form.

Three shapes, in the order in which an article passes through them:

    Entry     as parsed or as pushed by a client: nothing cleaned, nothing decided
    Draft     cleaned, identified, hashed (`service.articles.compose`): what storage appends
    Article   as stored: with revision, first_seen and status, which only storage can give

Rules. A Draft normalises each of its strings when it is created (`service.articles.text`), so no
Draft can contain a forbidden character. `id` is UUIDv5 of (source, guid) and never changes. A
changed title, text or category makes a new revision; a change of anything else is a correction: it
is stored and shown, and makes no revision. append.lua decides which of the two it is.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any

import orjson

from service.articles.categories import Category
from service.articles.field_types import check_types, moment_of
from service.articles.head import decode_head
from service.articles.json_text import decode_stored
from service.articles.podcast import Podcast, podcast_of
from service.articles.text import language_tag, normalized, without_forbidden
from service.articles.times import to_rfc3339

# Namespace of article ids. Changing it would change every id: never do.
NAMESPACE = uuid.UUID("72e9920a-fa45-4833-ab6b-30e1f227a0fe")
LIVE = "live"
WITHDRAWN = "withdrawn"


# Bounds on what one article may hold; the longest real ones seen are two orders below.
MAX_TITLE_CHARS = 500
MAX_SUMMARY_CHARS = 500
MAX_NAME_CHARS = 200
MAX_URL_CHARS = 12_000
"""A URL of 4,000 characters, percent-encoded. Most identifiers are URLs."""
MAX_LENGTH_BYTES = 2**53 - 1
"""The largest integer that every JSON parser represents exactly (RFC 8259 6)."""
_IDENTIFIERS = ("source", "guid")
_TEXTS: dict[str, int | None] = {
    "url": MAX_URL_CHARS,
    "title": MAX_TITLE_CHARS,
    "summary": MAX_SUMMARY_CHARS,
    "content_html": None,  # Cutting would break the markup; `compose` refuses what is too long.
    "image": MAX_URL_CHARS,
    "attribution": MAX_NAME_CHARS,
    "raw_published": MAX_NAME_CHARS,
}


class Detail(IntEnum):
    """How much of an article its document contains. Less detail never replaces more detail."""

    TEASER = 0
    """An entry of a list page: the text may be cut."""
    FEED = 1
    """An entry of a feed or of a site's JSON."""
    RECORD = 2
    """A push or an export: the whole article, as its publisher describes it."""
    PAGE = 3
    """The article's own page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosure:
    """A file that belongs to an article (RSS enclosure, Atom link rel=enclosure)."""

    url: str
    type: str = "application/octet-stream"
    """Media type."""
    length: int = 0
    """Size in bytes; 0 if not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An uncleaned article. Strings may hold anything; URLs may be relative to `base_url`."""

    source: str = ""
    """The source that a record names as its own; feeds and pages have none."""
    guid: str = ""
    """The publisher's identifier; empty if there is none."""
    url: str = ""
    title: str = ""
    """HTML, or plain text if it is a `text.Plain`; so are all other texts."""
    summary: str = ""
    content_html: str = ""
    authors: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    """Paths of titles or slugs, `Media Center/Coalition News`."""
    tags: tuple[str, ...] = ()
    language: str = ""
    """BCP 47 tag."""
    image: str = ""
    enclosures: tuple[Enclosure, ...] = ()
    attribution: str = ""
    """The source that the text names; if empty, `compose` reads a closing "(Source: …)"."""
    published: datetime | None = None
    raw_published: str = ""
    """The date as written in the document, readable or not."""
    updated: datetime | None = None
    accepted: datetime | None = None
    """The date that another archive gave it, because `published` is unknown or was in the future;
    only exports have it."""
    first_seen: datetime | None = None
    """When another archive saw it first; only exports have this and the two that follow."""
    revision: int = 0
    """The number of its revision there; 0 if it is not stated."""
    status: str = ""
    """LIVE or WITHDRAWN there; empty if it is not stated."""
    base_url: str = ""
    """What relative URLs in this entry are relative to."""
    text_base_url: str = ""
    """What those in its text are relative to; empty if that is `base_url`."""
    detail: Detail = Detail.FEED
    podcast: Podcast | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A cleaned and identified article that storage has not judged yet.

    Its strings are made valid for XML and JSON when it is created: in NFC, and cut to their bounds.
    Source and guid keep their Unicode form, because they are compared by it.
    """

    id: str = field(init=False)
    source: str
    """URI of the feed or site that published it."""
    guid: str
    url: str
    title: str
    summary: str
    """Plain text."""
    content_html: str
    """Sanitised, with absolute URLs."""
    authors: tuple[str, ...]
    categories: tuple[Category, ...]
    tags: tuple[str, ...]
    language: str
    image: str
    enclosures: tuple[Enclosure, ...]
    attribution: str
    published: datetime | None
    """The date of the source, not clamped; None if there is no readable one. Of an export, the
    date that its archive showed."""
    raw_published: str
    updated: datetime | None
    """The date of the source; None if there is no readable one."""
    content_hash: str
    dated_hash: str = ""
    """What versions until November 2026 had as its content hash; see `dated_hash`."""
    detail: Detail
    podcast: Podcast | None = None

    def __post_init__(self) -> None:
        """Normalise every string, then derive the id."""
        put = partial(object.__setattr__, self)
        for name in _IDENTIFIERS:
            put(name, _identifier(getattr(self, name)))
        for name, max_chars in _TEXTS.items():
            put(name, normalized(getattr(self, name))[:max_chars])
        for name in ("authors", "tags"):
            put(name, tuple(normalized(text)[:MAX_NAME_CHARS] for text in getattr(self, name)))
        put("language", language_tag(self.language))
        put("enclosures", tuple(map(_sanitized, self.enclosures)))
        put("podcast", self.podcast.normalized() if self.podcast else None)
        put("id", article_id(self.source, self.guid))

    def to_doc(self) -> bytes:
        """The JSON object of an article without the STORED_FIELDS, which storage appends to it."""
        return orjson.dumps(
            {
                "id": self.id,
                "source": self.source,
                "guid": self.guid,
                "url": self.url,
                "title": self.title,
                "summary": self.summary,
                "content_html": self.content_html,
                "authors": self.authors,
                "categories": [category.path for category in self.categories],
                "tags": self.tags,
                "language": self.language,
                "image": self.image,
                "enclosures": self.enclosures,
                "attribution": self.attribution,
                "raw_published": self.raw_published,
                **({"podcast": self.podcast} if self.podcast else {}),
            }
        )


def draft_id(source: str, guid: str) -> str:
    """The id that a draft of this source and guid has, as `compose` cleans them."""
    return article_id(_identifier(source), _identifier(without_forbidden(guid).strip()))


def _identifier(text: str) -> str:
    """Hash an identifier that is too long: two cut ones could be equal."""
    text = without_forbidden(text)
    if len(text) <= MAX_URL_CHARS:
        return text
    return "urn:sha256:" + hashlib.sha256(text.encode()).hexdigest()[:40]


def _sanitized(enclosure: Enclosure) -> Enclosure:
    return Enclosure(
        url=normalized(enclosure.url)[:MAX_URL_CHARS],
        type=normalized(enclosure.type)[:MAX_NAME_CHARS],
        length=min(max(0, enclosure.length), MAX_LENGTH_BYTES),
    )


# What storage decides: the last fields of an article's JSON, written by event.lua in this order.
STORED_FIELDS = (
    "published", "updated", "first_seen", "revision", "content_hash", "status",
    "duplicate_of", "hidden_in", "duplicate_revision", "corrections", "erased",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """An article as stored; its JSON is the `data` of events and of /articles/{id}.json."""

    id: str
    source: str
    guid: str
    url: str
    title: str
    summary: str
    content_html: str
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    """Category paths."""
    tags: tuple[str, ...]
    language: str
    image: str
    enclosures: tuple[Enclosure, ...]
    attribution: str
    raw_published: str
    podcast: Podcast | None = None
    published: datetime
    """Never later than first_seen."""
    updated: datetime
    """Last change: the date of the source if it is a new one, else when the change was seen."""
    first_seen: datetime
    revision: int
    """1 at first, one more at each change."""
    content_hash: str
    status: str
    """LIVE or WITHDRAWN."""
    duplicate_of: str = ""
    """Id of the article that another source published first; empty if it is not a duplicate."""
    hidden_in: tuple[str, ...] = ()
    """Category paths (and `all`) that show the original instead."""
    duplicate_revision: int = 0
    """How often these two fields changed; such a change makes no revision."""
    corrections: int = 0
    """How often anything else changed without a new revision."""
    erased: bool = False
    """Whether the article was withdrawn and its text erased: only the id, the categories and the
    STORED_FIELDS have values then."""

    @classmethod
    def from_json(cls, data: bytes) -> Article:
        """Decode the wire form; fields that this version does not know are ignored.

        Raises:
            ValueError: it is not JSON, or not an article.
        """
        return cls.from_dict(decode_stored(data))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Article:
        """Build the article from the decoded wire form.

        Raises:
            ValueError: a field is missing, or its type is not that of an article's field.
        """
        try:
            check_types(fields)
            return cls._from_checked(fields)
        except (KeyError, TypeError) as exc:
            raise ValueError(f"not an article: {exc!r}") from exc

    @classmethod
    def _from_checked(cls, fields: dict[str, Any]) -> Article:
        return cls(
            id=fields["id"],
            source=fields["source"],
            guid=fields["guid"],
            url=fields["url"],
            title=_title(fields),
            summary=fields["summary"],
            content_html=fields["content_html"],
            authors=tuple(fields["authors"]),
            categories=tuple(fields["categories"]),
            tags=tuple(fields["tags"]),
            # Older versions stored language tags that were not checked.
            language=language_tag(fields["language"]),
            image=fields["image"],
            enclosures=tuple(Enclosure(**enclosure) for enclosure in fields["enclosures"]),
            attribution=fields["attribution"],
            raw_published=fields["raw_published"],
            podcast=podcast_of(fields.get("podcast")),
            published=moment_of(fields["published"]),
            updated=moment_of(fields["updated"]),
            first_seen=moment_of(fields["first_seen"]),
            revision=fields["revision"],
            content_hash=fields["content_hash"],
            status=fields["status"],
            duplicate_of=fields.get("duplicate_of", ""),
            hidden_in=tuple(fields.get("hidden_in", ())),
            # Named `marks` in storage, and on the stream until November 2026.
            duplicate_revision=fields.get("duplicate_revision", fields.get("marks", 0)),
            corrections=fields.get("corrections", 0),
            erased=fields.get("erased", False),
        )

    def to_json(self) -> bytes:
        """The wire form: `from_json(a.to_json()) == a`."""
        data = orjson.dumps(self, default=_wire, option=orjson.OPT_PASSTHROUGH_DATETIME)
        data = data if self.podcast else data.replace(_NO_PODCAST, b"", 1)
        return data[: data.rindex(b',"duplicate_of":')] + self._later_fields() + b"}"

    def _later_fields(self) -> bytes:
        """The JSON of the fields that an article has, as in events, only if they say something."""
        names = ["duplicate_of", "hidden_in", "duplicate_revision"] * bool(self.duplicate_revision)
        names += [name for name in ("corrections", "erased") if getattr(self, name)]
        fields = {name: getattr(self, name) for name in names}
        return b"," + orjson.dumps(fields)[1:-1] if fields else b""

    @property
    def version(self) -> tuple[int, int]:
        """The revision, and how often anything else changed: greater for each later state."""
        return self.revision, self.duplicate_revision + self.corrections

    def is_of(self, head: bytes) -> bool:
        """Whether a stored head describes this revision with this content.

        If Redis loses the end of its file, a revision can come again with another content.
        """
        try:
            decided = decode_head(head)
        except ValueError:
            return False
        names = ("revision", "hash", "published", "updated", "first_seen", "status")
        dates = map(to_rfc3339, (self.published, self.updated, self.first_seen))
        counts = decided.get("marks", 0), decided.get("corrections", 0)
        return (*map(decided.get, names), *counts) == (
            self.revision, self.content_hash, *dates, self.status, self.duplicate_revision,
            self.corrections,
        )  # fmt: skip


_NO_PODCAST = b'"podcast":null,'


def _title(fields: dict[str, Any]) -> str:
    """Atom requires a title, and Draft ensures it; only an erased article has none."""
    title: str = fields["title"]
    if title or fields.get("erased"):
        return title
    return fields["summary"][:MAX_TITLE_CHARS] or str(fields["id"])


def _wire(value: object) -> str:
    if isinstance(value, datetime):
        return to_rfc3339(value)
    raise TypeError(f"no wire form for {type(value).__name__}")


@lru_cache(maxsize=256)
def article_id(source: str, guid: str) -> str:
    """UUIDv5 of (source, guid); the NUL between them keeps ("a", "bc") from being ("ab", "c")."""
    # `uuid.uuid5`, three times as fast: each entry of each poll needs it.
    name = NAMESPACE.bytes + f"{source}\0{guid}".encode()
    digest = bytearray(hashlib.sha1(name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
