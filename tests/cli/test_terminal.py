"""What strangers wrote never commands the operator's terminal: every command that shows it."""

from __future__ import annotations

import ast
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import logs
from service.articles.text import without_forbidden
from service.printable import printable, printable_json
from service.storage import keys
from service.storage.store import Store
from service.websub.hub import TopicSubscription
from tests.cli.test_commands import dateline, on_store, redis_url, shown
from tests.composing import full_article
from tests.deliver.working import registry_of
from tests.running import ROOT, call
from tests.servers import raw_server

__all__ = ("redis_url",)  # A fixture.

# Clears the screen (ESC [ and C1 CSI), turns the text round, begins a line that looks like ours.
EVIL = "\x1b[2J\x9b31m\x7f\u202eX\r\ny\u2028z\x00"
# What storage makes of it where it reads texts of the kinds that have a gate.
CLEANED = without_forbidden(EVIL)
ESCAPED = (r"\x1b[2J\x9b31m\x7f\u202eX\r\ny\u2028z\x00", r"[2J›31m\u202eX\ny\u2028z")
WORD = "marker"
HASHES = (
    keys.sources(0), keys.sources_polls(0), keys.VIEWS, keys.PRIVATE_FEEDS,
    keys.TOKENS, keys.SUBSCRIBERS,
)  # fmt: skip
COMMANDS = [
    ("sources", "list"), ("sources", "show", "SOURCE"), ("webhooks", "list"),
    ("webhooks", "show", "WEBHOOK"), ("webhooks", "attempts", "WEBHOOK"),
    ("webhooks", "dead-letters", "WEBHOOK"), ("webhooks", "operations"), ("views", "list"),
    ("views", "show", "fog"), ("private", "list"), ("hub", "list"), ("tokens", "list"),
    ("faults", "list"), ("status",), ("tail", "--no-follow"),
]  # fmt: skip


def is_harmless(text: str) -> bool:
    """Whether a terminal shows each character of each line as it is."""
    return all(character.isprintable() for character in text.replace("\n", ""))


async def _append(store: Store, key: str, **fields: str) -> None:
    await store.client.xadd(key, fields)


@pytest.fixture
def ids(redis_url: str) -> dict[str, str]:
    """An archive in which every text of a stranger is EVIL, also where a gate would clean it: in
    Redis it is planted past all gates. Placeholder in COMMANDS -> id."""
    source = shown("sources", "add", f"http://x.example/{WORD}", "--map", f"{WORD}=News")
    webhook = shown("webhooks", "add", f"http://x.example/{WORD}")
    shown("views", "add", "fog", f"q={WORD}", "--title", WORD)
    shown("private", "add", "--label", WORD)
    shown("tokens", "add", "--name", WORD, "--scope", "read")
    assert isinstance(source, dict)
    assert isinstance(webhook, dict)
    on_store(redis_url, _plant(webhook["id"], source["id"]))
    return {"SOURCE": source["id"], "WEBHOOK": webhook["id"]}


def _plant(webhook_id: str, source_id: str) -> Callable[[Store], Awaitable[None]]:
    async def plant(store: Store) -> None:
        client = store.client
        subscription = TopicSubscription(
            callback=f"http://y.example/{WORD}", topic=WORD, secret="", method="sha256",
            expires_ms=9_000_000_000_000,
        )  # fmt: skip
        await client.hset(keys.SUBSCRIBERS, subscription.id, subscription.to_json())
        poll = orjson.dumps({"result": WORD, "kind": WORD})
        await client.hset(keys.sources_polls(0), source_id, poll)
        for name in (*HASHES, registry_of(store, webhook_id)):
            for field, value in (await client.hgetall(name)).items():
                planted = value.replace(WORD.encode(), orjson.dumps(EVIL)[1:-1])
                await client.hset(name, field.decode(), planted)
        record = {"status": "500", "error": EVIL, "message_id": EVIL, "duration_ms": "5"}
        shard = store.webhooks.shard_of(webhook_id)
        await _append(store, keys.attempts(shard, webhook_id), **record)
        await _append(store, keys.dead_letters(shard, webhook_id), **record, events="1")
        operation = {"time": "t", "type": EVIL, "subject": EVIL}
        data = orjson.dumps({EVIL: EVIL}).decode()
        await _append(store, keys.OPERATIONS, **operation, data=data)
        now = datetime.now(UTC)
        await store.faults.report("page", EVIL, ValueError(EVIL), now=now)
        record_of_source = orjson.dumps({"created": 1, "refused": EVIL, "since": EVIL})
        await client.hset(keys.categories_created(0), EVIL, record_of_source)
        fields = orjson.loads(full_article(1).to_json())
        article = orjson.dumps({**fields, "categories": [EVIL], "title": EVIL}).decode()
        event = {"id": "1", "type": "dateline.article.published.v1", "time": "t", "subject": "1"}
        await _append(store, keys.stream(0), **event, data=article)

    return plant


def test_no_command_passes_on_what_a_terminal_obeys(ids: dict[str, str]) -> None:
    """As text each is escaped, and stays on its line; as JSON it is the same value, escaped."""
    for command in COMMANDS:
        arguments = [ids.get(word, word) for word in command]
        result = dateline(*arguments)
        assert 0 == result.exit_code, (command, result.output, result.exception)
        assert is_harmless(result.stdout), command
        assert any(escaped in result.stdout for escaped in ESCAPED), command
        result = dateline(*arguments, "--json")
        assert 0 == result.exit_code, (command, result.output)
        assert is_harmless(result.stdout), command
        assert 1 == result.stdout.count("\n"), command
        texts = _texts(orjson.loads(result.stdout))
        assert EVIL in texts or CLEANED in texts, command


def _texts(value: object) -> str:
    match value:
        case dict():
            return "".join(f"{name}{_texts(item)}" for name, item in value.items())
        case list():
            return "".join(map(_texts, value))
        case _:
            return str(value)


async def test_rejects_of_an_import_are_escaped(tmp_path: Path) -> None:
    """The name of a file and of a field, on stderr, as text and as JSON."""
    name = f"a{EVIL}.ndjson".replace("\x00", "").replace("/", "")
    (tmp_path / name).write_bytes(orjson.dumps({EVIL: EVIL, "title": "x"}) + b"\n{}\n")
    async with raw_server("--appendonly", "yes") as url:
        for options in ((), ("--json",)):
            status, out, err = await call(
                "import", str(tmp_path / name), *options, cwd=tmp_path, REDIS_URL=url
            )
            assert 1 == status
            assert is_harmless(out), out
            assert is_harmless(err), err
            assert r"[2J" in out + err


def test_the_log_is_escaped() -> None:
    """Values, and the lines of a traceback: none of them looks like a record of its own."""
    try:
        raise ValueError(f"{EVIL}\n2026-01-05 12:00:00,000 info    dateline: all is well")
    except ValueError as exc:
        record = logging.makeLogRecord(
            {"name": "n", "msg": "failed", "levelname": "ERROR", "of": EVIL, "url": "http://x/\x9b",
             "exc_info": (ValueError, exc, exc.__traceback__)}
        )  # fmt: skip
    text = logs.KeyValueFormatter().format(record)
    assert is_harmless(text)
    first, *others = text.split("\n")
    assert 'url="http://x/\\u009b"' in first
    assert len(others) >= 4
    assert all(line.startswith("  ") for line in others)


def test_all_output_has_one_way_out() -> None:
    """`click.echo`, `print` and a text for `sys.exit` are used by nothing but cli/output.py."""
    calls = []
    for path in (*(ROOT / "service").rglob("*.py"), *(ROOT / "workers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                is_text = name == "sys.exit" and node.args and ast.unparse(node.args[0]) != "1"
                if name in ("click.echo", "click.secho", "print") or is_text:
                    calls.append((path.relative_to(ROOT).as_posix(), ast.unparse(node)[:60]))
    exits = "sys.exit(1 if summary.counts['rejected'] else 0)"
    assert {"service/cli/output.py"} == {path for path, call in calls if call != exits}


@given(st.text())
def test_printable_json_means_the_same(text: str) -> None:
    """Also beyond the Basic Multilingual Plane."""
    encoded = orjson.dumps(text.encode("utf-8", "replace").decode()).decode()
    escaped = printable_json(encoded)
    assert orjson.loads(encoded) == orjson.loads(escaped)
    assert escaped == printable(escaped)
