"""One article by several names: changed guids, shared guids, changed slugs; and endless edits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.aliases import aliases_of
from service.articles.article import Article, Detail, Draft, Entry
from service.articles.compose import compose
from service.storage.articles import Receipt
from service.storage.store import Store
from tests.conftest import NOON
from workers.ingest.documents import ParseJob, drafts_of, encoder
from workers.ingest.identify import identify, shared_in
from workers.ingest.parse import Document

URL = "http://news.example/feed"
FIRST = Entry(
    guid="1",
    url="http://news.example/a",
    title="Crane stands again",
    content_html="<p>It does.</p>",
    published=datetime(2026, 1, 5, 10, 30, tzinfo=UTC),
)


async def append(
    store: Store, *entries: Entry, kind: str = "rss", now: datetime = NOON
) -> list[Receipt]:
    """As the poller does with a document."""
    document = Document(kind=kind, url=URL, entries=entries)
    encoded = encoder(document, polled_from=URL)
    results = drafts_of(document, ParseJob(url=URL, added_url=URL), name="")
    articles = [encoded(entry, draft) for entry, draft in results if isinstance(draft, Draft)]
    standing = frozenset(article.id for article in articles)
    return await store.articles.append(articles, now=now, standing=standing)


async def article(store: Store, receipt: Receipt) -> Article:
    """An article as it is stored."""
    (found,) = await store.articles.get([receipt.id])
    assert found
    return found


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"guid": "2"}, True),
        ({"guid": "2", "title": "Crane stands"}, True),
        ({"guid": "2", "url": "https://www.news.example/a/?utm_source=x"}, True),
        ({"guid": "2", "content_html": "<p>Again.</p>"}, True),
        ({"guid": "2", "published": datetime(2026, 1, 6, tzinfo=UTC)}, False),
        ({"guid": "2", "published": None}, True),
        ({"guid": "2", "published": None, "title": "Another"}, False),
        ({"guid": "2", "url": "http://news.example/b"}, False),
        ({"url": "http://news.example/b", "title": "Another"}, True),
    ],
)
async def test_a_new_guid_is_no_new_article(
    store: Store, changes: dict[str, object], is_same: bool
) -> None:
    """If link and date are the old ones, or link and title where a date is missing."""
    (first,) = await append(store, FIRST)
    (second,) = await append(store, replace(FIRST, **changes))  # type: ignore[arg-type]
    assert is_same == (first.id == second.id)
    assert second.id == (await article(store, second)).id


async def test_guids_may_change_again_and_again(store: Store) -> None:
    """All of them are the first article; an old one that comes back, too."""
    ids = {
        (await append(store, replace(FIRST, guid=guid)))[0].id for guid in ("1", "2", "3", "2", "1")
    }
    assert 1 == len(ids)


async def test_a_link_that_all_items_share_joins_nothing(store: Store) -> None:
    """Nor does the site's front page, or the feed's own address."""
    shared = [replace(FIRST, guid=guid, title=f"T{guid}") for guid in "123"]
    assert 3 == len({receipt.id for receipt in await append(store, *shared)})
    for url in ("http://news.example/", URL):
        (one,) = await append(store, replace(FIRST, guid=f"a{url}", url=url))
        (two,) = await append(store, replace(FIRST, guid=f"b{url}", url=url))
        assert one.id != two.id


async def test_a_page_that_is_rewritten_every_day_is_many_articles(store: Store) -> None:
    """One link and one title; only the date tells them apart."""
    ids = set()
    for day in (5, 6, 7):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        (receipt,) = await append(store, replace(FIRST, guid=f"w{day}", published=moment))
        ids.add(receipt.id)
    assert 3 == len(ids)


async def test_another_source_joins_nothing(store: Store) -> None:
    """Whatever it says of its links: no feed takes over another's articles."""
    (mine,) = await append(store, FIRST)
    stolen = compose(replace(FIRST, title="Mine now"), source="http://thief.example/f", guid="9")
    assert not set(aliases_of(stolen, is_own_link=True)) & set(
        aliases_of(compose(FIRST, source=URL), is_own_link=True)
    )
    (theirs,) = await store.articles.append([stolen], now=NOON)
    assert mine.id != theirs.id


async def test_the_number_of_a_k2_item_survives_its_slug(store: Store) -> None:
    """The slug changes with the headline, and guid and link with it."""
    item = replace(FIRST, guid="", url="http://news.example/x/item/1412-crane-stands-again")
    (first,) = await append(store, item)
    edited = replace(
        item, url="http://news.example/x/item/1412-crane-fell", title="Crane fell", published=None
    )
    (second,) = await append(store, edited)
    assert (first.id, "updated") == (second.id, second.status)
    other = replace(item, url="http://news.example/x/item/1413-crane-stands-again")
    assert first.id != (await append(store, other))[0].id


async def test_one_guid_for_several_articles(store: Store) -> None:
    """Some feeds do that: the links tell them apart, and the first one stays what it was."""
    (first,) = await append(store, FIRST)
    second = replace(FIRST, url="http://news.example/b", title="Another")
    new, old = await append(store, second, FIRST)
    assert (first.id, "unchanged") == (old.id, old.status)
    assert ("created", True) == (new.status, new.id != old.id)
    assert [new.id, old.id] == [r.id for r in await append(store, second, FIRST)]


def test_what_entries_share() -> None:
    """A guid with different links, a link with different titles or dates; twice the same entry
    shares nothing with itself."""
    other, dated = replace(FIRST, title="Other", guid="3"), replace(FIRST, guid="3")
    entries = (FIRST, replace(FIRST, url="http://news.example/b"), replace(FIRST, guid="2"))
    document = Document(kind="rss", url=URL, entries=(*entries, entries[2], other, dated))
    shared = shared_in(document)
    assert ({"1"}, {("3", FIRST.url)}) == (shared.guids, shared.links)


CHANGELOG = [
    replace(FIRST, guid=f"v{n}", url=f"http://news.example/changelog#v1.{n}", title=f"1.{n}")
    for n in range(4)
]


@pytest.mark.parametrize("has_guid", [True, False])
async def test_links_that_differ_after_the_hash_are_articles(store: Store, has_guid: bool) -> None:
    """Entries of one date, with or without guids, such as a changelog or a live report, are
    different articles. One more changes none of them, and an entry that is alone in its document
    is not identified with another."""
    entries = [replace(entry, guid=entry.guid if has_guid else "") for entry in CHANGELOG]
    first = await append(store, *entries[:3])
    assert ["created"] * 3 == [receipt.status for receipt in first]
    assert 3 == len({receipt.id for receipt in first})
    second = await append(store, entries[3], *entries[:3])
    assert ["created"] + ["unchanged"] * 3 == [receipt.status for receipt in second]
    (alone,) = await append(store, entries[0])
    assert first[0].id == alone.id
    renamed = replace(entries[0], guid="new" if has_guid else "", url=f"{entries[0].url}:~:text=x")
    (renamed_receipt,) = await append(store, renamed)
    assert first[0].id == renamed_receipt.id


async def test_comments_on_a_k2_item_are_articles(store: Store) -> None:
    """Its number is that of the item, not of what stands on its page."""
    link = "http://news.example/x/item/1412-crane-stands-again"
    item = replace(FIRST, guid=link, url=link)
    comments = [
        replace(FIRST, guid=f"{link}#c{n}", url=f"{link}#c{n}", title=f"Re {n}") for n in "12"
    ]
    assert 3 == len({receipt.id for receipt in await append(store, item, *comments)})


POLL = [
    replace(
        FIRST, guid="", url="http://news.example/poll", title=f"Which {thing}?",
        published=datetime(2026, 1, day, 10, tzinfo=UTC),
    )
    for day, thing in enumerate(("pier", "crane", "buoy"), 1)
]  # fmt: skip


@pytest.mark.parametrize("url", ["http://news.example/poll", "http://news.example/", URL, ""])
@pytest.mark.parametrize("guid", ["", "N/A", "http://news.example/", "1"])
async def test_one_link_for_several_entries_identifies_none(
    store: Store, guid: str, url: str
) -> None:
    """Nor does one guid: link, title and date decide together. What came alone at first is still
    the same article when the others come, and when they have gone again."""
    entries = [replace(entry, guid=guid, url=url) for entry in POLL]
    (alone,) = await append(store, entries[0])
    for _ in range(3):
        receipts = await append(store, *entries)
        assert alone.id == receipts[0].id
        assert [1, 1, 1] == [receipt.revision for receipt in receipts]
        assert 3 == len({receipt.id for receipt in receipts})
    (last,) = await append(store, entries[2])
    assert (receipts[2].id, "unchanged") == (last.id, last.status)


async def test_an_entry_never_becomes_one_that_stands_beside_it(store: Store) -> None:
    """A new entry with the link and the date of an article that stands beside it is a second
    article."""
    (old,) = await append(store, FIRST)
    moved = replace(FIRST, url="http://news.example/archive/a")
    new = replace(FIRST, guid="2", title="Another")
    receipts = await append(store, moved, new)
    assert old.id == receipts[0].id
    assert old.id != receipts[1].id
    # Alone in a document, the same is a changed guid.
    (alone,) = await append(store, replace(new, guid="3"))
    assert alone.id in (old.id, receipts[1].id)


async def test_equal_entries_of_different_guids_are_articles(store: Store) -> None:
    """Entries of one document whose guids are different numbers and whose other fields are equal
    stay different articles."""
    entries = [replace(FIRST, guid=guid) for guid in "123"]
    assert 3 == len({receipt.id for receipt in await append(store, *entries)})


def test_a_feed_that_moved_speaks_for_both_hosts() -> None:
    """The one that it was added with, and the one that it is on now; for no third."""
    document = Document(kind="rss", url="http://old.example/f")

    def source(guid: str) -> str:
        entry = replace(FIRST, guid=guid)
        found, _ = identify(document, entry, name="", also="http://new.example/f")
        return found

    assert "old.example" == source("http://old.example/1")
    assert "new.example" == source("http://new.example/1")
    assert "http://old.example/f" == source("http://third.example/1")


async def test_endless_edits_are_slowed(store: Store) -> None:
    """A page with a clock in it gets 24 revisions without a date of its source, and then one in ten
    minutes; what is newest is shown all the same, and a revision with a date is published."""
    await append(store, FIRST)
    statuses = []
    for number in range(30):
        edited = replace(FIRST, content_html=f"<p>It is {number} o'clock.</p>")
        (receipt,) = await append(store, edited)
        statuses.append(receipt.status)
    assert ["updated"] * 24 + ["corrected"] * 6 == statuses
    assert "It is 29 o" in (await article(store, receipt)).content_html
    assert 25 == await store.event_stream.length(0)
    assert ["corrected", "updated", "unchanged"] == [
        (await append(store, edited, now=NOON + timedelta(minutes=minutes)))[0].status
        for minutes in (9, 10, 11)
    ]
    last = (await store.event_stream.newest(0, count=1))[0]
    assert b"It is 29 o" in last.data
    moment = datetime(2026, 1, 5, 11, tzinfo=UTC)
    owned = replace(FIRST, content_html="<p>Owned.</p>", updated=moment)
    (receipt,) = await append(store, owned)
    assert "updated" == receipt.status
    (after,) = await append(store, replace(owned, content_html="<p>And more.</p>"))
    assert "updated" == after.status
    found = await article(store, after)
    assert "And more" in found.content_html


async def test_a_publishers_own_pushes_are_never_too_many(store: Store) -> None:
    """A push is a revision that its publisher wants, so the limit does not count it."""
    for number in range(40):
        entry = replace(FIRST, title=f"T{number}", detail=Detail.RECORD)
        (receipt,) = await store.articles.append([compose(entry, source="me")], now=NOON)
    assert 40 == receipt.revision


async def test_what_was_refused_once_is_refused_for_good(store: Store) -> None:
    """Another entry that stands beside an article gets its words: neither is identified with the
    other later, when it comes alone."""
    first = replace(FIRST, guid="1")
    (old,) = await append(store, first)
    changed = replace(first, url="http://news.example/other", title="Other words")
    second = replace(FIRST, guid="2")
    mine, theirs = await append(store, changed, second)
    assert (old.id, True) == (mine.id, old.id != theirs.id)
    for _ in range(2):
        assert [theirs.id] == [r.id for r in await append(store, second)]
        assert [old.id] == [r.id for r in await append(store, changed)]
    assert [old.id, theirs.id] == [r.id for r in await append(store, changed, second)]


async def test_entries_without_title_and_date_are_told_apart_by_their_texts(store: Store) -> None:
    """One link, no guid: notes, or episodes of one name. To poll them again changes nothing."""
    bare = replace(FIRST, guid="", title="", published=None)
    notes = [replace(bare, content_html=f"<p>Note {n}.</p>") for n in range(3)]
    named = [replace(note, title="Episode") for note in notes]
    for entries in (notes, named):
        ids = [receipt.id for receipt in await append(store, *entries)]
        assert 3 == len(set(ids))
        again = await append(store, *entries)
        assert [(i, "unchanged", 1) for i in ids] == [(r.id, r.status, r.revision) for r in again]


async def test_states_of_one_atom_entry_are_one_article(store: Store) -> None:
    """RFC 4287 4.1.1: entries of one id represent the same entry."""
    states = [
        replace(FIRST, guid="tag:news.example,2026:1", title=f"State {n}", published=None)
        for n in range(3)
    ]
    receipts = await append(store, *states, kind="atom")
    assert 1 == len({receipt.id for receipt in receipts})


async def test_long_guids_are_not_cut_to_one(store: Store) -> None:
    """Those that differ at their ends alone."""
    entries = [replace(FIRST, guid="x" * 13_000 + end, title=end) for end in "ab"]
    assert 2 == len({receipt.id for receipt in await append(store, *entries)})
