"""The categories that a source may create, for each way in of an ingest worker."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from service.manage import sources
from service.settings import Settings
from service.storage.store import Store, open_store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import add, articles, polled, polling
from tests.waiting import wait_until
from workers.http_client import open_client
from workers.ingest.importer import Importer, Summary


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A source may create three."""
    return settings.model_copy(update={"max_categories_per_source": 3})


def rss(site: FakeSite, first: int, last: int) -> str:
    """A feed of articles, each in a category of its own."""
    items = "".join(
        f"<item><guid>{site.url}/{number}</guid><title>Number {number}</title>"
        f"<category>K {number}</category></item>"
        for number in range(first, last)
    )
    return f"<rss version='2.0'><channel><title>t</title>{items}</channel></rss>"


async def import_from(store: Store, settings: Settings, target: str) -> Summary:
    """Import a file or URL, and return what became of it."""
    async with open_client(settings, user_agent="t") as client:
        importer = Importer(store, settings, client, now=Clock())
        await importer.take(target, progress=lambda _: None)
        return importer.summary


async def test_polls_and_pushes_of_a_hub_count_for_the_source(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Its articles are all kept, and its note says so, in the list and alone."""
    site.put("/f", rss(site, 0, 2))
    async with open_store(settings, check=False) as capped, polling(capped, settings, clock):
        source_id = await add(capped, f"{site.url}/f", clock)
        await polled(capped, source_id, "2 articles, 2 new")
        pushed = rss(site, 2, 6).encode()
        assert await capped.our_subscriptions.push(
            source_id, pushed, "application/rss+xml", host="x"
        )

        async def all_there() -> bool:
            return 6 == len(await articles(store))

        await wait_until(all_there)
    filed = sorted(path for article in await articles(store) for path in article.categories)
    assert ["k-0", "k-1", "k-2"] == filed
    source = await sources.find(store, source_id)
    shown = await sources.to_public(store, source, now=clock())
    assert 3 == shown["categories_created"]
    assert shown["note"].startswith("has created 3 categories and may create no more since 2026")
    (listed,) = await sources.with_categories(store, [source])
    assert (shown["note"], 3) == (listed["note"], listed["categories_created"])


async def test_what_the_operator_files_under_is_free(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A mapping to more categories than a source may create is the operator's word."""
    site.put("/f", rss(site, 0, 12))
    mapping = {f"K {number}": f"Ours/{number} Desk" for number in range(8)}
    async with open_store(settings, check=False) as capped:
        fields = {"url": f"{site.url}/f", "mapping": mapping}
        source, _ = await sources.add(capped, fields, now=clock())
        async with polling(capped, settings, clock):
            await polled(capped, source.id, "12 articles, 12 new")
    titles = set(await store.articles.category_titles())
    assert {"ours", *(f"ours/{number}-desk" for number in range(8))} <= titles
    assert 12 == len(titles)
    assert 3 == (await store.category_limit.of(source.id)).created


async def test_imports_are_held_to_it_but_for_exports(
    store: Store, settings: Settings, site: FakeSite, tmp_path: Path
) -> None:
    """A document of somebody else is, each file for itself, also one of an odd name; an export of
    the operator's own archive keeps its categories."""
    (tmp_path / "feed.xml").write_text(rss(site, 0, 6))
    lines = [
        {"source": "http://two.example", "guid": str(n), "title": "t", "categories": [f"Two {n}"]}
        for n in range(6)
    ]
    (tmp_path / "archive.ndjson").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    nameless = [{"guid": str(n), "title": "t", "categories": [f"No {n}"]} for n in range(6)]
    (tmp_path / "nameless.ndjson").write_bytes(b"\n".join(map(orjson.dumps, nameless)))
    async with open_store(settings, check=False) as capped:

        async def created_by(target: str) -> int:
            before = len(await capped.articles.category_titles())
            summary = await import_from(capped, settings, target)
            assert {"new": 6} == dict(summary.counts), summary.rejects
            return len(await capped.articles.category_titles()) - before

        assert 3 == await created_by(str(tmp_path / "feed.xml"))
        assert 6 == await created_by(str(tmp_path / "archive.ndjson"))
        assert 3 == await created_by(str(tmp_path / "nameless.ndjson"))
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b.xml"))
        odd.write_text(rss(site, 10, 16))
        assert 3 == await created_by(str(odd))
