"""Whether every role works: measured by what reaches its end, not by what a process says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chaos.ledger import Ledger
from chaos.processes import Fleet
from chaos.readers import FeedReader
from chaos.receivers import Receivers
from chaos.site import Sites

ABSENT_S = 10.0
"""A role that does not work for so long after a fault has ended is absent."""
GIVEN_UP_S = 60.0
EVERY_S = 0.05
STREAM = "dateline:{0}:events"
_BLOCK_MS = 500


class StreamTail:
    """Reads the stream beside all faults, and notes when items of sites arrive."""

    def __init__(self, admin: Redis) -> None:
        self.items: dict[str, float] = {}
        """Title → when its event was read."""
        self._admin = admin

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until stopped."""
        last = "0-0"
        while not stop.is_set():
            try:
                reply: Any = await self._admin.xread({STREAM: last}, block=_BLOCK_MS, count=500)
            except (RedisError, OSError):
                await asyncio.sleep(EVERY_S)
                continue
            for entry_id, fields in reply[0][1] if reply else ():
                last = entry_id.decode()
                with contextlib.suppress(ValueError, KeyError):
                    self.items.setdefault(orjson.loads(fields[b"data"])["title"], time.monotonic())


class Recovery:
    """When each role worked again after a moment."""

    def __init__(
        self, ledger: Ledger, fleet: Fleet, *, tail: StreamTail, sites: Sites,
        receivers: Receivers, readers: Sequence[FeedReader], patience: float,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._fleet = fleet
        self._tail = tail
        self._sites = sites
        self._receivers = receivers
        self._readers = readers
        self._patience = patience

    async def wait(self, since_s: float) -> float:
        """Wait until every role has done something new since then, note how long that took, and
        return it. A role that takes over ABSENT_S is a violation."""
        absent: set[str] = set()
        while missing := [role for role, at_s in self._returned(since_s).items() if at_s is None]:
            waited_s = time.monotonic() - since_s
            if waited_s > ABSENT_S * self._patience:
                for role in set(missing) - absent:
                    self._ledger.violate("a role is absent", f"{role}, {waited_s:.1f} s")
                    absent.add(role)
            if waited_s > GIVEN_UP_S * self._patience:
                break
            await asyncio.sleep(EVERY_S)
        now_s = time.monotonic()
        times = {role: at_s or now_s for role, at_s in self._returned(since_s).items()}
        slowest = max(times, key=lambda role: times[role])
        self._ledger.recovered(times[slowest] - since_s, slowest)
        return times[slowest] - since_s

    def _returned(self, since_s: float) -> dict[str, float | None]:
        """Role → when something that began after this moment was seen at its end; None if never."""
        acks = list(self._acked_since(since_s))
        orders = [receiver.order for receiver in self._receivers.webhooks.values()]
        seen = [reader.seen for reader in self._readers]
        return {
            "server": min((at_s for at_s, _, _ in acks), default=None),
            "aggregate": min(
                (times[article] for _, article, _ in acks for times in seen if article in times),
                default=None,
            ),
            "deliver": min(
                (order[event] for _, _, event in acks for order in orders if event in order),
                default=None,
            ),
            "ingest": min(
                (
                    self._tail.items[title]
                    for title, shown_s in self._sites.shown.items()
                    if shown_s >= since_s and title in self._tail.items
                ),
                default=None,
            ),
        }

    def _acked_since(self, since_s: float) -> Iterator[tuple[float, str, str]]:
        """(when, article id, event id) of changes acknowledged since then, the newest first."""
        for event_id, ack in reversed(self._ledger.acks.items()):
            if ack.at_s < since_s:
                return
            yield ack.at_s, self._ledger.records[ack.guid].article_id, event_id

    async def watch(self, stop: asyncio.Event) -> None:
        """Report processes that live without sending anything to Redis, each once."""
        reported: set[str] = set()
        while not stop.is_set():
            for text in self.without_progress(time.monotonic()):
                name = text.partition(",")[0]
                if name not in reported:
                    self._ledger.violate("a process without progress", text)
                reported.add(name)
            await asyncio.sleep(1)

    def without_progress(self, now_s: float) -> list[str]:
        """Name, start and silence of each process that has sent nothing for ABSENT_S; those that
        are stopped on purpose begin to count when they go on."""
        texts = []
        for part in self._fleet.parts:
            if part.is_stopped:
                part.way.last_sent_s = now_s
            quiet_s = now_s - max(part.way.last_sent_s, part.started_s)
            if quiet_s > ABSENT_S * self._patience:
                texts.append(f"{part.name} (started at {part.started_s:.0f} s), {quiet_s:.0f} s")
        return texts
