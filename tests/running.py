"""A dateline as its user starts it, in processes of its own: `dateline up`, or servers alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.settings import Settings
from tests.waiting import PATIENCE, wait_until, within

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 25


def free_port() -> int:
    """A port on which no process listens; below those that systems give to clients, so that no
    connection of another test takes it meanwhile."""
    while True:
        # Not `random`, which is seeded alike in all processes of a test run.
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A dateline that was started."""

    process: asyncio.subprocess.Process
    port: int
    data_dir: Path
    output: Path

    @property
    def url(self) -> str:
        """The base URL of its servers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """The token that API requests which write must carry."""
        return (self.data_dir / "api-token").read_text()

    @property
    def redis_url(self) -> str:
        """The URL of its embedded Redis."""
        password = (self.data_dir / "redis" / "password").read_text()
        return f"unix://{self.data_dir}/redis/redis.sock?password={password}"

    def text(self) -> str:
        """What it printed so far."""
        return self.output.read_text("utf-8", "replace")

    def parts(self) -> dict[str, int]:
        """Part → process id: redis, aggregate, deliver, ingest, serve, demo; those alive now."""
        found = {}
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in path.read_text().split():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if any(words):  # a zombie has none
                name = "redis" if "redis" in words[0] else [word for word in words if word][-1]
                found[name] = int(pid)
        return found


def environ(**settings: str) -> dict[str, str]:
    """The test run's environment with these settings and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DATELINE_")}
    return {**kept, **{f"DATELINE_{name}": value for name, value in settings.items()}}


def command(*arguments: str) -> list[str]:
    """`dateline …`, measured if the test run is."""
    return [sys.executable, "-m", "service", *arguments]


async def call(*arguments: str, cwd: Path, **settings: str) -> tuple[int, str, str]:
    """Run a command to its end: (exit status, stdout, stderr)."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        cwd=cwd,
        env={**environ(**settings), "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def running(
    *options: str, data_dir: Path | None = None, **settings: str
) -> AsyncIterator[Running]:
    """Start it, wait until it says that it is up, stop it with SIGINT at the end."""
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        data_dir = data_dir or Path(folder, "d")
        output, port = Path(folder, "output"), free_port()
        with output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command("up", "--port", str(port), "--data-dir", str(data_dir), *options),
                cwd=folder,
                env={**environ(**settings), "PYTHONPATH": str(ROOT)},
                stdout=file,
                stderr=file,
            )
        found = Running(process=process, port=port, data_dir=data_dir, output=output)
        try:
            await _until_up(found)
            yield found
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.wait(), START_TIMEOUT_S * PATIENCE)


async def _until_up(found: Running) -> None:
    async with within(START_TIMEOUT_S):
        # The last line of its greeting.
        while "Stop: Ctrl-C" not in found.text():
            assert found.process.returncode is None, found.text()
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server process of the test's own."""

    process: asyncio.subprocess.Process
    port: int
    output: Path

    def text(self) -> str:
        """What it printed so far."""
        return self.output.read_text("utf-8", "replace")


@asynccontextmanager
async def serving(
    settings: Settings, folder: Path, *, files: int = 0, is_hard: bool = False, port: int = 0
) -> AsyncIterator[Serving]:
    """`dateline serve`; killed at the end if it still runs.

    Args:
        files: its limit on open files, which it raises unless that is hard; 0: as the tests have.
        port: shared with other servers; 0: a free one.
    """
    port = port or free_port()
    output = folder / f"output-{len(list(folder.glob('output-*')))}"
    limit = f"ulimit {'' if is_hard else '-S '}-n {files}; " if files else ""
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"{limit}exec {sys.executable} -m service serve",
            stdout=file, stderr=file, cwd=folder,
            env={**os.environ, **settings.to_env(), "DATELINE_PORT": str(port),
                 "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    server = Serving(process=process, port=port, output=output)
    try:

        async def is_serving() -> bool:
            assert process.returncode is None, server.text()
            return ": serving " in server.text()

        await wait_until(is_serving)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
