"""Intake: one document → parser process → append. What polls and pushes have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from service.articles.encoded import EncodedArticle
from service.settings import Settings
from service.sources.source import Source
from service.storage.store import Store
from workers.ingest.documents import ParseJob, ParseReport
from workers.ingest.entry_digests import joined, split
from workers.ingest.fetch import Fetched
from workers.ingest.parser_pool import ParserPool
from workers.runtime import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendedDocument:
    """A document whose articles were appended; none were if its report has an error."""

    report: ParseReport
    counts: Counter[str]
    """Status of the receipt (created, updated, unchanged …) → number of articles."""
    digests: str
    """Of the entries that need not be looked at in the next poll while they stay as they are."""
    rejects: list[str]
    """Why feed entries were rejected, one line each."""


# With another one, the article needs its entry once more (append.lua), or may be taken in later.
_SETTLED = ("created", "updated", "unchanged")


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
        known: str = "",
        is_history: bool = False,
    ) -> AppendedDocument:
        """Parse a document and append its articles, batch by batch.

        Args:
            refused: kinds of documents that cannot be the one that was meant.
            prefers_feed: see `ParseJob.prefers_feed`.
            known: `AppendedDocument.digests` of the last poll; such entries are passed over.
            is_history: whether the document is older than others that were appended: articles that
                are stored are left as they are, for it may have a former version of them.

        Raises:
            ParseFailed: the parser process broke off; articles before that were appended.
        """
        counts: Counter[str] = Counter()
        digests: list[bytes] = []
        creator = source.category_creator

        async def append(report: ParseReport, articles: list[EncodedArticle]) -> None:
            if is_history:
                heads = await self._store.articles.heads([article.id for article in articles])
                counts["unchanged"] += sum(map(bool, heads))
                articles = [a for a, head in zip(articles, heads, strict=True) if not head]
            receipts = await self._store.articles.append(
                articles, now=self._now(), readmit=False, creator=creator,
                standing=frozenset(report.ids),
            )  # fmt: skip
            counts.update(receipt.status for receipt in receipts)
            digests.extend(
                article.entry_digest
                for article, receipt in zip(articles, receipts, strict=True)
                if receipt.status in _SETTLED
            )

        job = job_of(source, fetched, self._settings, refused=refused, known=known)
        job = replace(job, prefers_feed=prefers_feed)
        report, rejects = await self._parser_pool.read_document(job, fetched.body, append=append)
        passed_over = split(report.known)
        counts["unchanged"] += len(passed_over)
        return AppendedDocument(
            report=report, counts=counts, rejects=rejects, digests=joined([*digests, *passed_over])
        )


def job_of(
    source: Source, fetched: Fetched, settings: Settings, *, refused: Collection[str],
    known: str = "",
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
        refused=tuple(refused),
        select=source.select,
        rules=source.rules,
        known=known,
    )
