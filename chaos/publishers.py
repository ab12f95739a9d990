"""Publishers: they post, change, send again and withdraw articles, and keep the ledger.

A publisher that is not answered, or with 503, sends the same again, as docs/http.md says; some give
up, and their article stays uncertain.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import aiohttp

from chaos.ledger import WITHDRAWN, Ledger, Record

CATEGORIES = ("Harbour", "Harbour/Ferries", "Council", "Council/Budget", "Weather")
# Share of the changes that are new articles, changes of titles, the same again, withdrawals.
NEW, REVISED, REPEATED = 0.6, 0.8, 0.9
BATCH_SHARE = 0.15
BATCH = 4
GIVES_UP = 0.1
"""Share of the uncertain changes that are not sent again."""
TIMEOUT_S = 30.0
PAUSE_S = 0.1
_WORDS = ["harbour", "ferry", "tide", "quay", "council", "winter", "boats", "lamp", "crane", "rope"]


class Publisher:
    """One client with its own articles."""

    def __init__(self, number: int, ledger: Ledger, *, url: str, seed: int) -> None:
        self._number = number
        self._ledger = ledger
        self._url = f"{url}/api/v1/articles"
        self._chance = random.Random(f"publisher {seed} {number}")
        self._own: list[Record] = []
        self._count = 0

    async def run(
        self, session: aiohttp.ClientSession, stop: asyncio.Event, *, rate_per_s: float
    ) -> None:
        """Publish until stopped, then send again what is owed."""
        while not stop.is_set():
            await self._change(session)
            # Never quiet for so long that a server which is stopped would close the connection.
            await asyncio.sleep(self._chance.uniform(0.6, 1.4) / rate_per_s)
        await self._settle(session)

    async def _change(self, session: aiohttp.ClientSession) -> None:
        await self._settle(session)
        share = self._chance.random()
        if share < NEW or not self._own:
            many = self._chance.random() < BATCH_SHARE
            records = [self._new() for _ in range(BATCH if many else 1)]
            await self._send(session, records, [self._title(record) for record in records])
            return
        # What is uncertain for good is left alone: nobody could say what it should be.
        record = self._chance.choice(self._own[-200:])
        if record.acked is None:
            return
        if share < REVISED or (share < REPEATED and record.acked == WITHDRAWN):
            await self._send(session, [record], [self._title(record)])
        elif share < REPEATED:
            await self._send(session, [record], [record.acked])
        else:
            await self._withdraw(session, record)

    async def _settle(self, session: aiohttp.ClientSession) -> None:
        for record in self._own:
            while record.is_owed and record.acked is not None:
                if record.acked == WITHDRAWN:
                    await self._withdraw(session, record)
                else:
                    await self._send(session, [record], [record.acked])

    def _new(self) -> Record:
        self._count += 1
        category = self._chance.choice(CATEGORIES)
        record = Record(guid=f"p{self._number} n{self._count}", category=category)
        self._ledger.records[record.guid] = record
        self._own.append(record)
        return record

    def _title(self, record: Record) -> str:
        words = " ".join(self._chance.choices(_WORDS, k=4))
        return f"{record.guid} {words} {self._chance.randrange(10**6)}"

    async def _send(
        self, session: aiohttp.ClientSession, records: Sequence[Record], titles: Sequence[str]
    ) -> None:
        articles = [_article(r, title) for r, title in zip(records, titles, strict=True)]
        body = articles if len(articles) > 1 else articles[0]
        while True:
            receipts = await self._request(session, "POST", self._url, json=body)
            if receipts is not None:
                for record, title, receipt in zip(records, titles, receipts, strict=True):
                    self._note(record, title, receipt)
                return
            for record, title in zip(records, titles, strict=True):
                self._ledger.uncertain(record, title)
            if not any(r.is_owed for r in records) and self._chance.random() < GIVES_UP:
                self._leave(records)
                return
            await asyncio.sleep(PAUSE_S)

    async def _withdraw(self, session: aiohttp.ClientSession, record: Record) -> None:
        url = f"{self._url}/{record.article_id}"
        while (receipts := await self._request(session, "DELETE", url)) is None:
            self._ledger.uncertain(record, WITHDRAWN)
            await asyncio.sleep(PAUSE_S)
        if receipts:
            self._note(record, WITHDRAWN, receipts[0])
        elif record.is_owed:
            # It was made and withdrawn in what was cut off.
            self._leave([record])
            record.is_owed = False
        else:
            self._ledger.violate("lost", f"{record.guid} {record.article_id}: DELETE says 404")

    def _leave(self, records: Sequence[Record]) -> None:
        for record in records:
            self._own.remove(record)
            record.maybe |= record.allowed | {WITHDRAWN}
            record.acked = None

    def _note(self, record: Record, content: str, receipt: dict[str, str]) -> None:
        if "event_id" not in receipt:
            self._ledger.violate("rejected", f"{record.guid}: {receipt}")
            return
        self._ledger.acked(
            record, content,
            article_id=receipt["id"], event_id=receipt["event_id"], now_s=time.monotonic(),
        )  # fmt: skip

    async def _request(
        self, session: aiohttp.ClientSession, method: str, url: str, **options: object
    ) -> list[dict[str, str]] | None:
        """Receipts, empty for 404; None if it is uncertain whether the request was done."""
        try:
            async with session.request(method, url, **options) as response:  # type: ignore[arg-type]
                if response.status in (200, 201):
                    self._ledger.statuses[f"{method} {response.status}"] += 1
                    receipts = await response.json()
                    return receipts if isinstance(receipts, list) else [receipts]
                if response.status == 404:
                    return []
                self._ledger.answered(
                    method, response.status,
                    has_retry_after="Retry-After" in response.headers, text=await response.text(),
                )  # fmt: skip
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            self._ledger.lost_connection(f"{method} {type(exc).__name__}")
        return None


def _article(record: Record, title: str) -> dict[str, object]:
    # A text that no other article has: nothing is taken for a copy.
    text = " ".join(f"{word}{hash_of(title)}" for word in _WORDS * 6)
    return {
        "guid": record.guid, "title": title, "content_html": f"<p>{text}</p>",
        "categories": [record.category], "source": "urn:chaos:push",
    }  # fmt: skip


def hash_of(title: str) -> int:
    """A number that is the same in every process."""
    return random.Random(title).randrange(10**6)
