"""Next pages: those after the first one of a page or API that is read with selectors.

They are followed while they bring new articles, which is far back at the first poll of a source,
and hardly ever later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from service.errors import FetchFailed, ParseFailed
from service.http import host_of
from service.settings import Settings
from service.sources.source import Source
from workers.ingest.fetch import Fetched
from workers.ingest.intake import AppendedDocument, Intake

# Fetches a source without validators; raises FetchFailed.
Fetch = Callable[[Source], Awaitable[Fetched]]


async def append_next_pages(
    source: Source, first: Fetched, appended: AppendedDocument, *, fetch: Fetch, intake: Intake,
    settings: Settings,
) -> AppendedDocument:  # fmt: skip
    """Append the pages that follow the first one, up to SELECT_MAX_PAGES with it, and as far as
    FETCH_TIMEOUT_S suffices. A page that fails is a reject; what came before it stays.

    Returns:
        The first document, with the counts, rejects and dropped entries of all pages.
    """
    visited = {first.url}
    url, is_new = appended.report.next_url, appended.counts["created"] > 0
    try:
        async with asyncio.timeout(settings.fetch_timeout_s):
            while (
                url and is_new and url not in visited and len(visited) < settings.select_max_pages
            ):
                # What another site has is not this source's, and its headers are not for it.
                if host_of(url) != host_of(first.url):
                    break
                visited.add(url)
                await asyncio.sleep(settings.poll_spacing_s)
                page = await _appended(source, url, fetch, intake)
                url, is_new = page.report.next_url, page.counts["created"] > 0
                appended = replace(
                    appended,
                    counts=appended.counts + page.counts,
                    rejects=[*appended.rejects, *page.rejects],
                    dropped=appended.dropped + page.dropped,
                )
    except (FetchFailed, ParseFailed) as exc:
        return _with_reject(appended, str(exc))
    except TimeoutError:
        return _with_reject(appended, f"{url}: no time is left for this page")
    return appended


async def _appended(
    source: Source, url: str, fetch: Fetch, intake: Intake
) -> AppendedDocument:  # fmt: skip
    fetched = await fetch(source.moved(url, ""))
    appended = await intake.append_document(source, fetched, refused=())
    if appended.report.error:
        raise ParseFailed(f"{url}: {appended.report.error}")
    return appended


def _with_reject(appended: AppendedDocument, reason: str) -> AppendedDocument:
    return replace(appended, rejects=[*appended.rejects, f"next page: {reason}"])
