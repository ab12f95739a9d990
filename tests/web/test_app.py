"""The application over real sockets: feeds, pages, single articles, operations."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import Any

import feedparser
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree
from yarl import URL

from service.feeds import opml
from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from service.web.request.keys import CACHE
from tests.conftest import AUTH, TOKEN, Clock, Publish
from tests.running import free_port
from tests.waiting import wait_until

Client = TestClient[Any, Any]

PATH = "/feeds/media-center/coalition-news/2017/12/22"

pytestmark = pytest.mark.usefixtures("aggregating")


async def test_a_day_of_a_category_in_three_formats(client: Client, publish: Publish) -> None:
    """Each format of a feed has its media type and the same article."""
    article_id = await publish()
    for extension, media_type in (
        ("rss", "application/rss+xml"),
        ("atom", "application/atom+xml"),
        ("json", "application/feed+json"),
    ):
        async with client.get(f"{PATH}.{extension}") as response:
            assert (200, media_type, "utf-8") == (
                response.status,
                response.content_type,
                response.charset,
            )
            body = await response.read()
        if extension == "json":
            assert [f"urn:uuid:{article_id}"] == [i["id"] for i in orjson.loads(body)["items"]]
        else:
            assert [f"urn:uuid:{article_id}"] == [e.id for e in feedparser.parse(body).entries]


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("all", 1), ("media-center", 1), ("media-center/coalition-news", 1), ("all/2017", 1),
        ("all/2017/12", 1), ("media-center/2017/12/22", 1), ("all/2017/12/21", 0), ("all/2018", 0),
        ("media-center/coalition-news/2017/11", 0),
    ],
)  # fmt: skip
async def test_levels(client: Client, publish: Publish, path: str, count: int) -> None:
    """Category tree, `all`, year, month and day; an empty period of a known category is a feed."""
    await publish()
    async with client.get(f"/feeds/{path}.json") as response:
        assert 200 == response.status
        assert count == len((await response.json(content_type=None))["items"])


@pytest.mark.parametrize(
    "path",
    ["/feeds/nope.rss", "/feeds/media-center/nope.rss", "/feeds/all/2017/13.rss", "/feeds/all.xml",
     "/feeds/all/2017/02/29.rss", "/feeds/all/2017/12/22/1.rss", "/feeds/all/0.rss", "/feeds/x",
     "/feeds/%00.rss", "/feeds/a%0d%0ab.rss", "/feeds/%2e%2e%2fpasswd.rss", "/feeds/2017.rss",
     "/feeds/" + "a/" * 30 + "b.rss", "/articles/x.json",
     "/articles/00000000-0000-5000-8000-000000000000.json", "/static/x", "/nothing"],
)  # fmt: skip
async def test_what_is_not_there(client: Client, publish: Publish, path: str) -> None:
    """An unknown path is answered with 404, for programs as a problem."""
    await publish()
    async with client.get(path) as response:
        assert 404 == response.status
        if path.startswith(("/feeds", "/static")) or path.endswith(".json"):
            assert "application/problem+json" == response.content_type
            assert 404 == (await response.json(content_type=None))["status"]


@pytest.mark.parametrize(
    ("path", "true"),
    [
        ("/feeds/Media-Center/coalition-news.rss", "/feeds/media-center/coalition-news.rss"),
        ("/feeds/all/2017/1/5.atom", "/feeds/all/2017/01/05.atom"),
        ("/feeds/all.RSS", "/feeds/all.rss"),
        ("/news/all/2017/1/", "/news/all/2017/01"),
        ("/feeds/all/2017/1/5.atom?limit=7", "/feeds/all/2017/01/05.atom?limit=7"),
    ],
)
async def test_near_misses_lead_to_the_one_true_path(
    client: Client, publish: Publish, path: str, true: str
) -> None:
    """Another spelling of a path is redirected with 308 and its query."""
    await publish()
    async with client.get(path, allow_redirects=False) as response:
        assert (308, true) == (response.status, response.headers["Location"])


async def test_unicode_categories(client: Client, publish: Publish) -> None:
    """Categories with Arabic slugs have feeds, and their links are percent-encoded."""
    await publish("x", categories=("مركز الإعلام/أخبار",))
    async with client.get("/feeds/مركز-الإعلام/أخبار.json") as response:
        feed = await response.json(content_type=None)
    assert (200, 1) == (response.status, len(feed["items"]))
    assert feed["feed_url"].isascii()
    async with client.get(feed["feed_url"].removeprefix("http://news.example")) as response:
        assert 200 == response.status


async def test_conditional_requests(client: Client, publish: Publish) -> None:
    """Both validators give 304 with the right headers until the content changes."""
    await publish()
    async with client.get(f"{PATH}.rss") as response:
        first = response.headers
    for given in (
        {"If-None-Match": first["ETag"]},
        {"If-None-Match": f'"other", W/{first["ETag"]}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": first["Last-Modified"]},
    ):
        async with client.get(f"{PATH}.rss", headers=given) as response:
            assert (304, b"") == (response.status, await response.read())
            for name in ("ETag", "Cache-Control", "Vary", "Last-Modified", "Link"):
                assert first[name] == response.headers[name]
            assert "Content-Type" not in response.headers
    await publish("Two")
    async with client.get(f"{PATH}.rss", headers={"If-None-Match": first["ETag"]}) as response:
        assert 200 == response.status
        assert first["ETag"] != response.headers["ETag"]


async def test_gzip_has_its_own_tag_and_both_validate(client: Client, publish: Publish) -> None:
    """Responses with and without a coding have Vary and the same decoded bytes."""
    await publish()
    async with client.get(f"{PATH}.rss", headers={"Accept-Encoding": "identity"}) as response:
        plain, tag = await response.read(), response.headers["ETag"]
        assert "Accept-Encoding" == response.headers["Vary"]
    async with client.get(f"{PATH}.rss", headers={"Accept-Encoding": "x, gzip"}) as response:
        assert "gzip" == response.headers["Content-Encoding"]
        coded, coded_tag = await response.read(), response.headers["ETag"]
        assert len(coded) == int(response.headers["Content-Length"])
    assert plain == gzip.decompress(coded)
    assert tag[:-1] + '-gzip"' == coded_tag
    for coding, given in (("gzip", tag), ("identity", coded_tag)):
        headers = {"Accept-Encoding": coding, "If-None-Match": given}
        async with client.get(f"{PATH}.rss", headers=headers) as response:
            assert 304 == response.status


async def test_head_is_get_without_a_body(client: Client, publish: Publish) -> None:
    """HEAD has the headers of GET."""
    await publish()
    async with client.get(f"{PATH}.rss") as response:
        expected = {n: v for n, v in response.headers.items() if n != "Date"}
    async with client.head(f"{PATH}.rss") as response:
        assert (200, b"") == (response.status, await response.read())
        assert expected == {n: v for n, v in response.headers.items() if n != "Date"}


async def test_closed_days_may_be_kept_longer(client: Client, publish: Publish) -> None:
    """Caches may keep closed days for a day, other pages for a minute, and stale ones on errors."""
    await publish()
    for path, seconds in ((f"{PATH}.rss", 86_400), ("/feeds/all.rss", 60)):
        async with client.get(path) as response:
            control = response.headers["Cache-Control"]
        assert f"public, max-age={seconds}, " in control
        assert "stale-if-error=86400" in control
        assert "*" == response.headers["Access-Control-Allow-Origin"]


async def test_a_change_is_visible_at_once(client: Client, publish: Publish) -> None:
    """A server shows a change without waiting for the recheck, because it is notified."""
    await publish("One")
    for number in range(5):
        async with client.get("/feeds/all.json") as response:
            assert number + 1 == len((await response.json(content_type=None))["items"])
        await publish(f"More {number}")

        async def there(expected: int = number + 2) -> bool:
            async with client.get("/feeds/all.json") as response:
                return expected == len((await response.json(content_type=None))["items"])

        await wait_until(there, timeout_s=1)


async def test_odd_spellings_of_a_path_fill_nothing(client: Client, publish: Publish) -> None:
    """Percent-encoded spellings of a path give the same page, and do not become hot."""
    await publish()
    cache = client.server.app[CACHE]  # type: ignore[attr-defined]  # an application is served here
    for path in ("/feeds/%61ll.rss", "/feeds/a%6Cl.rss", "/feeds/a%6cl.rss", "/feeds/all.rss"):
        async with client.get(URL(path, encoded=True)) as response:
            assert 200 == response.status
    assert ["/feeds/all.rss"] == list(cache._hot)


async def test_days_without_articles_take_no_room_in_redis(
    client: Client, store: Store, publish: Publish
) -> None:
    """Pages of empty periods are not stored in Redis, because there are millions of them."""
    await publish()
    for path in ("/feeds/all/2001/01/01.rss", "/feeds/all/2002.json", f"{PATH}.rss"):
        async with client.get(path) as response:
            assert 200 == response.status
    rendered = [key async for key in store.client.scan_iter(match="*:rendered:*")]
    assert [f"dateline:{{0}}:rendered:{PATH.removeprefix('/feeds/')}.rss".encode()] == rendered


async def test_the_opml_lists_every_feed(client: Client, publish: Publish) -> None:
    """The list of feeds is OPML 2.0, nested like the categories, and has no feed in a feed."""
    await publish()
    async with client.get("/feeds.opml") as response:
        root = etree.fromstring(await response.read())
    links = {link.url: link.category for link in opml.outlines(root)}
    feeds = "http://news.example/feeds"
    assert "Media Center" == links[f"{feeds}/media-center.rss"]
    assert "Media Center" == links[f"{feeds}/media-center/coalition-news.rss"]
    assert [] == root.xpath("//outline[@xmlUrl]/outline")


async def test_pages_for_people(client: Client, publish: Publish) -> None:
    """A news page has breadcrumb, heading, autodiscovery and a strict Content-Security-Policy."""
    article_id = await publish("Tom & Ann < 3")
    async with client.get("/news/media-center/coalition-news/2017/12/22") as response:
        text = await response.text()
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "Items filtered by date: Friday, 22 December 2017" in " ".join(text.split())
    assert "Media Center" in text
    assert f'href="http://news.example{PATH}.atom"' in text
    for path in ("/", "/news/all", "/news/media-center/2017", f"/articles/{article_id}"):
        async with client.get(path) as response:
            assert (200, "text/html") == (response.status, response.content_type)
            assert "Tom &amp; Ann &lt; 3" in await response.text()
    async with client.get("/news/nope") as response:
        assert (404, "text/html") == (response.status, response.content_type)
    async with client.get("/static/style.css") as response:
        assert "text/css" == response.content_type


async def test_a_single_article(client: Client, store: Store, publish: Publish) -> None:
    """An article is HTML or JSON; a withdrawn one is answered with 410 and leaves the feeds."""
    article_id = await publish()
    async with client.get(f"/articles/{article_id}.json") as response:
        article = await response.json()
    assert (article_id, 1, "live") == (article["id"], article["revision"], article["status"])
    assert "2017-12-22T16:41:07.000Z" == article["published"]
    await store.articles.withdraw(article_id, now=datetime.now(UTC))
    for path in (f"/articles/{article_id}", f"/articles/{article_id}.json"):
        async with client.get(path) as response:
            assert 410 == response.status


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/feeds/all.rss"), ("DELETE", "/"), ("PUT", "/api/v1/articles"), ("PATCH", "/livez")],
)
async def test_other_methods(client: Client, method: str, path: str) -> None:
    """Another method is answered with 405, Allow, and a text that names the allowed methods."""
    async with client.request(method, path) as response:
        assert 405 == response.status
        assert "GET" in (allowed := response.headers["Allow"])
        assert f"{path} takes {allowed}, not {method}" in await response.text()


async def test_a_path_that_does_not_exist_is_named(client: Client) -> None:
    """404 names the path, escaped and cut to a maximum length, and where paths are listed."""
    async with client.get("/api/v1/nosuch") as response:
        problem = await response.json(content_type=None)
    assert "no such path: /api/v1/nosuch; see docs/http.md" == problem["detail"]
    async with client.get("/<b>/" + "x" * 1_000) as response:
        page = await response.text()
    assert "no such path: /&lt;b&gt;/xxx" in page
    assert "x" * 200 not in page


async def test_operations(client: Client, publish: Publish) -> None:
    """The health checks and metrics answer, and no response names library versions."""
    await publish()
    async with client.get("/livez") as response:
        assert "ok\n" == await response.text()
        assert "dateline" == response.headers["Server"]
    async with client.get("/readyz") as response:
        (group,) = (await response.json())["groups"]
        assert "aggregate" == group["group"]
    async with client.get("/metrics", headers=AUTH) as response:
        text = await response.text()
    assert "dateline_articles 1.0" in text
    assert 'dateline_group_pending{group="aggregate",shard="0"}' in text


async def test_who_asked_is_noted_for_rendering_ahead(
    client: Client, store: Store, publish: Publish
) -> None:
    """The aggregate worker learns which feeds are read."""
    await publish()
    async with client.get(f"{PATH}.rss"):
        pass

    async def noted() -> bool:
        reads = await store.rendered_pages.recent_reads(since=datetime(2020, 1, 1, tzinfo=UTC))
        return f"{PATH.removeprefix('/feeds/')}.rss" in reads

    await wait_until(noted)


async def test_while_redis_is_away(settings: Settings, clock: Clock) -> None:
    """Without Redis, pages that are not cached and writes get 503 with Retry-After; the server is
    alive but not ready, and does not name the address of Redis."""
    url = f"redis://127.0.0.1:{free_port()}"
    app = create_app(settings.model_copy(update={"redis_url": url}), token=TOKEN, now=clock)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with TestClient(TestServer(app), headers=headers) as client:
        for path in ("/feeds/all.rss", "/readyz", "/metrics"):
            async with client.get(path) as response:
                assert (503, "5") == (response.status, response.headers["Retry-After"])
                assert "127.0.0.1" not in await response.text()
        async with client.post("/api/v1/articles", json={"title": "t"}) as response:
            assert 503 == response.status
        async with client.get("/livez") as response:
            assert 200 == response.status
