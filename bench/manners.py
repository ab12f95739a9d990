"""A scoring server: plays what real sites do against the poller, and gives points out of 100.

Each scenario is a host of 127.0.0.0/8 of its own with one feed, polled by a real `dateline up` with
short intervals (POLL_MIN_S=1, POLL_DEFAULT_S=2, POLL_MAX_S=30) for a minute and a half. A scenario
answers the n-th request with raw bytes, and judges the requests that it got: (seconds since the
start, headers). Every one that holds counts the same.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import aiohttp
import uvloop

from bench.machine import header
from bench.serve import free_port
from bench.thousand import ready

MIN_S, DEFAULT_S, MAX_S = 1.0, 2.0, 30.0
Requests = list[tuple[float, dict[str, str]]]


def feed(n: int = 0) -> bytes:
    """A feed whose only item is the n-th."""
    item = f"<item><guid>{n}</guid><title>Story {n}</title></item>"
    return f"<rss><channel><title>T</title>{item}</channel></rss>".encode()


def answer(status: int = 200, body: bytes | None = None, **headers: str) -> bytes:
    """Raw HTTP; underscores in header names are hyphens; no Content-Length if one is given."""
    body = (b"" if status in (304,) else feed()) if body is None else body
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    fields.setdefault("Content-Length", str(len(body)))
    lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


@dataclass(slots=True)
class Scenario:
    """One site."""

    name: str
    play: Callable[[int, dict[str, str], str], bytes]
    """(number of the request from 0, its headers in lower case, its base URL) → answer."""
    judge: Callable[[Requests], bool]
    requests: Requests = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def gaps(requests: Requests) -> list[float]:
    """Seconds between requests."""
    times = [at for at, _ in requests]
    return [b - a for a, b in pairwise(times)]


def sent(requests: Requests, n: int, name: str) -> str | None:
    """A header of the n-th request."""
    return requests[n][1].get(name) if len(requests) > n else "(no such request)"


def every(least_s: float, most_s: float, *, first: int = 0) -> Callable[[Requests], bool]:
    """Whether all gaps from the first on are within these."""
    return lambda r: (
        len(r) > first + 1 and all(least_s - 0.1 <= gap <= most_s for gap in gaps(r)[first:])
    )


def validators(etag: str, last_modified: str = "") -> Scenario:
    """Sent back byte for byte."""
    headers = {"ETag": etag} if etag else {}
    headers |= {"Last_Modified": last_modified} if last_modified else {}
    return Scenario(
        f"validators {etag} {last_modified}",
        lambda n, h, u: answer(304) if n else answer(**headers),
        lambda r: (
            sent(r, 2, "if-none-match") == (etag or None)
            and sent(r, 2, "if-modified-since") == (last_modified or None)
        ),
    )


def never_kept(name: str, bad: bytes) -> Scenario:
    """A bad 200 whose validators must not come back."""
    return Scenario(
        f"validators of {name}", lambda n, h, u: bad,
        lambda r: len(r) > 1 and all("if-none-match" not in h for _, h in r),
    )  # fmt: skip


def fresh(
    name: str, least_s: float, most_s: float, *, status: int = 200, **headers: str
) -> Scenario:
    """An answer that holds for so long."""
    return Scenario(
        f"fresh: {name}",
        lambda n, h, u: answer(304 if n and status == 304 else 200, ETag='"e"', **headers),
        every(least_s, most_s),
    )


def asked_to_wait(name: str, least_s: float, status: int, retry_after: str) -> Scenario:
    """Retry-After, once."""
    return Scenario(
        f"{status} Retry-After {name}",
        lambda n, h, u: answer(status, b"", Retry_After=retry_after) if n == 1 else answer(),
        lambda r: len(r) > 2 and gaps(r)[1] >= least_s,
    )


def redirected(status: int, *, is_kept: bool) -> Scenario:
    """To /new, which is asked directly from the fourth poll on, or never."""

    def play(n: int, h: dict[str, str], path: str) -> bytes:
        return answer(ETag='"e"') if path == "/new" else answer(status, b"", Location="/new")

    return Scenario(f"redirect {status}", play, lambda r: len(r) >= 6 and is_kept == _stopped(r))


def _stopped(requests: Requests) -> bool:
    """Whether the old URL was asked three times and no more."""
    old = sum(headers["path"] == "/feed" for _, headers in requests)
    return old == 3


def grows(requests: Requests) -> bool:
    """Whether the gaps become longer and longer, and never end."""
    gaps_s = gaps(requests)
    return len(gaps_s) >= 3 and all(b >= a * 1.3 for a, b in pairwise(gaps_s[:3]))


def _hour(now: float, shift: int) -> int:
    return (time.gmtime(now).tm_hour + shift) % 24


def with_channel(extra: str) -> bytes:
    """A feed that says more about itself."""
    return feed().replace(b"<channel>", f"<channel>{extra}".encode())


def scenarios() -> list[Scenario]:
    """All of them."""
    return [*conditional(), *kept_fresh(), *failures(), *manners()]


def conditional() -> list[Scenario]:
    """Validators: byte for byte, and never those of a broken answer."""
    date = "Mon, 05 Jan 2026 10:00:00 GMT"
    cut = answer(body=feed(), ETag='"bad"', Content_Length="900")
    chunked = (
        b'HTTP/1.1 200 OK\r\nETag: "bad"\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n' + feed()[:30]
    )
    bomb = gzip.compress(b"<rss>" + b"0" * 30_000_000)
    return [
        validators('"abc"', date), validators('W/"weak"'), validators("unquoted"),
        validators('"odd;=,é~"'), validators("", "whenever it was"),
        validators("", "Fri, 01 Jan 2066 00:00:00 GMT"), validators('"a"', "2026-01-05T10:00:00Z"),
        Scenario("dropped when gone", lambda n, h, u: answer(ETag='"e"') if n == 0 else answer(),
                 lambda r: sent(r, 1, "if-none-match") == '"e"'
                 and sent(r, 3, "if-none-match") is None),
        Scenario("updated by a 304",
                 lambda n, h, u: answer(ETag='"1"') if n == 0 else answer(304, ETag='"2"'),
                 lambda r: sent(r, 2, "if-none-match") == '"2"'),
        never_kept("a cut body", cut), never_kept("a cut chunk", chunked),
        never_kept("cut gzip", answer(body=gzip.compress(feed())[:-9], ETag='"bad"',
                                      Content_Encoding="gzip")),
        never_kept("a bomb", answer(body=bomb, ETag='"bad"', Content_Encoding="gzip")),
        never_kept("an oversize body", answer(body=b"x" * 3_000_000, ETag='"bad"')),
        never_kept("no XML", answer(body=b"<rss><channel><item>", ETag='"bad"')),
        never_kept("an empty body", answer(body=b"", ETag='"bad"')),
        never_kept("an HTML error page", answer(body=b"<html><h1>Error</h1></html>", ETag='"bad"',
                                                Content_Type="text/html")),
    ]  # fmt: skip


def kept_fresh() -> list[Scenario]:
    """How long an answer holds, by its headers and by the feed's own words."""
    now = time.time()
    date, later = "Mon, 05 Jan 2026 10:00:00 GMT", "Mon, 05 Jan 2026 10:00:08 GMT"
    hours = "".join(f"<hour>{_hour(now, n)}</hour>" for n in (0, 1))
    today = time.strftime("%A", time.gmtime(now))
    return [
        fresh("max-age", 6, 8, Cache_Control="max-age=6"),
        fresh("max-age less Age", 4, 6.5, Cache_Control="max-age=10", Age="6"),
        fresh("Expires less Date", 8, 10.5, Expires=later, Date=date),
        fresh("on a 304", 6, 8, status=304, Cache_Control="max-age=6"),
        fresh("no-cache", 2, 3.5, Cache_Control="no-cache, max-age=20"),
        fresh("at most POLL_MAX_S", 29, 34, Cache_Control="max-age=9999999"),
        fresh("garbage", 2, 3.5, Cache_Control="max-age=soon", Expires="-1"),
        Scenario("ttl", lambda n, h, u: answer(body=with_channel("<ttl>1</ttl>")), every(29, 34)),
        Scenario("skipHours", lambda n, h, u: answer(
            body=with_channel(f"<skipHours>{hours}</skipHours>")), lambda r: len(r) == 1),
        Scenario("skipDays", lambda n, h, u: answer(
            body=with_channel(f"<skipDays><day>{today}</day></skipDays>")), lambda r: len(r) == 1),
    ]  # fmt: skip


def failures() -> list[Scenario]:
    """Errors, Retry-After, redirects."""
    return [
        asked_to_wait("seconds", 7, 429, "7"), asked_to_wait("seconds", 7, 503, "7"),
        asked_to_wait("a date", 20, 429, "Fri, 01 Jan 2066 00:00:00 GMT"),
        asked_to_wait("garbage", 1, 429, "soon"), asked_to_wait("negative", 1, 503, "-5"),
        asked_to_wait("no end", 20, 503, "99999999999"),
        Scenario("backoff", lambda n, h, u: answer(500, b""), grows),
        Scenario("reset after success",
                 lambda n, h, u: answer(500, b"") if n in (1, 2) else answer(),
                 lambda r: len(r) > 6 and all(gap < 3.5 for gap in gaps(r)[4:])),
        Scenario("404 goes on, rarely", lambda n, h, u: answer(404, b""),
                 lambda r: len(r) > 1 and gaps(r)[0] > 3),
        Scenario("403 goes on, rarely", lambda n, h, u: answer(403, b""),
                 lambda r: len(r) > 1 and gaps(r)[0] > 3),
        Scenario("410 stops", lambda n, h, u: answer(410, b""), lambda r: len(r) == 1),
        redirected(301, is_kept=True), redirected(308, is_kept=True),
        redirected(302, is_kept=False), redirected(303, is_kept=False),
        redirected(307, is_kept=False),
        Scenario("a loop", lambda n, h, u: answer(302, b"", Location="/feed"),
                 lambda r: 1 < len(r) < 40),
        Scenario("a redirect inside", lambda n, h, u: answer(302, b"", Location="http://10.0.0.1/"),
                 lambda r: len(r) > 1),
        Scenario("a redirect to a file", lambda n, h, u: answer(302, b"", Location="file:///x"),
                 lambda r: len(r) > 1),
    ]  # fmt: skip


def manners() -> list[Scenario]:
    """What a request says, how often it comes, and what it does not fall for."""
    moved = answer(302, b"", Location="/new")
    return [
        Scenario("no cookies, no referrer", lambda n, h, u: moved if u == "/feed" else answer(
            ETag='"e"', Set_Cookie="a=b"),
            lambda r: len(r) > 3 and all("cookie" not in h and "referer" not in h for _, h in r)),
        Scenario("who asks", lambda n, h, u: answer(), lambda r: bool(re.search(
            r"\(\+http\S+; \d+ subscribers?\)", sent(r, 0, "user-agent") or ""))),
        Scenario("what is taken", lambda n, h, u: answer(), lambda r: "gzip" in (
            sent(r, 0, "accept-encoding") or "") and "rss" in (sent(r, 0, "accept") or "")),
        Scenario("one GET a poll", lambda n, h, u: answer(ETag='"e"'), every(2, 3.5)),
        Scenario("deltas", lambda n, h, u: answer(ETag='"1"') if n == 0 else answer(
            226, feed(n), IM="feed", ETag=f'"{n + 1}"'),
            lambda r: sent(r, 1, "a-im") == "feed" and sent(r, 2, "if-none-match") == '"2"'),
        Scenario("news makes polls frequent", lambda n, h, u: answer(body=feed(n)),
                 lambda r: len(r) > 40 and min(gaps(r)) >= MIN_S - 0.1),
        Scenario("a slow body", lambda n, h, u: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<",
                 lambda r: 1 < len(r) < 12),
        Scenario("billion laughs", lambda n, h, u: answer(body=b'<!DOCTYPE x [<!ENTITY a "aaaaa">'
                 b'<!ENTITY b "&a;&a;&a;&a;&a;&a;">]><rss><channel><item><title>&b;</title></item>'
                 b"</channel></rss>"), lambda r: len(r) > 5),
        Scenario("no entity is fetched", lambda n, h, u: answer(body=b'<!DOCTYPE x [<!ENTITY a '
                 b'SYSTEM "/secret">]><rss><channel><item><guid>1</guid><title>&a;</title></item>'
                 b"</channel></rss>"), lambda r: len(r) > 5 and all(
                     h["path"] == "/feed" for _, h in r)),
    ]  # fmt: skip


class Sites:
    """All scenarios behind one port."""

    def __init__(self, played: list[Scenario]) -> None:
        self.by_host = {f"127.8.0.{n + 1}": scenario for n, scenario in enumerate(played)}
        self._began = time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace").split("\r\n")
            headers = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in head[1:])
            }
            headers["path"] = path = head[0].split(" ")[1]
            scenario = self.by_host[headers["host"].partition(":")[0]]
            scenario.requests.append((time.monotonic() - self._began, headers))
            writer.write(scenario.play(len(scenario.requests) - 1, headers, path))
            await writer.drain()
            if scenario.name == "a slow body":
                await asyncio.sleep(20)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def run(seconds: float) -> list[Scenario]:
    """Play them all at once."""
    played, port, own = scenarios(), free_port(), free_port()
    sites = Sites(played)
    server = await asyncio.start_server(sites.serve, "0.0.0.0", port)
    with tempfile.TemporaryDirectory(prefix="dateline-") as folder:
        environ = {
            **os.environ,
            "DATELINE_OPEN_NETWORKS": "127.0.0.0/8",
            "DATELINE_DATA_DIR": folder,
            "DATELINE_PORT": str(own),
            "DATELINE_PUBLIC_URL": f"http://127.0.0.1:{own}",
            "DATELINE_LOG_LEVEL": "error",
            "DATELINE_FETCH_TIMEOUT_S": "3",
            "DATELINE_FETCH_MAX_BYTES": "2000000",
            "DATELINE_POLL_MIN_S": str(MIN_S),
            "DATELINE_POLL_DEFAULT_S": str(DEFAULT_S),
            "DATELINE_POLL_MAX_S": str(MAX_S),
        }
        command = [sys.executable, "-m", "service", "up"]
        up = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            await ready(f"http://127.0.0.1:{own}")
            token = (Path(folder) / "api-token").read_text().strip()
            async with aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {token}"}
            ) as client:
                for host in sites.by_host:
                    url = f"http://127.0.0.1:{own}/api/v1/sources"
                    source = {"url": f"http://{host}:{port}/feed"}
                    async with client.post(url, json=source) as response:
                        assert response.status == 201, await response.text()
            await asyncio.sleep(seconds)
        finally:
            up.send_signal(signal.SIGINT)
            await asyncio.to_thread(up.wait, 30)
    server.close()
    return played


def main() -> None:
    """Play and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=90)
    arguments = options.parse_args()
    print(header(f"seconds   {arguments.seconds:.0f}"))
    played = uvloop.run(run(arguments.seconds))
    passed = [scenario.judge(scenario.requests) for scenario in played]
    for scenario, ok in zip(played, passed, strict=True):
        if not ok:
            seen = " ".join(f"{gap:.1f}" for gap in gaps(scenario.requests)[:8])
            print(f"MISSED  {scenario.name}: {len(scenario.requests)} requests, gaps {seen}")
    count, total = sum(passed), len(passed)
    print(f"{count} of {total} scenarios hold: {100 * count / total:.1f} of 100")


if __name__ == "__main__":
    main()
