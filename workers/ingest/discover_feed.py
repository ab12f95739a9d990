"""Discover: the first feed that a page names, or that has one of the usual paths of feeds.

Done once, at the first poll of a source whose URL is a page without articles. Which URLs are tried
is decided in candidates.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from service.errors import FetchFailed, ParseFailed
from service.settings import Settings
from service.sources.source import Source
from workers.ingest.candidates import candidates
from workers.ingest.fetch import Fetched
from workers.ingest.intake import AppendedDocument, Intake
from workers.ingest.parse import FEED_KINDS, PAGE_KINDS

# Fetches a source without validators; raises FetchFailed.
Fetch = Callable[[Source], Awaitable[Fetched]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredFeed:
    """A feed that was found in place of a page, and appended."""

    url: str
    """The URL to poll from now on."""
    fetched: Fetched
    appended: AppendedDocument


def is_page(fetched: Fetched) -> bool:
    """Whether a document is HTML, by its first characters or by its Content-Type."""
    head = fetched.body[:512].lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html")) or "html" in fetched.content_type.lower()


async def discover_feed(
    source: Source, page: Fetched, appended: AppendedDocument, *, fetch: Fetch, intake: Intake,
    settings: Settings,
) -> DiscoveredFeed:  # fmt: skip
    """Find the feed of a page and append it.

    Args:
        page, appended: what the source's own URL answered.

    Raises:
        ParseFailed: there is no feed, or none was found within FETCH_TIMEOUT_S.
    """
    report = appended.report
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.fetch_timeout_s):
            for url in candidates(page.url, report.alternates):
                await asyncio.sleep(settings.poll_spacing_s)
                feed = await _feed_at(url, source, fetch, intake)
                if feed is not None:
                    return feed
    raise ParseFailed(f"{report.error}, and no feed was found for it")


async def _feed_at(url: str, source: Source, fetch: Fetch, intake: Intake) -> DiscoveredFeed | None:
    try:
        fetched = await fetch(source.moved(url, ""))
        feed_url = fetched.moved_to or url
        moved = source.moved(feed_url, "")
        appended = await intake.append_document(
            moved, fetched, refused=PAGE_KINDS, withholds_teasers=True
        )
    except (FetchFailed, ParseFailed):
        return None
    if appended.report.error or appended.report.kind not in FEED_KINDS:
        return None
    return DiscoveredFeed(url=feed_url, fetched=fetched, appended=appended)
