"""What has no bound comes in pages: periods, categories, the list of the API. None loses any."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import lxml.html
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.articles.article import Entry
from service.articles.compose import compose
from service.feeds.formats import FORMATS
from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from service.web.handlers import articles as articles_handler
from service.web.serving import html_pages
from tests.conftest import DAY, TOKEN, Clock
from tests.served import Read
from tests.waiting import wait_until

Client = TestClient[Any, Any]
SITE = "http://news.example"
SIZE = 3
pytestmark = pytest.mark.usefixtures("aggregating")


@pytest.fixture
async def client(
    settings: Settings, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """A server with pages of three articles or categories."""
    monkeypatch.setattr(html_pages, "PERIOD_ARTICLES", SIZE)
    monkeypatch.setattr(html_pages, "MAX_CATEGORIES", SIZE)
    small = settings.model_copy(update={"period_page_size": SIZE})
    async with TestClient(TestServer(create_app(small, token=TOKEN, now=clock))) as opened:
        yield opened


async def publish_all(store: Store, moments: Sequence[datetime], **fields: Any) -> list[str]:
    """Articles of these times, indexed; their ids."""
    drafts = [
        compose(
            Entry(guid=f"{n}", title=f"N{n}", content_html="<p>Words</p>", published=at, **fields),
            source="s",
        )
        for n, at in enumerate(moments)
    ]
    await store.articles.append(drafts, now=datetime.now(UTC))

    async def indexed() -> bool:
        return len(drafts) == await store.category_index.count("all")

    await wait_until(indexed)
    return [draft.id for draft in drafts]


async def read(client: Client, url: str) -> tuple[bytes, dict[str, str]]:
    """(body, `rel` of the Link header → URL) of a page that exists."""
    async with client.get(url.removeprefix(SITE)) as response:
        assert 200 == response.status, url
        links = re.findall(r'<([^>]*)>; rel="([^"]*)"', response.headers.get("Link", ""))
        return await response.read(), {rel: url for url, rel in links}


async def follow_feed(client: Client, path: str, extension: str) -> list[list[str]]:
    """The ids on each page of a feed, by its `next` links."""
    pages, url = [], f"{path}.{extension}"
    while url:
        feed = Read((await read(client, url))[0], extension)
        pages.append([entry_id.removeprefix("urn:uuid:") for entry_id in feed.ids])
        url = feed.link("next")
    return pages


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("period", ["2017", "2017/12"])
async def test_who_follows_next_gets_a_month_or_year_whole(
    client: Client, store: Store, extension: str, period: str
) -> None:
    """Each article once, in order, also articles of one time; the last page has no `next`."""
    moments = [DAY - timedelta(hours=n // 4) for n in range(11)]
    ids = await publish_all(store, moments)
    pages = await follow_feed(client, f"/feeds/all/{period}", extension)
    assert [3, 3, 3, 2] == [len(page) for page in pages]
    read_ids = [article_id for page in pages for article_id in page]
    assert sorted(ids) == sorted(read_ids)
    moment_of = dict(zip(ids, moments, strict=True))
    read_moments = [moment_of[article_id] for article_id in read_ids]
    assert sorted(moments, reverse=True) == read_moments


@pytest.mark.parametrize("count", [3, 4])
async def test_a_page_that_is_just_full_is_the_last(
    client: Client, store: Store, count: int
) -> None:
    """Clients that follow `next` never get an empty page."""
    await publish_all(store, [DAY - timedelta(minutes=n) for n in range(count)])
    pages = await follow_feed(client, "/feeds/all/2017", "atom")
    assert [3, 1][: count - 2] == [len(page) for page in pages]


@pytest.mark.parametrize("extension", FORMATS)
async def test_the_feed_of_a_day_is_whole(client: Client, store: Store, extension: str) -> None:
    """However many articles it has: archives are made of days."""
    ids = await publish_all(store, [DAY - timedelta(minutes=n) for n in range(8)])
    pages = await follow_feed(client, "/feeds/all/2017/12/22", extension)
    if extension == "json":
        pages = pages[:1]
    assert [ids] == pages


async def test_a_withdrawn_article_is_named_by_the_page_that_showed_it(
    client: Client, store: Store
) -> None:
    """A tombstone on a page that begins a period only if it is newer than its last article."""
    ids = await publish_all(store, [DAY - timedelta(minutes=n) for n in range(7)])
    for article_id in (ids[1], ids[6]):
        await store.articles.withdraw(article_id, now=datetime.now(UTC))

    async def withdrawn() -> bool:
        return 5 == await store.category_index.count("all")

    await wait_until(withdrawn)
    feed = orjson.loads((await read(client, "/feeds/all/2017.json"))[0])
    assert [f"urn:uuid:{ids[1]}"] == [each["id"] for each in feed["_dateline"]["deleted"]]


async def test_pages_for_people_of_a_period_continue(client: Client, store: Store) -> None:
    """By a link on the page and in its head; its feeds are those of the whole period."""
    ids = await publish_all(store, [DAY - timedelta(minutes=n) for n in range(8)])
    for path in ("/news/all/2017", "/news/all/2017/12", "/news/all/2017/12/22"):
        shown: list[str] = []
        url = path
        while url:
            body, links = await read(client, url)
            document = lxml.html.fromstring(body)
            shown += [href[10:] for href in document.xpath("//article//h2/a/@href")]
            more = document.xpath("//nav[@aria-label='More articles']//a/@href")
            assert more == [link.removeprefix(SITE) for link in links.values() if "before" in link]
            assert [f"{SITE}{url}"] == document.xpath("//link[@rel='canonical']/@href")
            feeds = document.xpath("//link[@rel='alternate']/@href")
            assert f"{SITE}{path.replace('news', 'feeds', 1)}.rss" == feeds[0]
            url = more[0] if more else ""
        assert ids == shown


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/news/all/2017?before=x", 400), ("/news/all/2017?before=", 400),
        ("/news/all/2017?before=1-1&before=2-2", 400), ("/news/all/2017?utm_source=x", 200),
        ("/categories?after=%00", 400), ("/categories?after=a&after=b", 400),
        ("/categories?after=no/such", 200), ("/categories?x=1", 200),
        ("/api/v1/articles?before=x", 400), ("/api/v1/articles?before=1-1&before=2-2", 400),
    ],
)  # fmt: skip
async def test_odd_cursors(client: Client, store: Store, path: str, status: int) -> None:
    """What is no cursor is refused by name; other parameters of pages for people are ignored."""
    await publish_all(store, [DAY])
    async with client.get(path) as response:
        assert status == response.status
        if status == 400:
            assert re.search("before|after", await response.text())


async def test_a_cursor_has_one_spelling(client: Client, store: Store) -> None:
    """A page with a cursor and something else is redirected to itself."""
    (article_id,) = await publish_all(store, [DAY])
    cursor = f"/news/all/2017?before=1-{article_id}"
    async with client.get(f"{cursor}&x=1", allow_redirects=False) as response:
        assert (308, cursor) == (response.status, response.headers["Location"])


async def test_all_categories_are_listed_in_pages(client: Client, store: Store) -> None:
    """`/` lists those that fit and leads to the list, whose pages have each category once; the OPML
    has all of them."""
    names = [f"Top {letter}/Below {letter}" for letter in "abcde"]
    await publish_all(store, [DAY], categories=tuple(names))
    titles = [title for name in names for title in name.split("/")]
    home = lxml.html.fromstring((await read(client, "/"))[0])
    shown = home.xpath("//nav[@class='tree']/ul//li/a/bdi/text()")
    assert [f"Top {letter}" for letter in "abc"] == shown
    (url,) = home.xpath("//nav[@class='tree']/p/a/@href")
    listed: list[str] = []
    while url:
        document = lxml.html.fromstring((await read(client, url))[0])
        part = document.xpath("//nav[@class='tree']/ul/li/a/bdi/text()")
        assert 0 < len(part) <= SIZE
        listed += part
        url = next(iter(document.xpath("//nav[@aria-label='More categories']//a/@href")), "")
    assert [title.replace("/", " / ") for title in sorted(titles_of(names))] == [
        title.replace("/", " / ") for title in listed
    ]
    opml, _ = await read(client, "/feeds.opml")
    for title in titles:
        assert f'text="{title}"'.encode() in opml


def titles_of(names: Sequence[str]) -> set[str]:
    """The full titles of categories and of those above them."""
    return {name for full in names for name in (full.partition("/")[0], full)}


async def test_many_subcategories_lead_to_the_list(client: Client, store: Store) -> None:
    """A news page lists some of them, and links to the list where they begin."""
    names = tuple(f"Top/Below {letter}" for letter in "abcde")
    await publish_all(store, [DAY], categories=names)
    document = lxml.html.fromstring((await read(client, "/news/top"))[0])
    assert 3 == len(document.xpath("//nav[@class='below']/ul/li"))
    (url,) = document.xpath("//nav[@class='below']/p/a/@href")
    listed = lxml.html.fromstring((await read(client, url))[0])
    assert ["Top/Below a", "Top/Below b", "Top/Below c"] == listed.xpath(
        "//nav[@class='tree']/ul/li/a/bdi/text()"
    )


async def test_the_list_of_the_api_ends_a_page_by_size(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long articles make short pages; clients that follow `next` get each article once, also where
    more than a page of them have one time."""
    monkeypatch.setattr(articles_handler, "MAX_LIST_BYTES", 1_000)
    monkeypatch.setattr(articles_handler, "LISTED_AT_ONCE", 2)
    ids = await publish_all(store, [DAY] * 7)
    for query, pages in (("limit=1000", 3), ("limit=1", 7)):
        read_ids: list[str] = []
        url, count = f"/api/v1/articles?{query}", 0
        while url:
            answer = orjson.loads((await read(client, url))[0])
            read_ids += [article["id"] for article in answer["articles"]]
            url, count = answer["next"] or "", count + bool(answer["articles"])
        assert sorted(ids) == sorted(read_ids)
        assert count >= pages
