"""Documents: bytes in, encoded articles out: parse → identify → map categories → compose → encode.

Pure. Everything that is done with a document between fetching and appending it. Parser processes
run it (parser_process.py); so does `dateline import`, in a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from service.articles.aliases import aliases_of, canonical, is_poor
from service.articles.article import Draft, Entry
from service.articles.category_mapping import placed
from service.articles.compose import compose
from service.articles.encoded import EncodedArticle, encode
from service.articles.input import refuse_withdrawn
from service.errors import InvalidInput, ParseFailed
from service.sources.outcome import Hints
from workers.ingest.identify import identify, link_title_date, shared_in
from workers.ingest.parse import Document, FeedLink, parse

# What the loop of a worker decodes and appends at a time.
BATCH = 100
BATCH_BYTES = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """How to parse one document; its body is sent apart."""

    url: str
    """Where it came from after redirects; empty for a file."""
    content_type: str = ""
    zone: str = "UTC"
    """IANA name, for times that do not name their zone."""
    added_url: str = ""
    """The URL that its source was added with; part of the identity of its articles."""
    source_url: str = ""
    """The URL of its source now; the document speaks for this host, too."""
    categories: tuple[str, ...] = ()
    """With `mapping`, see `category_mapping.placed`."""
    mapping: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    """Kinds of documents that cannot be what was meant: a login page in place of a feed."""

    def to_wire(self) -> bytes:
        """Encode it as JSON for the pipe to or from a parser process."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> ParseJob:
        """Decode what `to_wire` returned."""
        fields = orjson.loads(data)
        lists = {name: tuple(fields[name]) for name in ("refused", "categories")}
        return cls(**{**fields, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseReport:
    """What a document is; everything that a parser finds except its articles."""

    kind: str = ""
    title: str = ""
    is_whole: bool = True
    hints: Hints = field(default_factory=Hints)
    alternates: tuple[FeedLink, ...] = ()
    rejected: int = 0
    """Number of feed entries that parsing rejected; composing may reject more."""
    error: str = ""
    """Why the document cannot be used; empty if it can."""

    def to_wire(self) -> bytes:
        """Encode it as JSON for the pipe to or from a parser process."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> ParseReport:
        """Decode what `to_wire` returned."""
        fields: dict[str, Any] = orjson.loads(data)
        hints = fields["hints"]
        days = {name: tuple(hints[name]) for name in ("skip_hours", "skip_days")}
        fields["hints"] = Hints(**{**hints, **days})
        fields["alternates"] = tuple(FeedLink(**link) for link in fields["alternates"])
        return cls(**fields)


def read_document(
    job: ParseJob, body: bytes
) -> Iterator[ParseReport | list[EncodedArticle] | list[str]]:
    """A ParseReport; then, unless it has an error, batches of articles, and last the reasons of
    all rejects, a line each."""
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
    for article in encoded_articles(document, job):
        if isinstance(article, InvalidInput):
            reasons.append(str(article))
            continue
        batch.append(article)
        size += len(article.doc)
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


def encoded_articles(document: Document, job: ParseJob) -> Iterator[EncodedArticle | InvalidInput]:
    """Each entry of a document as an article, or why it cannot be one, in their order."""
    encoded = encoder(document)
    for entry, draft in drafts_of(document, job, name=job.added_url):
        try:
            refuse_withdrawn(entry)
        except InvalidInput as exc:
            yield exc
        else:
            yield draft if isinstance(draft, InvalidInput) else encoded(entry, draft)


def encoder(document: Document) -> Callable[[Entry, Draft], EncodedArticle]:
    """A function that encodes the draft of an entry, with the aliases that are the entry's alone in
    this document."""
    links = Counter(canonical(entry.url) for entry in document.entries)
    exact = Counter(map(_exact, document.entries))

    def encoded(entry: Entry, draft: Draft) -> EncodedArticle:
        words = _exact(entry)
        # A link to the site's front page in every item identifies none of them.
        is_own_link = entry.url != document.url and links[canonical(entry.url)] == 1
        aliases = aliases_of(
            draft, is_own_link=is_own_link, exact=words if exact[words] == 1 else ""
        )
        return encode(draft, aliases=aliases)

    return encoded


def _exact(entry: Entry) -> str:
    """The guid, link, title and date of an entry with a poor guid; empty for a better guid."""
    return f"{entry.guid}\0{link_title_date(entry)}" if is_poor(entry.guid) else ""


def drafts_of(
    document: Document, job: ParseJob, *, name: str
) -> Iterator[tuple[Entry, Draft | InvalidInput]]:
    """Each entry with its draft, or why it cannot be an article.

    Args:
        name: name of the file or URL; it identifies pages without a link.
    """
    shared = shared_in(document)
    # The URL that was requested decides for which host the document may speak, not the URL that
    # it names itself.
    document = replace(document, url=job.added_url or document.url)
    for entry in document.entries:
        source, guid = identify(document, entry, name=name, also=job.source_url, shared=shared)
        try:
            draft = compose(_placed(entry, job.categories, job.mapping), source=source, guid=guid)
        except InvalidInput as exc:
            yield entry, exc
        else:
            yield entry, draft


def _placed(entry: Entry, categories: Sequence[str], mapping: Mapping[str, str]) -> Entry:
    if not categories and not mapping:
        return entry
    names = placed(entry.categories, categories=categories, mapping=mapping)
    return replace(entry, categories=names)
