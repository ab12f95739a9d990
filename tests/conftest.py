"""Shared fixtures: a real Redis server, a store on it, an application on that.

The server is our own embedded one (so it is tested by everything), or DATELINE_TEST_REDIS_URL. Each
test has it for itself and empty; at its end every key must be one that `keys.py` knows.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from service.articles.article import Entry
from service.articles.compose import compose
from service.feeds.page import Page
from service.settings import Settings
from service.storage import event_stream
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from service.web.app import create_app
from tests import topologies
from tests.keys_known import unknown_keys
from tests.loops import at_work
from tests.receiver import FakeReceiver
from tests.waiting import PATIENCE, wait_until
from workers.aggregate.aggregator import Aggregator
from workers.deliver import worker as deliver_worker

# Tests start hundreds of processes, each of which would compile the whole source again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A slow machine is no fault of a property; and what was found once is found again everywhere.
hypothesis.settings.register_profile("dateline", deadline=None, derandomize=True)
hypothesis.settings.load_profile("dateline")

LIMIT_S = 30.0
LONG_S = 120.0
# Where all tests that touch storage run: on one server, or on those of tests/topologies.py.
TOPOLOGY = os.environ.get("DATELINE_TEST_TOPOLOGY", "one")
WITH_SERVERS = (
    "chaos/test_chaos.py", "chaos/test_processes.py", "chaos/test_redis_", "deliver",
    "ingest/test_", "storage", "test_odd_articles.py",
    "test_docker.py", "test_end_to_end.py", "test_examples.py", "test_runtime.py", "cli/test_up.py",
)  # fmt: skip
TOKEN = "the-token-of-the-tests"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
DAY = datetime(2017, 12, 22, 16, 41, 7, tzinfo=UTC)
Publish = Callable[..., Awaitable[str]]
Get = Callable[..., Awaitable[bytes]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--pure`: see `make quick`."""
    parser.addoption("--pure", action="store_true", help="Only tests that need no server.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --pure, leave out what starts processes and servers."""
    path = collection_path.relative_to(Path(__file__).parent).as_posix()
    return True if config.getoption("--pure") and path.startswith(WITH_SERVERS) else None


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """Print nothing for a test that passed, so that failures fit one screen."""
    return ("passed", "", "PASSED") if report.passed and report.when == "call" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test may take PATIENCE times as long as it says, or as LIMIT_S; the longest start first, so
    that no process of the run works alone at its end."""
    if config.getoption("--pure"):
        # Whatever stands on a Redis asks for its URL.
        items[:] = [i for i in items if "redis_url" not in getattr(i, "fixturenames", ())]
    items.sort(key=lambda item: _limit_s(item) < LONG_S)
    for item in items:
        item.add_marker(pytest.mark.timeout(_limit_s(item) * PATIENCE), append=False)


def _limit_s(item: pytest.Item) -> float:
    """Seconds that a test may take, as its nearest mark says."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else LIMIT_S


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server for the whole run."""
    given = os.environ.get("DATELINE_TEST_REDIS_URL")
    if given:
        yield given
        return
    if TOPOLOGY in topologies.STARTED:
        with asyncio.Runner() as runner:
            stack = AsyncExitStack()
            topology = runner.run(stack.enter_async_context(topologies.STARTED[TOPOLOGY]()))
            yield topology.url
            runner.run(stack.aclose())
        return
    # A short path: the socket's must fit 103 bytes.
    folder = Path(tempfile.mkdtemp(prefix="dateline-"))
    server = Embedded(binary=find_binary(), folder=folder / "r", appendfsync="no")
    with asyncio.Runner() as runner:
        process = runner.run(server.start())
        yield server.url
        runner.run(end(process))
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops look at their stop event often, so that tests end soon."""
    monkeypatch.setattr(event_stream, "BLOCK_MS", 50)
    monkeypatch.setattr(deliver_worker, "CHANGES_BLOCK_MS", 50)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings on the test server, for hosts on loopback that the operator typed. A test of the
    mark `one_shard` is about an archive with one, whatever the run has."""
    is_one = request.node.get_closest_marker("one_shard") is not None
    shards = "1" if is_one else os.environ.get("DATELINE_TEST_SHARDS", "1")
    return Settings.from_env(
        {
            "DATELINE_REDIS_URL": redis_url,
            "DATELINE_DATA_DIR": str(tmp_path),
            "DATELINE_PUBLIC_URL": "http://news.example",
            "DATELINE_ALLOWED_NETWORKS": "127.0.0.0/8",
            "DATELINE_SITE_TITLE": "Tern Gazette",
            "DATELINE_DRAIN_S": "2",
            "DATELINE_SENTINEL_PASSWORD": topologies.SENTINEL_PASSWORD,
            "DATELINE_SHARDS": shards,
        },
        env_file=None,
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """An empty store; afterwards all its keys must be known and bounded."""
    async with open_store(settings, check=False) as opened:
        await opened.client.flushdb()
    # The shards may be those of an archive that was there before.
    async with open_store(settings, check=False) as opened:
        yield opened
        assert [] == await unknown_keys(opened.client)
        await opened.client.flushdb()


@pytest.fixture
async def redis(store: Store) -> Redis:
    """The bare client behind the store."""
    client: Redis = store.client
    return client


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        """Return the time to which it was moved."""
        return self.time

    def move(self, **parts: float) -> None:
        """Move the clock forward by `timedelta(**parts)`."""
        self.time += timedelta(**parts)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at NOON until it is moved."""
    return Clock()


@pytest.fixture
async def client(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    """The application behind a real socket."""
    app = create_app(settings, token=TOKEN, now=clock)
    plain = {"Accept-Encoding": "identity"}
    async with TestClient(TestServer(app), auto_decompress=False, headers=plain) as opened:
        yield opened


@pytest.fixture
async def aggregating(settings: Settings, store: Store) -> AsyncIterator[None]:
    """An aggregate worker at work."""
    async with at_work(Aggregator(store, settings, now=lambda: datetime.now(UTC)).run):
        yield


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        yield Path(folder)


@pytest.fixture
async def receiver() -> AsyncIterator[FakeReceiver]:
    """A receiver of webhooks that is up."""
    async with FakeReceiver() as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that is independent of the application's."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def publish(store: Store, aggregating: None) -> Publish:
    """Append an article and wait until it is indexed; its id."""

    async def made(title: str = "One", **fields: Any) -> str:
        before = str(await store.page_states.version(Page("all")))
        entry = Entry(
            **{
                "guid": title,
                "title": title,
                "content_html": "<p>Some words.</p>" * 60,
                "categories": ("Media Center/Coalition News",),
                "published": DAY,
                **fields,
            }
        )
        (receipt,) = await store.articles.append(
            [compose(entry, source="s")], now=datetime.now(UTC)
        )

        async def indexed() -> bool:
            return before != str(await store.page_states.version(Page("all")))

        await wait_until(indexed)
        return receipt.id

    return made


@pytest.fixture
def get(client: TestClient[Any, Any]) -> Get:
    """The body of a path."""

    async def made(path: str, status: int = 200, **headers: str) -> bytes:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with client.get(path, headers=given) as response:
            assert status == response.status, path
            return await response.read()

    return made
