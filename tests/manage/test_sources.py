"""Lists of sources: folders, many of them, and what was stored by the version before."""

from __future__ import annotations

import asyncio
import time

import orjson

from service.articles.times import to_ms
from service.manage import sources
from service.sources.source import make_source
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON

FOLDERS = b"""<?xml version="1.0" encoding="utf-8"?>
<opml version="1.1"><body>
<outline URL="https://one.example/feed" text="One" type="link"/>
<outline text="Two" type="rss" xmlUrl="https://two.example/feed" category="Science,/Town/Port"/>
<outline text="Six" type="rss" xmlUrl="feed:https://six.example/feed"/>
<outline text="Music"><outline text="Six" type="rss" xmlUrl="https://six.example/feed"/></outline>
<outline text="Art"><outline text="Zone">
<outline text="Six again" type="rss" xmlUrl="https://six.example/feed#top"/></outline>
<outline text="Six once more" type="rss" xmlUrl="https://six.example/feed"/>
<outline text="Six once more" type="rss" xmlUrl="https://six.example/feed"/></outline>
</body></opml>"""


async def test_a_feed_in_several_folders_has_all_their_categories(store: Store) -> None:
    """It is one source, with one answer; outlines without a folder add no category."""
    answers = await sources.add_all(store, FOLDERS, now=NOON)
    assert ["created"] * 3 == [answer["status"] for answer in answers]
    categories = {source.url: source.categories for source in await store.sources.all()}
    assert {
        "https://one.example/feed": (),
        "https://two.example/feed": ("Science", "Town/Port"),
        "https://six.example/feed": ("Music", "Art/Zone", "Art"),
    } == categories
    answers = await sources.add_all(store, await sources.exported(store), now=NOON)
    assert ["unchanged"] * 3 == [answer["status"] for answer in answers]


async def test_a_source_of_the_version_before_keeps_its_category(store: Store) -> None:
    """It was stored as one string; it is shown as before, too."""
    source = make_source({"url": "http://x.example/f"}, created=NOON)
    fields = orjson.loads(orjson.dumps(source))
    del fields["categories"]
    await store.client.hset(
        keys.sources(0), source.id, orjson.dumps({**fields, "category": "News/Port"})
    )
    stored = await store.sources.get(source.id)
    assert stored
    assert ("News/Port",) == stored.categories
    shown = stored.to_public()
    assert ("News/Port", ["News/Port"]) == (shown["category"], shown["categories"])
    changed = await sources.change(store, source.id, {"categories": ["A", "B", "a"]}, now=NOON)
    assert ("a", "B") == changed.categories
    emptied = await sources.change(store, source.id, {"category": ""}, now=NOON)
    assert () == emptied.categories


async def test_ten_thousand_feeds_are_added_and_others_have_their_turn(store: Store) -> None:
    """In a time that grows with their number alone; progress reaches the end."""
    body = "".join(
        f'<outline text="F{n}" xmlUrl="https://h{n % 500}.example/{n}"/>' for n in range(10_000)
    )
    document = f'<opml version="2.0"><body><outline text="N">{body}</outline></body></opml>'
    shares: list[float] = []
    longest_s, done = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal longest_s
        while not done.is_set():
            # The time that this thread has worked: other processes do not make it longer.
            before = time.thread_time()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.thread_time() - before)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        links = await asyncio.to_thread(sources.opml.read, document.encode())
        started_s = time.process_time()
        answers = await sources.add_links(store, links, now=NOON, progress=shares.append)
        first_s = time.process_time() - started_s
        again = await sources.add_links(store, links, now=NOON)
        done.set()
    assert {"created"} == {answer["status"] for answer in answers}
    assert {"unchanged"} == {answer["status"] for answer in again}
    assert 10_000 == await store.sources.count()
    assert (100, 1.0) == (len(shares), round(sum(shares), 6))
    # 1 to 2 s on an idle machine; a list that is searched for each feed takes minutes.
    assert first_s < 15
    assert longest_s < 0.5


async def test_a_paused_source_that_is_added_again_stays_paused(store: Store) -> None:
    """Adding it again does not make it due."""
    source, _ = await sources.add(store, {"url": "http://x.example/f", "paused": True}, now=NOON)
    assert not await store.sources.add(
        make_source({"url": source.url}, created=NOON), due_ms=to_ms(NOON)
    )
    assert (source, False) == await sources.add(store, {"url": source.url}, now=NOON)
    assert None is await store.client.zscore(keys.sources_due(0), source.id)
