"""Intake: one document → parser process → append. What polls and pushes have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from service.articles.encoded import EncodedArticle
from service.settings import Settings
from service.sources.source import Source
from service.storage.store import Store
from workers.ingest.documents import ParseJob, ParseReport
from workers.ingest.fetch import Fetched
from workers.ingest.parser_pool import ParserPool
from workers.runtime import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendedDocument:
    """A document whose articles were appended; none were if its report has an error."""

    report: ParseReport
    counts: Counter[str]
    """Status of the receipt (created, updated, unchanged …) → number of articles."""
    rejects: list[str]
    """Why feed entries were rejected, one line each."""


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
        is_history: bool = False,
    ) -> AppendedDocument:
        """Parse a document and append its articles, batch by batch.

        Args:
            refused: kinds of documents that cannot be the one that was meant.
            is_history: whether the document is older than others that were appended: articles that
                are stored are left as they are, for it may have a former version of them.

        Raises:
            ParseFailed: the parser process broke off; articles before that were appended.
        """
        counts: Counter[str] = Counter()
        creator = source.category_creator

        async def append(articles: list[EncodedArticle]) -> None:
            if is_history:
                heads = await self._store.articles.heads([article.id for article in articles])
                counts["unchanged"] += sum(map(bool, heads))
                articles = [a for a, head in zip(articles, heads, strict=True) if not head]
            receipts = await self._store.articles.append(
                articles, now=self._now(), readmit=False, creator=creator
            )
            counts.update(receipt.status for receipt in receipts)

        job = ParseJob(
            url=fetched.url,
            content_type=fetched.content_type,
            zone=str(self._settings.timezone),
            added_url=source.added_url or source.url,
            source_url=source.url,
            categories=source.categories,
            mapping=source.mapping,
            refused=tuple(refused),
        )
        report, rejects = await self._parser_pool.read_document(job, fetched.body, append=append)
        return AppendedDocument(report=report, counts=counts, rejects=rejects)
