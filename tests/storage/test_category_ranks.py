"""The indexes of categories: which article is the nth newest."""

from __future__ import annotations

import uuid

import pytest

from service.storage import keys
from service.storage.shards import numbered
from service.storage.store import Store, of_client


@pytest.mark.parametrize("shards", [1, 3])
async def test_the_nth_newest_is_that_of_the_feed(store: Store, shards: int) -> None:
    """Also among articles of the same time, and over all shards; None if there are fewer."""
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(60)]
    places = {article_id: 86_400_000.0 * (at // 7) for at, article_id in enumerate(ids)}
    for article_id, ms in places.items():
        name = keys.category(numbered(shards).of(article_id), "news")
        await store.client.zadd(name, {article_id: ms})
    ordered = sorted(((ms, article_id) for article_id, ms in places.items()), reverse=True)
    nth = of_client(store.client, shards=numbered(shards)).category_ranks.nth_newest
    for number in (1, 2, 7, 8, 31, 60):
        assert ordered[number - 1] == await nth("news", number)
    assert await nth("news", 61) is None
    assert await nth("nothing", 1) is None
