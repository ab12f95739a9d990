"""Where a backup ends: its articles and events are of one moment, whatever is written meanwhile."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.articles.article import Detail
from service.storage import backup, key_reader, keys
from service.storage.backup import settled
from service.storage.duplicates import Mark
from service.storage.key_reader import PageSize
from service.storage.store import Store
from tests.conftest import NOON
from tests.old_articles import as_hash
from tests.storage.backups import backed_up, drafts, restored
from tests.waiting import within

pytestmark = pytest.mark.one_shard

A, B, C = b"a", b"b", b"c"


@pytest.mark.parametrize(
    ("copied", "later", "expected"),
    [
        ([A, B], [], 0),
        ([A, B], [C, C], 0),
        ([A, B], [A], 1),
        ([A, B], [A, B, A], 3),
        ([A, B], [A, C], 1),
        ([A, B], [A, b"", A, C], 3),
        ([A, B], [C, A], None),
        ([], [A], 0),
    ],
)
def test_the_moment_of_the_copies(
    copied: list[bytes], later: list[bytes], expected: int | None
) -> None:
    """Every copied article is of its newest event in the backup, and every event has its copy."""
    assert expected == settled(copied, later)


async def test_an_article_that_never_rests_does_not_keep_a_backup_from_ending(
    base: Path, store: Store, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a later event whenever it is copied."""
    titles = map(str, itertools.count())
    (draft,) = drafts("Live")
    await store.articles.append([draft], now=NOON)
    read_on = backup.Backup._read_on

    async def and_write(self: Any, shard: int, after: str) -> Any:
        entries = await read_on(self, shard, after)
        # A record: feeds may change an article so many times only without a date.
        draft = drafts("Live", title=next(titles), detail=Detail.RECORD)
        await store.articles.append(draft, now=datetime.now(UTC))
        return entries

    monkeypatch.setattr(backup.Backup, "_read_on", and_write)
    async with within(5):
        await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    (event,) = await target.event_stream.newest(0, count=1)
    fields = await as_hash(target.client, keys.article(0, draft.id))
    assert event.id == orjson.loads(fields[b"head"])["event"]
    assert int(next(titles)) > 1


async def test_a_duplicate_of_what_is_not_in_the_backup_is_shown(
    base: Path, store: Store, target: Store
) -> None:
    """Its original was published after the cut; the duplicate of one that is there stays hidden."""
    (first, second, late) = drafts("First", "Second", "Late")
    await store.articles.append([first, second], now=NOON)
    await store.duplicates.mark_all(
        [
            Mark(article_id=first.id, original=late.id, hidden_in=("all",)),
            Mark(article_id=second.id, original=first.id, hidden_in=("all",)),
        ]
    )
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    articles = await target.articles.get([first.id, second.id])
    assert ["", first.id] == [article.duplicate_of for article in articles if article]
    assert [(), ("all",)] == [article.hidden_in for article in articles if article]
    assert first.id in await target.articles.dirty(before=datetime.now(UTC))


def test_pages_hold_about_as_many_bytes_whatever_the_size_of_the_items() -> None:
    """The first is small, because nothing is known; afterwards the last page decides."""
    page = PageSize()
    first = page.count
    page.note([3_000] * first)
    page.note([3_000] * page.count)
    page.note([3_000] * page.count)
    assert key_reader.PAGE == page.count
    page.note([2_000_000] * 100)
    assert 2 == page.count
    page.note([])
    assert 2 == page.count
    page.note([50_000_000])
    assert 1 == page.count


async def test_memory_is_bounded_by_bytes_and_not_by_articles(
    base: Path, store: Store, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record of a backup of large articles has more than a few of them."""
    large = drafts(*map(str, range(60)), content_html="<p>" + "word " * 100_000 + "</p>")
    for at in range(0, 60, 6):
        await store.articles.append(large[at : at + 6], now=NOON)
    sizes: list[int] = []
    put = backup.RecordWriter.put

    def measured(self: Any, kind: str, key: Any, payload: Any, expires_ms: int = 0) -> None:
        if kind == "stream":
            sizes.append(sum(len(part) for _, fields in payload for part in fields))
        put(self, kind, key, payload, expires_ms)

    monkeypatch.setattr(backup.RecordWriter, "put", measured)
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    assert max(sizes) < 2 * key_reader.PAGE_BYTES
    assert 60 == await target.client.execute_command("XLEN", keys.stream(0))
