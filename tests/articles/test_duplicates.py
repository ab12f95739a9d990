"""One story from several sources: found, marked, hidden where its original is shown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.aliases import canonical
from service.articles.article import Article, Draft, Entry
from service.articles.compose import compose
from service.articles.duplicates import are_alike, bands, outranks, shingles
from service.settings import Settings
from service.storage.event_stream import DUPLICATES
from service.storage.store import Store
from tests.composing import article
from tests.loops import at_work
from tests.waiting import wait_until
from workers.aggregate import aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder

WORDS = [
    "harbour", "ferry", "tide", "quay", "council", "winter", "boats", "pilot", "crane", "fog",
    "lights", "mayor", "ships", "rope", "storm", "tonnes", "captain", "gull", "anchor", "market",
    "bridge", "lock", "dredger", "cargo", "wind", "cable", "mast", "hull", "net", "buoy",
]  # fmt: skip
MOMENT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def text(seed: int, words: int = 150) -> str:
    """Paragraphs of words that no other seed has in this order."""
    chance = random.Random(seed)
    found = chance.choices(WORDS, k=words)
    paragraphs = [" ".join(found[at : at + 50]) for at in range(0, words, 50)]
    return "".join(f"<p>{paragraph}.</p>" for paragraph in paragraphs)


def draft(
    source: str, body: str, *, url: str = "", category: str = "News", guid: str = "1"
) -> Draft:
    """An article of a source."""
    entry = Entry(
        guid=guid, url=url, title="Crane stands", content_html=body, categories=(category,),
        published=MOMENT,
    )  # fmt: skip
    return compose(entry, source=source)


@pytest.fixture
async def finding(
    store: Store, settings: Settings, aggregating: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """The duplicate finder at work, beside an aggregate worker."""
    finder = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC))
    async with at_work(finder.run):
        yield


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps run every 0.2 s."""
    monkeypatch.setattr(aggregator, "SWEEP_EVERY_S", 0.2)


async def append(store: Store, *drafts: Draft) -> list[str]:
    """Ids; each append at a later time, so that the first is seen first."""
    ids = []
    for found in drafts:
        now = datetime.now(UTC)
        ids += [receipt.id for receipt in await store.articles.append([found], now=now)]
        await asyncio.sleep(0.002)
    return ids


async def stored(store: Store, article_id: str) -> Article:
    """An article as it is stored."""
    (article,) = await store.articles.get([article_id])
    assert article
    return article


async def shown(store: Store, category: str, *ids: str) -> None:
    """Wait until exactly these are in a category."""

    async def same() -> bool:
        prefix = f"dateline:{{0}}:category:{category}"
        found = await store.client.zrange(prefix, 0, -1)
        return {i.decode() for i in found} == set(ids)

    await wait_until(same)


async def settled(store: Store) -> None:
    """Wait until every event was judged."""

    async def done() -> bool:
        # Redis 6.2 knows no lag. In this order: the newest may be read and not judged yet.
        newest = await store.event_stream.last_id(0)
        if await store.event_stream.needed_from(0, DUPLICATES) != newest:
            return False
        return [0] == [
            b.pending for b in await store.event_stream.backlogs() if b.group == DUPLICATES
        ]

    await wait_until(done)


@pytest.mark.usefixtures("finding")
async def test_one_link_is_one_story(store: Store) -> None:
    """Whatever the words, and however the link is decorated; the publisher's own stands."""
    copy, own, other = await append(
        store,
        draft("http://planet.example/f", text(1), url="http://news.example/a?utm_source=planet"),
        draft("news.example", text(2), url="https://www.news.example/a/"),
        draft("http://planet.example/f", text(3), url="http://news.example/b", guid="2"),
    )
    await settled(store)
    await shown(store, "news", own, other)
    await shown(store, "all", own, other)
    assert own == (await stored(store, copy)).duplicate_of
    assert "" == (await stored(store, own)).duplicate_of


def edited(body: str) -> str:
    """A typo, and a paragraph more."""
    return body.replace("harbour", "harbor") + "<p>This is what our own reader adds to it.</p>"


def halved(body: str) -> str:
    """The first half of a body."""
    return body[: body.index("</p>", len(body) // 2)]


@pytest.mark.usefixtures("finding")
@pytest.mark.parametrize("change", [str, edited, halved])
async def test_nearly_the_same_words_are_one_story(
    store: Store, change: Callable[[str], str]
) -> None:
    """Of two sources; the one that was seen first stands."""
    body = text(7)
    first, second = await append(
        store, draft("a.example", body), draft("b.example", change(body), guid="2")
    )
    await settled(store)
    await shown(store, "news", first)
    assert first == (await stored(store, second)).duplicate_of
    assert (1, 1) == (
        (await stored(store, second)).revision,
        (await stored(store, second)).duplicate_revision,
    )


@pytest.mark.usefixtures("finding")
async def test_a_copy_is_shown_where_its_original_is_not(store: Store) -> None:
    """Hidden in `all` and in what they share, shown in its own; back when the original goes."""
    body = text(8)
    first, second = await append(
        store,
        draft("a.example", body, category="Media/News"),
        draft("b.example", body, category="Media/Wire", guid="2"),
    )
    await shown(store, "all", first)
    await shown(store, "media", first)
    await shown(store, "media/wire", second)
    await store.articles.withdraw(first, now=datetime.now(UTC))
    await shown(store, "all", second)
    await shown(store, "media", second)

    async def is_free() -> bool:
        return not (await stored(store, second)).duplicate_of

    # The finder takes the mark away after the index has changed.
    await wait_until(is_free)


@pytest.mark.usefixtures("finding")
async def test_an_edit_moves_the_marks(store: Store) -> None:
    """An edit of the original hides the copy in its new categories; a copy with other words is an
    article again."""
    body = text(9)
    first, second = await append(
        store, draft("a.example", body, category="One"), draft("b.example", body, category="Two")
    )
    await shown(store, "two", second)
    await append(store, draft("a.example", body, category="Two"))
    await shown(store, "two", first)
    await append(store, draft("b.example", text(10), category="Two"))
    await shown(store, "two", first, second)


@pytest.mark.usefixtures("finding")
async def test_one_source_has_no_duplicates(store: Store) -> None:
    """What a publisher says twice is two articles; so are short texts, and other stories."""
    body = text(11)
    ids = await append(
        store,
        draft("a.example", body),
        draft("a.example", body, guid="2"),
        draft("b.example", "<p>Fog.</p>", guid="3"),
        draft("c.example", "<p>Fog.</p>", guid="4"),
        *(draft(f"s{n}.example", text(100 + n), guid="5") for n in range(30)),
    )
    await settled(store)
    assert [""] * len(ids) == [(await stored(store, i)).duplicate_of for i in ids]


async def test_an_event_that_is_judged_twice_changes_nothing(
    store: Store, settings: Settings
) -> None:
    """That happens after a kill between the mark and the ack."""
    body = text(12)
    _, second = await append(
        store, draft("a.example", body, category="A/B"), draft("b.example", body, guid="2")
    )
    finder = DuplicateFinder(store, settings, now=lambda: datetime.now(UTC))
    events = await store.event_stream.newest(0, count=9)
    for _ in range(3):
        for event in events:
            await finder._judge(event.subject)
    assert 1 == (await stored(store, second)).duplicate_revision
    assert ("all", "a", "a/b") == (await stored(store, second)).hidden_in


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.X.example:443/a/", "x.example/a"),
        ("http://x.example/changelog#v1.1", "x.example/changelog#v1.1"),
        ("http://x.example/#!/story/7", "x.example#!/story/7"),
        ("http://x.example/a#id=7&utm_source=y", "x.example/a#id=7"),
        ("http://x.example/a#xtor=RSS-1", "x.example/a"),
        ("http://x.example/a#:~:text=Some%20words", "x.example/a"),
        ("http://[x.example/a", "http://[x.example/a"),
        ("http://x.example/a?b=2&utm_source=y&a=1&fbclid=z", "x.example/a?a=1&b=2"),
        ("http://x.example/?p=7", "x.example?p=7"),
        ("http://x.example:8080/a%20b", "x.example:8080/a%20b"),
    ],
)
def test_canonical_urls(url: str, expected: str) -> None:
    """Parts of a URL that do not tell one article from another are removed."""
    assert expected == canonical(url)


def test_alike() -> None:
    """Articles are compared by words and by time; a text that is too short for that is alike to
    none."""
    one = made("a.example", text(20))
    assert are_alike(one, made("b.example", edited(text(20))))
    assert not are_alike(one, made("b.example", text(21)))
    late = replace(one, published=one.published + timedelta(days=4))
    assert not are_alike(one, late)
    short = made("a.example", "<p>Fog on the quay.</p>")
    assert not are_alike(short, short)
    assert [] == bands(shingles(short))
    shared = set(bands(shingles(one))) & set(bands(shingles(made("b.example", edited(text(20))))))
    assert shared


def test_rank() -> None:
    """The publisher's own, then the first, then any rule that is always the same."""
    own = made("news.example", text(1), url="http://news.example/a")
    copy = made("http://planet.example/f", text(1), url="http://news.example/a")
    early = replace(copy, first_seen=copy.first_seen - timedelta(hours=1))
    assert outranks(own, early)
    assert outranks(early, copy)
    assert not outranks(own, own)


def made(source: str, body: str, *, url: str = "") -> Article:
    """The article of a draft, without a store."""
    composed = draft(source, body, url=url)
    return article(
        id=composed.id, source=source, guid=composed.guid, url=composed.url, title=composed.title,
        summary="", content_html=composed.content_html, categories=("news",), published=MOMENT,
        updated=MOMENT, first_seen=MOMENT,
    )  # fmt: skip
