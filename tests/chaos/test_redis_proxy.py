"""The way to Redis: each of its faults is one that a client of Redis sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from chaos.redis_proxy import Way, open_way
from tests.running import free_port
from tests.servers import Server, serving
from tests.waiting import let_pass, within


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on a port."""
    async with serving(free_port()) as opened:
        yield opened


@pytest.fixture
async def way(server: Server) -> AsyncIterator[Way]:
    """A way to Redis that leads through the proxy."""
    async with open_way(server.embedded.port) as opened:
        yield opened


@pytest.fixture
async def client(server: Server, way: Way) -> AsyncIterator[Any]:
    """One that does not try again, with a connection that is open."""
    url = f"redis://:{server.embedded.password}@127.0.0.1:{way.port}"
    async with Redis.from_url(url, retry=None, single_connection_client=True) as opened:
        await opened.ping()
        yield opened


async def test_a_reply_that_is_dropped_is_of_a_command_that_was_done(
    server: Server, way: Way, client: Any
) -> None:
    """The client sees a lost connection; the write is there."""
    way.drops_replies = True
    with pytest.raises(RedisConnectionError):
        await client.incr("n")
    assert b"1" == await server.admin.get("n")
    way.drops_replies = False


async def test_connections_are_reset(server: Server, way: Way, client: Any) -> None:
    """Those that are open now; the next one works."""
    way.reset()
    with pytest.raises(RedisConnectionError):
        await client.incr("n")
    async with Redis.from_url(
        f"redis://:{server.embedded.password}@127.0.0.1:{way.port}"
    ) as another:
        assert await another.ping()


async def test_what_is_held_comes_late(server: Server, way: Way, client: Any) -> None:
    """Nothing passes in a black hole; at its end what was sent arrives."""
    way.hold()
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(client.incr("n"))
        await let_pass(0.2)
        assert not sending.done()
        assert await server.admin.get("n") is None
        way.release()
        async with within(5):
            assert 1 == await sending


async def test_a_delay_is_before_each_reply(way: Way, client: Any) -> None:
    """It is noticed in each round trip."""
    way.delay_s = 0.1
    start = time.monotonic()
    await client.ping()
    assert time.monotonic() - start >= 0.1


async def test_it_knows_when_something_was_sent_last(way: Way, client: Any) -> None:
    """A process that sends nothing does not work."""
    before = way.last_sent_s
    await let_pass(0.05)
    assert before == way.last_sent_s
    await client.ping()
    assert before < way.last_sent_s
