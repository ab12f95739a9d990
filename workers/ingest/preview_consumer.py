"""Previews: what servers and commands ask for → fetch → parser process → their answer.

The source is read as its first poll would read it: with the checks of addresses, the limits and the
headers of polls, and with the discovery of a page's feed. Nothing is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from service.errors import DatelineError, FetchFailed, ParseFailed
from service.settings import Settings
from service.sources.preview import PreviewRequest
from service.sources.source import Source
from service.storage.store import Store
from workers import runtime
from workers.http_client import OutboundClient, typed_by_operator
from workers.ingest.candidates import candidates
from workers.ingest.discover_feed import is_page
from workers.ingest.fetch import Fetched, fetch
from workers.ingest.intake import job_of
from workers.ingest.parse import FEED_KINDS, GUESSED_KINDS, LIST_KINDS, PAGE_KINDS
from workers.ingest.parse_report import ParseReport
from workers.ingest.parser_pool import ParserPool
from workers.runtime import Clock, Stopwatch

logger = logging.getLogger(__name__)

AT_ONCE = 2


class PreviewConsumer:
    """The loop of one ingest worker that does previews."""

    def __init__(
        self, store: Store, settings: Settings, client: OutboundClient, parser_pool: ParserPool,
        *, now: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._settings = settings
        self._client = client
        self._parser_pool = parser_pool
        self._now = now

    async def run(self, stop: asyncio.Event) -> None:
        """Do previews until stopped, AT_ONCE at a time."""
        faults = self._store.faults
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(
                    runtime.repeat_safely(self._do_one, stop, what="previews", faults=faults)
                )

    async def _do_one(self) -> None:
        request = await self._store.previews.take()
        if request is None:
            return
        name, fields = request
        watch = Stopwatch()
        try:
            answer = await self._preview(orjson.loads(fields))
        except DatelineError as exc:
            answer = {"error": str(exc)}
        except Exception as exc:
            # The one that waits for it gets an answer, too; the loop reports it.
            await self._store.previews.answer(name, _wire({"error": f"an error of ours: {exc!r}"}))
            raise
        await self._store.previews.answer(name, _wire(answer))
        logger.info("previewed", extra={"source": answer.get("url", ""), "ms": watch.ms})

    async def _preview(self, fields: dict[str, Any]) -> dict[str, Any]:
        plain = PreviewRequest.checked(fields, now=self._now()).source
        known = await self._store.sources.get(plain.id)
        request = PreviewRequest.checked(fields, now=self._now(), known=known)
        try:
            page = await self._fetch(request.source)
        except FetchFailed as exc:
            return {"url": exc.url, "error": str(exc)}
        answer, report = await self._read(request, request.source, page, refused=GUESSED_KINDS)
        is_unknown = not request.source.select and not request.is_guess
        is_list = report.kind in LIST_KINDS and bool(report.alternates)
        if (report.error or is_list) and is_unknown and is_page(page):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.fetch_timeout_s):
                    return await self._discovered(request, page, report) or answer
        return answer

    async def _discovered(
        self, request: PreviewRequest, page: Fetched, report: ParseReport
    ) -> dict[str, Any] | None:
        """The preview of the feed of a page, which its first poll would find; None without one."""
        for url in candidates(page.url, report.alternates):
            await asyncio.sleep(self._settings.poll_spacing_s)
            source = request.source.moved(url, "")
            with suppress(FetchFailed, ParseFailed):
                feed = await self._fetch(source)
                answer, feed_report = await self._read(request, source, feed, refused=PAGE_KINDS)
                if feed_report.kind in FEED_KINDS and not feed_report.error:
                    return {**answer, "discovered_on": page.url}
        return None

    async def _fetch(self, source: Source) -> Fetched:
        return await fetch(
            self._client,
            source.url,
            self._settings,
            provenance=typed_by_operator(source.operator_url),
            private=source.private_headers,
            transport=source.transport,
        )

    async def _read(
        self, request: PreviewRequest, source: Source, fetched: Fetched, *, refused: Sequence[str]
    ) -> tuple[dict[str, Any], ParseReport]:
        job = job_of(source, fetched, self._settings, refused=refused)
        job = replace(job, preview=request.limit, is_guess=request.is_guess)
        try:
            report, preview = await self._parser_pool.preview(job, fetched.body)
        except ParseFailed as exc:
            report, preview = ParseReport(error=str(exc)), {}
        answer = {
            "url": fetched.url,
            "kind": report.kind,
            "title": report.title,
            "error": report.error,
            "feeds": [link.url for link in report.alternates],
            "next_page": report.next_url or None,
            **preview,
        }
        return answer, report


def _wire(answer: dict[str, Any]) -> bytes:
    return orjson.dumps(answer)
