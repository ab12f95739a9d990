"""Taking: one poll of one source: fetch → read → append → what it means for the next poll.

Validators are kept only of a document that was taken in whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace

import aiohttp

from service.articles.encoded import EncodedArticle
from service.articles.times import to_ms
from service.errors import DatelineError, FetchFailed, ParseFailed, Unavailable
from service.http import retry_after_s
from service.settings import Settings
from service.sources import freshness, schedule
from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage.client import redis_errors_as_unavailable
from service.storage.sources import Claim, Finished
from service.storage.store import Store
from workers.ingest import candidates
from workers.ingest.documents import ParseJob, ParseReport
from workers.ingest.fetch import Fetched, Refused, fetch
from workers.ingest.hub_client import HubClient
from workers.ingest.parser_pool import ParserPool
from workers.runtime import Clock

logger = logging.getLogger(__name__)

# Bodies over fetch.LARGE_BYTES that are in memory at once, until they were read.
LARGE_AT_ONCE = 6
FEEDS = frozenset({"rss", "atom", "rdf", "cdf", "json-feed", "k2-json", "sitemap"})
PAGES = ("html-guess", "html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one poll."""

    finished: Finished
    is_failure: bool = False
    is_unchanged: bool = False


class Leave:
    """One poll's leave to hold a large body, until it was read."""

    __slots__ = ("_is_taken", "_semaphore")

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore = semaphore
        self._is_taken = False

    async def take(self) -> None:
        """Wait for it, once."""
        if not self._is_taken:
            await self._semaphore.acquire()
            self._is_taken = True

    def give_back(self) -> None:
        """Let the next one."""
        if self._is_taken:
            self._semaphore.release()


class Taker:
    """Polls sources that are claimed."""

    def __init__(
        self, store: Store, settings: Settings, client: aiohttp.ClientSession, readers: ParserPool,
        *, now: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._settings = settings
        self._client = client
        self._readers = readers
        self._now = now
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._subscriber = HubClient(store, settings, client, now=now)

    async def take(self, claim: Claim) -> Outcome:
        """Poll it. Raises Unavailable if Redis is away; nothing else."""
        try:
            return await self._take(claim)
        except Unavailable:
            raise
        except DatelineError as exc:
            return self._failed(claim, exc)
        except Exception as exc:  # noqa: BLE001 -- the border
            return self._stumbled(claim, exc)

    def _stumbled(self, claim: Claim, exc: Exception) -> Outcome:
        """The border: a document that our own code stumbles over costs its source a poll."""
        try:
            with redis_errors_as_unavailable():
                raise exc
        except Unavailable:
            raise
        except Exception:
            logger.exception("a poll failed", extra={"source": claim.source.url})
            return self._failed(claim, DatelineError(f"an error of ours: {exc!r}"))

    async def _take(self, claim: Claim) -> Outcome:
        source, poll = claim.source, claim.poll
        now_ms = to_ms(self._now())
        if poll.due_ms > now_ms and (await self._subscriber.due_ms(poll) or now_ms + 1) <= now_ms:
            # Only the subscription is due.
            poll = await self._subscriber.renewed(source, poll)
            return Outcome(finished=await self._due(claim, poll, source), is_unchanged=True)
        held = Leave(self._large)
        try:
            fetched = await self._fetch(source.url, source, poll, held)
            # From here its answer is fresh, however long it waits to be read.
            now = self._now()
            if fetched.status == 304:
                poll = _with_validators(poll, fetched, result="not modified")
            else:
                source, poll, fetched = await self._take_in(source, poll, fetched, held)
        finally:
            held.give_back()
        poll = schedule.with_redirect(poll, fetched.moved_to)
        source, poll = self._moved(source, poll)
        poll = await self._subscriber.kept(source, poll, fetched.headers)
        poll = schedule.succeeded(
            poll,
            source,
            now=now,
            fresh_s=freshness.freshness_s(fetched.headers, now=now),
            is_live=bool(poll.subscription) and await self._subscriber.is_live(poll),
            chance=random.random(),  # noqa: S311 -- jitter
            settings=self._settings,
        )
        finished = await self._due(claim, poll, source)
        return Outcome(finished=finished, is_unchanged=fetched.status == 304)

    async def _due(self, claim: Claim, poll: Poll, source: Source) -> Finished:
        due_ms = poll.due_ms
        if poll.subscription:
            due_ms = min(due_ms, await self._subscriber.due_ms(poll) or due_ms)
        changed = source if source != claim.source else None
        return Finished(claim=claim, poll=poll, due_ms=due_ms, source=changed)

    async def _fetch(self, url: str, source: Source, poll: Poll, held: Leave) -> Fetched:
        fetched = await fetch(
            self._client,
            url,
            self._settings,
            etag=poll.etag,
            last_modified=poll.last_modified,
            private=source.headers,
            on_large=held.take,
        )
        if fetched.status == 304 and not (poll.etag or poll.last_modified):
            raise FetchFailed(url, "answered 304 to a request without conditions")
        return fetched

    async def _take_in(
        self, source: Source, poll: Poll, fetched: Fetched, held: Leave
    ) -> tuple[Source, Poll, Fetched]:
        """Read a document and append what is in it. Raises ParseFailed."""
        digest = hashlib.blake2b(fetched.body, digest_size=8).hexdigest()
        if fetched.status == 200 and digest == poll.body_hash:
            return source, _with_validators(poll, fetched, result="the same bytes"), fetched
        # A login page, a parked domain: not what used to be here.
        refused = PAGES if poll.kind in FEEDS else PAGES[:1]
        report, counts, reasons = await self.read(source, fetched, refused=refused)
        if report.error and not poll.polled and _is_page(fetched):
            source, fetched, report, counts, reasons = await self._discover(
                source, fetched, report, held
            )
            digest = ""
        if report.error:
            raise ParseFailed(report.error)
        poll = schedule.with_news(poll, counts["created"], now=self._now())
        poll = _with_report(poll, report, digest if fetched.status == 200 else "")
        if not report.is_whole:
            fetched = replace(fetched, etag="", last_modified="")
        result = _in_words(counts, len(reasons), reasons)
        source = replace(source, title=report.title) if report.title else source
        return source, _with_validators(poll, fetched, result=result), fetched

    async def read(
        self, source: Source, fetched: Fetched, *, refused: tuple[str, ...] = ()
    ) -> tuple[ParseReport, Counter[str], list[str]]:
        """(what it is, status → how many articles, why others are none): read and append."""
        counts: Counter[str] = Counter()

        async def append(articles: list[EncodedArticle]) -> None:
            receipts = await self._store.articles.append(articles, now=self._now())
            counts.update(receipt.status for receipt in receipts)

        job = ParseJob(
            url=fetched.url,
            content_type=fetched.content_type,
            zone=str(self._settings.timezone),
            added_url=source.added_url or source.url,
            source_url=source.url,
            category=source.category,
            mapping=source.mapping,
            refused=refused,
        )
        report, reasons = await self._readers.read(job, fetched.body, take=append)
        return report, counts, reasons

    async def _discover(
        self, source: Source, page: Fetched, report: ParseReport, held: Leave
    ) -> tuple[Source, Fetched, ParseReport, Counter[str], list[str]]:
        """The first feed that the page names, or that is where feeds usually are."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.fetch_timeout_s):
                for url in candidates.candidates(page.url, report.alternates):
                    await asyncio.sleep(self._settings.poll_spacing_s)
                    found = await self._feed_at(url, source, held)
                    if found is not None:
                        return found
        raise ParseFailed(f"{report.error}, and no feed was found for it")

    async def _feed_at(
        self, url: str, source: Source, held: Leave
    ) -> tuple[Source, Fetched, ParseReport, Counter[str], list[str]] | None:
        try:
            fetched = await self._fetch(url, source.moved(url, ""), Poll(), held)
            moved = source.moved(fetched.moved_to or url, f"found on {source.url}")
            report, counts, reasons = await self.read(moved, fetched, refused=PAGES)
        except (FetchFailed, ParseFailed):
            return None
        if report.error or report.kind not in FEEDS:
            return None
        return moved, replace(fetched, moved_to=""), report, counts, reasons

    def _moved(self, source: Source, poll: Poll) -> tuple[Source, Poll]:
        if poll.moved_polls < self._settings.redirect_confirmations:
            return source, poll
        moved = source.moved(poll.moved_to, f"moved from {source.url}")
        return moved, schedule.with_redirect(poll, "")

    def _failed(self, claim: Claim, exc: DatelineError) -> Outcome:
        now, source = self._now(), claim.source
        status = exc.status if isinstance(exc, Refused) else 0
        asked_s = retry_after_s(exc.retry_after, now) if isinstance(exc, Refused) else None
        before = replace(claim.poll, result=str(exc)[:500])
        poll = schedule.failed(
            before,
            source,
            now=now,
            is_lasting=isinstance(exc, FetchFailed) and exc.permanent,
            retry_after_s=asked_s or 0.0,
            chance=random.random(),  # noqa: S311 -- jitter
            settings=self._settings,
        )
        if status == 410:
            note = f"answered 410 Gone on {now:%Y-%m-%d}; resume it to try again"
            gone = Finished(
                claim=claim, poll=poll, due_ms=None, source=source.with_paused(True, note)
            )
            return Outcome(finished=gone, is_failure=True)
        # Too many requests are counted by host, not by feed.
        spare_ms = poll.due_ms if status == 429 else 0
        finished = Finished(claim=claim, poll=poll, due_ms=poll.due_ms, spare_ms=spare_ms)
        return Outcome(finished=finished, is_failure=True)


def _with_validators(poll: Poll, fetched: Fetched, *, result: str) -> Poll:
    etag, last_modified = fetched.etag, fetched.last_modified
    if fetched.status == 304:
        # It may leave validators out; those we have still hold then (RFC 9110 15.4.5).
        etag, last_modified = etag or poll.etag, last_modified or poll.last_modified
    if (etag, last_modified, result) == (poll.etag, poll.last_modified, poll.result):
        return poll
    return replace(poll, etag=etag, last_modified=last_modified, result=result)


def _with_report(poll: Poll, report: ParseReport, digest: str) -> Poll:
    hints = report.hints
    return replace(
        poll,
        kind=report.kind,
        body_hash=digest if report.is_whole else "",
        hint_s=hints.interval_s,
        skip_hours=hints.skip_hours,
        skip_days=hints.skip_days,
        hub=hints.hub,
        topic=hints.topic,
    )


def _is_page(fetched: Fetched) -> bool:
    head = fetched.body[:512].lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html")) or "html" in fetched.content_type.lower()


def _in_words(counts: Counter[str], rejected: int, reasons: list[str]) -> str:
    news = counts["created"] + counts["updated"]
    text = f"{counts.total()} articles, {news} new or updated, {rejected} rejected"
    return f"{text} ({reasons[0][:200]})" if reasons else text
