"""The layout of the data: noted, brought up to date, refused if it is a newer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from service.errors import StartFailed
from service.settings import Settings
from service.storage import backup_files, keys, layout
from service.storage.backup_files import BackupFault, Manifest, read_manifest
from service.storage.server_check import check_server
from service.storage.shards import ONE
from service.storage.store import Store, open_store
from tests.conftest import NOON
from tests.storage.backups import backed_up, drafts, restored

pytestmark = pytest.mark.one_shard


async def test_an_empty_redis_gets_the_present_layout(
    settings: Settings, store: Store, redis: Redis
) -> None:
    """And so does an archive of a version that noted none."""
    await redis.hset(keys.LAYOUT, "shards", "1")
    async with open_store(settings):
        assert str(layout.VERSION).encode() == await redis.hget(keys.LAYOUT, "version")


async def test_a_newer_layout_is_refused(settings: Settings, store: Store, redis: Redis) -> None:
    """With the version that wrote it and what to do; nothing is changed."""
    await redis.hset(keys.LAYOUT, mapping={"shards": "1", "version": "99"})
    with pytest.raises(StartFailed, match=r"layout 99; this one knows \d+"):
        async with open_store(settings):
            pass
    assert b"99" == await redis.hget(keys.LAYOUT, "version")


async def test_what_the_open_hub_left_is_removed(
    settings: Settings, store: Store, redis: Redis
) -> None:
    """Once, on the way to layout 1."""
    await redis.hset("dateline:{0}:hub:pinged", "topic", "1")
    await redis.hset("dateline:{0}:hub:content:topic", "body", "1")
    async with open_store(settings):
        pass
    assert [] == await redis.keys("dateline:{0}:hub:*")


async def with_layout_0(store: Store, folder: Path) -> Manifest:
    """A backup of an archive of layout 0, with what only that layout has."""
    client: Any = store.client
    await client.hset(keys.LAYOUT, "shards", "1")
    await store.articles.append(drafts("One"), now=NOON)
    await client.hset("dateline:{0}:hub:pinged", "topic", "1")
    manifest = await backed_up(store, folder)
    await client.delete("dateline:{0}:hub:pinged")
    return manifest


@pytest.mark.parametrize("was_started", [False, True])
async def test_a_backup_of_an_older_layout_is_migrated(
    base: Path, store: Store, target: Store, was_started: bool
) -> None:
    """Also where a newer process has noted its layout in the empty Redis."""
    assert 0 == (await with_layout_0(store, base / "backup")).layout
    client: Any = target.client
    if was_started:
        await check_server(target.client, shards=ONE, allow_volatile=True)
        await layout.migrate(target.client)
    await restored(target, base / "backup")
    assert [] == await client.keys("dateline:{0}:hub:*")
    expected = {b"shards": b"1", b"version": str(layout.VERSION).encode()}
    assert expected == await client.hgetall(keys.LAYOUT)
    assert None not in await target.articles.get([drafts("One")[0].id])


def rewritten(folder: Path, **changes: Any) -> None:
    """Give a manifest other fields, None for none, and the checksum that they have."""
    path = folder / backup_files.MANIFEST
    fields = {**orjson.loads(path.read_bytes()), **changes}
    kept = {k: v for k, v in fields.items() if v is not None and k != "sha256"}
    sha256 = backup_files.digest_of(kept)
    path.write_bytes(orjson.dumps({**kept, "sha256": sha256}))


async def test_a_backup_of_format_1_says_its_layout_in_its_records(
    base: Path, store: Store, target: Store
) -> None:
    """The version before wrote no layout into the manifest."""
    await with_layout_0(store, base / "backup")
    rewritten(base / "backup", layout=None, format=1)
    assert read_manifest(base / "backup").layout is None
    await restored(target, base / "backup")
    assert [] == await target.client.execute_command("KEYS", "dateline:{0}:hub:*")


async def test_a_backup_of_a_newer_layout_is_refused(
    base: Path, store: Store, target: Store
) -> None:
    """With the version that wrote it, and before anything is written."""
    client: Any = store.client
    await client.hset(keys.LAYOUT, mapping={"shards": "1", "version": "99"})
    await backed_up(store, base / "backup")
    rewritten(base / "backup", version="9.9")
    with pytest.raises(BackupFault, match=r"layout 99, and this .* restore it with dateline 9.9"):
        await restored(target, base / "backup")
    assert [] == await target.client.execute_command("KEYS", "*")


async def test_a_migration_during_a_backup_ends_it(
    base: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would have one layout, and half another."""
    from service.storage.backup import Backup, DatelineError

    copy_views = Backup._copy_views

    async def and_migrate(self: Backup) -> None:
        await copy_views(self)
        await layout.migrate(store.client)

    monkeypatch.setattr(Backup, "_copy_views", and_migrate)
    with pytest.raises(DatelineError, match="take it again"):
        await backed_up(store, base / "backup")
