"""/api/v1 over real sockets: publishing, listing, withdrawing, managing."""

from __future__ import annotations

import asyncio
import gzip
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.articles.article import article_id
from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from service.web.handlers.articles import PUSH_SOURCE
from tests.conftest import AUTH, NOON, TOKEN, Clock
from tests.waiting import wait_until, within

Client = TestClient[Any, Any]
ONE = {"guid": "1", "title": "One", "categories": ["Media Center/News"]}


async def post(client: Client, body: object, path: str = "articles") -> tuple[int, Any]:
    """(status, decoded JSON body)."""
    async with client.post(f"/api/v1/{path}", json=body, headers=AUTH) as response:
        return response.status, await response.json(content_type=None)


async def test_created_unchanged_updated(client: Client) -> None:
    """A new article is answered with 201, then with 200: (source, guid) identifies it."""
    status, answer = await post(client, ONE)
    known = article_id(PUSH_SOURCE, "1")
    assert (201, known, "created", 1) == (
        status, answer["id"], answer["status"], answer["revision"],
    )  # fmt: skip
    assert re.fullmatch(rf"{known}_1_[0-9a-f]{{12}}", answer["event_id"])
    assert (200, answer | {"status": "unchanged"}) == await post(client, ONE)
    status, changed = await post(client, ONE | {"title": "Two"})
    assert (200, "updated", 2) == (status, changed["status"], changed["revision"])
    assert changed["event_id"].startswith(f"{known}_2_")
    _, other = await post(client, ONE | {"source": "http://other.example/"})
    assert known != other["id"]


async def test_a_batch_answers_in_order_whatever_happened(client: Client) -> None:
    """A batch is answered with 200; rejected articles name field and value, others are stored."""
    status, answers = await post(client, [ONE, {"titel": "x"}, ONE, 5, {"title": "Two"}])
    assert 200 == status
    assert ["created", "rejected", "unchanged", "rejected", "created"] == [
        answer["status"] for answer in answers
    ]
    assert ("titel", "'x'") == (answers[1]["error"]["field"], answers[1]["error"]["value"])


async def test_ndjson(client: Client) -> None:
    """Each line of NDJSON is an article; one that is not JSON is rejected by its number."""
    body = b'{"title": "One"}\n\nnonsense\n{"title": "Two"}\n'
    headers = AUTH | {"Content-Type": "application/x-ndjson"}
    async with client.post("/api/v1/articles", data=body, headers=headers) as response:
        answers = await response.json()
    assert ["created", "rejected", "created"] == [answer["status"] for answer in answers]
    assert "line 2" == answers[1]["error"]["field"]


async def test_what_is_kept_is_clean(client: Client) -> None:
    """HTML is sanitised, URLs become absolute, and a date in the future becomes now."""
    status, answer = await post(
        client,
        ONE
        | {
            "url": "http://s.example/a/",
            "content_html": "<p onclick=x>a <a href='b'>b</a></p><script>1</script>",
            "published": "2999-01-01T00:00:00Z",
        },
    )
    assert 201 == status
    async with client.get(f"/api/v1/articles/{answer['id']}") as response:
        article = await response.json()
    assert '<p>a <a href="http://s.example/a/b" rel="noopener">b</a></p>' == article["content_html"]
    assert article["first_seen"] == article["published"]
    assert "2999-01-01T00:00:00Z" == article["raw_published"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "Basic x"}, 401),
     ({"Authorization": f"bearer {TOKEN}"}, 201)],
)  # fmt: skip
async def test_writing_needs_the_token(
    client: Client, headers: dict[str, str], status: int
) -> None:
    """A request without the token is answered with 401 and WWW-Authenticate."""
    async with client.post("/api/v1/articles", json=ONE, headers=headers) as response:
        assert status == response.status
        if status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert "application/problem+json" == response.content_type


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "articles/x"), ("GET", "webhooks"), ("POST", "webhooks"), ("GET", "sources"),
     ("POST", "sources"), ("DELETE", "webhooks/x"), ("POST", "webhooks/x/test"),
     ("GET", "webhooks/x/deliveries"), ("DELETE", "sources/x"), ("GET", "sources/x")],
)  # fmt: skip
async def test_managing_needs_the_token(client: Client, method: str, path: str) -> None:
    """All paths of the API except those that read articles need the token."""
    async with client.request(method, f"/api/v1/{path}") as response:
        assert 401 == response.status


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"{", "body"), (b'{"titel": 1}', "titel"), (b'{"title": 5}', "title"), (b"{}", "title"),
     (b'"x"', "article"), (b'{"title": "\\ud800"}', "title"), (b'{"title": NaN}', "body"),
     (b'{"title": "t", "source": 5}', "source"),
     (b'{"title": "t", "categories": ["!"]}', "category")],
)  # fmt: skip
async def test_wrong_bodies(client: Client, body: bytes, field: str) -> None:
    """A wrong body is answered with 400 and a problem that names the field."""
    async with client.post("/api/v1/articles", data=body, headers=AUTH) as response:
        problem = await response.json(content_type=None)
    assert (400, 400, field) == (response.status, problem["status"], problem["field"])
    assert "about:blank" == problem["type"]


async def test_bounds(client: Client) -> None:
    """Too many articles or broken gzip get 400, too large a body 413, an unknown coding 415."""
    assert 400 == (await post(client, [{}] * 1_001))[0]
    big = b'{"title": "' + b"x" * 16_000_001 + b'"}'
    async with client.post("/api/v1/articles", data=io.BytesIO(big), headers=AUTH) as response:
        assert 413 == response.status
    headers = AUTH | {"Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 50_000_000)
    async with client.post("/api/v1/articles", data=bomb, headers=headers) as response:
        assert 413 == response.status
    async with client.post("/api/v1/articles", data=b"no gzip", headers=headers) as response:
        assert 400 == response.status
    async with client.post(
        "/api/v1/articles", data=b"x", headers=AUTH | {"Content-Encoding": "odd"}
    ) as response:
        assert 415 == response.status
    zipped = gzip.compress(orjson.dumps(ONE))
    async with client.post("/api/v1/articles", data=zipped, headers=headers) as response:
        assert 201 == response.status


async def test_a_body_that_never_comes(settings: Settings, store: Store, clock: Clock) -> None:
    """The answer is 408 after BODY_TIMEOUT_S."""
    quick = settings.model_copy(update={"body_timeout_s": 0.1})
    app = create_app(quick, token=TOKEN, now=clock)
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            b"POST /api/v1/articles HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
            + f"Authorization: Bearer {TOKEN}\r\n\r\n{{".encode()
        )
        async with within(5):
            answer = await reader.readline()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_withdrawing_and_publishing_again(client: Client, store: Store) -> None:
    """DELETE withdraws an article once; publishing it again makes it live again."""
    _, answer = await post(client, ONE)
    path = f"/api/v1/articles/{answer['id']}"
    for status in ("withdrawn", "unchanged"):
        async with client.delete(path, headers=AUTH) as response:
            assert (200, status, 2) == (
                response.status,
                (await response.json())["status"],
                (await response.json())["revision"],
            )
    async with client.get(path) as response:
        assert 410 == response.status
    status, again = await post(client, ONE)
    assert (200, "updated") == (status, again["status"])
    events = await store.event_stream.newest(0, count=5)
    kinds = [event.type.split(".")[2] for event in events]
    assert ["published", "withdrawn", "updated"] == kinds
    async with client.delete("/api/v1/articles/nope", headers=AUTH) as response:
        assert 404 == response.status


@pytest.mark.usefixtures("aggregating")
async def test_listing(client: Client, store: Store, clock: Clock) -> None:
    """The list is newest first, filtered by category and time, and its pages omit no article."""
    clock.time = datetime.now(UTC)
    articles = [
        {
            "guid": str(n),
            "title": f"N{n}",
            "published": (NOON - timedelta(hours=n)).isoformat(),
            "categories": ["Odd" if n % 2 else "Even"],
        }
        for n in range(10)
    ]
    await post(client, articles)

    async def indexed() -> bool:
        return 10 == await store.category_index.count("all")

    await wait_until(indexed)

    async def titles(query: str) -> list[str]:
        titles_read, url = [], f"/api/v1/articles?{query}"
        while url:
            async with client.get(url) as response:
                assert 200 == response.status, await response.text()
                answer = await response.json()
            titles_read += [article["title"] for article in answer["articles"]]
            url = (answer["next"] or "").partition("/api/")[2]
            url = f"/api/{url}" if url else ""
        return titles_read

    every = [f"N{n}" for n in range(10)]
    assert every == await titles("")
    assert every == await titles("limit=3")
    assert every == await titles("limit=1")
    assert every[1::2] == await titles("category=odd")
    until, since = ((NOON - timedelta(hours=h)).isoformat().replace("+00:00", "Z") for h in (2, 5))
    assert every[3:6] == await titles(f"since={since}&until={until}")


@pytest.mark.usefixtures("aggregating")
async def test_the_articles_of_one_moment_have_pages(client: Client, store: Store) -> None:
    """A site that dates by the day has more articles at midnight than a page shows."""
    midnight = NOON.replace(hour=0).isoformat()
    await post(client, [{"guid": str(n), "title": str(n), "published": midnight} for n in range(5)])

    async def indexed() -> bool:
        return 5 == await store.category_index.count("all")

    await wait_until(indexed)
    titles_read, url = [], "/api/v1/articles?limit=2"
    for _ in range(3):
        async with client.get(url) as response:
            answer = await response.json()
        titles_read += [article["title"] for article in answer["articles"]]
        url = (answer["next"] or "").removeprefix("http://news.example")
    assert ["0", "1", "2", "3", "4"] == sorted(titles_read)
    assert "" == url


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("limit=99999999999", "limit"), ("sort=x", "sort"),
     (f"limit={'0' * 18}1999999", "limit"), (f"limit={'0' * 18}1{'0' * 5_000}", "limit"),
     ("before=1-x", "before"), ("before=1-1&before=2-2", "before"),
     ("since=yesterday", "since"), ("until=2026-01-05T00:00:00", "until"),
     ("category=!", "category")],
)  # fmt: skip
async def test_wrong_filters(client: Client, query: str, field: str) -> None:
    """What is wrong is answered with 400 and the name of the field."""
    async with client.get(f"/api/v1/articles?{query}") as response:
        assert (400, field) == (response.status, (await response.json(content_type=None))["field"])


async def test_webhooks(client: Client) -> None:
    """A webhook can be added, shown, tested and removed; its secret is shown once."""
    status, webhook = await post(client, {"url": "http://x.example/", "types": []}, "webhooks")
    assert 201 == status
    assert webhook["secret"].startswith("whsec_")
    path = f"/api/v1/webhooks/{webhook['id']}"
    async with client.get(path, headers=AUTH) as response:
        shown = await response.json()
    assert ("active", None) == (shown["state"], shown["disabled"])
    assert "secret" not in shown
    async with client.get("/api/v1/webhooks", headers=AUTH) as response:
        assert [shown] == await response.json()
    async with client.get(f"{path}/deliveries", headers=AUTH) as response:
        assert [] == await response.json()
    async with client.post(f"{path}/test", headers=AUTH) as response:
        assert 202 == response.status
    for expected in (204, 404):
        async with client.delete(path, headers=AUTH) as response:
            assert expected == response.status


@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "url"), ({"url": "ftp://x/"}, "url"), ({"url": "http://a@b/"}, "url"),
     ({"url": "http://x/", "types": ["x"]}, "types"),
     ({"url": "http://x/", "categories": "x"}, "categories"),
     ({"url": "http://x/", "secret": "x"}, "secret")],
)  # fmt: skip
async def test_wrong_webhooks(client: Client, fields: dict[str, Any], field: str) -> None:
    """What is wrong is answered with 400 and the name of the field."""
    status, problem = await post(client, fields, "webhooks")
    assert (400, field) == (status, problem["field"])


async def test_sources(client: Client) -> None:
    """A source can be added, shown with its last poll, and removed; adding it again gives 200."""
    status, source = await post(client, {"url": "http://x.example/f#x", "category": "A"}, "sources")
    assert (201, "http://x.example/f", "A") == (status, source["url"], source["category"])
    status, again = await post(client, {"url": source["url"]}, "sources")
    assert (200, source["id"]) == (status, again["id"])
    path = f"/api/v1/sources/{source['id']}"
    async with client.get(path, headers=AUTH) as response:
        assert "" == (await response.json())["result"]
    async with client.get("/api/v1/sources", headers=AUTH) as response:
        assert [source["id"]] == [listed["id"] for listed in await response.json()]
    for expected in (204, 404):
        async with client.delete(path, headers=AUTH) as response:
            assert expected == response.status
    async with client.get(path, headers=AUTH) as response:
        assert 404 == response.status
    for fields, field in (({"url": 5}, "url"), ({"url": "http://x/", "x": 1}, "x"),
                          ({"url": "http://x/", "category": 5}, "category")):  # fmt: skip
        status, problem = await post(client, fields, "sources")
        assert (400, field) == (status, problem["field"])
    assert 400 == (await post(client, [], "sources"))[0]


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_a_token_of_other_bytes_is_no_token(client: Client, scheme: str) -> None:
    """A token with bytes that are not UTF-8 is answered with 401."""
    async with client.get(
        "/api/v1/sources", headers={"Authorization": f"{scheme} \udcff"}
    ) as response:
        assert 401 == response.status


@pytest.mark.parametrize(
    "query", ["since=9999-12-31T23:59:59-23:59", "until=0001-01-01T00:00:00%2B23:59"]
)
async def test_the_ends_of_time_are_out_of_range(client: Client, query: str) -> None:
    """A time whose year does not exist in UTC is answered with 400."""
    async with client.get(f"/api/v1/articles?{query}") as response:
        assert 400 == response.status
