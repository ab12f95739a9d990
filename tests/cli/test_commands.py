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
from service.cli.output import show
from service.settings import Settings
from service.storage.store import Store, open_store
from tests import certificates
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
    options = ("--select", "items=li", "--select", '{"title": "a[b=c]"}', "--rule", "strip .ad")
    changed = shown("sources", "set", added["id"], *options)
    assert isinstance(changed, dict)
    assert {"items": "li", "title": "a[b=c]"} == changed["select"]
    assert [{"strip": ".ad"}] == changed["rules"]
    changed = shown("sources", "set", added["id"], "--select", "{}", "--rule", "")
    assert isinstance(changed, dict)
    assert (None, []) == (changed["select"], changed["rules"])
    again = dateline("sources", "add", "http://site.example/feed", "--every", "1h")
    assert "is a source already" in again.stderr
    assert b'xmlUrl="http://site.example/feed"' in dateline("sources", "export").stdout_bytes
    assert 0 == dateline("sources", "remove", added["id"]).exit_code
    assert [] == shown("sources", "list")


@pytest.mark.usefixtures("redis_url")
def test_how_a_source_is_polled_is_set_by_options(tmp_path: Path) -> None:
    """Each option is the field of its name; secrets go out when they are asked for."""
    made = certificates.made_in(tmp_path)
    (tmp_path / "ca.pem").write_text(made.ca)
    secret = ("--cookie", "sid=of-cookie", "--proxy", "socks5://me:s4@127.0.0.1:9050")
    more = ("--tls-ca", str(tmp_path / "ca.pem"), "--window", "mon-fri 8-18", "--summary-only")
    options = ("--category", "A", "--category", "B/C", "--history", "paged", *more, *secret)
    added = shown("sources", "add", "https://x.example/f", "--user-agent", "R/1", *options)
    assert isinstance(added, dict)
    expected = {
        "category": "A", "categories": ["A", "B/C"], "history": "paged", "user_agent": "R/1",
        "window": "mon-fri 8-18", "summary_only": True, "cookies": ["sid"], "tls_ca": made.ca,
        "proxy": "socks5://me:***@127.0.0.1:9050",
    }  # fmt: skip
    assert expected == {name: added[name] for name in expected}
    private = dateline("sources", "add", "https://y.example/f", "--proxy", "http://127.0.0.1")
    assert "warning: 127.0.0.1 is not a public address" in private.stderr
    assert b"of-cookie" not in dateline("sources", "export").stdout_bytes
    assert b"of-cookie" in dateline("sources", "export", "--secrets").stdout_bytes
    cleared = ("--category", "", "--tls-ca", os.devnull, "--proxy", "", "--history", "none")
    changed = shown("sources", "set", added["id"], *cleared, "--with-content")
    assert isinstance(changed, dict)
    expected = {"categories": [], "tls_ca": "", "proxy": "", "history": False,
                "summary_only": False, "user_agent": "R/1"}  # fmt: skip
    assert expected == {name: changed[name] for name in expected}


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
@pytest.mark.parametrize("url", ["ftp://x.example/", "http://user@/", "x"])
def test_a_wrong_url_is_refused(url: str) -> None:
    """For sources and webhooks alike."""
    for command in ("sources", "webhooks"):
        result = dateline(command, "add", url)
        assert 1 == result.exit_code
        assert result.stderr.startswith("dateline: url: ")


@pytest.mark.usefixtures("redis_url")
def test_tokens_are_managed() -> None:
    """Add, list, revoke by id or name; the text is shown once, and the last admin stays."""
    options = ("--scope", "publish", "--scope", "read", "--category", "Media Center/News")
    more = ("--source", "urn:desk", "--expires", "90d")
    added = shown("tokens", "add", "--name", "Desk", *options, *more)
    assert isinstance(added, dict)
    assert added.pop("token").startswith("dl_")
    assert ("read publish", ["media-center/news"]) == (added["scope"], added["categories"])
    assert [added] == shown("tokens", "list")
    refused = dateline("tokens", "add", "--name", "desk", "--scope", "read")
    assert (1, True) == (refused.exit_code, "--name: is taken" in refused.stderr)
    past = dateline("tokens", "add", "--name", "b", "--scope", "read", "--expires", "2020-01-01")
    assert (1, True) == (past.exit_code, "--expires: is in the past" in past.stderr)
    assert 2 == dateline("tokens", "add", "--name", "b", "--scope", "write").exit_code
    lines = dateline("tokens", "add", "--name", "chief", "--scope", "admin").stdout
    assert "\ntoken          dl_" in lines
    last = dateline("tokens", "revoke", "CHIEF")
    assert (1, True) == (last.exit_code, "is the last admin token" in last.stderr)
    assert 0 == dateline("tokens", "revoke", added["id"]).exit_code
    unknown = dateline("tokens", "revoke", added["id"])
    assert (1, True) == (unknown.exit_code, "no such token" in unknown.stderr)


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
    assert group["to_read"] in (0, None)
    assert ("aggregate", 0) == (group["group"], group["pending"])
    assert isinstance(found["counters"], dict)
    text = dateline("status").stdout
    assert "articles       2" in text
    assert "groups         group aggregate, pending 0, to_read" in text


LISTS = (
    ("sources", "list"), ("views", "list"), ("private", "list"), ("webhooks", "list"),
    ("hub", "list"), ("webhooks", "operations"),
)  # fmt: skip


@pytest.mark.usefixtures("redis_url")
def test_lists_are_one_line_for_each_item() -> None:
    """An empty list says so, too; JSON has every field."""
    for command in LISTS:
        assert "none\n" == dateline(*command).stdout
        assert [] == shown(*command)
    assert 0 == dateline("views", "add", "fog", "any=fog").exit_code
    assert 0 == dateline("private", "add", "--view", "fog", "--label", "Ann").exit_code
    for number in (1, 2):
        assert 0 == dateline("sources", "add", f"http://{number}.example/").exit_code
        assert 0 == dateline("webhooks", "add", f"http://{number}.example/").exit_code
    for command, count in zip(LISTS, (2, 1, 1, 2), strict=False):
        assert count == len(dateline(*command).stdout.splitlines())
        assert isinstance(items := shown(*command), list)
        assert count == len(items)
        assert "created" in items[0]
    line = dateline("views", "list").stdout
    assert line.startswith("fog  0")
    assert line.endswith("  any=fog  http://127.0.0.1:8080/feeds/views/fog.rss\n")


@pytest.mark.usefixtures("redis_url")
def test_people_read_words_and_not_python(capsys: pytest.CaptureFixture[str]) -> None:
    """No `False`, `{}`, `900.0` or milliseconds, and what a terminal would obey is escaped."""
    show({"title": "\x1b[2J\u202e", "time_ms": 1_795_846_410_515}, as_json=False)
    assert "title          \\x1b[2J\\u202e\ntime           2026-11-28T06:13:30.515Z\n" == (
        capsys.readouterr().out
    )
    options = ("--every", "15m", "--header", "X-Key: secret", "--map", "Port*=News")
    text = dateline("sources", "add", "http://x.example/", *options).stdout
    assert "interval_s     900\n" in text
    assert "paused         no\n" in text
    assert "mapping        Port* News\n" in text
    text = dateline("webhooks", "add", "http://x.example/", "--header", "X-Key: secret").stdout
    assert "headers        X-Key ***\n" in text
    assert "headers        none\n" in dateline("webhooks", "add", "http://y.example/").stdout


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("tail", "-n", "-5"), "Invalid value for '-n'"),
        (("tail", "-n", "99999999999999999999"), "Invalid value for '-n'"),
        (("tail", "--no-follow", "--category", "///"), "dateline: --category: "),
        (("webhooks", "add", "http://x.example/", "--type", "x"), "dateline: --type: must be one"),
        (("webhooks", "add", "http://x.example/", "--rate-per-s", "nan"), "dateline: --rate-per-s"),
        (("webhooks", "add", "http://x.example/", "--batch", "0"), "dateline: --batch: must be"),
        (("webhooks", "add", "http://x.example/", "--header", "foo"), "needs a ':', as in NAME:"),
        (("sources", "add", "http://x.example/", "--header", "foo"), "needs a ':', as in NAME:"),
        (("sources", "add", "http://x.example/", "--map", "=a"), "needs a '=', as in NAME="),
        (("sources", "add", "http://x.example/", "--every", "-1"), "dateline: --every: must be"),
        (("sources", "add", "http://x.example/", "--every", "nan"), "dateline: --every: must be"),
        (("sources", "add", "http://x.example/", "--select", "{x"), "is not JSON"),
        (("sources", "add", "http://x.example/", "--select", "li"), "needs a '='"),
        (("sources", "add", "http://x.example/", "--select", '{"items": "li[", "title": "a"}'),
         "dateline: --select.items: is not CSS"),
        (("sources", "add", "http://x.example/", "--rule", "x"), "dateline: --rule[0]: no such"),
        (("sources", "add", "http://x.example/", "--user", "x"), "dateline: --user: must be name"),
        (("webhooks", "replay", "x"), "give one of --event, --since (with --until) and"),
        (("webhooks", "replay", "x", "--event", "a", "--until", "b"), "give one of --event"),
        (("webhooks", "rotate", "x", "--overlap-s", "-1"), "is not in the range 0<=x<=2592000"),
    ],
)  # fmt: skip
def test_errors_name_the_option(command: tuple[str, ...], words: str) -> None:
    """Not the field of the API, and never with a traceback."""
    result = dateline(*command)
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert words in result.stderr


@pytest.mark.usefixtures("redis_url")
@pytest.mark.parametrize("command", ["webhooks", "sources"])
def test_an_address_that_cannot_be_reached_is_warned_of(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept all the same, for the workers may be allowed to; not where this shell is, too."""
    for host in ("10.0.0.1", "[::1]:8000", "localhost"):
        result = dateline(command, "add", f"http://{host}/", "--json")
        assert 0 == result.exit_code
        assert "is not a public address: requests to it fail unless DATELINE_ALLOWED_N" in (
            result.stderr
        )
        assert orjson.loads(result.stdout)["url"] == f"http://{host}/"
    monkeypatch.setenv("DATELINE_ALLOWED_NETWORKS", "10.0.0.0/8")
    for host in ("10.0.0.2", "8.8.8.8", "x.example"):
        assert "" == dateline(command, "add", f"http://{host}/").stderr


@pytest.mark.usefixtures("redis_url")
def test_a_webhook_takes_a_secret_that_its_receiver_has(tmp_path: Path) -> None:
    """From a file or stdin, and never from the command line, which every user can read."""
    (file := tmp_path / "secret").write_text("whsec_" + "QUFB" * 10 + "\n")
    added = shown("webhooks", "add", "http://x.example/", "--secret-file", str(file))
    assert isinstance(added, dict)
    assert "whsec_" + "QUFB" * 10 == added["secret"]
    arguments = ["webhooks", "rotate", added["id"], "--secret-file", "-"]
    rotated = CliRunner().invoke(main, arguments, input="whsec_" + "QkJC" * 10)
    assert "whsec_" + "QkJC" * 10 in rotated.stdout
    for text, words in (("", "is empty"), ("x" * 5_000, "--secret-file: must be whsec_")):
        file.write_text(text)
        refused = dateline("webhooks", "rotate", added["id"], "--secret-file", str(file))
        assert words in refused.stderr
    wrong = dateline("webhooks", "resume", added["id"], "--from", "yesterday")
    assert "--from: give cursor, now, an RFC 3339 time, or the id of an event" in wrong.stderr
    assert "no event to send again\n" == (
        dateline("webhooks", "replay", added["id"], "--since", "2026-01-05T12:00:00Z").stdout
    )


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
