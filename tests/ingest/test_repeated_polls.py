"""What feeds of the field do from poll to poll: what becomes of their articles."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import format_datetime

import pytest
from aiohttp import web

from service.articles.article import Article
from service.settings import Settings
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import add, again, polled, polling

POLLS = 3
Items = Callable[[int, Clock], str]


def item(title: str, *, more: str = "", text: str = "About nets") -> str:
    """An item of RSS."""
    return f"<item><title>{title}</title>{more}<description>{text}</description></item>"


def moving_dates(_: int, clock: Clock) -> str:
    """Each item has the time of the request."""
    now = format_datetime(clock())
    return "".join(
        item(f"Notice {n}", more=f"<guid>mv-{n}</guid><pubDate>{now}</pubDate>") for n in "123"
    )


def volatile_links(poll: int, _: Clock) -> str:
    """The links have a session in them."""
    dates = [f"<pubDate>Wed, 0{n} May 2024 10:00:00 GMT</pubDate>" for n in (1, 2)]
    link = f"<link>https://quay.example/a/ferry?mod=rss&amp;s={poll}</link>"
    other = f"<link>https://quay.example/a/pier;jsessionid={poll}</link>"
    return item("Ferry", more=link + dates[0]) + item("Pier", more=other + dates[1])


def one_link_for_all(_: int, __: Clock) -> str:
    """A feed without guids and dates whose items share one link."""
    link = "<link>https://quay.example/live</link>"
    return "".join(item(f"Entry {n}", more=link, text=f"Text {n}") for n in "123")


def undated(poll: int, _: Clock) -> str:
    """One more on top of the feed in each poll."""
    numbers = range(6 + poll, 0, -1)
    return "".join(
        item(f"Essay {n}", more=f"<link>https://quay.example/e/{n}</link>") for n in numbers
    )


def dates_in_the_future(_: int, __: Clock) -> str:
    """One in the next century."""
    return item("Announced", more="<guid>f1</guid><pubDate>Sat, 01 May 2094 10:00:00 GMT</pubDate>")


@pytest.mark.parametrize(
    ("items", "count"),
    [
        (moving_dates, 3), (volatile_links, 2), (one_link_for_all, 3), (undated, 6 + POLLS - 1),
        (dates_in_the_future, 1),
    ],
)  # fmt: skip
async def test_polls_make_no_revisions_of_what_did_not_change(
    store: Store, settings: Settings, clock: Clock, items: Items, count: int
) -> None:
    """Nor further articles, events, or another order than the feed's."""
    polls = 0

    def answer(_: web.BaseRequest) -> web.Response:
        nonlocal polls
        polls += 1
        body = f"<rss><channel><title>Quay</title>{items(polls - 1, clock)}</channel></rss>"
        return web.Response(body=body.encode(), content_type="application/rss+xml")

    async with FakeSite() as site, polling(store, settings, clock):
        site.answers["/feed"] = answer
        source_id = await add(store, f"{site.url}/feed", clock)
        await polled(store, source_id, "articles")
        for _ in range(POLLS - 1):
            await again(store, clock, source_id, "")
    articles = await all_articles(store)
    assert (count, {1}) == (len(articles), {article.revision for article in articles})
    assert count == await store.event_stream.length(0)
    if items is undated:
        newest_first = sorted(articles, key=lambda article: article.published, reverse=True)
        assert [f"Essay {n}" for n in range(count, 0, -1)] == [a.title for a in newest_first]
    assert all(article.published <= article.first_seen for article in articles)


async def all_articles(store: Store) -> list[Article]:
    """Every article that is stored."""
    ids = [name async for chunk in store.articles.all_ids() for name in chunk]
    return [article for article in await store.articles.get(ids) if article]


async def test_a_late_file_and_a_corrected_link_are_stored(
    store: Store, settings: Settings, clock: Clock
) -> None:
    """The words are the same, and the poll says that something was corrected."""
    feed = "<rss><channel><title>Quay</title>{}</channel></rss>"
    first = "<guid>ep-12</guid><link>https://quay.example/ep/12</link>"
    second = (
        "<guid>ep-12</guid><link>https://quay.example/ep/12/fixed</link>"
        '<enclosure url="https://media.example/12.mp3" length="5242880" type="audio/mpeg"/>'
    )
    async with FakeSite() as site, polling(store, settings, clock):
        site.put("/feed", feed.format(item("Twelve", more=first)))
        source_id = await add(store, f"{site.url}/feed", clock)
        await polled(store, source_id, "articles")
        site.put("/feed", feed.format(item("Twelve", more=second)))
        await again(store, clock, source_id, "1 corrected")
        await again(store, clock, source_id, "")
    (article,) = await all_articles(store)
    assert ("https://quay.example/ep/12/fixed", 5242880, 1, 1) == (
        article.url, article.enclosures[0].length, article.revision, article.corrections,
    )  # fmt: skip
