"""`dateline export`, and `dateline import` of what it wrote: nothing changes by the way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient

from service.articles.article import Article, Entry
from service.articles.compose import compose
from service.articles.input import entry_from_json
from service.settings import Settings
from service.storage.store import Store
from tests.articles.test_podcast import WHOLE
from tests.conftest import AUTH, NOON
from tests.running import call
from workers.ingest.documents import ParseJob, read_document
from workers.ingest.parse_report import LeftOut

NOW = datetime(2026, 1, 5, 12, 30, 1, 250_000, tzinfo=UTC)
FUTURE = datetime(2099, 1, 1, tzinfo=UTC)
ENTRIES = (
    Entry(guid="dated", title="A", published=NOW.replace(year=2017), raw_published="22/12/2017"),
    Entry(guid="undated", title="Tom & Ann", content_html="<p>x</p>", categories=("A B/C: D",)),
    Entry(guid="unreadable date", title="A", raw_published="the day before yesterday"),
    Entry(guid="future", title="A", published=FUTURE, raw_published="2099-01-01T00:00:00Z"),
    Entry(guid="rss", title="A", published=FUTURE, raw_published="Thu, 01 Jan 2099 00:00:00 GMT"),
    Entry(guid="summary", summary="Only <b>a</b> summary.\n\nOf two lines."),
    Entry(guid="picture", url="http://s.example/p", content_html='<img src="http://s.example/p">'),
    Entry(guid="breaks", title="A", content_html="<p>One<br>two</p><ul><li>a</li></ul><pre>b\nc"),
    Entry(guid="episode", title="A", podcast=WHOLE),
)


async def articles(store: Store) -> dict[str, Article]:
    """Guid → article of everything in the archive."""
    ids = [i async for chunk in store.articles.all_ids() for i in chunk]
    return {a.guid: a for a in await store.articles.get(ids) if a}


async def export_to(file: Path, settings: Settings) -> None:
    """Write all articles to a file."""
    status, out, err = await call("export", cwd=file.parent, REDIS_URL=settings.redis_url)
    assert (0, "") == (status, err)
    file.write_text(out)


async def import_from(file: Path, settings: Settings) -> str:
    """The summary of an import."""
    status, out, err = await call(
        "import", str(file), cwd=file.parent, REDIS_URL=settings.redis_url
    )
    assert 0 == status, err
    return out.splitlines()[0]


async def test_an_export_changes_nothing_in_its_own_archive(
    store: Store, settings: Settings, tmp_path: Path, aggregating: None
) -> None:
    """Whatever dates its articles have or have not; nor in the archive that it was restored to."""
    drafts = [compose(entry, source="http://s.example/") for entry in ENTRIES]
    await store.articles.append(drafts, now=NOW)
    before = await articles(store)
    file = tmp_path / "all.ndjson"
    unchanged = f"0 new, 0 updated, {len(ENTRIES)} unchanged, 0 rejected"
    await export_to(file, settings)
    assert unchanged == await import_from(file, settings)
    assert before == await articles(store)
    await store.client.flushdb()
    assert f"{len(ENTRIES)} new, 0 updated, 0 unchanged, 0 rejected" == await import_from(
        file, settings
    )
    after = await articles(store)
    assert before == after
    assert "C: D" == (await store.articles.category_titles())["a-b/c-d"]
    await export_to(file, settings)
    assert unchanged == await import_from(file, settings)


async def test_an_edited_date_is_a_correction(
    store: Store, settings: Settings, tmp_path: Path, aggregating: None
) -> None:
    """Not taken for the one that the archive gave."""
    entries = [entry for entry in ENTRIES if entry.guid in ("dated", "undated", "future")]
    await store.articles.append([compose(e, source="http://s.example/") for e in entries], now=NOW)
    file = tmp_path / "all.ndjson"
    await export_to(file, settings)
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    edited = [orjson.dumps({**fields, "published": "2011-11-11T11:11:11Z"}) for fields in lines]
    file.write_bytes(b"\n".join(edited))
    assert "0 new, 0 updated, 3 corrected, 0 unchanged, 0 rejected" == await import_from(
        file, settings
    )
    published = {article.published for article in (await articles(store)).values()}
    assert {datetime(2011, 11, 11, 11, 11, 11, tzinfo=UTC)} == published


async def test_exports_of_the_version_before_change_nothing(
    store: Store, settings: Settings, tmp_path: Path, aggregating: None
) -> None:
    """They had the time of acceptance as `published`, and nothing that says so."""
    drafts = [compose(entry, source="http://s.example/") for entry in ENTRIES]
    await store.articles.append(drafts, now=NOW)
    file = tmp_path / "all.ndjson"
    file.write_bytes(b"\n".join(a.to_json() for a in (await articles(store)).values()))
    assert f"0 new, 0 updated, {len(ENTRIES)} unchanged, 0 rejected" == await import_from(
        file, settings
    )


@pytest.mark.timeout(90)
async def test_history_and_withdrawals_come_back(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """An archive that does not know an article takes over what another one decided; one that knows
    it does not; and --live leaves out what was withdrawn."""
    changed = replace(ENTRIES[0], title="B", updated=NOW.replace(year=2020))
    await store.articles.append([compose(ENTRIES[0], source="s")], now=NOW)
    await store.articles.append([compose(changed, source="s")], now=NOW.replace(hour=13))
    (gone,) = await store.articles.append([compose(ENTRIES[1], source="s")], now=NOW)
    await store.articles.withdraw(gone.id, now=NOW.replace(hour=14))
    before = await articles(store)
    assert [2, 2] == [article.revision for article in before.values()]
    file = tmp_path / "all.ndjson"
    await export_to(file, settings)
    status, out, _ = await call("export", "--live", cwd=tmp_path, REDIS_URL=settings.redis_url)
    assert [0, ["dated"]] == [status, [orjson.loads(line)["guid"] for line in out.splitlines()]]
    await store.client.flushdb()
    assert "2 new, 0 updated, 0 unchanged, 0 rejected" == await import_from(file, settings)
    assert before == await articles(store)
    events = await store.event_stream.newest(0, count=10)
    assert {"published", "withdrawn"} == {event.type.split(".")[2] for event in events}
    await store.client.flushdb()
    await store.articles.append([compose(ENTRIES[1], source="s")], now=NOW)
    assert "1 new, 0 updated, 1 corrected, 0 unchanged, 0 rejected" == (
        await import_from(file, settings)
    )
    known = (await articles(store))["undated"]
    assert ("live", 1) == (known.status, known.revision)


def test_a_history_that_no_archive_writes_is_ignored() -> None:
    """As storage does that decides these fields."""
    odd = {"status": "gone", "revision": True, "first_seen": "yesterday"}
    assert entry_from_json({"title": "A"}) == entry_from_json({"title": "A", **odd})


async def test_a_push_does_not_publish_what_was_withdrawn(
    client: TestClient[Any, Any], store: Store
) -> None:
    """An export that is posted line by line: its live articles are taken, and begin anew."""
    lines = [
        {"guid": "a", "title": "A", "revision": 7, "first_seen": "2020-01-01T00:00:00Z"},
        {"guid": "b", "title": "B", "status": "withdrawn"},
    ]
    async with client.post("/api/v1/articles", json=lines, headers=AUTH) as response:
        taken, refused = await response.json()
    assert (1, "rejected", "status") == (
        taken["revision"], refused["status"], refused["error"]["field"],
    )  # fmt: skip
    assert NOON == (await articles(store))["a"].first_seen


def test_a_poll_does_not_publish_what_was_withdrawn() -> None:
    """A site that serves an export is a stranger."""
    body = b'{"title": "A", "status": "withdrawn"}\n{"title": "B", "revision": 9}'
    results = list(read_document(ParseJob(url="http://x.example/"), body))
    (article,) = (each for batch in results if isinstance(batch, list) for each in batch)
    (left_out,) = (each for each in results if isinstance(each, LeftOut))
    assert "" == article.history
    assert ["status"] == [reason.partition(":")[0] for reason in left_out.rejects]
