"""Redis servers of a test's own, to be ruined."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from service.storage.client import Script, connect
from service.storage.embedded_redis import Embedded, end, find_binary
from tests.waiting import wait_until

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of the test's own, and a client that is let do anything."""

    embedded: Embedded
    admin: Redis
    process: asyncio.subprocess.Process


@asynccontextmanager
async def serving(port: int = 0) -> AsyncIterator[Server]:
    """Run a server inside the context."""
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        embedded = Embedded(
            binary=find_binary(), folder=Path(folder, "r"), appendfsync="no", port=port
        )
        process = await embedded.start()
        async with Redis.from_url(embedded.url) as admin:
            await admin.ping()
            yield Server(embedded=embedded, admin=admin, process=process)
        await end(process)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A client as dateline's own."""
    client = connect(url)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def raw_server(*options: str, keys: int = 0) -> AsyncIterator[str]:
    """A server with options that the embedded one does not have, on a file of so many keys."""
    binary = find_binary().path
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        base = [str(binary), "--port", "0", "--save", "", "--dir", folder]
        sock = Path(folder, "s")

        async def start(*more: str) -> asyncio.subprocess.Process:
            found = await asyncio.create_subprocess_exec(
                *base, "--unixsocket", str(sock), *more, stdout=subprocess.DEVNULL
            )

            async def listens() -> bool:
                return sock.exists()

            await wait_until(listens)
            return found

        if keys:
            process = await start()
            async with Redis(unix_socket_path=str(sock)) as admin:
                pipe = admin.pipeline(transaction=False)
                for number in range(keys):
                    pipe.set(f"key:{number}", "x")
                await pipe.execute()
                await admin.save()
            process.kill()
            await process.wait()
            sock.unlink()
        process = await start(*options)
        yield f"unix://{sock}"
        process.kill()
        await process.wait()


async def write(client: Any) -> None:
    """A write that is one command."""
    await client.set("a", "x" * 100_000)


async def run_script(client: Any) -> None:
    """A write in a script."""
    await Script(client, ADD)(keys=["n"], args=[1])


async def run_pipeline(client: Any) -> None:
    """Scripts in a pipeline."""
    pipe = client.pipeline(transaction=False)
    script = Script(client, ADD)
    script.load_in(pipe)
    for _ in range(3):
        script.run_in(pipe, keys=["n"], args=[1])
    await pipe.execute()


async def run_transaction(client: Any) -> None:
    """Writes that belong together."""
    pipe = client.pipeline(transaction=True)
    pipe.set("a", "x")
    pipe.incr("n")
    await pipe.execute()


async def read(client: Any) -> None:
    """A read that is one command."""
    await client.get("a")
