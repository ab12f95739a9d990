"""`dateline up`: what its user sees, at the start, at the end, and when it cannot start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from service.cli import up
from service.settings import OWN_FILES
from service.storage.store import Store
from tests.running import ROOT, Running, call, environ, free_port, running
from tests.waiting import wait_until, within


async def test_the_demo_lives(tmp_path: Path) -> None:
    """The archive is there at once, in feeds and on pages, the Arabic article among it."""
    async with running("--demo") as dateline, aiohttp.ClientSession() as session:

        async def titles() -> list[str]:
            async with session.get(f"{dateline.url}/feeds/media-center.json") as response:
                feed = await response.json(content_type=None)
            return [item["title"] for item in feed.get("items", [])]

        async def all_there() -> bool:
            return len(await titles()) >= 11

        await wait_until(all_there)
        assert any(re.search(r"[\u0600-\u06ff]", title) for title in await titles())
        async with session.get(f"{dateline.url}/") as response:
            assert "Harbour News" in await response.text()
        assert dateline.url in dateline.text()
        assert set(OWN_FILES) == {path.name for path in dateline.data_dir.iterdir()}


async def test_ctrl_c_ends_every_process() -> None:
    """SIGINT ends all parts, with status 0."""
    async with running() as dateline:
        parts = dateline.parts()
        assert {"redis", "serve", "aggregate", "deliver", "ingest"} == parts.keys()
        dateline.process.send_signal(signal.SIGINT)
        assert 0 == await dateline.process.wait(), dateline.text()
        assert [] == [pid for pid in parts.values() if _is_alive(pid)]
        assert "Traceback" not in dateline.text()
        assert dateline.text().index("stopping") < dateline.text().index("stopped")


async def test_the_command_that_it_prints_works(tmp_path: Path) -> None:
    """In another folder, with a PATH that has no dateline on it."""
    async with running() as dateline:
        found = re.search(r"Watch the stream: +(.*?) +Stop:", dateline.text())
        assert found
        assert f"DATELINE_DATA_DIR={dateline.data_dir}" in found[1]
        process = await asyncio.create_subprocess_shell(
            f"{found[1]} --no-follow --json",
            cwd=tmp_path,
            env={**environ(), "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert (b"", None) == await process.communicate()
        assert 0 == process.returncode


async def test_killed_itself_it_leaves_nothing_running() -> None:
    """After kill -9 of `dateline up` its parts end, too."""
    async with running() as dateline:
        parts = dateline.parts()
        dateline.process.kill()
        await dateline.process.wait()

        async def all_gone() -> bool:
            return not any(_is_alive(pid) for pid in parts.values())

        await wait_until(all_gone)


def _is_alive(pid: int) -> bool:
    try:
        return "Z" != Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


async def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    """The port is named, and the remedy; the exit status is 1."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        status, _, err = await call("up", "--port", port, cwd=tmp_path)
    remedy = "choose another with --port or DATELINE_PORT"
    assert (1, f"dateline: port {port} is taken on 127.0.0.1: {remedy}\n") == (status, err)


@pytest.mark.parametrize("command", [["serve"], ["work"], ["up", "--data-dir", "d"]])
async def test_a_redis_that_is_not_there_yet_is_waited_for(
    command: list[str], tmp_path: Path
) -> None:
    """Nothing listens where DATELINE_REDIS_URL points: what runs for long says so, in one line, and
    can be stopped."""
    port = free_port()
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service", *command, cwd=tmp_path, stdout=file, stderr=file,
            env={
                **environ(REDIS_URL=f"redis://127.0.0.1:{port}", PORT=str(free_port())),
                "PYTHONPATH": str(ROOT),
            },
        )  # fmt: skip

    async def says_so() -> bool:
        return "the start waits for Redis" in output.read_text()

    await wait_until(says_so, timeout_s=20)
    assert str(port) in output.read_text()
    assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    async with within(10):
        await process.wait()
    assert "Traceback" not in output.read_text()


async def test_a_part_that_cannot_be_started_is_tried_again(store: Store, tmp_path: Path) -> None:
    """No process or file is left for it, for example: it is reported, the other parts live on, and
    it starts as soon as it can."""
    program, started, stop = tmp_path / "part", tmp_path / "started", asyncio.Event()
    part = up.Part(name="late", command=(str(program),))

    async def is_reported() -> bool:
        faults = await store.faults.all(now=datetime.now(UTC))
        return ("part", "late") in [(fault.kind, fault.name) for fault in faults]

    async def has_started() -> bool:
        return started.exists()

    async with within(10), asyncio.TaskGroup() as group:
        group.create_task(up._keep_running(part, dict(os.environ), stop, store.faults))
        await wait_until(is_reported)
        program.write_text(f"#!/bin/sh\ntouch {started}\nexec sleep 60\n")
        program.chmod(0o700)
        await wait_until(has_started)
        stop.set()


async def test_an_unwritable_data_dir_is_one_clear_line(tmp_path: Path) -> None:
    """A file stands where the data dir should be."""
    path = tmp_path / "taken"
    path.write_text("")
    status, _, err = await call(
        "up", "--port", str(free_port()), "--data-dir", str(path), cwd=tmp_path
    )
    assert 1 == status
    assert err.startswith(f"dateline: cannot write to the data dir {path}: ")
    assert 1 == err.count("\n")


async def test_wrong_settings_are_all_listed(tmp_path: Path) -> None:
    """Every fault has a line; the exit status is 1."""
    status, _, err = await call("serve", cwd=tmp_path, PORT="high", PAGE_SIZE="0", PROT="1")
    assert 1 == status
    assert 3 == err.count("\n")
    for name in ("DATELINE_PORT='high'", "DATELINE_PAGE_SIZE='0'", "DATELINE_PROT: no such"):
        assert name in err


async def test_two_on_one_data_dir_are_refused(tmp_path: Path) -> None:
    """The second `dateline up` says who has the folder."""
    async with running() as dateline:
        status, _, err = await call(
            "up", "--port", str(free_port()), "--data-dir", str(dateline.data_dir), cwd=tmp_path
        )
    assert 1 == status
    assert "is in use by another dateline up" in err


async def test_two_servers_share_the_port() -> None:
    """--servers 2 starts two processes, and both are notified of changes."""
    async with running("--servers", "2", "--demo") as dateline:
        children = Path(f"/proc/{dateline.process.pid}/task/{dateline.process.pid}/children")
        commands = [
            Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split()
        ]
        assert 2 == sum(b"\0serve\0" in command for command in commands)


@asynccontextmanager
async def small_disk() -> AsyncIterator[Path]:
    """A file system of four megabytes."""
    with tempfile.TemporaryDirectory(prefix="df-") as folder:
        if os.geteuid() or await _run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder):
            pytest.skip("only root may mount a small file system")
        try:
            yield Path(folder)
        finally:
            await _run("umount", "-l", folder)


@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
async def test_a_full_disk_is_waited_out(appendfsync: str) -> None:
    """Nothing ends but Redis; writes are refused until there is space, then the file is rewritten,
    and everything that was acknowledged is there at the next start."""
    async with small_disk() as data, aiohttp.ClientSession() as http:
        async with running(data_dir=data, APPENDFSYNC=appendfsync) as dateline:
            receipts = [await _post(http, dateline, 0)]
            ballast = data / "ballast"
            with contextlib.suppress(OSError):
                ballast.write_bytes(b"\0" * 4_000_000)
            receipts += [await _post(http, dateline, number) for number in range(1, 8)]
            assert 503 in [status for status, _ in receipts]
            ballast.unlink(missing_ok=True)

            async def is_written() -> bool:
                return (await _post(http, dateline, 99))[0] == 201

            async def is_mended() -> bool:
                return any(text in dateline.text() for text in ("can write again", "redis ended"))

            await wait_until(is_written)
            await wait_until(is_mended)
        async with running(data_dir=data, APPENDFSYNC=appendfsync) as dateline:
            for status, article_id in receipts:
                if status == 201:
                    async with http.get(f"{dateline.url}/articles/{article_id}.json") as response:
                        assert 200 == response.status


async def _post(http: aiohttp.ClientSession, dateline: Running, number: int) -> tuple[int, str]:
    """(status, article id) of a push of 100 kB."""
    article = {"title": str(number), "content_html": os.urandom(40_000).hex()}
    headers = {"Authorization": f"Bearer {dateline.token}"}
    async with http.post(
        f"{dateline.url}/api/v1/articles", json=article, headers=headers
    ) as response:
        return response.status, str((await response.json()).get("id"))


async def _run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()
