"""Intake: one document → parser process → append. What polls and pushes have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from service.articles.encoded import EncodedArticle
from service.errors import ParseFailed
from service.settings import Settings
from service.sources.source import Source
from service.storage.store import Store
from workers.ingest.documents import ParseJob, ParseReport
from workers.ingest.fetch import Fetched
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
    teasers: list[EncodedArticle] = field(default_factory=list)
    """Articles that were not appended, because their pages are to be fetched first."""


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
        is_history: bool = False,
        withholds_teasers: bool = False,
    ) -> AppendedDocument:
        """Parse a document and append its articles, batch by batch.

        Args:
            refused: kinds of documents that cannot be the one that was meant.
            prefers_feed: see `ParseJob.prefers_feed`.
            is_history: whether the document is older than others that were appended: articles that
                are stored are left as they are, for it may have a former version of them.
            withholds_teasers: whether articles whose pages are wanted are returned, and not
                appended.

        Raises:
            ParseFailed: the parser process broke off; articles before that were appended.
        """
        counts: Counter[str] = Counter()
        teasers: list[EncodedArticle] = []

        async def append(report: ParseReport, articles: list[EncodedArticle]) -> None:
            if is_history:
                heads = await self._store.articles.heads([article.id for article in articles])
                counts["unchanged"] += sum(map(bool, heads))
                articles = [a for a, head in zip(articles, heads, strict=True) if not head]
            if withholds_teasers and report.teasers:
                wanted = frozenset(report.teasers)
                teasers.extend(a for a in articles if a.id in wanted)
                articles = [a for a in articles if a.id not in wanted]
            counts.update(await self.append(source, report, articles))

        job = job_of(source, fetched, self._settings, refused=refused)
        job = replace(job, prefers_feed=prefers_feed)
        report, rejects = await self._parser_pool.read_document(job, fetched.body, append=append)
        return AppendedDocument(
            report=report,
            counts=counts,
            rejects=rejects,
            teasers=teasers,
        )

    async def append(
        self, source: Source, report: ParseReport, articles: Sequence[EncodedArticle]
    ) -> Counter[str]:
        """Append articles of a document; status of the receipt → number of articles."""
        receipts = await self._store.articles.append(
            articles,
            now=self._now(),
            readmit=False,
            creator=source.category_creator,
            standing=frozenset(report.ids),
        )
        return Counter(receipt.status for receipt in receipts)

    async def with_page_texts(
        self, source: Source, fetched: Fetched, pages: dict[str, tuple[str, str]]
    ) -> dict[str, EncodedArticle]:
        """Articles of a document by their ids, with the texts of their pages.

        Args:
            pages: id of an article → URL and text of its page.

        Raises:
            ParseFailed: the parser process broke off.
        """
        articles: dict[str, EncodedArticle] = {}

        async def collect(_: ParseReport, batch: list[EncodedArticle]) -> None:
            articles.update((article.id, article) for article in batch)

        job = replace(job_of(source, fetched, self._settings, refused=()), pages=pages)
        await self._parser_pool.read_document(job, fetched.body, append=collect)
        return articles

    async def text_of_page(self, source: Source, page: Fetched) -> str:
        """Markup of the article on its page. Raises ParseFailed if it has none."""

        async def none(_: ParseReport, batch: list[EncodedArticle]) -> None:
            raise AssertionError(f"{len(batch)} articles of a page")

        job = ParseJob(url=page.url, content_type=page.content_type, page_selector=source.selector)
        report, _ = await self._parser_pool.read_document(job, page.body, append=none)
        if report.error:
            raise ParseFailed(report.error)
        return report.page_text


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
        # Of an article without content nothing would be shown.
        full_text="" if source.summary_only else source.full_text,
        refused=tuple(refused),
        select=source.select,
        rules=source.rules,
    )
