"""Archives with enough articles to train a zstd dictionary from."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from functools import cache
from itertools import accumulate

from service.articles.article import Draft, Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON
from tests.loops import at_work
from tests.old_articles import field_of
from tests.waiting import wait_until
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.compaction import Compaction

ENOUGH = 300
SYLLABLES = ("ha", "bour", "fe", "ry", "ti", "de", "qua", "y", "ль", "ни", "ка", "的是", "一")


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    chance = random.Random("vocabulary")
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4))) for _ in range(2_000)]
    return words, list(accumulate(1 / (rank + 2) for rank in range(len(words))))


def prose(number: int, *, more: str = "", words: int = 60) -> Draft:
    """An article with a text that no other number has, in words that others have as well."""
    vocabulary, weights = _vocabulary()
    text = " ".join(random.Random(number).choices(vocabulary, cum_weights=weights, k=words))
    entry = Entry(
        guid=f"https://quay.example/{number}",
        url=f"https://quay.example/{number}",
        title=f"{text[:30]} {number}",
        content_html=f"<p>{text} {more}</p>",
        categories=("Media Center/Coalition News",),
        published=NOON - timedelta(minutes=number),
    )
    return compose(entry, source="https://quay.example/feed")


async def archive_of(
    store: Store, settings: Settings, drafts: list[Draft], *, now: datetime = NOON
) -> list[str]:
    """Append these, wait until all are indexed, and return their ids."""
    count = await store.recompression.count() + len(drafts)
    receipts = await store.articles.append(drafts, now=now)

    async def is_indexed() -> bool:
        return await store.recompression.count() >= count

    async with at_work(Aggregator(store, settings, now=lambda: now).run):
        await wait_until(is_indexed)
    return [receipt.id for receipt in receipts]


async def compact(store: Store, token: str = "one") -> None:
    """One run of the compaction of a worker."""
    await Compaction(store, token=token).run(asyncio.Event())


async def stored_docs(store: Store, ids: list[str]) -> list[bytes]:
    """The documents of these articles as Redis has them."""
    docs = []
    for article_id in ids:
        shard = store.event_stream.shards.of(article_id)
        docs.append(await field_of(store.client, keys.article(shard, article_id), "doc"))
    return docs
