"""Copies of the texts of erased articles in Redis."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from service.feeds.page import Page, Period
from service.storage.client import each_primary
from service.storage.rendered_pages import Rendered
from service.storage.store import Store


async def test_many_ids_at_once_do_not_stop_redis(store: Store) -> None:
    """However many articles are erased, each page is looked at once."""
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(2_000)]
    body = b"".join(b"<guid>urn:uuid:%b</guid>" % i.encode() + b"some words " * 90 for i in ids)
    page = Rendered(version="1", body=body, changed_ms=1, etag="e", entry_digests=b"")
    days = [Page("all", Period(2017, 12, day)) for day in range(1, 6)]
    await store.rendered_pages.save([(day, "rss", page) for day in days])
    others = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"other {number}")) for number in range(1_000)]

    async def scrub_us(article_ids: Sequence[str]) -> int:
        await store.client.execute_command("CONFIG RESETSTAT")
        assert 0 == (await store.erasures.scrub(article_ids, since=None)).pages
        stats = [await each.info("commandstats") for _, each in await each_primary(store.client)]
        return sum(int(each.get("cmdstat_evalsha", {"usec": 0})["usec"]) for each in stats)

    await scrub_us(others[:1])
    assert await scrub_us(others) < 10 * await scrub_us(others[:1]) + 100_000
    assert 5 == (await store.erasures.scrub([*others, ids[-1]], since=None)).pages
