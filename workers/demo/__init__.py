"""The demo: a small archive of a fictional harbour town, and news that is published regularly.

The archive is imported like any other files. Then a story of `wire.json` is published every
EVERY_S, each as a new article, so that feeds, stream and pages visibly change.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import orjson

from service import process
from service.articles import times
from service.articles.compose import compose
from service.articles.input import entry_from_json
from service.settings import Settings
from service.storage.store import Store
from workers import runtime
from workers.http_client import open_client
from workers.ingest.fetch import user_agent
from workers.ingest.importer import Importer, expand
from workers.runtime import Clock

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
SOURCE = "urn:dateline:demo"
EVERY_S = 20.0


class Demo:
    """Imports the archive, then publishes a story every EVERY_S seconds."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now

    async def run(self, stop: asyncio.Event) -> None:
        """Load, then publish until stopped."""
        await runtime.attempt(self._load, stop, what="demo")
        stories = orjson.loads((FOLDER / "wire.json").read_bytes())
        await process.sleep(stop, EVERY_S)
        while not stop.is_set():
            # The clock selects the story, so that a restart does not begin with the first again.
            story = stories[int(self._now().timestamp() / EVERY_S) % len(stories)]
            await runtime.attempt(partial(self._publish, story), stop, what="demo")
            await process.sleep(stop, EVERY_S)

    async def _load(self) -> None:
        agent = user_agent(self._settings.base_url, subscribers=1)
        async with open_client(self._settings, user_agent=agent) as client:
            importer = Importer(self._store, self._settings, client, now=self._now)
            for name in expand([str(FOLDER / "archive")], self._settings):
                await importer.take(name, progress=lambda _: None)
        logger.info("demo archive loaded", extra=dict(importer.summary.counts))

    async def _publish(self, story: dict[str, object]) -> None:
        now = self._now()
        entry = entry_from_json({**story, "guid": f"demo-{times.to_ms(now)}"})
        await self._store.articles.append([compose(entry, source=SOURCE)], now=now)
        logger.info("demo published", extra={"title": entry.title})
