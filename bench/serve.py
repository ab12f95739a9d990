"""A hot page: our server, bare aiohttp with a constant, and nginx with a static file, in turn.

Ours is one real server process on a real embedded Redis. "handler" is aiohttp's low-level server
with a coroutine that returns one constant body (200) or a constant 304; "router" is the same behind
an application with one route. All are processes of their own on uvloop, loaded by wrk from one
thread over loopback: each side once a round, in changing order. Ratios are medians over rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.machine import header, median, verdict
from service.articles import Entry
from service.compose import compose
from service.settings import Settings
from service.storage.embedded import Embedded, find_binary, stop
from service.storage.store import Store, open_store
from workers.aggregate import Aggregator

AIM = 0.95
ENTRIES = 50
CONNECTIONS = 32
ROOT = Path(__file__).parent.parent
_BARE = """
import asyncio, sys, uvloop
from aiohttp import web
port, path, tag, kind = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
body = open(path, "rb").read()
headers = {"Content-Type": "application/rss+xml; charset=utf-8", "Content-Encoding": "gzip",
           "ETag": tag, "Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
async def handler(request):
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)
async def main():
    if kind == "handler":
        runner = web.ServerRunner(web.Server(handler))
    else:
        app = web.Application()
        app.router.add_get("/feeds/all.rss", handler)
        runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()
uvloop.run(main())
"""
_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on;
  types {{ application/rss+xml rss; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; open_file_cache max=10;
  server {{ listen 127.0.0.1:{port}; root {folder};
    location / {{ add_header Content-Encoding gzip; add_header Vary Accept-Encoding; }} }} }}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def process(command: list[str], port: int, **environ: str) -> Iterator[None]:
    """Run a server until the block ends; it is ended by its own pid."""
    started = subprocess.Popen(
        command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", port)):
                    break
            if started.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"did not start: {' '.join(command)}")
            time.sleep(0.05)
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(15)


async def fill(store: Store) -> None:
    """A page of articles of 4 kB, indexed by an aggregate worker."""
    chance = random.Random(1)
    words = ["harbour", "ferry", "tide", "the", "of", "quay", "council", "said", "winter", "boats"]
    now = datetime.now(UTC)
    drafts = [
        compose(
            Entry(
                guid=str(n),
                title=f"Number {n}",
                content_html=f"<p>{' '.join(chance.choices(words, k=650))}</p>",
                categories=("Media Center/News",),
                published=now - timedelta(minutes=n),
            ),
            source="bench",
        )
        for n in range(ENTRIES)
    ]
    await store.articles.append(drafts, now=now)
    ended = asyncio.Event()
    settings = Settings.from_env({"DATELINE_REDIS_URL": "unix:///none"}, env_file=None)

    async def indexed() -> None:
        while await store.pages.count("all") < ENTRIES:  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.02)
        ended.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(Aggregator(store, settings, now=lambda: now).run(ended))
        group.create_task(indexed())


@contextmanager
def ours(folder: Path, port: int) -> Iterator[None]:
    """One server process on an embedded Redis that holds a page."""
    server = Embedded(binary=find_binary(), folder=folder / "r", appendfsync="no")

    async def prepare() -> None:
        settings = Settings.from_env({"DATELINE_REDIS_URL": server.url}, env_file=None)
        async with open_store(settings) as store:
            await fill(store)

    with asyncio.Runner() as runner:
        redis = runner.run(server.start())
        runner.run(prepare())
        environ = {
            "DATELINE_REDIS_URL": server.url,
            "DATELINE_PORT": str(port),
            "DATELINE_DATA_DIR": str(folder),
        }
        try:
            with process([sys.executable, "-m", "service", "serve"], port, **environ):
                yield
        finally:
            runner.run(stop(redis))


def fetch(port: int, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """(status, body, headers) of the page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/feeds/all.rss")
    for name, value in {"Accept-Encoding": "gzip", **headers}.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as exc:
        return exc.code, b"", dict(exc.headers)


def load(port: int, seconds: float, tag: str | None) -> float:
    """Requests a second."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-H", "Accept-Encoding: gzip"]
    if tag:
        command += ["-H", f"If-None-Match: {tag}"]
    command.append(f"http://127.0.0.1:{port}/feeds/all.rss")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said and not tag:
        raise SystemExit(said)
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return float(found.group(1))


def start_all(stack: ExitStack, folder: Path) -> dict[str, tuple[int, str]]:
    """Side → (port, ETag)."""
    port = free_port()
    stack.enter_context(ours(folder, port))
    _, body, headers = fetch(port)
    tag = headers["ETag"]
    assert gzip.decompress(body)
    sides = {"ours": (port, tag)}
    (folder / "feeds").mkdir()
    (folder / "feeds" / "all.rss").write_bytes(body)
    for kind in ("handler", "router"):
        port = free_port()
        file = str(folder / "feeds" / "all.rss")
        stack.enter_context(
            process([sys.executable, "-c", _BARE, str(port), file, tag, kind], port)
        )
        sides[kind] = port, tag
    if shutil.which("nginx"):
        port = free_port()
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port))
        folder.chmod(0o755)
        stack.enter_context(
            process(
                ["nginx", "-c", str(config), "-g", f"user {os.environ.get('USER', 'root')};"], port
            )
        )
        sides["nginx"] = port, fetch(port)[2]["ETag"]
    return sides


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="a side and round")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("this needs wrk (Debian: apt install wrk)")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-")))
        sides = start_all(stack, folder)
        size = (folder / "feeds" / "all.rss").stat().st_size
        print(header(f"page      {ENTRIES} articles, {size} bytes gzip, {CONNECTIONS} connections"))
        for name, conditional in (("200", False), ("304", True)):
            figures: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(options.rounds):
                order = list(sides)
                random.Random(number).shuffle(order)
                for side in order:
                    port, tag = sides[side]
                    assert (304 if conditional else 200) == fetch(
                        port, **({"If_None_Match": tag} if conditional else {})
                    )[0], side
                    rate = load(port, options.seconds, tag if conditional else None)
                    figures[side].append(rate)
            for side, rates in figures.items():
                ratio = median([a / b for a, b in zip(figures["ours"], rates, strict=True)])
                judged = verdict(ratio, AIM) if side in ("handler", "router") else ""
                if side == "ours":
                    print(f"{name}  {side:8}{median(rates):9.0f}/s")
                    continue
                print(
                    f"{name}  {side:8}{median(rates):9.0f}/s   ours/{side:8}{ratio:6.2f}  {judged}"
                )


if __name__ == "__main__":
    main()
