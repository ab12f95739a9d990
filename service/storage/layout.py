"""The layout of the data in Redis: its version, and the steps from older ones.

Another program version may read and write the same Redis. One that is older than the data refuses
it instead of writing what the newer one cannot use; one that is newer migrates it. To change the
layout, append a step to STEPS; a step can be run twice, because two processes may start at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from service.errors import StartFailed
from service.storage import keys
from service.storage.category_renames import rename_categories
from service.storage.commands import Client
from service.storage.duplicate_moves import spread_duplicates
from service.storage.our_subscriptions import place_subscriptions
from service.storage.source_moves import place_sources
from service.storage.source_urls import note_urls
from service.storage.webhook_partitions import partition_webhooks

logger = logging.getLogger(__name__)

Step = Callable[[Client], Awaitable[None]]


async def _forget_open_hub(client: Client) -> None:
    """Remove what the open hub kept of other sites' topics."""
    await client.unlink("dateline:{0}:hub:pinged")
    async for name in client.scan_iter(match="dateline:{0}:hub:content:*", count=1_000):
        await client.unlink(name.decode())


async def _have_dictionaries(client: Client) -> None:
    """Change nothing: versions before this layout cannot read documents that a zstd dictionary
    was used for."""


async def _have_short_articles(client: Client) -> None:
    """Change nothing: versions before this layout cannot read articles that are one string
    (article.lua); hashes are still read."""


STEPS: tuple[Step, ...] = (
    _forget_open_hub, rename_categories, _have_dictionaries, spread_duplicates,
    place_sources, place_subscriptions, _have_short_articles, partition_webhooks,
    note_urls,
)  # fmt: skip
"""Step n leads from layout n to layout n + 1; data without a version has layout 0."""
VERSION = len(STEPS)


async def version_of(client: Client) -> int:
    """Version of the layout that the data has now; 0 if none is noted."""
    stored = await client.hget(keys.LAYOUT, "version")
    return int(stored) if stored and stored.isdigit() else 0


async def migrate(client: Client) -> None:
    """Bring the data to this program's layout.

    Raises:
        StartFailed: a newer program wrote the data.
    """
    version = await version_of(client)
    if version > VERSION:
        raise StartFailed(
            f"the data in Redis was written by a newer dateline (layout {version}; this one knows "
            f"{VERSION}): install that version again, or restore a backup of before"
        )
    for number in range(version, VERSION):
        await STEPS[number](client)
        await client.hset(keys.LAYOUT, "version", str(number + 1))
        # A new archive has nothing to be told of.
        level = logging.INFO if version else logging.DEBUG
        logger.log(level, "the data has a new layout", extra={"layout": number + 1})
