"""The examples do what they say, as processes of their own."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp

from service.articles.article import Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.webhooks import signing
from tests.running import ROOT, free_port
from tests.waiting import wait_until, within


@asynccontextmanager
async def example(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an example; ended with SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / name),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line that it prints."""
    assert process.stdout
    async with within(10):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def publish(store: Store, title: str) -> str:
    """Append; the article's id."""
    draft = compose(Entry(guid=title, title=title, categories=("News",)), source="s")
    return (await store.articles.append([draft], now=datetime.now(UTC)))[0].id


async def test_the_consumer_prints_each_event_once(store: Store, settings: Settings) -> None:
    """What was there before, what comes, and after a restart only what is new."""
    arguments = ("consume_stream.py", "--url", settings.redis_url, "--group", "test")
    first = await publish(store, "One")
    async with example(*arguments) as process:
        assert f"dateline.article.published.v1\t{first}\tOne" == await line(process)
        second = await publish(store, "Two")
        assert f"dateline.article.published.v1\t{second}\tTwo" == await line(process)

        async def acknowledged() -> bool:
            return [("test", 0)] == [
                (b.group, b.pending) for b in await store.event_stream.backlogs()
            ]

        await wait_until(acknowledged)
    async with example(*arguments) as process:
        third = await publish(store, "Three")
        assert f"dateline.article.published.v1\t{third}\tThree" == await line(process)


async def test_a_redis_that_cannot_be_used_is_one_line(settings: Settings) -> None:
    """Nothing listens there, or it wants a password: the document is named, no traceback."""
    without = settings.redis_url.partition("?")[0]
    for url in (f"redis://127.0.0.1:{free_port()}", without, "nonsense"):
        async with example("consume_stream.py", "--url", url) as process:
            assert process.stdout
            async with within(10):
                text = (await process.stdout.read()).decode()
            assert 1 == await process.wait()
        assert text.startswith("cannot use the Redis of --url: ")
        assert 1 == text.count("\n")


async def test_the_consumer_finishes_what_it_had_begun(store: Store, settings: Settings) -> None:
    """Read but never acknowledged (kill -9): it comes again at the next start."""
    await store.event_stream.create_group("test")
    article_id = await publish(store, "One")
    assert await store.event_stream.read_group(0, "test", "consumer-0", count=10)
    arguments = ("consume_stream.py", "--url", settings.redis_url, "--group", "test")
    async with example(*arguments) as process:
        assert f"dateline.article.published.v1\t{article_id}\tOne" == await line(process)


async def test_the_consumer_survives_a_deleted_stream(store: Store, settings: Settings) -> None:
    """The group went with it: made again, wherever in its round the consumer was."""
    arguments = ("consume_stream.py", "--url", settings.redis_url, "--group", "test")
    await publish(store, "One")
    async with example(*arguments) as process:
        assert (await line(process)).endswith("\tOne")
        for number in range(20):
            await store.client.delete(keys.stream(0))
            await publish(store, f"Again {number}")
        # Those between may have been deleted unread; the last one is there to be read.
        printed = "Again 0"
        while printed and not printed.endswith("\tAgain 19"):
            printed = await line(process)
        assert printed.endswith("\tAgain 19")


async def test_the_receiver_takes_our_signatures_and_no_others(http: aiohttp.ClientSession) -> None:
    """204 for a message signed by us, 401 for another secret, another body or an old timestamp."""
    secret, port = signing.new_key("v1").secret, str(free_port())
    payload = b'{"type":"t","timestamp":"now","data":{"title":"One"}}'
    now = datetime.now(UTC)

    def headers(secret: str, when: datetime = now) -> dict[str, str]:
        key = signing.Key(secret=secret)
        return signing.headers([key], message_id="m1", attempted=when, payload=payload)

    async def post(body: bytes, headers: dict[str, str]) -> int:
        url = f"http://127.0.0.1:{port}/"
        try:
            async with http.post(url, data=body, headers=headers) as response:
                return response.status
        except aiohttp.ClientConnectorError:
            return 0

    async with example("receive_webhook.py", "--port", port, "--secret", secret) as process:

        async def up() -> bool:
            return await post(b"", {}) == 401

        await wait_until(up)
        assert 204 == await post(payload, headers(secret))
        assert "t\tOne" == await line(process)
        assert 401 == await post(payload, headers(signing.new_key("v1").secret))
        assert 401 == await post(payload + b" ", headers(secret))
        assert 401 == await post(payload, headers(secret, datetime(2020, 1, 1, tzinfo=UTC)))
