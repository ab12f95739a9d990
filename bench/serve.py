"""A hot page: our server, bare aiohttp with a constant, and nginx with a static file, in turn.

Ours is one real server process on a real embedded Redis (then two on one port, against nginx with
two workers). "handler" is aiohttp's low-level server
with a coroutine that returns one constant body (200) or a constant 304; "router" is the same behind
an application with one route. All are processes of their own on uvloop, loaded over loopback by one
thread of wrk (by bench.load where there is no wrk): each side once a round, in changing order.
Ratios are medians over rounds, of requests a second and of the server's CPU time a request, which
depends less on who else uses the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import math
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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.load import CONNECTIONS, PATH
from bench.machine import header, median, verdict
from service.articles.article import Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from workers.aggregate.aggregator import Aggregator

AIM, NGINX_AIM = 1.0, 0.5
ENTRIES = 50
ROOT = Path(__file__).parent.parent
_BARE = """
import asyncio, sys, uvloop
from aiohttp import web
port, path, tag, kind, coding = int(sys.argv[1]), *sys.argv[2:]
body = open(path, "rb").read()
headers = {"Content-Type": "application/rss+xml; charset=utf-8", "Content-Encoding": coding,
           "ETag": tag, "Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
async def handler(request):
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers)
async def main():
    if kind == "handler":
        runner = web.ServerRunner(web.Server(handler, access_log=None))
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
worker_processes {workers}; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on;
  types {{ application/rss+xml rss; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; open_file_cache max=10;
  server {{ listen 127.0.0.1:{port}; root {folder};
    location / {{ add_header Content-Encoding {coding}; add_header Vary Accept-Encoding; }} }} }}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def process(command: list[str], port: int, **environ: str) -> Iterator[int]:
    """Run a server until the block ends, and give its pid, by which it is ended."""
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
        yield started.pid
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()


def cpu_s(pid: int) -> float:
    """CPU seconds that a process and its children have used; not a number where there is no /proc.

    nginx works in children.
    """
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        return math.nan
    children = (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
    ticks = 0
    for one in (str(pid), *children):
        # After the name in parentheses: utime and stime are fields 14 and 15 of proc(5).
        fields = (proc / one / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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
        while await store.category_index.count("all") < ENTRIES:  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.02)
        ended.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(Aggregator(store, settings, now=lambda: now).run(ended))
        group.create_task(indexed())


@contextmanager
def ours(folder: Path, port: int, servers: int) -> Iterator[list[int]]:
    """Server processes on an embedded Redis that holds a page; their pids."""
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
            with ExitStack() as stack:
                command = [sys.executable, "-m", "service", "serve"]
                yield [
                    stack.enter_context(process(command, port, **environ)) for _ in range(servers)
                ]
        finally:
            runner.run(end(redis))


def fetch(port: int, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """(status, body, headers) of the page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as exc:
        return exc.code, b"", dict(exc.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A server that runs."""

    port: int
    pids: list[int]
    tag: str
    """Its ETag of the page."""
    coding: str

    def load(self, seconds: int, *, conditional: bool) -> tuple[float, float]:
        """(requests a second, CPU microseconds a request)."""
        conditions = {"Accept_Encoding": self.coding}
        conditions |= {"If_None_Match": self.tag} if conditional else {}
        status, _, _ = fetch(self.port, **conditions)
        assert status == (304 if conditional else 200), self
        command = [sys.executable, "-m", "bench.load", str(self.port), str(seconds)]
        command += [self.tag] if conditional else []
        if shutil.which("wrk"):
            command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
            command += ["-H", f"Accept-Encoding: {self.coding}"]
            command += ["-H", f"If-None-Match: {self.tag}"] if conditional else []
            command.append(f"http://127.0.0.1:{self.port}{PATH}")
        before = sum(map(cpu_s, self.pids))
        result = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=seconds + 20, cwd=ROOT
        )
        used = sum(map(cpu_s, self.pids)) - before
        number = re.search(r"(\d+) requests in", result.stdout)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", result.stdout)
        # To wrk a 304 is fine, too.
        if not number or not rate or "Non-2xx" in result.stdout:
            raise SystemExit(result.stdout)
        return float(rate[1]), used / int(number[1]) * 1e6


def start_all(stack: ExitStack, folder: Path, coding: str, servers: int) -> dict[str, Side]:
    """All sides by name, ours first; each gives the same bytes. Bare ones are of one process."""
    port = free_port()
    folder.mkdir()
    pids = stack.enter_context(ours(folder, port, servers))
    _, body, headers = fetch(port, Accept_Encoding=coding)
    tag = headers["ETag"]
    assert headers["Content-Encoding"] == coding
    sides = {"ours": Side(port=port, pids=pids, tag=tag, coding=coding)}
    file = folder / PATH[1:]
    file.parent.mkdir()
    file.write_bytes(body)
    for kind in ("handler", "router") if servers == 1 else ():
        port = free_port()
        command = [sys.executable, "-c", _BARE, str(port), str(file), tag, kind, coding]
        pid = stack.enter_context(process(command, port))
        sides[kind] = Side(port=port, pids=[pid], tag=tag, coding=coding)
    if shutil.which("nginx"):
        port = free_port()
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port, coding=coding, workers=servers))
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
        command = ["nginx", "-c", str(config), "-g", f"user {os.environ.get('USER', 'root')};"]
        pid = stack.enter_context(process(command, port))
        sides["nginx"] = Side(port=port, pids=[pid], tag=fetch(port)[2]["ETag"], coding=coding)
    return sides


def rounds_of(
    sides: dict[str, Side], *, rounds: int, seconds: int, conditional: bool
) -> dict[str, list[tuple[float, float]]]:
    """Side → (requests a second, CPU microseconds a request) of each round."""
    figures_of: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides)
        random.Random(number).shuffle(order)
        for name in order:
            figures_of[name].append(sides[name].load(seconds, conditional=conditional))
    return figures_of


def show(what: str, figures_of: dict[str, list[tuple[float, float]]]) -> None:
    """Print a line for each side."""
    aims = {"handler": AIM, "router": AIM, "nginx": NGINX_AIM}
    for name, figures in figures_of.items():
        line = f"{what:12}{name:8}{median([f[0] for f in figures]):9.0f}/s"
        line += f"{median([f[1] for f in figures]):9.1f} us"
        if name != "ours":
            pairs = list(zip(figures_of["ours"], figures, strict=True))
            rate = median([mine[0] / other[0] for mine, other in pairs])
            cpu = median([other[1] / mine[1] for mine, other in pairs])
            line += f"{rate:11.2f}{cpu:11.2f}   {verdict(rate, aims[name])}"
        print(line.rstrip())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="whole ones, a side and round")
    options = parser.parse_args()
    by = "wrk" if shutil.which("wrk") else "bench.load"
    print(header(f"page      {ENTRIES} articles; {CONNECTIONS} connections by {by}"))
    print(f"{'':20}{'requests':>11}{'CPU':>12}{'rate ratio':>11}{'CPU ratio':>11}")
    for coding, servers in (("gzip", 1), ("br", 1), ("gzip", 2)):
        with ExitStack() as stack:
            top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="db-")))
            sides = start_all(stack, top / "x", coding, servers)
            for status, conditional in (("200", False), ("304", True)):
                figures_of = rounds_of(
                    sides, rounds=options.rounds, seconds=options.seconds, conditional=conditional
                )
                show(f"{status} {coding}{f' x{servers}' if servers > 1 else ''}", figures_of)


if __name__ == "__main__":
    main()
