"""The command line, in this process, on a real Redis."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import orjson
import pytest
from click.testing import CliRunner, Result

from service.articles.article import Entry
from service.articles.compose import compose
from service.cli.main import main
from service.settings import Settings
from service.storage.store import Store, open_store
from tests.loops import at_work
from tests.running import call
from tests.waiting import wait_until
from workers.aggregate.aggregator import Aggregator

T = TypeVar("T")


@pytest.fixture
def redis_url(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The server is in the environment, empty, and the working directory is the test's own."""
    for name in [name for name in os.environ if name.startswith("DATELINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATELINE_REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)

    async def empty(store: Store) -> None:
        await store.client.flushdb()

    on_store(redis_url, empty)
    return redis_url


def on_store(redis_url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    """Run something on the store."""

    async def opened() -> T:
        settings = Settings.from_env({"DATELINE_REDIS_URL": redis_url}, env_file=None)
        async with open_store(settings) as store:
            return await work(store)

    return asyncio.run(opened())


def dateline(*arguments: str) -> Result:
    """Run a command to its end."""
    return CliRunner().invoke(main, arguments)


def shown(*arguments: str) -> object:
    """What a command prints as JSON."""
    result = dateline(*arguments, "--json")
    assert 0 == result.exit_code, result.output
    return orjson.loads(result.stdout)


def publish(redis_url: str, *titles: str) -> None:
    """Append an article for each title, and index them."""

    async def append(store: Store) -> None:
        now = datetime.now(UTC)
        drafts = [
            compose(
                Entry(guid=t, title=t, content_html=f"<p>{t}</p>", categories=("Media/News",)),
                source="s",
            )
            for t in titles
        ]
        await store.articles.append(drafts, now=now)
        settings = Settings.from_env({"DATELINE_REDIS_URL": redis_url}, env_file=None)

        async def indexed() -> bool:
            return await store.category_index.count("all") >= len(titles)

        async with at_work(Aggregator(store, settings, now=lambda: now).run):
            await wait_until(indexed)

    on_store(redis_url, append)


@pytest.mark.usefixtures("redis_url")
def test_sources_are_managed() -> None:
    """Add, list, show, pause, resume, refresh, remove."""
    added = shown("sources", "add", "http://site.example/feed", "--category", "News")
    assert isinstance(added, dict)
    assert isinstance(listed := shown("sources", "list"), list)
    assert added == {name: listed[0][name] for name in added}
    line = dateline("sources", "list").stdout
    assert line.startswith(f"{added['id']}  new ")
    assert line.endswith("  http://site.example/feed\n")
    assert 0 == dateline("sources", "pause", added["id"]).exit_code
    assert isinstance(paused := shown("sources", "show", added["id"]), dict)
    assert (True, "News") == (paused["paused"], paused["category"])
    assert 0 == dateline("sources", "resume", added["id"]).exit_code
    assert 0 == dateline("sources", "refresh", added["id"]).exit_code
    assert isinstance(resumed := shown("sources", "show", added["id"]), dict)
    assert resumed["paused"] is False
    options = ("--map", "Port*=Harbour", "--every", "15m", "--header", "X-Key: s", "--user", "a:b")
    changed = shown("sources", "set", "http://site.example/feed", *options)
    assert isinstance(changed, dict)
    assert ({"Port*": "Harbour"}, 900) == (changed["mapping"], changed["interval_s"])
    assert ["Authorization", "X-Key"] == changed["headers"]
    again = dateline("sources", "add", "http://site.example/feed", "--every", "1h")
    assert "is a source already" in again.stderr
    assert b'xmlUrl="http://site.example/feed"' in dateline("sources", "export").stdout_bytes
    assert 0 == dateline("sources", "remove", added["id"]).exit_code
    assert [] == shown("sources", "list")


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize("command", ["show", "pause", "resume", "refresh", "remove"])
def test_an_unknown_source_is_one_clear_line(command: str) -> None:
    """The id is named, and how to find the right one; exit status 1."""
    result = dateline("sources", command, "src_nope")
    assert 1 == result.exit_code
    assert (
        "dateline: src_nope: no such source; `dateline sources list` names them\n" == result.stderr
    )


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize("url", ["ftp://x.example/", "http://user@x.example/", "x"])
def test_a_wrong_url_is_refused(url: str) -> None:
    """For sources and webhooks alike."""
    for command in ("sources", "webhooks"):
        result = dateline(command, "add", url)
        assert 1 == result.exit_code
        assert result.stderr.startswith("dateline: url: ")


@pytest.mark.usefixtures("redis_url")
def test_webhooks_are_managed() -> None:
    """Add shows the secret once; list does not; test, attempts, remove."""
    added = shown("webhooks", "add", "http://x.example/", "--category", "Media Center/News")
    assert isinstance(added, dict)
    assert added["secret"].startswith("whsec_")
    assert ["media-center/news"] == added["categories"]
    listed = shown("webhooks", "list")
    assert isinstance(listed, list)
    assert (added["id"], "active") == (listed[0]["id"], listed[0]["state"])
    assert "secret" not in listed[0]
    assert dateline("webhooks", "test", added["id"]).stdout.startswith("test_")
    assert [] == shown("webhooks", "attempts", added["id"])
    assert 0 == dateline("webhooks", "remove", added["id"]).exit_code
    assert 1 == dateline("webhooks", "remove", added["id"]).exit_code


def test_tail_prints_the_newest_events(redis_url: str) -> None:
    """So many, oldest first; only a category if asked for; whole CloudEvents as JSON."""
    publish(redis_url, "One", "Two", "Three")
    lines = dateline("tail", "--no-follow", "-n", "2").stdout.splitlines()
    assert ["Two", "Three"] == [line.rsplit("  ", 1)[-1] for line in lines]
    assert "" == dateline("tail", "--no-follow", "--category", "Sports").stdout
    found = dateline("tail", "--no-follow", "--category", "Media", "--json").stdout.splitlines()
    event = orjson.loads(found[0])
    assert ("1.0", "dateline.article.published.v1") == (event["specversion"], event["type"])
    assert "One" == event["data"]["title"]


def test_status_counts(redis_url: str) -> None:
    """Articles, categories, events and how far the groups are."""
    publish(redis_url, "One", "Two")
    found = shown("status")
    assert isinstance(found, dict)
    assert (2, 2, 2) == (found["articles"], found["categories"], found["events"])
    (group,) = found["groups"]
    # Redis 6.2 does not know how much is left to read.
    assert group in ("aggregate: 0 pending, 0 to read", "aggregate: 0 pending, ? to read")
    assert "articles       2" in dateline("status").stdout


def test_without_a_redis_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No URL and nothing running on the data dir."""
    monkeypatch.delenv("DATELINE_REDIS_URL", raising=False)
    monkeypatch.setenv("DATELINE_DATA_DIR", str(tmp_path / "none"))
    result = dateline("status")
    assert 1 == result.exit_code
    assert result.stderr.startswith("dateline: no Redis: start `dateline up`")


@pytest.mark.parametrize("command", [[], ["up"], ["sources"], ["webhooks"], ["tail"], ["export"]])
def test_help_says_what_it_does(command: list[str]) -> None:
    """Every command has a help text."""
    result = dateline(*command, "--help")
    assert 0 == result.exit_code
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("command", ["import", "work"])
async def test_help_of_passed_on_commands(command: str, tmp_path: Path) -> None:
    """import and work show the help of the workers' own command, without any Redis."""
    status, out, _ = await call(command, "--help", cwd=tmp_path)
    assert 0 == status
    assert f"Usage: dateline {command} " in out
