"""Backups that were damaged, mixed up or made by somebody else, and a Redis that goes away."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.errors import Unavailable
from service.storage import keys
from service.storage.backup import take_backup
from service.storage.backup_files import (
    FILES,
    FORMAT,
    MANIFEST,
    SUFFIX,
    BackupFault,
    Manifest,
    RecordWriter,
    digest_of,
    new_folder,
    read_manifest,
    verify,
    write_manifest,
)
from service.storage.client import redis_errors_as_unavailable
from service.storage.restore import Restore
from service.storage.shards import ONE
from service.storage.store import Store, of_client
from tests.conftest import NOON
from tests.servers import Server, connected
from tests.storage.backups import backed_up, contents, drafts, kept, restored

pytestmark = pytest.mark.one_shard

NAMES = [name + SUFFIX for name in FILES]


def flip_a_bit(path: Path, other: Path) -> None:
    """Change one bit of a file, as a failing disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path, other: Path) -> None:
    """A copy that ended too early."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def remove(path: Path, other: Path) -> None:
    """A copy that left a file out."""
    path.unlink()


def lead_nowhere(path: Path, other: Path) -> None:
    """A link whose target was not copied."""
    path.unlink()
    path.symlink_to("elsewhere")


def take_the_other(path: Path, other: Path) -> None:
    """The file of another backup of the same archive."""
    shutil.copy(other, path)


@pytest.mark.parametrize("harm", [flip_a_bit, cut_short, remove, lead_nowhere, take_the_other])
@pytest.mark.parametrize("name", [*NAMES, MANIFEST])
async def test_whatever_happens_to_a_file_is_seen(
    base: Path, store: Store, target: Store, name: str, harm: Callable[[Path, Path], None]
) -> None:
    """The fault names the file and what to do, and nothing was written."""
    for folder in ("backup", "other"):
        client: Any = store.client
        await store.articles.append(drafts(folder), now=NOON)
        await client.hset(keys.sources(0), folder, "{}")
        await client.hset(keys.counters(0), folder, "1")
        await backed_up(store, base / folder)
    harm(base / "backup" / name, base / "other" / name)
    with pytest.raises(BackupFault, match=r"another copy|name the folder of a complete") as caught:
        await restored(target, base / "backup")
    assert "backup" in str(caught.value)
    client = target.client
    assert [] == await client.keys("*")


async def test_no_file_outside_of_the_folder_is_read(base: Path, store: Store) -> None:
    """Even if the manifest names it and its checksum fits."""
    await backed_up(store, base / "backup")
    shutil.copytree(base / "backup", base / "outside")
    path = base / "backup" / MANIFEST
    fields = orjson.loads(path.read_bytes())
    fields.pop("sha256")
    for file in fields["files"]:
        file["name"] = "../outside/" + file["name"]
    path.write_bytes(orjson.dumps({**fields, "sha256": digest_of(fields)}))
    with pytest.raises(BackupFault, match="it was altered"):
        read_manifest(base / "backup")


def made_by_hand(folder: Path, *record: Any) -> Manifest:
    """A backup with one record, whose checksums fit."""
    with new_folder(folder):
        files = {name: RecordWriter(folder, name) for name in FILES}
        files["last"].put(*record)
        manifest = Manifest(
            format=FORMAT, id="x", version="0.1", created="2026-01-05T12:00:00Z", shards=1,
            articles=0, events=0, cuts=("0-0",), files=tuple(f.end() for f in files.values()),
        )  # fmt: skip
        write_manifest(folder, manifest)
    return manifest


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (("string", "of others", b"x"), "which is not dateline's"),
        (("object", "dateline:{0}:counters", b"x"), "unknown kind: object"),
        (("zset", "dateline:{0}:sources:due", [b"a"]), "up to number 1 one is not"),
        (("stream", "dateline:{0}:events", [[b"no id", []]]), "one is not of a"),
        (("article", "dateline:{0}:article:x", [b"head", b"{"]), "one is not of a"),
        (("article", "dateline:{0}:counters", [b"head", b"{}"]), "one is not of a"),
    ],
)
async def test_records_that_no_backup_contains_are_refused(
    base: Path, store: Store, target: Store, record: tuple[Any, ...], said: str
) -> None:
    """With the folder and the key; the archive stays one that nothing starts on."""
    made_by_hand(base / "backup", *record)
    with pytest.raises(BackupFault, match=said) as caught:
        await restored(target, base / "backup")
    assert str(base / "backup") in str(caught.value)
    client: Any = target.client
    assert b"x" == await client.get(keys.RESTORING)


async def test_links_in_the_folder_of_a_cut_backup_are_not_followed(
    base: Path, store: Store
) -> None:
    """What a file of a cut backup leads to is neither removed nor written."""
    (base / "letter").write_text("mine")
    (base / "backup").mkdir()
    for name in (*NAMES, MANIFEST + ".part"):
        (base / "backup" / name).symlink_to(base / "letter")
    await backed_up(store, base / "backup")
    verify(base / "backup", read_manifest(base / "backup"))
    assert "mine" == (base / "letter").read_text()


async def test_a_full_disk_is_named_and_the_same_command_begins_anew(
    base: Path, store: Store
) -> None:
    """A limit on the size of files stands for the disk."""
    await store.articles.append(drafts(*map(str, range(300))), now=NOON)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(BackupFault, match=r"backup: the backup cannot be written .*free some"):
            await backed_up(store, base / "backup")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with pytest.raises(BackupFault, match="no complete backup"):
        read_manifest(base / "backup")
    await backed_up(store, base / "backup")
    verify(base / "backup", read_manifest(base / "backup"))


@pytest.mark.parametrize("name", ["file/backup", "/proc/backup"])
async def test_a_place_where_no_folder_can_be_is_named(base: Path, store: Store, name: str) -> None:
    """Under a file, or on a file system that takes none."""
    (base / "file").write_text("x")
    with pytest.raises(BackupFault, match=f"{name}.*name a folder that you can create"):
        await backed_up(store, base / name)


async def test_an_empty_archive_is_one(base: Path, store: Store, target: Store) -> None:
    """Its backup is complete, and so is what it restores."""
    manifest = await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    assert (0, 0, ("0-0",)) == (manifest.articles, manifest.events, manifest.cuts)
    assert {keys.LAYOUT} == (await contents(target.client)).keys()


async def test_a_redis_that_goes_away_leaves_no_half_that_looks_whole(
    base: Path, store: Store, server: Server
) -> None:
    """Neither a backup of it nor a restore into it; the same command completes it afterwards."""
    many = drafts(*map(str, range(600)))
    await store.articles.append(many, now=NOON)
    whole = await backed_up(store, base / "whole")
    async with connected(server.embedded.url) as client:
        away = of_client(client)

        def kill(what: str, count: int) -> None:
            if server.process.returncode is None:
                server.process.kill()

        with pytest.raises(Unavailable), redis_errors_as_unavailable():
            await Restore(client, base / "whole", whole, shards=ONE, progress=kill).run()
        await server.process.wait()
        process = await server.embedded.start()
        assert whole.id.encode() == await client.get(keys.RESTORING)
        await restored(away, base / "whole")
        expected, actual = kept(await contents(store.client)), kept(await contents(client))
        assert expected[keys.stream(0)] == actual[keys.stream(0)]
        assert 600 == len([name for name in actual if ":article:" in name])

        def end_it(what: str, count: int) -> None:
            if process.returncode is None:
                process.kill()

        with (
            new_folder(base / "half"),
            pytest.raises(Unavailable),
            redis_errors_as_unavailable(),
        ):
            await take_backup(client, base / "half", shards=ONE, created="x", progress=end_it)
        await process.wait()
    with pytest.raises(BackupFault, match="no complete backup"):
        read_manifest(base / "half")
