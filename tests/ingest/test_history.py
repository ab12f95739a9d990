"""Older documents of a new source: followed once, politely, bounded, and over restarts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.articles.article import Article, Enclosure, Entry
from service.articles.compose import compose
from service.articles.times import to_ms
from service.manage import sources
from service.settings import Settings
from service.sources.history import History
from service.sources.source import make_source
from service.storage.store import Store, open_store
from service.web.app import create_app
from tests.conftest import NOON, TOKEN, Clock
from tests.fakes import FakeSite
from tests.ingest.polling import again, articles, polled, polling, requests_for
from tests.loops import at_work
from tests.running import free_port
from tests.servers import serving
from tests.waiting import wait_until
from workers.aggregate.aggregator import Aggregator


def atom(site: FakeSite, names: str, *, text: str = "Words", **links: str) -> str:
    """A feed with an entry for each letter, and links by their relation."""
    entries = "".join(
        f"<entry><id>urn:{name}</id><title>{name}</title><content>{text} of {name}</content>"
        f'<link href="{site.url}/{name}"/></entry>'
        for name in names
    )
    linked = "".join(
        f'<link rel="{rel.replace("_", "-")}" href="{href}"/>' for rel, href in links.items()
    )
    return f'<feed xmlns="http://www.w3.org/2005/Atom"><title>T</title>{linked}{entries}</feed>'


async def add(store: Store, url: str, clock: Clock, **fields: object) -> str:
    """Add a source that is due; its id."""
    source = make_source({"url": url, **fields}, created=clock())
    await store.sources.add(source, due_ms=to_ms(clock()))
    return source.id


async def history_of(store: Store, source_id: str, state: str) -> History:
    """The history of a source, once it is in a state."""

    async def reached() -> History | None:
        history = (await store.sources.poll(source_id)).history
        return history if history and history.state == state else None

    history = await wait_until(reached)
    assert isinstance(history, History)
    return history


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The clock stands still, so that requests have no distance from each other."""
    return settings.model_copy(update={"poll_spacing_s": 0.0})


async def titles(store: Store) -> str:
    """The titles of all articles, sorted."""
    return "".join(sorted(article.title for article in await articles(store)))


async def test_archive_documents_are_followed_once(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """From the newest to the oldest; what is stored already is left as it is, and a later poll asks
    for the feed alone."""
    site.put("/f", atom(site, "ab", prev_archive="/2"))
    site.put("/2", atom(site, "bc", text="Former words", prev_archive="/1", next_archive="/f"))
    site.put("/1", atom(site, "de", current="/f"))
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        history = await history_of(store, source_id, "complete")
        assert (2, 3, "") == (history.documents, history.articles, history.note)
        assert "abcde" == await titles(store)
        site.put("/f", atom(site, "abz", prev_archive="/2"))
        await again(store, clock, source_id, "1 new")
    assert ["/f", "/2", "/1", "/f"] == [request.path for request in site.requests]
    (stored,) = [article for article in await articles(store) if article.title == "b"]
    assert (1, "<p>Words of b</p>") == (stored.revision, stored.content_html)
    shown = await sources.to_public(store, await sources.find(store, source_id), now=clock())
    expected = {"state": "complete", "documents": 2, "articles": 3, "next": None, "note": ""}
    assert expected == shown["history_state"]


async def test_links_in_headers_and_of_json_feeds_are_followed(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Links of RFC 8288 and `next_url` lead to older documents."""
    site.put("/f", atom(site, "a"), Link='</2>; rel="next"')
    site.put("/2", atom(site, "b"), Link='</3?x=1>; rel="prev-archive"')
    item = '{"id": "c", "title": "c", "content_text": "c"}'
    site.put("/3", f'{{"version": "https://jsonfeed.org/version/1.1", "items": [{item}], '
             f'"next_url": "{site.url}/4"}}')  # fmt: skip
    site.put("/4", atom(site, "d"))
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        await history_of(store, source_id, "complete")
    assert "abcd" == await titles(store)


async def test_pages_by_number_are_read_if_the_operator_says_so(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Until one is missing, or has nothing new; without the setting none is asked for."""
    seen: list[str] = []

    def page(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path_qs)
        number = int(request.query.get("paged", "1"))
        if request.path == "/same":
            return web.Response(text=atom(site, "ab"))
        if number > 3:
            return web.Response(status=404)
        return web.Response(text=atom(site, "cdefgh"[2 * number - 2 : 2 * number]))

    site.answers.update({"/wp": page, "/same": page, "/plain": page})
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/wp?a=b", clock, history="paged")
        history = await history_of(store, source_id, "complete")
        assert (2, 4) == (history.documents, history.articles)
        same = await add(store, f"{site.url}/same", clock, history="paged")
        assert 1 == (await history_of(store, same, "complete")).documents
        plain = await add(store, f"{site.url}/plain", clock)
        assert 0 == (await history_of(store, plain, "complete")).documents
    assert "abcdefgh" == "".join(sorted(set(await titles(store))))
    pages = ["/wp?a=b", *(f"/wp?a=b&paged={n}" for n in (2, 3, 4)), "/same", "/same?paged=2"]
    assert [*pages, "/plain"] == seen


@pytest.mark.parametrize(
    ("links", "note"),
    [
        ({"/f": "/1", "/1": "/2", "/2": "/3", "/3": "/1"}, "in a circle"),
        ({"/f": "/f"}, "in a circle"),
        ({"/f": "/1", "/1": "http://10.0.0.1/"}, "on another host"),
        ({"/f": "http://127.0.0.2:1/"}, "on another host"),
        ({"/f": "/missing"}, "answered 404"),
        ({"/f": "http://me:secret@127.0.0.1:1/"}, "no user name in a URL"),
        ({"/f": "/1", **{f"/{n}": f"/{n + 1}" for n in range(1, 9)}}, "HISTORY_MAX_DOCUMENTS"),
    ],
)
async def test_what_ends_a_history(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, links: dict[str, str], note: str
) -> None:
    """The source's state says why; the feed itself is polled as ever."""
    settings = settings.model_copy(update={"history_max_documents": 7})
    for path, target in links.items():
        site.put(path, atom(site, path[-1], next=target))
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        history = await history_of(store, source_id, "stopped")
        assert note in history.note
        assert len(site.requests) <= 8
        assert 0 == (await again(store, clock, source_id, "the same bytes")).failures


@pytest.mark.parametrize(("bound", "wanted"), [(0, True), (9, False)])
async def test_a_history_that_is_not_wanted(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, bound: int, wanted: bool
) -> None:
    """By the setting, or for one source; for that it can be wanted later."""
    settings = settings.model_copy(update={"history_max_documents": bound})
    site.put("/f", atom(site, "a", next="/2"))
    site.put("/2", atom(site, "b"))
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock, history=wanted)
        await history_of(store, source_id, "stopped")
        assert 1 == len(site.requests)
        if bound:
            await sources.change(store, source_id, {"history": True}, now=clock())
            await history_of(store, source_id, "complete")
            assert "ab" == await titles(store)


async def test_a_failure_is_tried_again_later_also_by_another_worker(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """Not before Retry-After; then the history goes on where it was."""
    site.put("/f", atom(site, "a", next="/2"))
    site.put("/2", atom(site, "b", next="/3"))
    site.put("/3", status=503, Retry_After="4000")
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)

        async def failed() -> bool:
            history = (await store.sources.poll(source_id)).history
            return bool(history and history.failures)

        await wait_until(failed)
    site.put("/3", atom(site, "c"))
    async with polling(store, settings, clock):
        await again(store, clock, source_id, "the same bytes", after_s=3_900)
        assert 1 == len(requests_for(site, "/3"))
        clock.move(seconds=200)
        history = await history_of(store, source_id, "complete")
    assert (2, 2) == (history.documents, history.articles)
    assert 1 == len(requests_for(site, "/2"))


async def test_a_refresh_is_not_taken_for_the_history(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """While older documents are followed, and also if one is being read just then."""
    site.put("/f", atom(site, "a", next="/2"))

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        site.put("/f", atom(site, "az", next="/2"))
        site.put("/2", atom(site, "b", next="/3"))
        site.put("/3", status=503)
        await sources.refresh(store, source_id, now=clock())
        return web.Response(text=atom(site, "b", next="/3"))

    site.answers["/2"] = answer
    async with polling(store, settings, clock):
        source_id = await add(store, f"{site.url}/f", clock)
        await polled(store, source_id, "2 articles, 1 new")
        site.put("/f", atom(site, "azy", next="/2"))
        await sources.refresh(store, source_id, now=clock())
        await polled(store, source_id, "3 articles, 1 new")


async def test_secrets_do_not_leave_tls_with_an_older_document(clock: Clock) -> None:
    """A feed that is fetched with TLS may name an archive without it."""
    source = make_source({"url": "https://x.example/f", "auth": "me:secret"}, created=clock())
    assert source.headers == source.moved("https://x.example/2", "").headers
    assert {} == source.moved("http://x.example/2", "").headers


@pytest.mark.parametrize("extension", ["rss", "atom", "json"])
async def test_one_dateline_fills_another(
    store: Store, settings: Settings, clock: Clock, extension: str
) -> None:
    """All of its articles, over its archive of days, with what they have in its feeds."""
    port = free_port()
    settings = settings.model_copy(
        update={"public_url": f"http://127.0.0.1:{port}", "page_size": 4}
    )
    drafts = [draft(number) for number in range(24)]
    await store.articles.append(drafts, now=clock())
    async with at_work(Aggregator(store, settings, now=clock).run):

        async def indexed() -> bool:
            return await store.category_index.count("all") == len(drafts)

        await wait_until(indexed)
    app = create_app(settings, token=TOKEN, now=clock)
    async with TestServer(app, port=port) as server, serving() as redis:
        other = settings.model_copy(update={"redis_url": redis.embedded.url, "public_url": ""})
        async with open_store(other) as filled, polling(filled, other, clock):
            source_id = await add(filled, str(server.make_url(f"/feeds/all.{extension}")), clock)
            history = await history_of(filled, source_id, "complete")
            assert history.documents >= 6
            copies = {article.guid: article for article in await articles(filled)}
    originals = {f"urn:uuid:{article.id}": article for article in await articles(store)}
    assert {guid: essence(a) for guid, a in originals.items()} == {
        guid: essence(a) for guid, a in copies.items()
    }


def draft(number: int) -> object:
    """One of several articles a day, with all that feeds carry."""
    return compose(
        Entry(
            guid=f"g{number}",
            url=f"https://origin.example/{number}",
            title=f"Title {number} & more",
            content_html=f"<p>Words of <b>{number}</b>.</p><p>More.</p>",
            categories=("News/Port", f"Day {number % 3}"),
            language="en",
            enclosures=(
                Enclosure(url=f"https://f.example/{number}.mp3", type="audio/mpeg", length=9),
            ),
            published=NOON - timedelta(hours=7 * number, minutes=1),
        ),
        source="https://origin.example/feed",
    )


def essence(article: Article) -> Article:
    """What two archives must agree on: not whose it is, nor when each saw it first."""
    return replace(
        article, id="", source="", guid="", raw_published="", first_seen=NOON, updated=NOON,
        content_hash="",
    )  # fmt: skip
