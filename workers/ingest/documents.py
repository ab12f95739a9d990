"""Documents: bytes in, encoded articles out: parse → identify → rules → map categories → compose →
encode.

Pure. Everything that is done with a document between fetching and appending it. Parser processes
run it (parser_process.py); so does `dateline import`, in a thread.
"""

from __future__ import annotations

import base64
import importlib.metadata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from zoneinfo import ZoneInfo

import orjson

from service.articles import urls
from service.articles.aliases import aliases_of, canonical, is_poor
from service.articles.article import Draft, Entry, draft_id
from service.articles.category_mapping import placed
from service.articles.compose import compose, contents_of, with_page_text, with_summary_alone
from service.articles.encoded import EncodedArticle, document_name, encode
from service.articles.input import refuse_withdrawn
from service.articles.teasers import cuts_its_texts, is_cut, is_short
from service.errors import InvalidInput, ParseFailed
from service.sources.known_entries import known_entries
from service.sources.rules import Rule, read_rules
from service.sources.source import ALWAYS, AUTO
from workers.ingest.apply_rules import RuledEntry, apply_rules
from workers.ingest.identify import identify, link_title_date, shared_in
from workers.ingest.parse import FEED_KINDS, LIST_KINDS, Document, parse
from workers.ingest.parse.html.page_text import page_text
from workers.ingest.parse_report import LeftOut, ParseReport
from workers.ingest.remaining_entries import RemainingEntries, all_entries, remaining_entries

_version = cache(partial(importlib.metadata.version, "dateline"))
# What the loop of a worker decodes and appends at a time.
BATCH = 100
BATCH_BYTES = 262_144
# What is sanitised before it is composed.
PART = 16
PART_CHARS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob:
    """How to parse one document; its body is sent separately."""

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
    """The categories of its source; for these and `mapping` see `category_mapping.placed`."""
    mapping: dict[str, str] = field(default_factory=dict)
    summary_only: bool = False
    """See `Source.summary_only`."""
    full_text: str = ""
    """See `Source.full_text`."""
    pages: dict[str, tuple[str, str]] | None = None
    """Id of an article → URL and text of its page. Only these articles are wanted then, each with
    the text of its page if that is longer than the feed's."""
    page_selector: str | None = None
    """If this is not None, the body is the page of an article, of which only the text is wanted:
    what this selects, or if it is empty what an extractor finds."""
    refused: tuple[str, ...] = ()
    """Kinds of documents that cannot be what was meant: a login page in place of a feed."""
    select: dict[str, str] = field(default_factory=dict)
    """Selectors that name the articles of the document; see `Source.select`."""
    rules: list[dict[str, str]] = field(default_factory=list)
    """What becomes of its articles; see `Source.rules`."""
    prefers_feed: bool = False
    """Whether a page that lists articles is refused if it names a feed, which has more of them."""
    known: str | None = None
    """What is remembered of the entries of its last version (`sources.known_entries`), in base64:
    those that come again are passed over. None if nothing is to be remembered of this one."""
    preview: int = 0
    """Most items to show of a document that is only looked at; 0 for one that is appended."""
    is_guess: bool = False
    """Whether a preview proposes selectors."""

    def settings(self) -> bytes:
        """All that decides what becomes of an entry, besides its document."""
        job = replace(self, known=None, refused=(), prefers_feed=False)
        # Another version may compose another article of the same entry.
        return _version().encode() + orjson.dumps(job)

    def to_wire(self) -> bytes:
        """Encode it as JSON for the pipe to or from a parser process."""
        return orjson.dumps(self)

    @classmethod
    def from_wire(cls, data: bytes) -> ParseJob:
        """Decode what `to_wire` returned."""
        fields = orjson.loads(data)
        lists = {name: tuple(fields[name]) for name in ("refused", "categories")}
        return cls(**{**fields, **lists})


def read_document(
    job: ParseJob, body: bytes
) -> Iterator[ParseReport | list[EncodedArticle] | LeftOut]:
    """A ParseReport; then, unless it has an error, batches of articles, and last what was left
    out."""
    if job.page_selector is not None:
        yield _page_report(job, body)
        return
    try:
        remaining = _remaining(job, body)
    except ParseFailed as exc:
        yield ParseReport(error=str(exc))
        return
    document = remaining.document
    identities = identities_in(document, job, name=job.added_url)
    ids = tuple(draft_id(source, guid) for source, guid in identities if guid)
    teasers = _teasers(document, job, identities)
    report = report_of(document, job)
    yield replace(report, ids=ids, teasers=teasers, passed_over=remaining.passed_over)
    if _refusal(document, job):
        return
    if teasers:
        # Whether texts are cut is judged by all of them, and those pages are asked for again.
        remaining = replace(remaining, records=[b""] * len(document.entries))
    rejects = [f"{reject.where}: {reject.reason}" for reject in document.rejects]
    dropped: list[str] = []
    batch: list[EncodedArticle] = []
    size = 0
    for article in encoded_articles(remaining, job, identities):
        if isinstance(article, InvalidInput):
            rejects.append(str(article))
            continue
        if isinstance(article, str):
            dropped.append(article)
            continue
        batch.append(article)
        size += len(article.doc)
        if len(batch) == BATCH or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
    yield LeftOut(rejects=tuple(rejects), dropped=tuple(dropped))


def _remaining(job: ParseJob, body: bytes) -> RemainingEntries:
    """The entries to look at. Raises ParseFailed."""
    if job.known is None or job.select or job.full_text == ALWAYS:
        return all_entries(parsed(job, body))
    return remaining_entries(
        body,
        known=known_entries(base64.b64decode(job.known)),
        settings=job.settings(),
        content_type=job.content_type,
        parse=lambda part, balance: parsed(job, part, balance=balance),
        may_stand_alone=lambda document: not (job.full_text and any(map(is_cut, document.entries))),
    )


def _page_report(job: ParseJob, body: bytes) -> ParseReport:
    try:
        text = page_text(
            body, url=job.url, content_type=job.content_type, selector=job.page_selector or ""
        )
    except ParseFailed as exc:
        return ParseReport(error=str(exc))
    return ParseReport(kind="page", page_text=text)


def parsed(job: ParseJob, body: bytes, *, balance: int = 0) -> Document:
    """The document of a job. Raises ParseFailed.

    Args:
        balance: see `with_decided_titles`.
    """
    return parse(
        body,
        url=job.url,
        content_type=job.content_type,
        zone=ZoneInfo(job.zone),
        select=job.select,
        balance=balance,
    )


def report_of(document: Document, job: ParseJob) -> ParseReport:
    """What a parsed document is, and why it cannot be used."""
    return ParseReport(
        kind=document.kind,
        title=document.title[:200],
        is_whole=document.is_whole,
        hints=document.hints,
        alternates=document.alternates,
        error=_refusal(document, job),
        next_url=document.next_url,
    )


def _teasers(
    document: Document, job: ParseJob, identities: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """Ids of the articles whose pages are wanted: of those with a link and a text that is cut."""
    entries = document.entries
    if not job.full_text or (document.kind not in FEED_KINDS and not job.select):
        return ()
    if job.full_text == AUTO and not cuts_its_texts(entries):
        return ()
    # A page that several entries link to is that of none of them.
    links = Counter(entry.url.partition("#")[0] for entry in entries)
    return tuple(
        draft_id(source, guid)
        for entry, (source, guid) in zip(entries, identities, strict=True)
        if guid and entry.url and links[entry.url.partition("#")[0]] == 1
        if is_cut(entry) or (job.full_text == ALWAYS and is_short(entry))
        # A link such as `mailto:` leads to no page.
        if urls.url(entry.url, base_url=entry.base_url)
    )


def _refusal(document: Document, job: ParseJob) -> str:
    if document.feeds:
        return "a list of feeds (OPML), which `dateline import` adds as sources"
    if document.kind in job.refused or (not document.entries and document.alternates):
        return "a page that is neither a feed nor an article"
    if job.prefers_feed and document.kind in LIST_KINDS and document.alternates:
        return "a page that names a feed"
    return ""


def encoded_articles(
    remaining: RemainingEntries, job: ParseJob, identities: Sequence[tuple[str, str]]
) -> Iterator[EncodedArticle | InvalidInput | str]:
    """Each entry of a document as an article, or why it cannot be one, or its id (see
    `LeftOut.dropped`) if a rule drops it, in their order; with `ParseJob.pages` of these articles
    alone."""
    document = remaining.document
    wanted = [
        at for at, identity in enumerate(identities) if job.pages is None or _page_of(job, identity)
    ]
    entries = [document.entries[at] for at in wanted]
    encoded = encoder(document, polled_from=job.added_url, positions=remaining.positions)
    drafts = ruled_drafts_of(entries, job, [identities[at] for at in wanted])
    for at, (entry, _, draft) in zip(wanted, drafts, strict=True):
        if draft is None:
            source, guid = identities[at]
            yield draft_id(source, guid) if guid else ""
            continue
        try:
            refuse_withdrawn(entry)
        except InvalidInput as exc:
            yield exc
            continue
        if isinstance(draft, InvalidInput):
            yield draft
            continue
        article, known = encoded(entry, draft), remaining.records[at]
        yield replace(article, known=known) if known else article


def encoder(
    document: Document, *, polled_from: str = "", positions: Sequence[int] | None = None
) -> Callable[[Entry, Draft], EncodedArticle]:
    """A function that encodes the draft of an entry, with its place in this document and the
    aliases that are its alone there.

    Args:
        positions: the places of its entries, if it is a part of a document.
    """
    links = Counter(canonical(entry.url) for entry in document.entries)
    titles = Counter((entry.title, entry.published) for entry in document.entries)
    exact_of = {id(entry): _exact(entry) for entry in document.entries}
    exact = Counter(exact_of.values())
    places = range(len(document.entries)) if positions is None else positions
    place_of = {id(entry): place for entry, place in zip(document.entries, places, strict=True)}
    name = document_name(polled_from) if polled_from else ""

    def encoded(entry: Entry, draft: Draft) -> EncodedArticle:
        words = exact_of[id(entry)]
        # A link to the site's front page in every item identifies none of them.
        is_own_link = entry.url != document.url and links[canonical(entry.url)] == 1
        aliases = aliases_of(
            draft,
            is_own_link=is_own_link,
            is_own_title=titles[entry.title, entry.published] == 1,
            exact=words if exact[words] == 1 else "",
            link=entry.url,
        )
        return encode(draft, aliases=aliases, document=name, position=place_of[id(entry)])

    return encoded


def _exact(entry: Entry) -> str:
    """The guid, link, title and date of an entry with a poor guid; empty for a better guid."""
    return f"{entry.guid}\0{link_title_date(entry)}" if is_poor(entry.guid) else ""


def drafts_of(
    document: Document, job: ParseJob, *, name: str
) -> Iterator[tuple[Entry, Draft | InvalidInput]]:
    """Each entry that its source's rules keep, with its draft, or why it cannot be an article.

    Args:
        name: name of the file or URL; it identifies pages without a link.
    """
    identities = identities_in(document, job, name=name)
    for entry, _, draft in ruled_drafts_of(document.entries, job, identities):
        if draft is not None:
            yield entry, draft


def identities_in(document: Document, job: ParseJob, *, name: str) -> list[tuple[str, str]]:
    """(source, guid) of each entry; the guid is empty if only its text identifies it."""
    shared = shared_in(document)
    # The URL that was requested decides for which host the document may speak, not the URL that
    # it names itself.
    document = replace(document, url=job.added_url or document.url)
    return [
        identify(document, entry, name=name, also=job.source_url, shared=shared)
        for entry in document.entries
    ]


def ruled_drafts_of(
    entries: Sequence[Entry], job: ParseJob, identities: Sequence[tuple[str, str]]
) -> Iterator[tuple[Entry, RuledEntry, Draft | InvalidInput | None]]:
    """Each entry, what rules made of it, and its draft, or why it cannot be an article; None for
    one that a rule drops."""
    rules = read_rules(job.rules)
    for part in _parts(entries, identities):
        ruled_entries = [_ruled(entry, identity, job, rules) for entry, identity in part]
        ready = [None if ruled.is_dropped else _prepared(ruled, job) for ruled in ruled_entries]
        contents = iter(contents_of([each for each in ready if each]))
        for (entry, (source, guid)), ruled, each in zip(part, ruled_entries, ready, strict=True):
            if each is None:
                yield entry, ruled, None
                continue
            try:
                content = next(contents)
                if not guid and ruled.steps:
                    # Its text identifies it: that of its source, which rules do not change.
                    guid = compose(entry, source=source).guid
                draft = compose(each, source=source, guid=guid, content=content)
            except InvalidInput as exc:
                yield entry, ruled, exc
            else:
                yield entry, ruled, draft


def _parts(
    entries: Sequence[Entry], identities: Sequence[tuple[str, str]]
) -> Iterator[list[tuple[Entry, tuple[str, str]]]]:
    """The entries with their identities, some at a time, as long as their texts are short."""
    part: list[tuple[Entry, tuple[str, str]]] = []
    chars = 0
    for entry, identity in zip(entries, identities, strict=True):
        part.append((entry, identity))
        chars += len(entry.content_html)
        if len(part) == PART or chars > PART_CHARS:
            yield part
            part, chars = [], 0
    yield part


def _ruled(
    entry: Entry, identity: tuple[str, str], job: ParseJob, rules: Sequence[Rule]
) -> RuledEntry:
    # The entry itself is known by its place in the document.
    page = _page_of(job, identity)
    return apply_rules(with_page_text(entry, *page) if page else entry, rules)


def _page_of(job: ParseJob, identity: tuple[str, str]) -> tuple[str, str] | None:
    """URL and text of an article's page, if that was fetched."""
    _, guid = identity
    return job.pages.get(draft_id(*identity)) if job.pages and guid else None


def _prepared(ruled: RuledEntry, job: ParseJob) -> Entry:
    entry = _placed(ruled, job.categories, job.mapping)
    return with_summary_alone(entry) if job.summary_only else entry


def _placed(ruled: RuledEntry, categories: Sequence[str], mapping: Mapping[str, str]) -> Entry:
    entry = ruled.entry
    if ruled.is_filed or (not categories and not mapping):
        return entry
    names = placed(entry.categories, categories=categories, mapping=mapping)
    return replace(entry, categories=names)
