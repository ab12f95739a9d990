"""The demo: a small archive of a made-up harbour town, and its newsroom at work.

The archive is read through the same import as anybody's files. After that a story of `wire.json` is
published every few seconds, each as new, so that feeds, stream and pages visibly live.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import orjson

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
    """Loads the archive and goes on publishing."""

    def __init__(
        self, store: Store, settings: Settings, *, now: Clock, every_s: float = EVERY_S
    ) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Load, then publish until stopped."""
        await runtime.attempt(self._load, stop, what="demo")
        stories = orjson.loads((FOLDER / "wire.json").read_bytes())
        await runtime.sleep(stop, self._every_s)
        while not stop.is_set():
            # By the clock, so that a restart goes on instead of beginning again.
            story = stories[int(self._now().timestamp() / self._every_s) % len(stories)]
            await runtime.attempt(partial(self._publish, story), stop, what="demo")
            await runtime.sleep(stop, self._every_s)

    async def _load(self) -> None:
        agent = user_agent(self._settings.base_url, subscribers=1)
        async with open_client(self._settings, user_agent=agent) as client:
            importer = Importer(self._store, self._settings, client, now=self._now)
            for name in expand([str(FOLDER / "archive")]):
                await importer.take(name, progress=lambda _: None)
        logger.info("demo archive loaded", extra=dict(importer.summary.counts))

    async def _publish(self, story: dict[str, object]) -> None:
        now = self._now()
        entry = entry_from_json({**story, "guid": f"demo-{times.to_ms(now)}"})
        await self._store.articles.append([compose(entry, source=SOURCE)], now=now)
        logger.info("demo published", extra={"title": entry.title})
