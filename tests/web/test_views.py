"""Views and private feeds: add, index, serve, remove."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from service.errors import InvalidInput
from service.feeds.formats import FORMATS
from service.feeds.view import make_view
from service.settings import Settings
from service.storage.store import Store
from tests.conftest import AUTH, DAY, Clock, Get, Publish
from tests.served import Read
from tests.waiting import wait_until
from workers.aggregate import aggregator, view_index

Client = TestClient[Any, Any]
FEED = "/feeds/views/fog"
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """New views are indexed without delay, in small batches."""
    monkeypatch.setattr(view_index, "BUILD_AFTER", timedelta(days=-10_000))
    monkeypatch.setattr(view_index, "BUILD_BATCH", 3)
    monkeypatch.setattr(view_index, "IDS_AT_ONCE", 5)
    monkeypatch.setattr(aggregator, "VIEWS_EVERY_S", 0.1)


async def call(client: Client, method: str, path: str, **body: Any) -> tuple[int, Any]:
    """(status, decoded JSON body; None for 204) of a request to the API."""
    options = {"json": body} if body else {}
    async with client.request(method, f"/api/v1/{path}", headers=AUTH, **options) as response:
        return response.status, await response.json() if response.status != 204 else None


async def wait_for(client: Client, name: str, count: int) -> None:
    """Wait until a view is indexed and has this number of articles."""

    async def ready() -> bool:
        _, shown = await call(client, "GET", f"views/{name}")
        return bool(shown["indexed"]) and count == shown["articles"]

    await wait_until(ready)


async def test_a_view_is_to_feeds_what_a_category_is(
    client: Client, get: Get, publish: Publish
) -> None:
    """A view has older articles, in every format, in archives, in the OPML list and as HTML."""
    ids = [
        await publish(f"Fog {n}", tags=("Fog",), published=DAY - timedelta(days=n))
        for n in range(12)
    ]
    await publish("Sun", tags=("Sun",))
    fields = {"name": "fog", "query": "any=Fog,mist", "title": "All about fog"}
    status, view = await call(client, "POST", "views", **fields)
    assert (201, "any=fog,mist", "http://news.example/feeds/views/fog.rss") == (
        status, view["query"], view["url"],
    )  # fmt: skip
    await wait_for(client, "fog", 12)
    for extension in FORMATS:
        body = await get(f"{FEED}.{extension}")
        assert {f"urn:uuid:{i}" for i in ids} == set(Read(body, extension).ids)
        assert "All about fog · Tern Gazette".encode() in body
    day = Read(await get(f"{FEED}/2017/12/21.atom"), "atom")
    assert [f"urn:uuid:{ids[1]}"] == day.ids
    assert "http://news.example/feeds/views/fog/2017/12/20.atom" == day.link("prev-archive")
    assert 1 == len(Read(await get(f"{FEED}.json?q=3"), "json").ids)
    assert b'xmlUrl="http://news.example/feeds/views/fog.rss"' in await get("/feeds.opml")
    page = (await get("/news/views/fog")).decode()
    assert "All about fog" in page
    assert "Fog 11" in page


async def test_articles_enter_and_leave_a_view_as_they_change(
    client: Client, store: Store, publish: Publish
) -> None:
    """An article enters or leaves a view when it changes; a withdrawn one leaves a tombstone."""
    await call(client, "POST", "views", name="fog", query="q=fog", category="Media Center")
    await wait_for(client, "fog", 0)
    article_id = await publish("Fog")
    await publish("Fog elsewhere", categories=("Sports",))
    await wait_for(client, "fog", 1)
    assert article_id == await publish("Sun", guid="Fog")
    await wait_for(client, "fog", 0)
    await publish("Fog again", guid="Fog")
    await wait_for(client, "fog", 1)
    await store.articles.withdraw(article_id, now=NOW)
    await wait_for(client, "fog", 0)
    async with client.get(f"{FEED}.atom") as response:
        assert f'ref="urn:uuid:{article_id}"' in await response.text()


async def test_a_view_can_be_replaced_and_removed(client: Client, publish: Publish) -> None:
    """PUT builds a new index under the name; nothing of the old one remains."""
    await publish("Fog", tags=("Fog",))
    await publish("Sun", tags=("Sun",))
    assert 201 == (await call(client, "PUT", "views/fog", query="tag=fog"))[0]
    await wait_for(client, "fog", 1)
    taken = await call(client, "POST", "views", name="fog", query="tag=sun")
    assert (400, "name") == (taken[0], taken[1]["field"])
    assert 200 == (await call(client, "PUT", "views/fog", query="any=fog,sun", title="Both"))[0]
    await wait_for(client, "fog", 2)
    async with client.get(f"{FEED}.json") as response:
        assert "Both · Tern Gazette" == (await response.json(content_type=None))["title"]
    assert ["fog"] == [view["name"] for view in (await call(client, "GET", "views"))[1]]
    assert 204 == (await call(client, "DELETE", "views/fog"))[0]
    for path in ("views/fog", "views/none"):
        assert 404 == (await call(client, "GET", path))[0]

    async def gone() -> bool:
        async with client.get(f"{FEED}.json?limit=7") as response:
            return 404 == response.status

    await wait_until(gone)
    await publish("Fog", tags=("Fog",), content_html="<p>Changed</p>")
    assert 201 == (await call(client, "PUT", "views/fog", query="tag=fog"))[0]
    await wait_for(client, "fog", 1)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "name"), ({"name": "Fog"}, "name"), ({"name": "a/b"}, "name"),
        ({"name": "2017"}, "name"), ({"name": "all"}, "name"),
        ({"name": "x" * 61}, "name"), ({"name": 1}, "name"),
        ({"name": "a", "query": "x=1"}, "x"), ({"name": "a", "query": "limit=3"}, "query"),
        ({"name": "a", "query": "since=2017-12-22"}, "query"), ({"name": "a", "other": 1}, "other"),
        ({"name": "a", "private": "yes"}, "private"), ({"name": "a", "category": "*"}, "category"),
    ],
)  # fmt: skip
def test_what_no_view_can_be(fields: dict[str, object], name: str) -> None:
    """A view that is not valid is refused with the name of the wrong field."""
    with pytest.raises(InvalidInput) as caught:
        make_view(fields, created=NOW)
    assert name == caught.value.field


async def test_private_feeds(
    client: Client, store: Store, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    """A private feed's URL is shown once, stored as a hash, not cached by proxies, not logged."""
    caplog.set_level(logging.DEBUG)
    article_id = await publish("Fog", tags=("Fog",))
    fields = {"category": "media-center/coalition-news", "label": "Mira"}
    status, feed = await call(client, "POST", "private-feeds", **fields)
    assert 201 == status
    path = feed["url"].removeprefix("http://news.example")
    token = path.removeprefix("/private/").removesuffix(".rss")
    assert len(token) >= 43
    for extension in FORMATS:
        own = path.replace(".rss", f".{extension}")
        async with client.get(own) as response:
            body, headers = await response.read(), response.headers
        assert [f"urn:uuid:{article_id}"] == Read(body, extension).ids
        assert headers["Cache-Control"].startswith("private, ")
        assert f'<http://news.example{own}>; rel="self"' == headers["Link"]
        assert (1, b"hub" in body) == (body.count(token.encode()), False)
        async with client.get(own, headers={"If-None-Match": headers["ETag"]}) as response:
            assert 304 == response.status
    async with client.get(f"{path}?limit=1") as response:
        assert 200 == response.status
    for shown in (await client.get("/feeds.opml"), await client.get("/news/all")):
        assert token not in await shown.text()
    keys = b"".join([key async for key in store.client.scan_iter()])
    stored = await store.client.hgetall("dateline:{0}:private")
    assert token.encode() not in keys + b"".join(stored) + b"".join(stored.values())
    # The access log belongs to the test server; our server has none.
    records = [r for r in caplog.records if r.name != "aiohttp.access"]
    assert [] == [record for record in records if token in str(record.__dict__)]
    (listed,) = (await call(client, "GET", "private-feeds"))[1]
    assert {**fields, "id": feed["id"], "created": listed["created"]} == listed


async def test_a_revoked_address_leads_nowhere(
    client: Client, settings: Settings, publish: Publish
) -> None:
    """A revoked URL is answered with 404, even if it is cached; so is any other."""
    await publish()
    _, feed = await call(client, "POST", "private-feeds", label="Mira")
    path = feed["url"].removeprefix("http://news.example")
    async with client.get(path) as response:
        assert 200 == response.status
    assert 204 == (await call(client, "DELETE", f"private-feeds/{feed['id']}"))[0]
    assert 404 == (await call(client, "DELETE", f"private-feeds/{feed['id']}"))[0]

    async def gone() -> bool:
        async with client.get(path) as response:
            assert path not in await response.text()
            return 404 == response.status

    await wait_until(gone, timeout_s=settings.recheck_s + 5)
    for other in ("/private/x.rss", "/private/.rss", "/private/x", path[:-5] + ".rss"):
        async with client.get(other) as response:
            assert 404 == response.status


async def test_a_private_view_has_no_public_address(
    client: Client, publish: Publish, clock: Clock
) -> None:
    """A private view is served in private feeds only, which are removed with it."""
    await publish("Fog", tags=("Fog",))
    await call(client, "POST", "views", name="fog", query="tag=fog", private=True)
    await wait_for(client, "fog", 1)
    for path in (f"{FEED}.rss", f"{FEED}/2017.json", "/news/views/fog"):
        async with client.get(path) as response:
            assert 404 == response.status
    async with client.get("/feeds.opml") as response:
        assert "fog" not in await response.text()
    status, feed = await call(client, "POST", "private-feeds", view="fog")
    assert 201 == status
    path = feed["url"].removeprefix("http://news.example")
    async with client.get(path) as response:
        assert 1 == len(Read(await response.read(), "rss").ids)
    for fields, wrong in (({"view": "none"}, 404), ({"category": "none"}, 404),
                          ({"view": "fog", "category": "a"}, 400)):  # fmt: skip
        assert wrong == (await call(client, "POST", "private-feeds", **fields))[0]
    # Removing the view removes its private feeds.
    assert 204 == (await call(client, "DELETE", "views/fog"))[0]
    assert [] == (await call(client, "GET", "private-feeds"))[1]
    async with client.get(f"{path}?limit=1") as response:
        assert 404 == response.status
