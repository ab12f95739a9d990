"""The Redis of a run: a real server that can be killed, stopped, demoted, filled, and cut.

What an operator is advised to do is done here, too: a server that ended is started again, and the
append-only file is rewritten after a full disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from service.errors import StartFailed
from service.storage.embedded_redis import Embedded, end, find_binary

DISK_MB = 192
# Small, so that the file is rewritten several times in a run.
CONFIG = {"auto-aof-rewrite-min-size": "8mb"}
REFUSED_TIMEOUT_S = 10.0
_MARK = "chaos:mark"


class RedisServer:
    """One server on a port, and a connection beside all faults, `admin`."""

    def __init__(self, folder: Path, *, port: int, is_small_disk: bool) -> None:
        self.is_small_disk = is_small_disk
        """Whether the folder is a file system of DISK_MB that can be filled."""
        self._folder = folder
        self._embedded = Embedded(
            binary=find_binary(), folder=folder / "r", appendfsync="everysec", port=port
        )
        self._process: asyncio.subprocess.Process
        self._is_connected = False
        self.admin: Any

    @property
    def password(self) -> str:
        """What a client must send."""
        return self._embedded.password

    @property
    def description(self) -> str:
        """Program and version."""
        return str(self._embedded.binary.writer)

    async def start(self) -> None:
        """Start it, or start it again with what it had."""
        while True:
            try:
                self._process = await self._embedded.start()
                break
            except StartFailed:
                if not self.is_small_disk:
                    raise
                # It cannot even write its settings while the disk is full.
                self._ballast.unlink(missing_ok=True)
        if not self._is_connected:
            # Its password is made by the first start.
            self.admin = Redis.from_url(self._embedded.url, socket_timeout=5)
            self._is_connected = True
        for name, value in CONFIG.items():
            await self.admin.config_set(name, value)

    async def close(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        await self.admin.aclose()
        await end(self._process)

    async def kill(self) -> None:
        """End it at once, by its process id."""
        self._process.kill()
        await self._process.wait()

    def stop(self) -> None:
        """Stop it where it is (SIGSTOP)."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """The end of `stop`."""
        self._process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def demoted(self) -> AsyncIterator[None]:
        """Make it a replica whose primary does not answer."""
        await self.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            yield
        finally:
            await self.admin.execute_command("REPLICAOF", "NO", "ONE")

    @asynccontextmanager
    async def without_memory(self) -> AsyncIterator[None]:
        """Have it refuse writes with OOM."""
        await self.admin.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await self.admin.config_set("maxmemory", "0")

    @asynccontextmanager
    async def without_saves(self) -> AsyncIterator[None]:
        """Have it refuse writes with MISCONF: where its snapshot goes is a folder."""
        snapshot = self._embedded.folder / "dump.rdb"
        snapshot.unlink(missing_ok=True)
        (snapshot / "x").mkdir(parents=True)
        await self.admin.config_set("save", "3600 1")
        try:
            await self._save_until("err")
            yield
        finally:
            (snapshot / "x").rmdir()
            snapshot.rmdir()
            await self._save_until("ok")
            await self.admin.config_set("save", "")
            snapshot.unlink(missing_ok=True)

    async def _save_until(self, status: str) -> None:
        async with asyncio.timeout(REFUSED_TIMEOUT_S):
            while True:
                info: dict[str, Any] = await self.admin.info("persistence")
                if not info["rdb_bgsave_in_progress"]:
                    if info["rdb_last_bgsave_status"] == status:
                        return
                    # Refused while the append-only file is rewritten.
                    with contextlib.suppress(ResponseError):
                        await self.admin.bgsave()
                await asyncio.sleep(0.05)

    async def forget_scripts(self) -> None:
        """SCRIPT FLUSH."""
        await self.admin.script_flush()

    @property
    def _ballast(self) -> Path:
        return self._folder / "ballast"

    @asynccontextmanager
    async def on_full_disk(self) -> AsyncIterator[None]:
        """Fill its disk; then rewrite the append-only file, as docs/reliability.md advises."""
        await asyncio.to_thread(self._fill)
        try:
            yield
        finally:
            self._ballast.unlink(missing_ok=True)
            await self._rewrite_once_written()

    def _fill(self) -> None:
        block = b"\0" * 65_536
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(block)

    async def _rewrite_once_written(self) -> None:
        async with asyncio.timeout(REFUSED_TIMEOUT_S):
            while True:
                info: dict[str, Any] = await self.admin.info("persistence")
                if info.get("aof_last_write_status") == "ok":
                    break
                await asyncio.sleep(0.05)
        with contextlib.suppress(ResponseError):  # It is rewritten already.
            await self.admin.execute_command("BGREWRITEAOF")

    async def mark(self) -> int:
        """Length of the append-only file once it has everything that was written before this call.

        -1 if the file is being rewritten: then its length says nothing.
        """
        client: Any
        async with Redis.from_url(self._embedded.url) as client:
            await client.set(_MARK, "x")
            await client.delete(_MARK)
            await client.execute_command("WAITAOF", 1, 0, 3_000)
            info: dict[str, Any] = await client.info("persistence")
        return -1 if info["aof_rewrite_in_progress"] else self._file.stat().st_size

    @property
    def _file(self) -> Path:
        """The file that commands are appended to."""
        files = (self._embedded.folder / "appendonlydir").glob("*.incr.aof")
        return max(files, key=lambda path: int(path.name.split(".")[-3]))

    def cut(self, mark: int, share: float) -> int:
        """Cut the file of a server that does not run; what was written before the mark stays.

        Returns:
            The number of bytes that were cut off.
        """
        length = self._file.stat().st_size
        if mark < 0 or length <= mark:
            return 0
        keep = mark + int((length - mark) * share)
        os.truncate(self._file, keep)
        return length - keep

    async def answers(self) -> bool:
        """Whether it runs and answers."""
        try:
            return bool(await self.admin.ping())
        except (RedisError, OSError):
            return False
