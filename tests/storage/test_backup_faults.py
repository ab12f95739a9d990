"""Backups that are half, altered or foreign, and a Redis that cannot take one."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.errors import StartFailed
from service.settings import Settings
from service.storage import backup, keys
from service.storage import restore as restore_module
from service.storage.backup_files import (
    MANIFEST,
    BackupFault,
    new_folder,
    read_manifest,
    records,
    verify,
)
from service.storage.server_check import check_server
from service.storage.shards import ONE, numbered
from service.storage.store import Store
from tests.conftest import NOON
from tests.storage.backups import (
    backed_up,
    contents,
    drafts,
    filled,
    kept,
    restored,
)

pytestmark = pytest.mark.one_shard

ARTICLES = "articles.msgpack.zst"


def cut_short(folder: Path) -> None:
    """A copy that ended too early."""
    data = (folder / ARTICLES).read_bytes()
    (folder / ARTICLES).write_bytes(data[:-1])


def one_bit(folder: Path) -> None:
    """Change one bit of a file, as a failing disk does."""
    data = bytearray((folder / ARTICLES).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / ARTICLES).write_bytes(data)


def without_a_file(folder: Path) -> None:
    """A copy without one of its files."""
    (folder / ARTICLES).unlink()


def without_manifest(folder: Path) -> None:
    """A backup that was cut."""
    (folder / MANIFEST).unlink()


def of_a_later_version(folder: Path) -> None:
    """A format that is not known yet."""
    fields = orjson.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(orjson.dumps({**fields, "format": 99, "version": "9.9"}))


def with_another_number(folder: Path) -> None:
    """A manifest that somebody edited."""
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"shards": 1', '"shards": 2'))


def of_text(folder: Path) -> None:
    """A manifest that is something else."""
    (folder / MANIFEST).write_text("[1, 2]")


HARM: list[tuple[Callable[[Path], None], str]] = [
    (cut_short, ARTICLES),
    (one_bit, "its checksum is another"),
    (without_a_file, ARTICLES),
    (without_manifest, "holds no complete backup"),
    (of_a_later_version, "restore it with dateline 9.9 or newer"),
    (with_another_number, "it was altered"),
    (of_text, "it is not the manifest of a backup"),
]


@pytest.mark.parametrize(("harm", "said"), HARM, ids=lambda value: getattr(value, "__name__", ""))
async def test_what_is_not_a_whole_backup_is_refused(
    base: Path, store: Store, harm: Callable[[Path], None], said: str
) -> None:
    """By name, and before anything is written."""
    await store.articles.append(drafts("One", "Two"), now=NOON)
    await backed_up(store, base / "backup")
    harm(base / "backup")
    with pytest.raises(BackupFault, match=said):
        verify(base / "backup", read_manifest(base / "backup"))


async def test_only_the_owner_can_read_it(base: Path, store: Store) -> None:
    """There are secrets in it: files 0600, folder 0700, also one that was there before."""
    (base / "backup").mkdir(mode=0o755)
    await backed_up(store, base / "backup")
    assert 0o700 == stat.S_IMODE((base / "backup").stat().st_mode)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (base / "backup").iterdir()}
    assert {0o600} == modes


async def test_a_cut_backup_is_begun_anew_and_others_are_left_alone(
    base: Path, store: Store
) -> None:
    """What has no manifest is removed; complete backups, files of others and the folder of another
    process are refused."""
    folder = base / "backup"
    await store.articles.append(drafts("One"), now=NOON)
    await backed_up(store, folder)
    with pytest.raises(BackupFault, match="holds a complete backup"), new_folder(folder):
        pass
    (folder / MANIFEST).unlink()
    with new_folder(folder) as was_cut:
        assert was_cut
        with pytest.raises(BackupFault, match="another process"), new_folder(folder):
            pass
    await backed_up(store, folder)
    verify(folder, read_manifest(folder))
    (base / "mine").mkdir()
    (base / "mine" / "letter").write_text("x")
    with pytest.raises(BackupFault, match="letter"), new_folder(base / "mine"):
        pass
    assert "x" == (base / "mine" / "letter").read_text()


async def test_a_restore_that_was_cut_is_run_again(
    base: Path, store: Store, target: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any record; nothing else starts meanwhile, another backup is refused, and in the end
    everything is there once."""
    await filled(store, settings)
    manifest = await backed_up(store, base / "backup")
    before = kept(await contents(store.client))
    await backed_up(store, base / "other")
    # So that much was written at each cut.
    monkeypatch.setattr(restore_module, "ARGUMENTS_AT_ONCE", 3)
    total = sum(file.records for file in manifest.files)
    for cut in range(1, total, 3):
        all_records = records(base / "backup", manifest)
        some = (record for _, record in zip(range(cut), all_records, strict=False))
        with monkeypatch.context() as patched:
            patched.setattr(
                restore_module.backup_files, "records", lambda *_, s=some: fails_after(s)
            )
            with pytest.raises(InterruptedError):
                await restored(target, base / "backup")
        with pytest.raises(StartFailed, match="dateline restore"):
            await check_server(target.client, shards=ONE, allow_volatile=True)
        with pytest.raises(BackupFault, match="name another one"):
            await restored(target, base / "other")
    await restored(target, base / "backup")
    await check_server(target.client, shards=ONE, allow_volatile=True)
    after = kept(await contents(target.client))
    assert [m for m, _ in before.pop(keys.dirty(0))] == [m for m, _ in after.pop(keys.dirty(0))]
    assert before == after


def fails_after(some: Iterator[Any]) -> Iterator[Any]:
    """Records, and then the end of the process."""
    yield from some
    raise InterruptedError


async def test_only_an_empty_redis_takes_a_backup(base: Path, store: Store, target: Store) -> None:
    """One key is too much, whosever it is, but for what a process leaves on an empty archive."""
    await store.articles.append(drafts("One"), now=NOON)
    await backed_up(store, base / "backup")
    client: Any = target.client
    await client.set("of others", "1")
    with pytest.raises(BackupFault, match="not empty: it holds 1 keys"):
        await restored(target, base / "backup")
    assert [b"of others"] == await client.keys("*")
    await client.delete("of others")
    await check_server(target.client, shards=ONE, allow_volatile=True)
    await restored(target, base / "backup")
    assert 1 == await client.xlen(keys.stream(0))


async def test_a_stream_that_is_trimmed_meanwhile_ends_the_backup(
    base: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that no copy of their articles contains must not be lost in silence."""
    await store.articles.append(drafts("One"), now=NOON)
    copy = backup.Backup._copy_articles

    async def and_trim(self: Any, shard: int, names: Any) -> None:
        await copy(self, shard, names)
        await store.articles.append(drafts("Two", "Three"), now=NOON)
        await store.event_stream.trim(0, min_id="0-0", max_entries=1)

    monkeypatch.setattr(backup.Backup, "_copy_articles", and_trim)
    with pytest.raises(backup.DatelineError, match="trimmed faster"):
        await backed_up(store, base / "backup")
    with pytest.raises(BackupFault, match="no complete backup"):
        read_manifest(base / "backup")


async def test_shards_are_cut_each_by_itself(base: Path, store: Store, target: Store) -> None:
    """Three streams, three cuts; all articles are there."""
    from service.storage.store import of_client

    source, into = (of_client(each.client, shards=numbered(3)) for each in (store, target))
    await source.articles.append(drafts(*map(str, range(30))), now=NOON)
    manifest = await backed_up(source, base / "backup", shards=numbered(3))
    await restored(into, base / "backup", shards=numbered(3))
    assert 30 == manifest.articles == manifest.events
    assert list(manifest.cuts) == [await into.event_stream.last_id(n) for n in range(3)]
    assert None not in await into.articles.get([draft.id for draft in drafts(*map(str, range(30)))])
