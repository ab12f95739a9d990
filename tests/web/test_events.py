"""/events over a real connection: what comes, what resumes, who is cut off."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from service.articles.article import Entry
from service.articles.compose import compose
from service.settings import Settings
from service.storage import keys
from service.storage.shards import claim_shards, numbered
from service.storage.store import Store, of_client
from service.web.app import create_app
from service.web.handlers import events as events_handler
from service.web.serving import event_broadcast
from tests.conftest import NOON, TOKEN
from tests.waiting import wait_until, within

Client = TestClient[Any, Any]


async def publish(store: Store, *titles: str, category: str = "News", body: str = "") -> list[str]:
    """Append; the events' ids."""
    entries = [Entry(guid=t, title=t, categories=(category,), content_html=body) for t in titles]
    drafts = [compose(entry, source="s") for entry in entries]
    return [r.event_id for r in await store.articles.append(drafts, now=datetime.now(UTC))]


async def read(response: ClientResponse, count: int) -> list[dict[str, str]]:
    """The next events, as field → value; comments are left out."""
    found: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async with within(5):
        while len(found) < count:
            line = (await response.content.readline()).decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            else:
                if fields.keys() & {"data", "event"}:
                    found.append(fields)
                fields = {}
    return found


@asynccontextmanager
async def reading(client: Client, query: str = "", **headers: str) -> AsyncIterator[ClientResponse]:
    """An open connection, past its `retry` line."""
    async with client.get(f"/events{query}", headers=headers) as response:
        assert 200 == response.status
        assert "text/event-stream" == response.headers["Content-Type"]
        assert b"retry: 3000\n" == await response.content.readline()
        yield response


async def test_new_events_come_as_cloudevents(client: Client, store: Store) -> None:
    """From now on, each with its type, its position as id and the whole CloudEvent as data."""
    await publish(store, "before")
    async with reading(client) as response:
        expected = await publish(store, "a", "b")
        found = await read(response, 2)
    events = [orjson.loads(event["data"]) for event in found]
    assert expected == [event["id"] for event in events]
    assert ["a", "b"] == [event["data"]["title"] for event in events]
    assert "dateline.article.published.v1" == found[0]["event"]


async def test_last_event_id_resumes(client: Client, store: Store) -> None:
    """Nothing is left out and nothing comes twice, by header and by query."""
    async with reading(client) as response:
        expected = await publish(store, "a", "b", "c")
        first, *_ = await read(response, 3)
    async with reading(client, **{"Last-Event-ID": first["id"]}) as response:
        expected += await publish(store, "d")
        found = [orjson.loads(event["data"])["id"] for event in await read(response, 3)]
        assert expected[1:] == found
    async with reading(client, f"?last-event-id={first['id']}") as response:
        found = [orjson.loads(event["data"])["id"] for event in await read(response, 3)]
        assert expected[1:] == found


async def test_only_a_category_if_asked_for(client: Client, store: Store) -> None:
    """The categories below it are included."""
    async with reading(client, "?category=Media") as response:
        await publish(store, "no", category="Sports")
        (expected,) = await publish(store, "yes", category="Media/News")
        (found,) = await read(response, 1)
    assert expected == orjson.loads(found["data"])["id"]


async def test_a_former_path_of_a_category_still_selects(client: Client, store: Store) -> None:
    """Clients reconnect with the address that they have."""
    await store.client.hset(keys.CATEGORIES_RENAMED, "c", "c-plus-plus")
    async with reading(client, "?category=c") as response:
        expected = [*await publish(store, "a", category="C++")]
        expected += await publish(store, "b", category="C")
        found = await read(response, 2)
    assert expected == [orjson.loads(event["data"])["id"] for event in found]


async def test_corrections_only_if_asked_for(client: Client, store: Store) -> None:
    """By their type; another type alone, too. What is no type is refused."""
    corrected, updated = (f"dateline.article.{kind}.v1" for kind in ("corrected", "updated"))
    await publish(store, "a")
    async with (
        reading(client) as plain,
        reading(client, f"?types={corrected}&types={updated}") as both,
    ):
        for change in ({"tags": ("x",)}, {"title": "b"}):
            entry = replace(Entry(guid="a", title="a", categories=("News",)), **change)
            await store.articles.append([compose(entry, source="s")], now=datetime.now(UTC))
        assert [updated] == [event["event"] for event in await read(plain, 1)]
        assert [corrected, updated] == [event["event"] for event in await read(both, 2)]
    async with client.get("/events?types=corrected") as response:
        assert (400, "types") == (response.status, (await response.json())["field"])


async def test_a_gap_is_told(client: Client, store: Store) -> None:
    """A client that resumes before the oldest stored event is first notified of the gap."""
    await publish(store, "a")
    first = await store.event_stream.last_id(0)
    await publish(store, "b", "c")
    await store.event_stream.trim(0, min_id="0-0", max_entries=1)
    async with reading(client, **{"Last-Event-ID": first}) as response:
        gap, kept = await read(response, 2)
    assert "gap" == gap["event"]
    assert "c" == orjson.loads(kept["data"])["data"]["title"]


async def test_an_id_of_before_the_shards_became_more_resumes(
    settings: Settings, store: Store
) -> None:
    """Each shard was split: its position is that of all its parts, and no gap is announced."""
    shards = numbered(2)
    split = of_client(store.client, shards=shards)
    await store.client.delete(keys.LAYOUT)
    await claim_shards(store.client, shards)
    await publish(split, *"abcdefgh")
    events = [e for shard in shards for e in await split.event_stream.newest(shard, count=9)]
    events.sort(key=lambda event: event.position)
    expected = [event.id for event in events if event.position > events[1].position]
    app = create_app(settings.model_copy(update={"shards": 2}), token=TOKEN, now=lambda: NOON)
    async with (
        TestClient(TestServer(app)) as client,
        reading(client, **{"Last-Event-ID": events[1].entry_id}) as response,
    ):
        found = await read(response, len(expected))
    assert sorted(expected) == sorted(orjson.loads(event["data"])["id"] for event in found)


@pytest.mark.parametrize("value", ["x", "1-1,2-2", "-", "99999999999999999-1"])
async def test_a_wrong_last_event_id_is_refused(client: Client, value: str) -> None:
    """The answer is 400 and names the field."""
    async with client.get("/events", headers={"Last-Event-ID": value}) as response:
        assert (400, "Last-Event-ID") == (response.status, (await response.json())["field"])


async def test_an_unknown_parameter_is_refused(client: Client) -> None:
    """A misspelt filter must not mean everything."""
    async with client.get("/events?catgory=x") as response:
        assert 400 == response.status


async def test_a_silent_connection_has_heartbeats(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment now and then."""
    monkeypatch.setattr(events_handler, "HEARTBEAT_S", 0.05)
    async with reading(client) as response, within(5):
        while b": still here\n" != await response.content.readline():
            pass


async def test_who_does_not_read_is_cut_off(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client is not affected, and gets everything."""
    monkeypatch.setattr(event_broadcast, "MAX_BEHIND_BYTES", 500_000)
    slow = socket.create_connection(("127.0.0.1", client.port))
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    body = "<p>" + "word " * 40_000 + "</p>"
    async with reading(client) as quick:
        await wait_until(lambda: _has_streams(client, 2))
        for number in range(100):
            (expected,) = await publish(store, f"n{number}", body=body)
            (found,) = await read(quick, 1)
            assert expected == orjson.loads(found["data"])["id"]
        await wait_until(lambda: _has_streams(client, 1))
    slow.close()


async def _has_streams(client: Client, count: int) -> bool:
    async with client.get("/metrics") as response:
        return f"dateline_event_streams {count}.0" in (await response.text()).splitlines()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Many readers from one address, however few files the machine allows."""
    return settings.model_copy(
        update={"events_max_streams": 5_000, "events_max_per_address": 5_000}
    )


async def test_many_readers(client: Client, store: Store) -> None:
    """Each gets each event, once and in order."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    streams = []
    for _ in range(600):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        streams.append((reader, writer))
    await wait_until(lambda: _has_streams(client, 600), timeout_s=30)
    expected = [(await publish(store, f"n{n}"))[0] for n in range(5)]

    async def ids(reader: asyncio.StreamReader) -> list[str]:
        found: list[str] = []
        while len(found) < 5:
            line = await reader.readline()
            if line.startswith(b"data: "):
                found.append(orjson.loads(line[6:])["id"])
        return found

    async with within(30):
        for reader, _ in streams:
            assert expected == await ids(reader)
    for _, writer in streams:
        writer.close()
        await writer.wait_closed()


async def test_the_end_of_the_server_ends_connections(client: Client, store: Store) -> None:
    """No open connection delays a shutdown."""
    async with reading(client) as response, asyncio.TaskGroup() as group:
        group.create_task(client.server.close())
        async with within(5):
            await response.content.read()
