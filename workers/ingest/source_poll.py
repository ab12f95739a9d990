"""One poll of one source: fetch → read_document → append → next_poll → finish.

I/O collects one `PollOutcome`; `service.sources.schedule.next_poll` decides what it means. Two
steps stand beside it: the discovery of a page's feed, and the subscription at the source's hub.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType

from service.articles.times import to_ms
from service.errors import DatelineError, FetchFailed, ParseFailed, Unavailable
from service.http import retry_after_s
from service.settings import Settings
from service.sources.outcome import Answer, DocumentOutcome, Failure, PollOutcome
from service.sources.schedule import Poll, next_poll, outside_window, with_outcome
from service.sources.source import Source
from service.storage.claims import Claim, Finished
from service.storage.client import redis_errors_as_unavailable
from service.storage.store import Store
from workers.http_client import OutboundClient, typed_by_operator
from workers.ingest.discover_feed import DiscoveredFeed, discover_feed, is_page
from workers.ingest.fetch import Fetched, Refused, fetch
from workers.ingest.full_texts import CompletedTexts, FullTexts
from workers.ingest.history_poll import HistoryPoller
from workers.ingest.hub_client import HubClient
from workers.ingest.intake import AppendedDocument, Intake
from workers.ingest.next_pages import append_next_pages
from workers.ingest.parse import FEED_KINDS, GUESSED_KINDS, LIST_KINDS, PAGE_KINDS
from workers.runtime import Clock

logger = logging.getLogger(__name__)

# Bodies over fetch.LARGE_BYTES that may be in memory at once, each until it is parsed.
LARGE_AT_ONCE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """The end of one claim, and what to count it as."""

    finished: Finished
    is_failure: bool = False
    is_unchanged: bool = False


class LargeBodyPermit:
    """One poll's permit to hold a large body in memory; a context manager that gives it back."""

    __slots__ = ("_is_held", "_semaphore")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._is_held = False

    async def __aenter__(self) -> LargeBodyPermit:
        """Nothing is acquired yet: most bodies are small."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        """Give the permit back if it was acquired."""
        if self._is_held:
            self._is_held = False
            self._semaphore.release()

    async def acquire(self) -> None:
        """Wait for the permit; a second call returns at once."""
        if not self._is_held:
            await self._semaphore.acquire()
            self._is_held = True


class SourcePoller:
    """Polls claimed sources, one call per claim; several may run at once."""

    def __init__(
        self, store: Store, settings: Settings, client: OutboundClient, intake: Intake,
        *, now: Clock,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._client = client
        self._intake = intake
        self._now = now
        self._large_bodies = asyncio.Semaphore(LARGE_AT_ONCE)
        self._hub_client = HubClient(store, settings, client, now=now)
        self._full_texts = FullTexts(store, settings, client, intake, now=now)
        self._history_poller = HistoryPoller(
            settings,
            intake,
            self._hub_client,
            permits=lambda: LargeBodyPermit(self._large_bodies),
            fetch=lambda source, permit: self._fetch(source, Poll(), permit),
            failure_of=self._failure,
            now=now,
        )

    async def poll_once(self, claim: Claim) -> Polled:
        """Poll a claimed source. A failed poll returns an outcome, too.

        Raises:
            Unavailable: Redis cannot be reached; nothing was decided.
        """
        try:
            postponed = self._postponed(claim)
            if postponed is not None:
                return Polled(finished=postponed, is_unchanged=True)
            renewed = await self._hub_client.renew_alone(claim)
            if renewed is not None:
                return Polled(finished=renewed, is_unchanged=True)
            finished = await self._history_poller.follow_alone(claim)
            if finished is not None:
                return Polled(finished=finished)
            outcome = await self._answer(claim)
            outcome = await self._with_subscription(claim, outcome)
            return self._finished(claim, outcome)
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 -- the border: a document costs its source a poll
            return self._finished(claim, PollOutcome(result=self._failure(claim, exc)))

    def _postponed(self, claim: Claim) -> Finished | None:
        """The end of a claim outside of its source's poll window, for a first poll or an older
        document; None if it may go on. Other polls are due inside of it, or were asked for."""
        poll, now = claim.poll, self._now()
        opens_ms = outside_window(claim.source, now, self._settings)
        is_history = poll.history is not None and poll.history.is_following
        if not opens_ms or (poll.polled and (poll.due_ms <= to_ms(now) or not is_history)):
            return None
        return Finished(claim=claim, poll=poll, due_ms=opens_ms)

    async def _answer(self, claim: Claim) -> PollOutcome:
        """Fetch, parse and append. Raises FetchFailed and ParseFailed."""
        source, poll = claim.source, claim.poll
        async with LargeBodyPermit(self._large_bodies) as permit:
            fetched = await self._fetch(source, poll, permit)
            received = self._now()
            digest = _digest(fetched)
            if fetched.status == 304 or (digest and digest == poll.body_hash):
                return PollOutcome(result=_answer_of(fetched, received))
            # A login page or a parked domain must not replace the document that was here before.
            refused = PAGE_KINDS if poll.kind in FEED_KINDS else GUESSED_KINDS
            # An operator who names selectors means this page, and not the feed of its site.
            is_unknown = not poll.polled and not source.select
            appended = await self._intake.append_document(
                source,
                fetched,
                refused=refused,
                prefers_feed=is_unknown,
                # A 226 has new entries alone.
                known=claim.known if fetched.status == 200 else None,
                withholds_teasers=True,
            )
            discovered_url = ""
            if appended.report.error and is_unknown and is_page(fetched):
                feed = await self._discovered(source, fetched, appended, permit)
                if feed is None:
                    appended = await self._intake.append_document(
                        source, fetched, refused=refused, withholds_teasers=True
                    )
                else:
                    discovered_url, digest = feed.url, ""
                    source = source.moved(feed.url, "")
                    fetched, appended = feed.fetched, feed.appended
            if appended.report.error:
                raise ParseFailed(appended.report.error)
            pages = await self._full_texts.complete(
                source, fetched, appended, on_large=permit.acquire
            )
            appended = replace(
                appended,
                counts=appended.counts + pages.counts,
                dropped=appended.dropped + pages.dropped,
            )
            appended = await append_next_pages(
                source,
                fetched,
                appended,
                fetch=lambda page: self._fetch(page, Poll(), permit),
                intake=self._intake,
                settings=self._settings,
            )
        return PollOutcome(
            result=_answer_of(fetched, received),
            document=_document_of(appended, digest, pages),
            discovered_url=discovered_url,
        )

    async def _discovered(
        self, source: Source, page: Fetched, appended: AppendedDocument, permit: LargeBodyPermit
    ) -> DiscoveredFeed | None:
        """The feed of a page; None without one for a page that lists articles itself.

        Raises:
            ParseFailed: the page is neither.
        """
        try:
            return await discover_feed(
                source,
                page,
                appended,
                fetch=lambda candidate: self._fetch(candidate, Poll(), permit),
                intake=self._intake,
                settings=self._settings,
            )
        except ParseFailed:
            if appended.report.kind not in LIST_KINDS:
                raise
            return None

    async def _fetch(self, source: Source, poll: Poll, permit: LargeBodyPermit) -> Fetched:
        fetched = await fetch(
            self._client,
            source.url,
            self._settings,
            provenance=typed_by_operator(source.operator_url),
            etag=poll.etag,
            last_modified=poll.last_modified,
            private=source.private_headers,
            transport=source.transport,
            on_large=permit.acquire,
        )
        if fetched.status == 304 and not (poll.etag or poll.last_modified):
            raise FetchFailed(source.url, "answered 304 to a request without conditions")
        return fetched

    async def _with_subscription(self, claim: Claim, outcome: PollOutcome) -> PollOutcome:
        source, poll = with_outcome(
            claim.source, claim.poll, outcome, now=self._now(), settings=self._settings
        )
        subscription = await self._hub_client.keep(source, poll)
        return replace(outcome, subscription=subscription) if subscription else outcome

    def _failure(self, claim: Claim, exc: Exception) -> Failure:
        """Raises Unavailable if the exception is Redis's."""
        if isinstance(exc, Refused):
            retry_s = retry_after_s(exc.retry_after, self._now()) or 0.0
            return Failure(
                reason=str(exc),
                status=exc.status,
                is_lasting=exc.permanent,
                retry_after_s=retry_s,
            )
        if isinstance(exc, DatelineError):
            is_lasting = isinstance(exc, FetchFailed) and exc.permanent
            return Failure(reason=str(exc), is_lasting=is_lasting)
        try:
            with redis_errors_as_unavailable():
                raise exc
        except Unavailable:
            raise
        except Exception:
            logger.exception("a poll failed", extra={"source": claim.source.url})
            return Failure(reason=f"an error of ours: {exc!r}")

    def _finished(self, claim: Claim, outcome: PollOutcome) -> Polled:
        source, poll, due_ms, spare_ms = next_poll(
            claim.source,
            claim.poll,
            outcome,
            now=self._now(),
            chance=random.random(),  # noqa: S311 -- jitter
            settings=self._settings,
        )
        return Polled(
            finished=Finished(
                claim=claim,
                poll=poll,
                due_ms=due_ms,
                source=source if source != claim.source else None,
                spare_ms=spare_ms,
                known=outcome.document.known if outcome.document else b"",
            ),
            is_failure=isinstance(outcome.result, Failure),
            is_unchanged=isinstance(outcome.result, Answer) and outcome.result.status == 304,
        )


def _digest(fetched: Fetched) -> str:
    """Hash of a whole document; empty for a 304, and for a 226, which contains only new entries."""
    if fetched.status != 200:
        return ""
    return hashlib.blake2b(fetched.body, digest_size=8).hexdigest()


def _answer_of(fetched: Fetched, received: datetime) -> Answer:
    return Answer(
        status=fetched.status,
        url=fetched.url,
        received=received,
        etag=fetched.etag,
        last_modified=fetched.last_modified,
        moved_to=fetched.moved_to,
        headers=fetched.headers,
        links=fetched.links,
    )


def _document_of(appended: AppendedDocument, digest: str, pages: CompletedTexts) -> DocumentOutcome:
    report = appended.report
    return DocumentOutcome(
        kind=report.kind,
        body_hash=digest,
        title=report.title,
        # With validators the next poll would not see the articles whose pages are still wanted.
        is_whole=report.is_whole and not pages.waiting,
        hints=report.hints,
        counts=appended.counts,
        known=appended.known,
        full_text=pages.note,
        rejects=tuple(appended.rejects),
        dropped=appended.dropped,
    )
