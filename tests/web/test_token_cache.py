"""The tokens that a server holds: revocation, last use, odd rows, and a Redis that is away."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from redis.asyncio import Redis

from service.errors import InvalidInput
from service.manage import tokens as manage_tokens
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store, open_store
from service.web.request.keys import TOKENS
from service.web.serving import token_cache
from tests.conftest import NOON, TOKEN, Clock
from tests.servers import serving
from tests.waiting import let_pass, wait_until, within
from tests.web.token_calls import Client, add, call, server


async def test_a_revoked_token_is_refused_by_every_server(
    client: Client, settings: Settings, clock: Clock
) -> None:
    """At once by the one that revoked it, by others after their next load."""
    async with server(settings, clock) as other:
        added = await add(client, scope="read")
        # No server has loaded it yet: an unknown token is looked for once more.
        assert 200 == (await call(other, "GET", "sources", token=added["token"]))[0]
        await call(client, "DELETE", f"tokens/{added['id']}")
        assert 401 == (await call(client, "GET", "sources", token=added["token"]))[0]

        async def refused() -> bool:
            return 401 == (await call(other, "GET", "sources", token=added["token"]))[0]

        await wait_until(refused, timeout_s=token_cache.REFRESH_S + 1)


async def loads(redis: Redis) -> float:
    """How often tokens were loaded since the statistics began: a load is two commands."""
    statistics = await redis.info("commandstats")
    return float(statistics.get("cmdstat_hgetall", {"calls": 0})["calls"]) / 2


async def test_requests_of_known_tokens_read_nothing(client: Client, redis: Redis) -> None:
    """A hundred of them, and the server has not looked the token up more often than before."""
    text = (await add(client, scope="read"))["token"]
    assert 200 == (await call(client, "GET", "views", token=text))[0]
    await redis.config_resetstat()
    start = time.monotonic()
    for _ in range(100):
        assert 403 == (await call(client, "POST", "views", {}, token=text))[0]
    assert await loads(redis) <= (time.monotonic() - start) / token_cache.REFRESH_S + 2


async def test_many_unknown_tokens_share_loads(client: Client, redis: Redis) -> None:
    """A stranger cannot make this server busy with Redis."""
    await redis.config_resetstat()
    start = time.monotonic()

    async def guess(number: int) -> None:
        assert 401 == (await call(client, "GET", "views", token=f"guess-{number}"))[0]

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(guess(number))
    assert await loads(redis) <= (time.monotonic() - start) / token_cache.MIN_LOAD_S + 2


async def last_used(store: Store) -> list[str]:
    """As stored, of all tokens."""
    return [each.last_used for each in await store.tokens.all()]


async def test_the_last_use_is_written_once_a_minute(
    client: Client, store: Store, clock: Clock
) -> None:
    """Not for each request; for one whose scope was too small neither; and also after the clock
    was put back."""
    text = (await add(client, scope="read"))["token"]
    assert 403 == (await call(client, "POST", "views", {}, token=text))[0]
    await client.app[TOKENS].load()  # type: ignore[index]
    assert [""] == await last_used(store)

    async def use_at(**moved: float) -> list[str]:
        clock.move(**moved)
        assert 200 == (await call(client, "GET", "views", token=text))[0]
        for _ in range(2):  # what the first wrote is read by the second
            await client.app[TOKENS].load()  # type: ignore[index]
        return await last_used(store)

    assert ["2026-01-05T12:00:00.000Z"] == await use_at()
    assert ["2026-01-05T12:00:00.000Z"] == await use_at(seconds=59)
    assert ["2026-01-05T12:01:00.000Z"] == await use_at(seconds=1)
    assert ["2025-12-31T12:01:00.000Z"] == await use_at(days=-5)


async def test_a_use_does_not_bring_back_a_revoked_token(store: Store, redis: Redis) -> None:
    """A server that noted a use just before."""
    settings = Settings()
    added = await manage_tokens.add(store, {"name": "a", "scope": "read"}, settings, now=NOON)
    await store.tokens.note_used({"a": NOON})
    assert 1 == await redis.hlen(keys.TOKENS_USED)
    await manage_tokens.revoke(store, added["id"], settings, now=NOON)
    await store.tokens.note_used({"a": NOON})
    assert (0, 0) == (await redis.hlen(keys.TOKENS), await redis.hlen(keys.TOKENS_USED))


async def test_rows_that_cannot_be_read_shut_nobody_out(
    client: Client, store: Store, redis: Redis
) -> None:
    """Of a later version, or damaged: they are left out, and count as no admin."""
    text = (await add(client, scope="admin"))["token"]
    rows = [
        b"",
        b"{",
        b"[]",
        b"5",
        b'{"id": "x"}',
        b'{"categories": null, "scope": "admin"}',
        b"\xff",
    ]
    for number, row in enumerate(rows):
        await redis.hset(keys.TOKENS, f"row {number}", row)
    await redis.hset(keys.TOKENS, b"\xff\xfe", b"{")
    await redis.hset(keys.TOKENS_USED, "desk", b"\xff")
    assert 200 == (await call(client, "GET", "sources", token=text))[0]
    _, (listed,) = await call(client, "GET", "tokens")
    assert "desk" == listed["name"]
    settings = Settings()
    with pytest.raises(InvalidInput):
        await manage_tokens.revoke(store, "desk", settings, now=NOON)
    with pytest.raises(InvalidInput):
        await manage_tokens.add(store, {"name": "row 1", "scope": "read"}, settings, now=NOON)


async def test_a_key_of_another_type_ends_nothing(client: Client, redis: Redis) -> None:
    """The settings' own token goes on; others are answered 503, because they may exist."""
    await redis.set(keys.TOKENS, "x")
    assert 503 == (await call(client, "GET", "sources", token="another"))[0]
    assert 200 == (await call(client, "GET", "sources"))[0]
    await redis.delete(keys.TOKENS)

    async def unknown() -> bool:
        return 401 == (await call(client, "GET", "sources", token="another"))[0]

    await wait_until(unknown)


async def test_through_an_outage_of_redis_what_is_known_counts(
    settings: Settings, clock: Clock
) -> None:
    """Known tokens are neither refused nor waited for; others are 503, for they may be valid."""
    async with serving() as away:
        url = away.embedded.url
        here = settings.model_copy(update={"redis_url": url})
        async with open_store(here, check=False) as store, server(here, clock) as client:
            added = await manage_tokens.add(store, {"name": "a", "scope": "read"}, here, now=NOON)
            assert 200 == (await call(client, "GET", "sources", token=added["token"]))[0]
            away.process.kill()
            await away.process.wait()
            await let_pass(0.1)
            async with within(token_cache.WAIT_S + 5):
                status, problem = await call(client, "POST", "sources", {}, token=added["token"])
                assert (403, "admin") == (status, problem["scope"])
                assert 503 == (await call(client, "GET", "sources", token="another"))[0]
                assert 503 == (await call(client, "GET", "sources", token=added["token"]))[0]
            process = await away.embedded.start()
            await manage_tokens.revoke(store, added["id"], here, now=NOON)

            async def refused() -> bool:
                return 401 == (await call(client, "GET", "sources", token=added["token"]))[0]

            await wait_until(refused)
            process.kill()
            await process.wait()


async def test_a_redis_that_hangs_is_not_waited_for(settings: Settings, clock: Clock) -> None:
    """An unknown token is answered within WAIT_S."""
    async with serving() as stopped:
        here = settings.model_copy(update={"redis_url": stopped.embedded.url})
        async with server(here, clock, token=TOKEN) as client:
            assert 200 == (await call(client, "GET", "sources"))[0]
            os.kill(stopped.process.pid, 19)
            try:
                async with within(token_cache.WAIT_S + 1):
                    assert 503 == (await call(client, "GET", "sources", token="another"))[0]
                assert 403 != (await call(client, "POST", "views", {"name": 5}))[0]
            finally:
                os.kill(stopped.process.pid, 18)
