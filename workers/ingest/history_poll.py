"""One older document of one source: fetch → append what is new → how the history goes on.

What follows from a document, and from a failure, is decided in `service/sources/history.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from service import http
from service.articles.times import to_ms
from service.errors import ParseFailed, Unavailable
from service.settings import Settings
from service.sources.history import History, HistoryDocument, after_document, after_failure
from service.sources.outcome import Failure
from service.sources.schedule import due_of
from service.sources.source import Source
from service.storage.claims import Claim, Finished
from workers.ingest.fetch import Fetched
from workers.ingest.hub_client import HubClient
from workers.ingest.intake import Intake
from workers.ingest.parse import PAGE_KINDS
from workers.runtime import Clock

# A permit to hold a large body in memory, and what fetches a source without validators with it.
Permits = Callable[[], AbstractAsyncContextManager[Any]]
Fetch = Callable[[Source, Any], Awaitable[Fetched]]


class HistoryPoller:
    """Follows the older documents of sources, one for each claim."""

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        hub_client: HubClient,
        *,
        permits: Permits,
        fetch: Fetch,
        failure_of: Callable[[Claim, Exception], Failure],
        now: Clock,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._hub_client = hub_client
        self._permits = permits
        self._fetch = fetch
        self._failure_of = failure_of
        self._now = now

    async def follow_alone(self, claim: Claim) -> Finished | None:
        """Read an older document that is due although its source is not.

        Returns:
            The end of the claim; None if this is not why the source was claimed.

        Raises:
            Unavailable: Redis cannot be reached; the document is read again.
        """
        history, now_ms = claim.poll.history, to_ms(self._now())
        if history is None or not history.is_following or claim.poll.due_ms <= now_ms:
            return None
        if history.due_ms > now_ms:
            return None
        history, spare_ms = await self._after(claim, history)
        poll = replace(claim.poll, history=history)
        due_ms = due_of(poll, await self._hub_client.renew_ms_of(poll))
        return Finished(claim=claim, poll=poll, due_ms=due_ms, spare_ms=spare_ms)

    async def _after(self, claim: Claim, history: History) -> tuple[History, int]:
        """(the history after its next document, until when the host is spared)."""
        now, settings = self._now, self._settings
        try:
            document = await self._read(claim.source, history)
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 -- the border: a document costs its history a try
            failure = self._failure_of(claim, exc)
            history = after_failure(history, failure, now=now(), settings=settings)
            return history, history.due_ms if failure.status == 429 else 0
        return after_document(history, claim.source, document, now=now(), settings=settings), 0

    async def _read(self, source: Source, history: History) -> HistoryDocument:
        """Read and append the next older document. Raises FetchFailed and ParseFailed."""
        async with self._permits() as permit:
            fetched = await self._fetch(source.moved(history.url, ""), permit)
            appended = await self._intake.append_document(
                source, fetched, refused=PAGE_KINDS, is_history=True
            )
        report = appended.report
        if report.error:
            raise ParseFailed(report.error)
        return HistoryDocument(
            url=fetched.url,
            older=report.hints.older or http.older_document(fetched.links, base_url=fetched.url),
            created=appended.counts["created"],
        )
