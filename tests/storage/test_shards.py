"""Shards: tags that are spread over the slots, and the ones that an archive keeps."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from redis.crc import key_slot

from service.settings import Settings
from service.storage import keys
from service.storage.shards import (
    Shards,
    claim_shards,
    numbered,
    of_new_archive,
    shards_of,
    spread,
)
from service.storage.store import Store, of_client, open_store
from tests.storage.backups import backed_up, restored
from tests.storage.test_storage import NOON, draft


@pytest.mark.parametrize(("masters", "count"), [(1, 1), (2, 2), (3, 3), (3, 6), (4, 64), (5, 1000)])
def test_masters_have_equally_many_spread_shards(masters: int, count: int) -> None:
    """Of m masters with equal parts of the slots each has count / m."""
    shards = spread(count)
    of = Counter(key_slot(keys.dirty(n).encode()) * masters // 16_384 for n in shards)
    assert {count // masters} == set(of.values())
    assert count == len(set(shards))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost/0", (0, 1, 2)),
        ("redis+sentinel://localhost:26379/one", (0, 1, 2)),
        ("redis+sentinel://localhost:26379/one,two", (3, 1, 0)),
        ("redis+cluster://localhost:7000", (3, 1, 0)),
    ],
)
def test_new_archives_on_several_primaries_get_spread_shards(
    tmp_path: Path, url: str, expected: tuple[int, ...]
) -> None:
    """On one they are numbered, as the contract of the stream says."""
    settings = Settings(redis_url=url, shards=3, data_dir=tmp_path)
    assert expected == of_new_archive(settings).tags


async def test_the_first_process_decides(store: Store) -> None:
    """Others get the shards that are there, also if they start at once."""
    await store.client.delete(keys.LAYOUT)
    assert None is await shards_of(store.client)
    async with asyncio.TaskGroup() as group:
        claims = [
            group.create_task(claim_shards(store.client, each))
            for each in (spread(3), numbered(3)) * 5
        ]
    (shards,) = {claim.result() for claim in claims}
    assert shards == await shards_of(store.client)


async def test_an_archive_of_before_has_numbered_shards(store: Store) -> None:
    """It has a count alone."""
    await store.client.delete(keys.LAYOUT)
    await store.client.hset(keys.LAYOUT, "shards", "3")
    assert numbered(3) == await claim_shards(store.client, spread(3))
    assert numbered(3) == await shards_of(store.client)


async def test_a_store_uses_the_shards_of_its_archive(store: Store, settings: Settings) -> None:
    """Articles, events and created categories are under their tags, and nowhere else."""
    await store.client.flushdb()
    shards = Shards((3, 11))
    await claim_shards(store.client, shards)
    async with open_store(settings.model_copy(update={"shards": 2})) as opened:
        drafts = [draft(str(n)) for n in range(20)]
        await opened.articles.append(drafts, now=NOON)
        assert shards == opened.event_stream.shards
        lengths = [await opened.event_stream.length(shard) for shard in shards]
        assert 20 == sum(lengths)
        assert all(lengths)
        assert {"a", "a/b"} == (await opened.articles.category_titles()).keys()
    tags = {key.split(b":")[1] async for key in store.client.scan_iter(match="*", count=100)}
    assert {b"{0}", b"{3}", b"{11}"} == tags
    assert [keys.LAYOUT.encode()] == [
        key async for key in store.client.scan_iter(match="dateline:{0}:*", count=100)
    ]


async def test_a_backup_keeps_the_shards(base: Path, store: Store, target: Store) -> None:
    """And a restore gives them to the new archive."""
    await store.client.flushdb()
    shards = Shards((3, 11))
    await claim_shards(store.client, shards)
    source = of_client(store.client, shards=shards)
    await source.articles.append([draft(str(n)) for n in range(20)], now=NOON)
    await backed_up(source, base / "backup", shards=shards)
    await restored(target, base / "backup", shards=shards)
    assert shards == await shards_of(target.client)
    into = of_client(target.client, shards=shards)
    assert [20] == [sum([await into.event_stream.length(shard) for shard in shards])]
