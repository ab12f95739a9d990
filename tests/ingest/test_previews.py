"""Previews through the API and a real ingest worker: what a source would bring."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient

from service.manage import sources
from service.settings import Settings
from service.storage import keys, previews
from service.storage.store import Store
from tests.conftest import AUTH, Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, articles, polling
from tests.proxy import FakeProxy
from tests.waiting import wait_until

Client = TestClient[Any, Any]
BOARD = """<!doctype html><html><title>Board</title><ul>
<li><h3><a href="/n/1">Ferry sails again</a></h3><time datetime="2026-01-05">x</time><p>Fog.</p>
</li>
<li><h3><a href="/n/2">Sponsored: ropes</a></h3><time>soon</time><p>Buy ropes.</p></li>
<li><h3><a href="javascript:x()">No page</a></h3></li>
<li><h3><a href="/n/4">Crane stands still</a></h3><time>soon</time></li>
</ul><a class="next" href="/board/2">older</a></html>"""
SELECT = {
    "items": "li", "title": "h3", "link": "a", "date": "time", "content": "p", "image": "img",
    "next_page": ".next",
}  # fmt: skip


async def preview(client: Client, url: str, **fields: Any) -> dict[str, Any]:
    """The answer of the API to fields of a source."""
    async with client.post(
        "/api/v1/sources/preview", json={"url": url, **fields}, headers=AUTH
    ) as response:
        assert 200 == response.status, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def test_a_page_with_selectors_and_rules(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """The raw values beside what was read, which rule did what, and why the others are rejects."""
    site.put("/board", BOARD)
    rules = ["drop title ~ Sponsored", "tag Fog if text ~ fog"]
    async with polling(store, settings, clock):
        answer = await preview(client, f"{site.url}/board", select=SELECT, rules=rules)
    assert ("selected", "Board", "", f"{site.url}/board/2") == tuple(
        answer[name] for name in ("kind", "title", "error", "next_page")
    )
    assert {"article": 2, "dropped": 1, "rejected": 1} == answer["counts"]
    assert {"title": 4, "link": 4, "date": 3, "content": 2, "image": 0} == answer["selected"]
    first, dropped, rejected, last = answer["items"]
    assert ["/n/1"] == first["raw"]["link"]
    article = first["article"]
    assert (f"{site.url}/n/1", "2026-01-05T00:00:00.000Z") == (article["url"], article["published"])
    assert (["Fog"], ["tag Fog if text ~ fog: added the tag Fog"]) == (
        article["tags"], first["rules"],
    )  # fmt: skip
    assert ("dropped", "drop title ~ Sponsored") == (dropped["status"], dropped["reason"])
    assert (3, "rejected", ["javascript:x()"]) == (
        rejected["number"], rejected["status"], rejected["raw"]["link"],
    )  # fmt: skip
    assert "is not an http(s) URL" in rejected["reason"]
    # Whatever became of it, an item has the same fields.
    assert [set(first)] * 3 == [set(each) for each in (dropped, rejected, last)]
    assert (4, ["soon"], None) == (
        last["number"],
        last["raw"]["date"],
        last["article"]["published"],
    )
    assert "its date is not understood" in last["reason"]
    # Nothing is kept, and of the next page nothing was asked.
    assert ["/board"] == [request.path for request in site.requests]
    assert ([], []) == (await articles(store), await store.sources.all())
    assert 0 == await store.client.llen(keys.PREVIEWS)


async def test_a_feed(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Without selectors: what its format says, beside what was read; as many as are asked for."""
    site.put("/f", RSS)
    async with polling(store, settings, clock):
        answer = await preview(client, f"{site.url}/f", category="News", limit=1)
        many = RSS.replace("</item>", "</item>" + "<item><title>More</title></item>" * 5)
        site.put("/f", many)
        limited = await preview(client, f"{site.url}/f", limit=2)
    (item,) = answer["items"]
    assert ("rss", ["News"]) == (answer["kind"], item["article"]["categories"])
    assert item["raw"]["date"]
    assert (2, 6) == (len(limited["items"]), limited["counts"]["article"])


async def test_the_page_of_a_site_leads_to_its_feed(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """As at the first poll, which says so."""
    link = '<link rel="alternate" type="application/rss+xml" href="/f">'
    site.put("/", f"<!doctype html><html><head>{link}</head><p>x</html>")
    site.put("/f", RSS)
    async with polling(store, settings, clock):
        answer = await preview(client, f"{site.url}/")
    assert (f"{site.url}/f", "rss", f"{site.url}/") == (
        answer["url"], answer["kind"], answer["discovered_on"],
    )  # fmt: skip


async def test_selectors_are_proposed(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """They read what they promise, as they are."""
    site.put("/board", BOARD)
    async with polling(store, settings, clock):
        answer = await preview(client, f"{site.url}/board", guess=True)
        proposal = answer["proposals"][0]
        assert ("Ferry sails again", 3) == (proposal["titles"][0], proposal["items"])
        used = await preview(client, f"{site.url}/board", select=proposal["select"])
    assert 3 == used["counts"]["article"]
    assert [f"{site.url}/n/{number}" for number in (1, 2, 4)] == [
        item["article"]["url"] for item in used["items"] if item["status"] == "article"
    ]


@pytest.mark.parametrize(
    ("path", "select", "error"),
    [
        ("/gone", {}, "answered 404"),
        ("/board", {"items": "section", "title": "h3"}, "select.items 'section' selects nothing"),
        ("/board", {"items": "$[*]", "title": "$.a"}, "is not JSON"),
        ("/board", {}, "neither a feed nor an article"),
        ("/binary", {}, "neither"),
    ],
)
async def test_what_cannot_be_a_source(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock, path: str,
    select: dict[str, str], error: str,
) -> None:  # fmt: skip
    """The reason, as the result of its poll would be."""
    site.put("/board", BOARD.replace("<html>", '<html><link rel="alternate" type='
                                     '"application/rss+xml" href="/none">'))  # fmt: skip
    site.put("/binary", b"\x00\x01\x02")
    async with polling(store, settings, clock):
        answer = await preview(client, site.url + path, select=select)
    assert error in answer["error"]
    assert [] == answer.get("items", [])


async def test_private_addresses_are_refused_as_in_polls(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """An address that nobody allowed, and a redirect to one."""
    site.put("/to", status=302, Location=site.url.replace("127.0.0.1", "127.0.0.9"))
    closed = settings.model_copy(update={"allowed_networks": ()})
    async with polling(store, closed, clock):
        answer = await preview(client, f"{site.url}/board")
        assert "is not a public address" in answer["error"]
    async with polling(store, settings, clock):
        answer = await preview(client, f"{site.url}/to")
        assert "is not a public address" in answer["error"]
    assert ["/to"] == [request.path for request in site.requests]


async def test_a_known_source_lends_its_settings(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A rule is tried on what is polled, with its headers; and the source stays as it is."""
    site.put("/board", BOARD)
    fields = {"url": f"{site.url}/board", "select": SELECT, "headers": {"X-Key": "secret"}}
    source, _ = await sources.add(store, {**fields, "paused": True}, now=clock())
    async with polling(store, settings, clock):
        answer = await preview(client, source.url, rules=["keep title ~ crane"])
    assert {"article": 1, "dropped": 2, "rejected": 1} == answer["counts"]
    assert "secret" == site.requests[0].headers["X-Key"]
    assert b"secret" not in orjson.dumps(answer)
    assert source == await store.sources.get(source.id)


async def test_a_preview_is_fetched_as_a_poll_is(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Through the proxy of the source, with its user agent and cookies."""
    site.put("/f", RSS)
    port = int(site.url.rpartition(":")[2])
    async with FakeProxy() as proxy, polling(store, settings, clock):
        answer = await preview(
            client, f"http://hidden.example:{port}/f", proxy=proxy.url("http"),
            user_agent="Desk/1", cookies={"session": "s"},
        )  # fmt: skip
    assert ("", {"article": 1, "dropped": 0, "rejected": 0}) == (answer["error"], answer["counts"])
    assert [("http", "hidden.example", port)] == proxy.asked
    (request,) = site.requests
    assert ("Desk/1", "session=s") == (request.headers["User-Agent"], request.headers["Cookie"])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://x.example/"}, "url"),
        ({"url": "http://x.example/", "titel": 1}, "titel"),
        ({"url": "http://x.example/", "limit": 0}, "limit"),
        ({"url": "http://x.example/", "limit": True}, "limit"),
        ({"url": "http://x.example/", "limit": 101}, "limit"),
        ({"url": "http://x.example/", "guess": 1}, "guess"),
        ({"url": "http://x.example/", "rules": ["x"]}, "rules[0]"),
        ({"url": "http://x.example/", "select": {"items": "li["}}, "select"),
    ],
)
async def test_wrong_fields_are_named_at_once(
    client: Client, fields: dict[str, Any], field: str
) -> None:
    """No worker is needed for that."""
    async with client.post("/api/v1/sources/preview", json=fields, headers=AUTH) as response:
        problem = await response.json()
    assert (400, field) == (response.status, problem["field"])


async def test_without_a_worker_the_request_is_taken_back(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with what is missing; and past PREVIEWS_MAX at once."""
    monkeypatch.setattr(previews, "TAKE_S", 0)
    url = "http://x.example/"
    async with client.post("/api/v1/sources/preview", json={"url": url}, headers=AUTH) as response:
        problem = await response.json()
    assert (503, "10") == (response.status, response.headers["Retry-After"])
    assert "no ingest worker" in problem["detail"]
    assert 0 == await store.client.llen(keys.PREVIEWS)
    pipe = store.client.pipeline(transaction=True)
    pipe.rpush(keys.PREVIEWS, *(str(number) for number in range(keys.PREVIEWS_MAX)))
    pipe.expire(keys.PREVIEWS, 5)
    await pipe.execute()
    async with client.post("/api/v1/sources/preview", json={"url": url}, headers=AUTH) as response:
        assert "too many previews" in (await response.json())["detail"]


async def test_a_slow_page_delays_no_other_preview(
    client: Client, store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """And one that never comes is an answer, too, in time."""
    hasty = settings.model_copy(update={"fetch_timeout_s": 1.0})
    gate = asyncio.Event()

    async def never(_: Any) -> Any:
        await gate.wait()

    site.answers["/slow"] = never
    site.put("/board", BOARD)
    async with polling(store, hasty, clock), asyncio.TaskGroup() as group:
        slow = group.create_task(preview(client, f"{site.url}/slow"))
        await wait_until(lambda: asyncio.sleep(0, bool(site.requests)))
        quick = await preview(client, f"{site.url}/board", select=SELECT)
        assert 3 == quick["counts"]["article"]
        assert "no complete answer in 1 s" in (await slow)["error"]
        gate.set()
