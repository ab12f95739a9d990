"""Intake: one document → parser process → append. What polls and pushes have in common."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from service.articles.encoded import EncodedArticle, document_name
from service.errors import ParseFailed
from service.settings import Settings
from service.sources.known_entries import article_ids_in, joined, records_in, with_article
from service.sources.source import Source
from service.storage.articles import Receipt
from service.storage.store import Store
from workers.ingest.documents import ParseJob
from workers.ingest.fetch import Fetched
from workers.ingest.parse_report import ParseReport
from workers.ingest.parser_pool import ParserPool
from workers.runtime import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendedDocument:
    """A document whose articles were appended; none were if its report has an error, and those
    whose pages are wanted were not yet."""

    report: ParseReport
    counts: Counter[str]
    """Status of the receipt (created, updated, unchanged …) → number of articles."""
    rejects: list[str]
    """Why feed entries were rejected, one line each."""
    dropped: int = 0
    """Number of feed entries that rules of the source dropped."""
    teasers: list[EncodedArticle] = field(default_factory=list)
    """Articles that were not appended, because their pages are to be fetched first."""
    known: bytes = b""
    """What is remembered of its entries (`known_entries`)."""


class Intake:
    """Parses documents of sources and appends their articles."""

    def __init__(
        self, store: Store, settings: Settings, parser_pool: ParserPool, *, now: Clock
    ) -> None:
        self._store = store
        self._settings = settings
        self._parser_pool = parser_pool
        self._now = now

    async def append_document(
        self,
        source: Source,
        fetched: Fetched,
        *,
        refused: Collection[str],
        prefers_feed: bool = False,
        known: bytes | None = None,
        is_history: bool = False,
        withholds_teasers: bool = False,
    ) -> AppendedDocument:
        """Parse a document and append its articles, batch by batch.

        Args:
            refused: kinds of documents that cannot be the one that was meant.
            prefers_feed: see `ParseJob.prefers_feed`.
            known: what is remembered of entries: those that come again, and whose articles are
                stored as they were, are passed over. None if nothing is to be remembered.
            is_history: whether the document is older than others that were appended: articles that
                are stored are left as they are, for it may have a former version of them.
            withholds_teasers: whether articles whose pages are wanted are returned, and not
                appended.

        Raises:
            ParseFailed: the parser process broke off; articles before that were appended.
        """
        counts: Counter[str] = Counter()
        teasers: list[EncodedArticle] = []
        remembered: list[bytes] = []
        job = job_of(source, fetched, self._settings, refused=refused)
        job = replace(job, prefers_feed=prefers_feed)
        holding: list[bytes] = []
        if known is not None:
            holding = await self._holding(known, job)
            job = replace(job, known=base64.b64encode(b"".join(holding)).decode())

        async def append(report: ParseReport, articles: list[EncodedArticle]) -> None:
            if is_history:
                heads = await self._store.articles.heads([article.id for article in articles])
                counts["unchanged"] += sum(map(bool, heads))
                articles = [a for a, head in zip(articles, heads, strict=True) if not head]
            if withholds_teasers and report.teasers:
                wanted = frozenset(report.teasers)
                teasers.extend(a for a in articles if a.id in wanted)
                articles = [a for a in articles if a.id not in wanted]
            others = article_ids_in(b"".join(holding[number] for number in report.passed_over))
            receipts = await self._append(source, articles, standing=(*report.ids, *others))
            counts.update(receipt.status for receipt in receipts)
            remembered.extend(_remembered(articles, receipts))

        report, left_out = await self._parser_pool.read_document(job, fetched.body, append=append)
        counts["unchanged"] += len(report.passed_over)
        return AppendedDocument(
            report=report,
            counts=counts,
            rejects=[*left_out.rejects],
            dropped=len(left_out.dropped),
            teasers=teasers,
            known=joined([*map(holding.__getitem__, report.passed_over), *remembered]),
        )

    async def _holding(self, known: bytes, job: ParseJob) -> list[bytes]:
        name = document_name(job.added_url)
        return records_in(await self._store.known_entries.holding(known, document=name))

    async def append(
        self, source: Source, report: ParseReport, articles: Sequence[EncodedArticle]
    ) -> list[Receipt]:
        """Append articles of a document; what became of each, in their order."""
        return await self._append(source, articles, standing=report.ids)

    async def _append(
        self, source: Source, articles: Sequence[EncodedArticle], *, standing: Sequence[str]
    ) -> list[Receipt]:
        return await self._store.articles.append(
            articles,
            now=self._now(),
            readmit=False,
            creator=source.category_creator,
            standing=frozenset(standing),
        )

    async def with_page_texts(
        self, source: Source, fetched: Fetched, pages: dict[str, tuple[str, str]]
    ) -> tuple[dict[str, EncodedArticle], frozenset[str]]:
        """Articles of a document with the texts of their pages: by their ids, and the ids of those
        that a rule drops now.

        Args:
            pages: id of an article → URL and text of its page.

        Raises:
            ParseFailed: the parser process broke off.
        """
        articles: dict[str, EncodedArticle] = {}

        async def collect(_: ParseReport, batch: list[EncodedArticle]) -> None:
            articles.update((article.id, article) for article in batch)

        job = replace(job_of(source, fetched, self._settings, refused=()), pages=pages)
        _, left_out = await self._parser_pool.read_document(job, fetched.body, append=collect)
        return articles, frozenset(left_out.dropped)

    async def text_of_page(self, source: Source, page: Fetched) -> str:
        """Markup of the article on its page. Raises ParseFailed if it has none."""

        async def none(_: ParseReport, batch: list[EncodedArticle]) -> None:
            raise AssertionError(f"{len(batch)} articles of a page")

        job = ParseJob(url=page.url, content_type=page.content_type, page_selector=source.selector)
        report, _ = await self._parser_pool.read_document(job, page.body, append=none)
        if report.error:
            raise ParseFailed(report.error)
        return report.page_text


def _remembered(articles: Sequence[EncodedArticle], receipts: Sequence[Receipt]) -> Iterator[bytes]:
    """What is remembered of entries whose articles were appended. Whether these are stored so is
    asked when it is used."""
    for article, receipt in zip(articles, receipts, strict=True):
        if article.known and article.full_hash:
            yield with_article(
                article.known,
                receipt.id,
                form=article.form,
                content_hash=article.content_hash,
                full_hash=article.full_hash,
            )


def job_of(
    source: Source, fetched: Fetched, settings: Settings, *, refused: Collection[str],
) -> ParseJob:  # fmt: skip
    """How to parse a document of a source."""
    return ParseJob(
        url=fetched.url,
        content_type=fetched.content_type,
        zone=str(settings.timezone),
        added_url=source.added_url or source.url,
        source_url=source.url,
        categories=source.categories,
        mapping=source.mapping,
        summary_only=source.summary_only,
        # An article without content would show nothing.
        full_text="" if source.summary_only else source.full_text,
        refused=tuple(refused),
        select=source.select,
        rules=source.rules,
    )
