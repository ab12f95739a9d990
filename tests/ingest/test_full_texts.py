"""Full texts: pages of articles whose feed cuts them, on real sockets."""

from __future__ import annotations

import pytest
from aiohttp import web

from service.articles.article import Article
from service.articles.times import to_ms
from service.manage import sources
from service.settings import Settings
from service.sources.source import make_source
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import again, articles, polled, polling, requests_for
from tests.waiting import wait_until
from workers.ingest import full_texts

LONG = "The harbour master spoke at length about the ferry and its timetable. " * 12


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The clock stands still, so that requests have no distance from each other."""
    return settings.model_copy(update={"poll_spacing_s": 0.0})


def item(name: str, text: str = "Some words and [&#8230;]", more: str = "") -> str:
    """An item of RSS with a link to its page."""
    return (
        f"<item><title>{name}</title><guid>urn:{name}</guid><link>/{name}</link>"
        f"<category>News</category><pubDate>Mon, 05 Jan 2026 09:00:00 GMT</pubDate>{more}"
        f"<description><![CDATA[{text}]]></description></item>"
    )


def put_feed(site: FakeSite, *items: str, **headers: str) -> None:
    """Answer a feed of these items."""
    body = f"<rss><channel><title>C</title><link>{site.url}/</link>{''.join(items)}</channel></rss>"
    site.put("/f", body, **headers)


def put_page(site: FakeSite, name: str, words: str = LONG) -> None:
    """Answer the page of an article."""
    paragraphs = f'<p>Page of {name}. <a href="more">Link</a></p><p>{words}</p><p>More: {words}</p>'
    menu = "<nav><ul><li>Menu</li></ul></nav>"
    site.put(
        f"/{name}",
        f"<html><head><title>{name}</title></head><body>{menu}<article><h1>{name}</h1>"
        f"{paragraphs}</article><footer>Imprint</footer></body></html>",
        Content_Type="text/html",
    )


async def add(store: Store, site: FakeSite, clock: Clock, **fields: object) -> str:
    """Add a source that is due; its id."""
    source = make_source({"url": f"{site.url}/f", **fields}, created=clock())
    await store.sources.add(source, due_ms=to_ms(clock()))
    return source.id


async def by_title(store: Store) -> dict[str, Article]:
    """All articles by their titles."""
    return {article.title: article for article in await articles(store)}


@pytest.mark.parametrize("full_text", [True, "auto"])
async def test_an_article_is_published_once_with_the_text_of_its_page(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, full_text: object
) -> None:
    """And with all else that its feed says; the page is not fetched again."""
    file = '<enclosure url="http://x.example/a.mp3" type="audio/mpeg" length="5"/>'
    put_feed(site, item("a", more=file), item("b"))
    for name in "ab":
        put_page(site, name)
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, full_text=full_text)
        poll = await polled(store, source_id, "2 articles, 2 new")
        assert "2 pages wanted, 2 fetched, 2 texts longer" == poll.full_text
        stored = await by_title(store)
        assert 2 * LONG.count("harbour") == stored["a"].content_html.count("harbour")
        assert "<h1>" not in stored["a"].content_html
        assert f'href="{site.url}/more"' in stored["a"].content_html
        assert "Imprint" not in stored["a"].content_html
        assert ("news",) == stored["a"].categories
        assert "http://x.example/a.mp3" == stored["a"].enclosures[0].url
        assert "2026-01-05 09:00:00" == f"{stored['a'].published:%Y-%m-%d %H:%M:%S}"
        put_feed(site, item("c"), item("a", more=file), item("b"))
        put_page(site, "c")
        await again(store, clock, source_id, "3 articles, 1 new")
        later = await by_title(store)
    assert [1, 1, 1] == [later[name].revision for name in "abc"]
    assert all("harbour" in article.content_html for article in later.values())
    assert [1, 1, 1] == [len(requests_for(site, f"/{name}")) for name in "abc"]
    shown = await sources.to_public(store, await sources.find(store, source_id), now=clock())
    assert (full_text, "1 pages wanted, 1 fetched, 1 texts longer") == (
        shown["full_text"], shown["full_text_result"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("full_text", "text"),
    [(False, "Words and […]"), ("auto", "All there is to say."), (True, LONG * 4)],
)
async def test_pages_that_are_not_wanted(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, full_text: object, text: str
) -> None:
    """By the setting, or because the feed has the whole text."""
    put_feed(site, item("a", text), item("b", text))
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, full_text=full_text)
        poll = await polled(store, source_id, "2 new")
    assert "" == poll.full_text
    assert ["/f"] == [request.path for request in site.requests]


async def test_a_short_text_without_a_sign_is_completed_if_the_operator_says_so(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """If the page is hardly longer, the feed's text stands, and the page is not fetched again."""
    put_feed(site, item("a", "All in one sentence."), item("b", LONG + "Over."))
    put_page(site, "a")
    put_page(site, "b", LONG[: len(LONG) // 2])
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, full_text=True)
        poll = await polled(store, source_id, "2 new")
        assert "2 pages wanted, 2 fetched, 1 texts longer" == poll.full_text
        put_feed(site, item("a", "All in one sentence."), item("b", LONG + "Over."), item("c"))
        put_page(site, "c")
        await again(store, clock, source_id, "1 new")
    stored = await by_title(store)
    assert "harbour" in stored["a"].content_html
    assert stored["b"].content_html.endswith("Over.</p>") or "Over." in stored["b"].content_html
    assert [1, 1] == [len(requests_for(site, f"/{name}")) for name in "ab"]


async def test_a_page_that_fails_keeps_the_teaser_and_is_tried_again(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Also if the feed answers that it has not changed; after three failures the teaser stands."""
    put_feed(site, item("a"), item("b"), ETag='"1"')
    put_page(site, "b")
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock)
        poll = await polled(store, source_id, "2 new")
        assert "1 waiting" in poll.full_text
        assert f"{site.url}/a: answered 404" in poll.full_text
        assert "" == poll.etag
        assert "Some words and […]" in (await by_title(store))["a"].content_html
        await again(store, clock, source_id, "2 articles, 0 new")
        put_page(site, "a")
        poll = await again(store, clock, source_id, "2 articles, 1 new or updated")
        assert "1 pages wanted, 1 fetched, 1 texts longer" == poll.full_text
        assert ('"1"', 2) == (poll.etag, (await by_title(store))["a"].revision)
        put_feed(site, item("c"), item("a"), item("b"), ETag='"2"')
        for _ in range(full_texts.MAX_TRIES):
            poll = await again(store, clock, source_id, "3 articles")
        assert '"2"' == poll.etag
        await again(store, clock, source_id, "the same bytes")
    assert full_texts.MAX_TRIES == len(requests_for(site, "/c"))
    assert 1 == len(requests_for(site, "/b"))


async def test_a_changed_entry_has_its_page_fetched_again(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Once; while that fails, the text of the page is not replaced by the teaser. A corrected file
    needs no page."""
    put_feed(site, item("a"), item("b"))
    for name in "ab":
        put_page(site, name)
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock)
        await polled(store, source_id, "2 new")
        file = '<enclosure url="http://x.example/late.mp3" type="audio/mpeg" length="5"/>'
        site.put("/a", status=500)
        put_feed(site, item("a", "Other words and […]"), item("b", more=file))
        await again(store, clock, source_id, "2 articles, 0 new or updated")
        stored = await by_title(store)
        assert "harbour" in stored["a"].content_html
        assert "harbour" in stored["b"].content_html
        assert "http://x.example/late.mp3" == stored["b"].enclosures[0].url
        put_page(site, "a", LONG.replace("ferry", "barge"))
        await again(store, clock, source_id, "2 articles, 1 new or updated")
        stored = await by_title(store)
    assert "barge" in stored["a"].content_html
    assert (2, 1) == (stored["a"].revision, stored["b"].revision)
    assert [3, 1] == [len(requests_for(site, f"/{name}")) for name in "ab"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [("article > p:nth-of-type(2)", "The harbour"), ("//p[contains(., 'More')]", "More: The")],
)
async def test_a_selector_says_what_the_text_is(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, selector: str, expected: str
) -> None:
    """In CSS or XPath; a page that it does not fit is a failure."""
    put_feed(site, item("a"), item("b"))
    put_page(site, "a")
    site.put("/b", "<html><body><h1>b</h1></body></html>", Content_Type="text/html")
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, selector=selector)
        poll = await polled(store, source_id, "2 new")
    stored = await by_title(store)
    assert stored["a"].content_html.startswith(expected)
    assert 12 == stored["a"].content_html.count("harbour")
    assert f"/b: has nothing that {selector!r} matches" in poll.full_text


async def test_an_article_waits_for_its_page_only_so_long(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is published with what the feed has, and completed at the next poll."""
    monkeypatch.setattr(full_texts, "HOLD_S", 0.5)
    released = False

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        async def is_released() -> bool:
            return released

        await wait_until(is_released)
        return web.Response(text="<html></html>", content_type="text/html")

    put_feed(site, item("a"), item("b"))
    site.answers["/a"] = slow
    put_page(site, "b")
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock)
        poll = await polled(store, source_id, "2 new")
        released = True
        assert "2 waiting" in poll.full_text
        monkeypatch.setattr(full_texts, "HOLD_S", 20.0)
        put_page(site, "a")
        await again(store, clock, source_id, "2 articles, 2 new or updated")


async def test_a_page_elsewhere_gets_no_secrets_and_no_private_address(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Its host is a stranger's; pages of the source's own host get what is theirs."""
    elsewhere = site.url.replace("127.0.0.1", "127.0.0.2")
    put_feed(site, item("a"), item("b").replace("<link>/b", f"<link>{elsewhere}/b"))
    put_page(site, "a")
    put_page(site, "b")
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, auth="me:secret")
        poll = await polled(store, source_id, "2 new")
    assert "127.0.0.2 is not a public address" in poll.full_text
    assert ["/f", "/a"] == [request.path for request in site.requests]
    assert all("Authorization" in request.headers for request in site.requests)


async def test_a_host_that_cannot_be_reached_is_asked_once_in_a_poll(
    store: Store, settings: Settings, site: FakeSite, clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Its other articles do not wait for a timeout each; those of other hosts have their pages."""
    away = "http://127.0.0.1:9"
    put_feed(site, item("a").replace("<link>/a", f"<link>{away}/a"),
             item("b").replace("<link>/b", f"<link>{away}/b"), item("c"))  # fmt: skip
    put_page(site, "c")
    with caplog.at_level("INFO"):
        async with polling(store, settings, clock):
            poll = await polled(store, await add(store, site, clock), "3 new")
    assert "3 pages wanted, 1 fetched, 1 texts longer, 2 waiting" in poll.full_text
    assert 1 == caplog.messages.count("a page has no text")


async def test_a_page_that_several_entries_link_to_is_not_fetched(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A changelog is the text of none of its lines; nor is a URL with a password a page."""
    secret = f"<link>{site.url.replace('//', '//me:secret@')}/c</link>"
    put_feed(
        site, item("a").replace("<link>/a", "<link>/log#a"),
        item("b").replace("<link>/b", "<link>/log#b"), item("c").replace("<link>/c</link>", secret),
    )  # fmt: skip
    put_page(site, "log")
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock)
        poll = await polled(store, source_id, "3 new")
    assert ["/f"] == [request.path for request in site.requests]
    assert "secret" not in poll.full_text


async def test_the_first_poll_of_a_site_fetches_pages_too(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """The feed is found on its front page."""
    link = '<link rel="alternate" type="application/rss+xml" href="/f">'
    site.put("/", f"<html><head>{link}</head><body>Hi</body></html>", Content_Type="text/html")
    put_feed(site, item("a"))
    put_page(site, "a")
    async with polling(store, settings, clock):
        source = make_source({"url": f"{site.url}/"}, created=clock())
        await store.sources.add(source, due_ms=to_ms(clock()))
        await polled(store, source.id, "1 articles, 1 new")
        put_feed(site, item("a"), item("b", "Whole."))
        await again(store, clock, source.id, "2 articles, 1 new")
    stored = await by_title(store)
    assert ("harbour" in stored["a"].content_html, stored["a"].revision) == (True, 1)


async def test_articles_of_before_are_left_as_they_are(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """A setting that is turned on is for new articles; a text that is there is not made less."""
    put_feed(site, item("a"), item("b"))
    for name in "abc":
        put_page(site, name)
    async with polling(store, settings, clock):
        source_id = await add(store, site, clock, full_text=False)
        await polled(store, source_id, "2 new")
        await sources.change(store, source_id, {"full_text": True}, now=clock())
        put_feed(site, item("c"), item("a"), item("b"))
        await again(store, clock, source_id, "3 articles, 1 new")
        await store.client.delete(f"dateline:{{0}}:pages:{source_id}")
        put_feed(site, item("c"), item("b"), item("a"))
        await again(store, clock, source_id, "3 articles, 0 new or updated")
    assert ["/f", "/f", "/c", "/f"] == [request.path for request in site.requests]
    stored = await by_title(store)
    assert ["harbour" in stored[name].content_html for name in "abc"] == [False, False, True]
