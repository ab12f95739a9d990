"""Readers: they poll hot feeds over connections that are kept, and follow `/events`.

During faults they may get old pages, 503, or no answer; never a page with an article twice, out of
order, or a 500.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import orjson
from lxml import etree

from chaos.ledger import Ledger, doubled
from chaos.receivers import digest_of

FEEDS = ("all", "harbour", "harbour/ferries", "council", "weather")
PAUSE_S = 0.2
TIMEOUT_S = 12.0
_NAMES = ("{*}entry/{*}id", "channel/item/guid")


class FeedReader:
    """Polls feeds of all formats with validators."""

    def __init__(self, number: int, ledger: Ledger, *, url: str, seed: int) -> None:
        self.seen: dict[str, float] = {}
        """Id of an article → when it was seen in the feed of everything first."""
        self.answered_s = time.monotonic()
        self._ledger = ledger
        self._url = url
        self._tags: dict[str, str] = {}
        self._chance = random.Random(f"reader {seed} {number}")

    async def run(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Read until stopped."""
        while not stop.is_set():
            await self._read(session, "/feeds/all.json")
            extension = self._chance.choice(["rss", "atom", "json"])
            await self._read(session, f"/feeds/{self._chance.choice(FEEDS)}.{extension}")
            await asyncio.sleep(PAUSE_S)

    async def _read(self, session: aiohttp.ClientSession, path: str) -> None:
        headers = {"If-None-Match": self._tags[path]} if path in self._tags else {}
        try:
            async with session.get(f"{self._url}{path}", headers=headers) as response:
                body = await response.read()
                status, tag = response.status, response.headers.get("ETag", "")
                has_retry_after = "Retry-After" in response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            self._ledger.lost_connection(f"GET {type(exc).__name__}")
            return
        if status not in (200, 304):
            # A category is not there before its first article, which a cut may take away.
            if status != 404 or (path in self._tags and not self._ledger.has_cut):
                text = f"{path} {body[:200]!r}"
                self._ledger.answered("GET", status, has_retry_after=has_retry_after, text=text)
            return
        self._ledger.statuses[f"GET {status}"] += 1
        self.answered_s = time.monotonic()
        if status == 200:
            self._tags[path] = tag
            self._judge(path, body)

    def _judge(self, path: str, body: bytes) -> None:
        ids = ids_in(path, body, self._ledger)
        if doubled(ids):
            self._ledger.violate("doubled", f"{path}: {doubled(ids)}")
        if path == "/feeds/all.json":
            now_s = time.monotonic()
            for article_id in ids:
                self.seen.setdefault(article_id, now_s)


def ids_in(path: str, body: bytes, ledger: Ledger) -> list[str]:
    """Ids of the articles in a feed, whose order is checked."""
    if not path.endswith(".json"):
        root = etree.fromstring(body)
        names = [element.text for name in _NAMES for element in root.iterfind(name)]
        return [str(name).removeprefix("urn:uuid:") for name in names]
    items: list[dict[str, Any]] = orjson.loads(body)["items"]
    times = [datetime.fromisoformat(item["date_published"]) for item in items]
    for newer, older in pairwise(times):
        if newer < older:
            ledger.violate("disordered", f"{path}: {older} after {newer}")
    return [str(item["id"]).removeprefix("urn:uuid:") for item in items]


class EventReader:
    """Follows `/events`, and resumes after each interruption where it was."""

    def __init__(self, ledger: Ledger, *, url: str) -> None:
        self.order: dict[str, float] = {}
        """Event id → when it came, in this order."""
        self.again: list[str] = []
        """Event ids that came a second time."""
        self.digests: dict[str, str] = {}
        self.last_id = ""
        self.resumed = 0
        self._ledger = ledger
        self._url = f"{url}/events"

    async def run(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Follow until stopped."""
        # Without a total limit, but not for longer than two heartbeats of silence.
        limits = aiohttp.ClientTimeout(sock_connect=5, sock_read=35)
        while not stop.is_set():
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            try:
                async with session.get(self._url, headers=headers, timeout=limits) as response:
                    await self._follow_until(stop, response)
            except* (aiohttp.ClientError, TimeoutError, OSError):
                pass
            self.resumed += 1
            await asyncio.sleep(PAUSE_S)

    async def _follow_until(self, stop: asyncio.Event, response: aiohttp.ClientResponse) -> None:
        # Without an event, the next line may be a heartbeat away.
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow(response)),
                group.create_task(stop.wait()),
            ]
            _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        if response.status != 200:
            self._ledger.answered(
                "GET /events", response.status,
                has_retry_after="Retry-After" in response.headers, text=await response.text(),
            )  # fmt: skip
            return
        fields: dict[str, str] = {}
        async for line in response.content:
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            else:
                self._take(fields)
                fields = {}

    def _take(self, fields: dict[str, str]) -> None:
        if fields.get("event") == "gap" and not self._ledger.has_cut:
            self._ledger.violate("a gap in /events", fields)
        if "id" not in fields:
            return
        self.last_id = fields["id"]
        event = orjson.loads(fields["data"])
        event_id, digest = event["id"], digest_of(event["data"])
        if event_id in self.order:
            self.again.append(event_id)
        self.order.setdefault(event_id, time.monotonic())
        if self.digests.setdefault(event_id, digest) != digest:
            self._ledger.violate("an event id names two contents", f"/events {event_id}")
