"""Poll: sources that are due → fetch → parse → clean → identify → append.

Each poll is claimed by one worker; a claim that is not finished (kill -9) is due again later.
Validators are kept only of a document that was taken in whole.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace
from datetime import tzinfo

import aiohttp

from service import articles as article_rules
from service.articles import Draft
from service.compose import compose
from service.errors import DatelineError, FetchFailed, InvalidInput, Unavailable
from service.retries import retry_after_s
from service.settings import Settings
from service.sources import Poll, Source, next_delay_s
from service.storage.connecting import translated
from service.storage.store import Store
from workers import runtime
from workers.ingest.fetch import USER_AGENT, Fetched, RateLimited, fetch
from workers.ingest.identify import identify
from workers.ingest.parse import Document, parse
from workers.outbound import open_client
from workers.runtime import Clock, Stopwatch
from workers.schedule import ticking

logger = logging.getLogger(__name__)

TICK_S = 1.0
AT_ONCE = 16


class Poller:
    """The loop of one ingest worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now

    async def run(self, stop: asyncio.Event) -> None:
        """Poll what is due, until stopped."""
        async with (
            open_client(self._settings, user_agent=USER_AGENT) as client,
            ticking({"poll": TICK_S}) as ticks,
        ):

            async def unit() -> None:
                await self._poll_due(client)
                await runtime.woken(ticks["poll"], stop, timeout_s=TICK_S)

            await runtime.repeat(unit, stop, what="poll")

    async def _poll_due(self, client: aiohttp.ClientSession) -> None:
        now_ms = article_rules.to_ms(self._now())
        while ids := await self._store.sources.claim(now_ms=now_ms, limit=AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for source_id in ids:
                    group.create_task(self._poll_one(client, source_id))

    async def _poll_one(self, client: aiohttp.ClientSession, source_id: str) -> None:
        source = await self._store.sources.get(source_id)
        if source is None or source.paused:
            return
        before = await self._store.sources.poll(source_id)
        watch = Stopwatch()
        try:
            with translated():
                after = await self._take_in(client, source, before)
        except Unavailable:
            return  # The claim lapses, and the source is due again.
        except DatelineError as exc:
            after = self._failed(before, exc)
        except Exception as exc:
            # The border: a document that our own code stumbles over costs its source a poll.
            logger.exception("a poll failed", extra={"source": source.url})
            after = self._failed(before, DatelineError(f"an error of ours: {exc!r}"))
        await self._store.sources.finish(source_id, after)
        extra = {"source": source.url, "result": after.result, "ms": watch.ms}
        logger.log(logging.WARNING if after.failures else logging.INFO, "polled", extra=extra)

    async def _take_in(self, client: aiohttp.ClientSession, source: Source, before: Poll) -> Poll:
        fetched = await fetch(
            client,
            source.url,
            self._settings,
            etag=before.etag,
            last_modified=before.last_modified,
        )
        if fetched.status == 304:
            return self._succeeded(before, fetched, "not modified")
        document, drafts, rejects = await asyncio.to_thread(
            read, fetched, source, self._settings.timezone
        )
        if not document.is_whole:
            fetched = replace(fetched, etag="", last_modified="")
        receipts = await self._store.articles.append(drafts, now=self._now())
        new = sum(receipt.status != "unchanged" for receipt in receipts)
        result = f"{len(receipts)} articles, {new} new or updated, {len(rejects)} rejected"
        return self._succeeded(before, fetched, result)

    def _succeeded(self, before: Poll, fetched: Fetched, result: str) -> Poll:
        return self._due(
            replace(
                before,
                # A 304 may leave validators out; those we have still hold then.
                etag=fetched.etag or (before.etag if fetched.status == 304 else ""),
                last_modified=fetched.last_modified
                or (before.last_modified if fetched.status == 304 else ""),
                failures=0,
                result=result,
            )
        )

    def _failed(self, before: Poll, exc: DatelineError) -> Poll:
        asked_s = isinstance(exc, RateLimited) and retry_after_s(exc.retry_after, self._now())
        failures = before.failures + 1
        if isinstance(exc, FetchFailed) and exc.permanent:
            # Asked again rarely, but asked: sites come back after years.
            failures += 3
        return self._due(replace(before, failures=failures, result=str(exc)), asked_s or 0.0)

    def _due(self, poll: Poll, retry_after_s: float = 0.0) -> Poll:
        now = self._now()
        delay_s = next_delay_s(
            failures=poll.failures,
            retry_after_s=retry_after_s,
            settings=self._settings,
            chance=random.random(),  # noqa: S311 -- jitter
        )
        return replace(
            poll,
            polled=article_rules.to_rfc3339(now),
            due_ms=article_rules.to_ms(now) + int(delay_s * 1000),
        )


def read(
    fetched: Fetched, source: Source, zone: tzinfo
) -> tuple[Document, list[Draft], list[InvalidInput]]:
    """What was fetched. Raises ParseFailed if it is nothing that can be read."""
    document = parse(fetched.body, url=fetched.url, content_type=fetched.content_type, zone=zone)
    drafts, rejects = compose_all(
        document, name=source.url, category=source.category, url=source.url
    )
    return document, drafts, rejects


def compose_all(
    document: Document, *, name: str, category: str = "", url: str = ""
) -> tuple[list[Draft], list[InvalidInput]]:
    """Drafts of a document's entries, and why the others are none.

    Args:
        name: of the file or URL, for pages without a link.
        category: instead of those that the entries name.
        url: where the document was asked for; decides for it who it may speak for.
    """
    document = replace(document, url=url or document.url)
    drafts, rejects = [], []
    for entry in document.entries:
        source, guid = identify(document, entry, name=name)
        if category:
            entry = replace(entry, categories=(category,))
        try:
            drafts.append(compose(entry, source=source, guid=guid))
        except InvalidInput as exc:
            rejects.append(exc)
    return drafts, rejects
