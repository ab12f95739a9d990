"""Polling and importing into a real store."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service import sources
from service.articles import to_ms
from service.settings import Settings
from service.sources import Poll
from service.storage.store import Store
from tests.conftest import Clock, wait_until
from tests.fakes import FakeSite
from workers.ingest.files import Importer, Summary, expand
from workers.ingest.poll import Poller
from workers.outbound import open_client

DATA = Path(__file__).parent / "data"
RSS = (DATA / "k2.rss").read_text()


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """A site that is up."""
    async with FakeSite() as opened:
        yield opened


async def take(
    store: Store, settings: Settings, *targets: str | Path, category: str = ""
) -> Summary:
    """Import."""
    async with open_client(settings, user_agent="t") as client:
        importer = Importer(
            store, settings, client, now=lambda: datetime.now(UTC), category=category
        )
        for target in expand([str(target) for target in targets]):
            await importer.take(target, progress=lambda _: None)
        return importer.summary


async def test_importing_again_changes_nothing_and_an_edit_updates(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """A page saved as text, known by its file, wherever that lies."""
    page = tmp_path / "page.txt"
    shutil.copy(DATA / "page.txt", page)
    assert {"new": 1} == dict((await take(store, settings, page)).counts)
    assert {"unchanged": 1} == dict((await take(store, settings, page)).counts)
    page.write_text(page.read_text().replace("Wednesday", "Thursday"))
    assert {"updated": 1} == dict((await take(store, settings, page)).counts)
    (tmp_path / "b").mkdir()
    moved = page.rename(tmp_path / "b" / "page.txt")
    assert {"unchanged": 1} == dict((await take(store, settings, moved)).counts)


async def test_two_pages_of_one_name_and_day_are_two_articles(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """What shares neither title nor paragraph is no edit; again, nothing changes."""
    for folder, words in (("a", "One story."), ("b", "Quite another.")):
        (tmp_path / folder).mkdir()
        text = f"News\n5 January 2026 In News\n\n{words}\n"
        (tmp_path / folder / "page.txt").write_text(text)
    assert {"new": 2} == dict((await take(store, settings, tmp_path)).counts)
    assert {"unchanged": 2} == dict((await take(store, settings, tmp_path)).counts)


async def test_a_folder_of_all_forms_settles(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """List, item page, feed and JSON of one site: the second import finds nothing to do, and the
    full text stands."""
    for name in ("k2_date.html", "k2_item.html", "k2.rss", "k2.json"):
        shutil.copy(DATA / name, tmp_path)
    first = await take(store, settings, tmp_path)
    assert (2, 1) == (first.counts["new"], first.counts["rejected"])
    second = await take(store, settings, tmp_path)
    assert (0, 0, 5) == tuple(second.counts[n] for n in ("new", "updated", "unchanged"))
    ids = [i async for chunk in store.articles.all_ids() for i in chunk]
    articles = {a.title: a for a in await store.articles.get(ids) if a}
    assert "nine weeks" in articles["Crane stands again"].content_html


async def test_what_cannot_be_read_is_listed_with_its_reason(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """A missing file, an empty one, one wrong line; the rest is kept. Hidden files are left out."""
    (tmp_path / "empty.rss").write_text("")
    (tmp_path / "some.ndjson").write_text('{"title": "One"}\n{"titel": "x"}\n')
    (tmp_path / ".hidden").write_text("x")
    summary = await take(store, settings, tmp_path, tmp_path / "missing.rss")
    assert (1, 3) == (summary.counts["new"], summary.counts["rejected"])
    reasons = {Path(r["where"]).name: r["reason"] for r in summary.rejects}
    assert "is empty" == reasons["empty.rss"]
    assert "No such file or directory" == reasons["missing.rss"]
    assert reasons["some.ndjson, line 2"].startswith("titel: ")


async def test_category_files_everything_there(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """Whatever the input says."""
    await take(store, settings, DATA / "k2.rss", category="Mine/Here")
    ids = [i async for chunk in store.articles.all_ids() for i in chunk]
    (article,) = await store.articles.get(ids)
    assert article
    assert ("mine/here",) == article.categories
    assert "Here" == (await store.articles.category_titles())["mine/here"]


async def test_opml_adds_sources(store: Store, settings: Settings) -> None:
    """With their folders as category; again adds none."""
    assert {"sources": 2} == dict((await take(store, settings, DATA / "list.opml")).counts)
    assert {"unchanged": 2} == dict((await take(store, settings, DATA / "list.opml")).counts)
    found = {source.url: source.category for source in await store.sources.all()}
    assert {"http://a.example/feed": "News/Boats Ships", "http://b.example/feed": ""} == found


async def test_a_url_is_imported(store: Store, settings: Settings, site: FakeSite) -> None:
    """Once; a 404 is a reject."""
    site.put("/f", RSS)
    assert {"new": 1} == dict((await take(store, settings, f"{site.url}/f")).counts)
    summary = await take(store, settings, f"{site.url}/nope")
    assert f"{site.url}/nope: answered 404" == summary.rejects[0]["reason"]


@asynccontextmanager
async def polling(store: Store, settings: Settings, clock: Clock) -> AsyncIterator[None]:
    """An ingest worker at work."""
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Poller(store, settings, now=clock).run(ended))
        yield
        ended.set()


async def add(store: Store, url: str, clock: Clock) -> str:
    """A source that is due."""
    source = sources.make({"url": url}, created=clock())
    await store.sources.add(source, due_ms=to_ms(clock()))
    return source.id


async def polled(store: Store, source_id: str, text: str) -> Poll:
    """The last poll, once its result contains a text."""

    async def done() -> Poll | None:
        poll = await store.sources.poll(source_id)
        return poll if text in poll.result else None

    found = await wait_until(done)
    assert isinstance(found, Poll)
    return found


async def test_a_source_is_polled_when_due_and_not_before(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """First at once; then, with its validators, after about POLL_DEFAULT_S."""
    site.put("/f", RSS, ETag='"1"', Last_Modified="Mon, 05 Jan 2026 10:30:20 GMT")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        poll = await polled(store, source_id, "1 articles, 1 new")
        assert ('"1"', 0) == (poll.etag, poll.failures)
        due_s = (poll.due_ms - to_ms(clock())) / 1000
        assert 0.9 * settings.poll_default_s <= due_s <= 1.1 * settings.poll_default_s
        site.put("/f", status=304)
        clock.move(seconds=due_s - 1)
        await asyncio.sleep(1.2)  # a tick passes
        assert 1 == len(site.requests)
        clock.move(seconds=2)
        await polled(store, source_id, "not modified")
    headers = site.requests[1].headers
    assert '"1"' == headers["If-None-Match"]
    assert "Mon, 05 Jan 2026 10:30:20 GMT" == headers["If-Modified-Since"]
    assert '"1"' == (await store.sources.poll(source_id)).etag


async def test_a_feed_that_is_cut_is_read_but_its_validators_are_not_kept(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """What is there is taken in; the rest comes with the next poll."""
    site.put("/f", RSS[: RSS.index("</channel>")], ETag='"cut"')
    async with polling(store, settings, clock):
        poll = await polled(store, await add(store, f"{site.url}/f", clock), "1 new")
    assert ("", 0) == (poll.etag, poll.failures)


@pytest.mark.parametrize("body", ["", "no feed", RSS[:200]])
async def test_validators_of_what_cannot_be_read_are_not_kept(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, body: str
) -> None:
    """Or the next poll would be told that nothing changed."""
    site.put("/f", body, ETag='"broken"')
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)

        async def failed() -> bool:
            return (await store.sources.poll(source_id)).failures > 0

        await wait_until(failed)
    assert "" == (await store.sources.poll(source_id)).etag


async def test_retry_after_is_obeyed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """429 for four hours: not before that."""
    site.put("/f", status=429, Retry_After="14400")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        poll = await polled(store, source_id, "answered 429")
    assert (poll.due_ms - to_ms(clock())) / 1000 >= 0.9 * 14_400


async def test_a_paused_or_removed_source_is_left_alone(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Neither is fetched, nor does a poll under way bring it back."""
    site.put("/f", RSS)
    paused = sources.make({"url": f"{site.url}/f"}, created=clock())
    await store.sources.add(paused.with_paused(True), due_ms=0)
    removed = await add(store, f"{site.url}/g", clock)
    await store.sources.remove(removed)
    await store.sources.finish(removed, Poll(due_ms=5))
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f?x", clock)
        await polled(store, source_id, "1 new")
    assert ["/f?x"] == [request.raw_path for request in site.requests]
    assert None is await store.sources.get(removed)


async def test_a_claim_goes_to_one_worker_and_lapses(store: Store, clock: Clock) -> None:
    """Two workers never poll one source at once; after a kill -9 it is due again."""
    source_id = await add(store, "http://x.example/", clock)
    now = to_ms(clock())
    assert [source_id] == await store.sources.claim(now_ms=now, limit=5)
    assert [] == await store.sources.claim(now_ms=now, limit=5)
    assert [source_id] == await store.sources.claim(now_ms=now + 120_000, limit=5)


@pytest.mark.parametrize(
    ("failures", "retry_after_s", "low", "high"),
    [(0, 0, 1_800, 1_800), (1, 0, 3_600, 3_600), (3, 0, 14_400, 14_400), (99, 0, 86_400, 86_400),
     (0, 50_000, 50_000, 50_000), (1, 9e9, 86_400, 86_400)],
)  # fmt: skip
def test_delays(
    settings: Settings, failures: int, retry_after_s: float, low: float, high: float
) -> None:
    """Doubled at each failure, capped, never given up, ± 10 %."""

    def delay(chance: float) -> float:
        return sources.next_delay_s(
            failures=failures, retry_after_s=retry_after_s, settings=settings, chance=chance
        )

    assert (pytest.approx(0.9 * low), pytest.approx(1.1 * high)) == (delay(0), delay(1))
