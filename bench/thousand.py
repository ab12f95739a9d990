"""1,000 sources for ten minutes: is any polled early, twice, or not at all?

One `dateline up` with ingest workers as shipped, intervals short enough to see many of them, and
1,000 hosts of 127.0.0.0/8 with one feed each. Every fifth asks for more patience (max-age), every
tenth answers 503 with Retry-After now and then. The site keeps the times of all requests. For each
two requests to a source in a row:

    early     sooner than the answer before allowed
    late      more than a tenth (the jitter) and SLACK_S later than that; after a whole interval
              more, a poll is missing
    double    within half a second
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from bench.machine import header
from bench.serve import free_port

INTERVAL_S, PATIENT_S, RETRY_S, SLACK_S = 20.0, 45.0, 30.0, 2.0
JITTER, FAILURE_JITTER = 0.1, 0.25
SOURCES = 1_000


class Sites:
    """All hosts: what was asked when, and how long the answer holds."""

    def __init__(self) -> None:
        self.requests: dict[str, list[tuple[float, float, float]]] = {}
        """Host → (time, seconds that the answer allows to wait at least, at most)."""
        items = "".join(f"<item><guid>{n}</guid><title>Story {n}</title></item>" for n in range(5))
        self._body = f"<rss><channel><title>T</title>{items}</channel></rss>".encode()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """200 at first, 304 with the ETag; for some hosts max-age, for some a 503 now and then."""
        host = request.headers["Host"].partition(":")[0]
        number = int(host.rpartition(".")[2]) + 250 * int(host.split(".")[2])
        requests = self.requests.setdefault(host, [])
        headers = {"ETag": '"e"'}
        wait_s, jitter = INTERVAL_S, JITTER
        status = 304 if "If-None-Match" in request.headers else 200
        if number % 10 == 9 and len(requests) % 4 == 2:
            status, wait_s, jitter = 503, RETRY_S, FAILURE_JITTER
            headers = {"Retry-After": str(int(RETRY_S))}
        elif number % 5 == 0:
            wait_s = PATIENT_S
            headers["Cache-Control"] = f"max-age={int(PATIENT_S)}"
        requests.append((time.monotonic(), wait_s, wait_s * (1 + jitter) + SLACK_S))
        body = self._body if status == 200 else b""
        return web.Response(status=status, body=body, headers=headers)


def judge(requests: dict[str, list[tuple[float, float, float]]], *, end: float) -> Counter[str]:
    """What was wrong, and how many polls there were."""
    counts: Counter[str] = Counter(polls=sum(map(len, requests.values())), hosts=len(requests))
    for times in requests.values():
        for (at, least_s, most_s), (again, *_) in pairwise(times):
            waited_s = again - at
            counts["double"] += waited_s < 0.5
            counts["early"] += waited_s < least_s - 0.05
            counts["late"] += waited_s > most_s
            counts["missing"] += waited_s > most_s + INTERVAL_S
        last, _, most_s = times[-1]
        counts["missing"] += end - last > most_s + INTERVAL_S
    return counts


async def add_sources(base: str, token: str, port: int) -> None:
    """By the API, as an operator does."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as client:
        for number in range(SOURCES):
            url = f"http://127.7.{number // 250}.{number % 250}:{port}/feed"
            async with client.post(f"{base}/api/v1/sources", json={"url": url}) as response:
                assert response.status == 201, await response.text()


async def run(seconds: float, workers: int) -> Counter[str]:
    """Serve, poll, judge."""
    sites, port, own = Sites(), free_port(), free_port()
    runner = web.ServerRunner(web.Server(sites.answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port, backlog=1024).start()
    with tempfile.TemporaryDirectory(prefix="dateline-") as folder:
        environ = {
            **os.environ,
            "DATELINE_OPEN_NETWORKS": "127.0.0.0/8",
            "DATELINE_DATA_DIR": folder,
            "DATELINE_PORT": str(own),
            "DATELINE_LOG_LEVEL": "error",
            **{
                f"DATELINE_POLL_{name}_S": str(value)
                for name, value in (("MIN", INTERVAL_S), ("DEFAULT", INTERVAL_S), ("MAX", 60))
            },
        }
        command = [sys.executable, "-m", "service"]
        up = subprocess.Popen([*command, "up"], env=environ, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        more: list[subprocess.Popen[bytes]] = []
        try:
            token = Path(folder) / "api-token"
            base = f"http://127.0.0.1:{own}"
            await ready(base)
            more += [
                subprocess.Popen([*command, "work", "ingest"], env=environ)  # noqa: ASYNC220
                for _ in range(workers - 1)
            ]
            await add_sources(base, token.read_text().strip(), port)
            await asyncio.sleep(seconds)
            end = time.monotonic()
        finally:
            for one in [*more, up]:
                one.send_signal(signal.SIGINT)
            for one in [*more, up]:
                await asyncio.to_thread(one.wait, 30)
    await runner.cleanup()
    return judge(sites.requests, end=end)


async def ready(base: str) -> None:
    """Wait for the server."""
    async with aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"{base}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument(
        "--workers", type=int, default=2, help="ingest workers that share the work"
    )
    args = options.parse_args()
    print(header(f"sources   {SOURCES}, {args.workers} ingest workers, {args.seconds:.0f} s"))
    counts = uvloop.run(run(args.seconds, args.workers))
    for name in ("hosts", "polls", "early", "double", "late", "missing"):
        print(f"{name:<10}{counts[name]:>8}")
    wrong = counts["early"] + counts["double"] + counts["missing"]
    print(f"aim: none early, double or missing: {'met' if not wrong else 'MISSED'}")


if __name__ == "__main__":
    main()
