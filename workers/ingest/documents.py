"""Reading: bytes in, packed articles out: parse → place → identify → compose → pack. Pure.

The whole of what is done with a document between fetching and appending it. Reader processes run it
(reader.py); so does `dateline import`, in a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from service.articles.aliases import aliases_of, canonical, is_poor
from service.articles.article import Draft, Entry
from service.articles.category_mapping import placed
from service.articles.compose import compose
from service.articles.encoded import EncodedArticle, encode
from service.errors import InvalidInput, ParseFailed
from service.sources.outcome import Hints
from workers.ingest.identify import identify, link_title_date, shared_in
from workers.ingest.parse import Document, FeedLink, parse

# What the loop of a worker unpacks and appends at a time.
BATCH = 100
BATCH_BYTES = 262_144
MAX_SHOWN_REJECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """A document to read."""

    url: str
    """Where it came from after redirects; empty for a file."""
    content_type: str = ""
    zone: str = "UTC"
    """IANA name; of times that name none."""
    added_url: str = ""
    """Of its source; makes the identity of its articles."""
    source_url: str = ""
    """Of its source now; it speaks for this host, too."""
    category: str = ""
    """With `mapping`, see `mapping.placed`."""
    mapping: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    """Kinds of documents that cannot be what was meant: a login page in place of a feed."""

    def to_wire(self) -> bytes:
        """JSON."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> ParseJob:
        """The inverse."""
        fields = orjson.loads(data)
        return cls(**{**fields, "refused": tuple(fields["refused"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseReport:
    """What a document turned out to be."""

    kind: str = ""
    title: str = ""
    is_whole: bool = True
    hints: Hints = field(default_factory=Hints)
    alternates: tuple[FeedLink, ...] = ()
    rejected: int = 0
    """Entries that are no articles, as far as parsing could tell."""
    error: str = ""
    """Why nothing can be made of it; empty if something can."""

    def to_wire(self) -> bytes:
        """JSON."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> ParseReport:
        """The inverse."""
        fields: dict[str, Any] = orjson.loads(data)
        hints = fields["hints"]
        days = {name: tuple(hints[name]) for name in ("skip_hours", "skip_days")}
        fields["hints"] = Hints(**{**hints, **days})
        fields["alternates"] = tuple(FeedLink(**link) for link in fields["alternates"])
        return cls(**fields)


def read_document(
    job: ParseJob, body: bytes
) -> Iterator[ParseReport | list[EncodedArticle] | list[str]]:
    """A Report; then, unless it has an error, batches of articles, and last the reasons of rejects
    (the first MAX_SHOWN_REJECTS, each a line)."""
    try:
        document = parse(body, url=job.url, content_type=job.content_type, zone=ZoneInfo(job.zone))
    except ParseFailed as exc:
        yield ParseReport(error=str(exc))
        return
    yield _report(document, job)
    if _refusal(document, job):
        return
    reasons = [f"{reject.where}: {reject.reason}" for reject in document.rejects]
    batch: list[EncodedArticle] = []
    size = 0
    for found in packed_all(document, job):
        if isinstance(found, InvalidInput):
            reasons.append(str(found))
            continue
        batch.append(found)
        size += len(found.doc)
        if len(batch) == BATCH or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
    yield reasons


def _report(document: Document, job: ParseJob) -> ParseReport:
    return ParseReport(
        kind=document.kind,
        title=document.title[:200],
        is_whole=document.is_whole,
        hints=document.hints,
        alternates=document.alternates,
        rejected=len(document.rejects),
        error=_refusal(document, job),
    )


def _refusal(document: Document, job: ParseJob) -> str:
    if document.feeds:
        return "a list of feeds (OPML), which `dateline import` adds as sources"
    if document.kind in job.refused or (not document.entries and document.alternates):
        return "a page that is neither a feed nor an article"
    return ""


def packed_all(document: Document, job: ParseJob) -> Iterator[EncodedArticle | InvalidInput]:
    """Each article of a document, or why an entry is none."""
    packed = packer(document)
    for entry, found in drafts_of(document, job, name=job.added_url):
        yield found if isinstance(found, InvalidInput) else packed(entry, found)


def packer(document: Document) -> Callable[[Entry, Draft], EncodedArticle]:
    """What packs the drafts of a document's entries."""
    links = Counter(canonical(entry.url) for entry in document.entries)
    exact = Counter(map(_exact, document.entries))

    def packed(entry: Entry, draft: Draft) -> EncodedArticle:
        words = _exact(entry)
        # A link to the site's front page in every item says nothing of any.
        is_own_link = entry.url != document.url and links[canonical(entry.url)] == 1
        aliases = aliases_of(
            draft, is_own_link=is_own_link, exact=words if exact[words] == 1 else ""
        )
        return encode(draft, aliases=aliases)

    return packed


def _exact(entry: Entry) -> str:
    """What a poor guid needs to identify an entry; nothing for a better one."""
    return f"{entry.guid}\0{link_title_date(entry)}" if is_poor(entry.guid) else ""


def drafts_of(
    document: Document, job: ParseJob, *, name: str
) -> Iterator[tuple[Entry, Draft | InvalidInput]]:
    """Each entry with its draft, or why it is none.

    Args:
        name: of the file or URL, for pages without a link.
    """
    shared = shared_in(document)
    # Where the document was asked for decides for whom it may speak, not what it calls itself.
    document = replace(document, url=job.added_url or document.url)
    for entry in document.entries:
        source, guid = identify(document, entry, name=name, also=job.source_url, shared=shared)
        try:
            draft = compose(_placed(entry, job.category, job.mapping), source=source, guid=guid)
        except InvalidInput as exc:
            yield entry, exc
        else:
            yield entry, draft


def _placed(entry: Entry, category: str, mapping: Mapping[str, str]) -> Entry:
    if not category and not mapping:
        return entry
    names = placed(entry.categories, category=category, mapping=mapping)
    return replace(entry, categories=names)
