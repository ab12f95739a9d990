"""The layout of the data: noted, brought up to date, refused if it is a newer one."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from service.errors import StartFailed
from service.settings import Settings
from service.storage import keys, layout
from service.storage.store import Store, open_store


async def test_an_empty_redis_gets_the_present_layout(
    settings: Settings, store: Store, redis: Redis
) -> None:
    """And so does an archive of a version that noted none."""
    await redis.hset(keys.LAYOUT, "shards", "1")
    async with open_store(settings):
        assert str(layout.VERSION).encode() == await redis.hget(keys.LAYOUT, "version")


async def test_a_newer_layout_is_refused(settings: Settings, store: Store, redis: Redis) -> None:
    """With the version that wrote it and what to do; nothing is changed."""
    await redis.hset(keys.LAYOUT, mapping={"shards": "1", "version": "99"})
    with pytest.raises(StartFailed, match=r"layout 99; this one knows \d+"):
        async with open_store(settings):
            pass
    assert b"99" == await redis.hget(keys.LAYOUT, "version")


async def test_what_the_open_hub_left_is_removed(
    settings: Settings, store: Store, redis: Redis
) -> None:
    """Once, on the way to layout 1."""
    await redis.hset("dateline:{0}:hub:pinged", "topic", "1")
    await redis.hset("dateline:{0}:hub:content:topic", "body", "1")
    async with open_store(settings):
        pass
    assert [] == await redis.keys("dateline:{0}:hub:*")
