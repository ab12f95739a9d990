"""What is corrected and what is news, on a real Redis (append.lua)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from service.articles import times
from service.articles.article import Article, Detail, Draft, Enclosure, Entry
from service.articles.compose import compose
from service.articles.encoded import encode
from service.articles.event import is_of_types
from service.articles.hashes import content_hashes
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON
from tests.old_articles import as_hash

ENCLOSURE = Enclosure(url="http://media.example/12.mp3", type="audio/mpeg", length=5)
MAY = datetime(2024, 5, 1, 10, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def draft(detail: Detail = Detail.RECORD, **changes: Any) -> Draft:
    """An article of a push, or of another form."""
    fields = {
        "guid": "g", "url": "http://news.example/a", "title": "t", "content_html": "<p>x</p>",
        "published": MAY, "raw_published": "said so", "categories": ("A/B",),
    }  # fmt: skip
    return compose(Entry(detail=detail, **{**fields, **changes}), source="s")


def home(store: Store) -> int:
    """The shard of the article."""
    return store.event_stream.shards.of(draft().id)


async def append(
    store: Store, one: Draft, *, now: datetime = LATER, document: str = ""
) -> tuple[str, int]:
    """(status, revision) of its receipt."""
    (receipt,) = await store.articles.append([encode(one, document=document)], now=now)
    return receipt.status, receipt.revision


async def stored(store: Store) -> Article:
    """The article as it is now."""
    (article,) = await store.articles.get([draft().id])
    assert article
    return article


CORRECTIONS: list[dict[str, Any]] = [
    {"url": "http://news.example/fixed"},
    {"image": "http://news.example/a.jpg"},
    {"authors": ("Ann",)},
    {"tags": ("x",)},
    {"language": "de"},
    {"enclosures": (ENCLOSURE,)},
    {"content_html": '<p>x<img src="http://news.example/b.jpg" alt=""></p>'},
    {"attribution": "The harbour"},
    {"published": MAY - timedelta(days=1)},
]


@pytest.mark.parametrize("detail", [Detail.FEED, Detail.RECORD, Detail.PAGE])
@pytest.mark.parametrize("change", CORRECTIONS, ids=lambda change: str(*change))
async def test_what_is_not_of_words_is_corrected(
    store: Store, change: dict[str, Any], detail: Detail
) -> None:
    """It is stored and shown without a new revision, once; the event is one of corrections."""
    assert ("created", 1) == await append(store, draft(detail))
    corrected = draft(detail, **change)
    assert ("corrected", 1) == await append(store, corrected)
    assert ("unchanged", 1) == await append(store, corrected)
    article = await stored(store)
    (field,) = change
    assert getattr(corrected, field) == getattr(article, field)
    assert (1, 1) == (article.corrections, article.revision)
    _, event = await store.event_stream.newest(home(store), count=5)
    assert ("dateline.article.corrected.v1", article) == (event.type, event.article)
    assert article.is_of(await head(store))


async def head(store: Store) -> bytes:
    """The head as it is stored."""
    (stored_head,) = await store.articles.heads([draft().id])
    return stored_head


async def test_a_date_of_a_push_is_corrected_to_any_other(store: Store) -> None:
    """Its publisher sent it; `updated`, too, if it is later."""
    await append(store, draft())
    assert ("corrected", 1) == await append(store, draft(published=MAY + timedelta(days=1)))
    assert MAY + timedelta(days=1) == (await stored(store)).published
    moved = draft(published=MAY + timedelta(days=1), updated=NOON)
    assert ("corrected", 1) == await append(store, moved)
    assert NOON == (await stored(store)).updated
    assert ("unchanged", 1) == await append(store, moved)
    future = draft(published=MAY + timedelta(days=1), updated=NOON + timedelta(days=999))
    assert ["corrected", "unchanged"] == [(await append(store, future))[0] for _ in range(2)]


async def test_a_later_date_alone_is_no_edit_of_a_feed(store: Store) -> None:
    """Some feeds state the time of the request; with other words the source owns up to it."""
    await append(store, draft(Detail.FEED))
    for minutes in range(1, 60):
        moment = NOON + timedelta(minutes=minutes)
        moving = draft(Detail.FEED, published=moment, raw_published=str(moment), updated=moment)
        assert ("unchanged", 1) == await append(store, moving)
    assert MAY == (await stored(store)).published
    said = draft(Detail.FEED, title="T", published=NOON)
    assert ("updated", 2) == await append(store, said)
    assert NOON == (await stored(store)).published


async def test_dates_that_move_with_the_words_are_never_too_many(store: Store) -> None:
    """Each is a later one of the source itself."""
    for number in range(40):
        moment = MAY + timedelta(hours=number)
        moving = draft(Detail.FEED, title=f"T{number}", updated=moment)
        status, _ = await append(store, moving, now=NOON)
    assert "updated" == status


async def test_feeds_of_one_site_do_not_overwrite_each_other_in_turn(store: Store) -> None:
    """Each is compared with what it said itself."""
    brief = draft(Detail.FEED, content_html="<p>brief</p>", tags=("a",))
    whole = draft(Detail.FEED, content_html="<p>brief and whole</p>", tags=("b",))
    polls = [(brief, "one"), (whole, "two")] * 3
    statuses = [(await append(store, each, document=name))[0] for each, name in polls]
    assert ["created", "updated"] + ["unchanged"] * 4 == statuses


async def test_forms_of_very_many_documents_stay_bounded(store: Store) -> None:
    """The head does not grow with them."""
    name = keys.article(0, draft().id)
    for number in range(50):
        await append(store, draft(Detail.FEED), document=f"d{number}")
    assert len(orjson.loads((await as_hash(store.client, name))[b"head"])["forms"]) <= 8


async def test_a_poorer_form_corrects_nothing(store: Store) -> None:
    """The list of a site has fewer pictures than its page."""
    await append(store, draft(Detail.PAGE, image="http://news.example/a.jpg"))
    for detail in (Detail.TEASER, Detail.FEED):
        for _ in range(2):
            assert ("unchanged", 1) == await append(store, draft(detail, published=None))
    assert "http://news.example/a.jpg" == (await stored(store)).image
    assert ("corrected", 1) == await append(store, draft(Detail.RECORD, tags=("x",)))


async def put_back(store: Store, one: Draft) -> None:
    """Store an article as a version of before November 2026 did."""
    name = keys.article(home(store), one.id)
    stored_head = orjson.loads((await as_hash(store.client, name))[b"head"])
    _, old = content_hashes(title="t", text="x", date=MAY, categories=["a/b"])
    for field in ("full", "said"):
        stored_head.pop(field, None)
    forms = {form.partition(":")[0]: old for form in stored_head["forms"]}
    stored_head.update(hash=old, forms=forms)
    await store.client.hset(name, "head", orjson.dumps(stored_head))


@pytest.mark.parametrize("document", ["", "feed"])
async def test_what_an_older_version_stored_is_unchanged(store: Store, document: str) -> None:
    """Its hash had the date in it, and it knew none of everything."""
    one = draft(Detail.FEED)
    await append(store, one, document=document)
    await put_back(store, one)
    for _ in range(2):
        assert ("unchanged", 1) == await append(store, one, document=document)
    await put_back(store, one)
    late = draft(Detail.FEED, enclosures=(ENCLOSURE,))
    assert ("corrected", 1) == await append(store, late, document=document)
    await put_back(store, one)
    assert ("updated", 2) == await append(store, draft(Detail.FEED, title="T"), document=document)


async def test_a_call_that_is_sent_twice_corrects_once(store: Store) -> None:
    """What redis-py does after a lost reply."""
    await append(store, draft())
    sent: list[tuple[list[Any], list[Any]]] = []
    script = store.articles._append

    async def recording(keys: list[Any], args: list[Any]) -> Any:
        sent.append((keys, args))
        return await script(keys=keys, args=args)

    store.articles._append = recording  # type: ignore[assignment]  # the real script, listened to
    await append(store, draft(tags=("x",)))
    ((key_names, argv),) = sent
    ((status, *_),) = await script(keys=key_names, args=argv)
    assert (b"corrected", 1) == (status, (await stored(store)).corrections)


async def test_entries_without_a_date_keep_the_order_of_their_document(store: Store) -> None:
    """The first is the newest; an update does not move it."""
    drafts = [draft(Detail.FEED, guid=f"{n}", published=None) for n in range(5)]
    encoded = [encode(each, position=n) for n, each in enumerate(drafts)]
    await store.articles.append(encoded, now=NOON)
    articles = await store.articles.get([each.id for each in drafts])
    wanted = [times.to_rfc3339(NOON - timedelta(seconds=n)) for n in range(5)]
    assert wanted == [times.to_rfc3339(each.published) for each in articles if each]
    changed = draft(Detail.FEED, guid="3", published=None, title="T")
    await store.articles.append([encode(changed, position=0)], now=LATER)
    (article,) = await store.articles.get([changed.id])
    assert article
    assert ("T", NOON - timedelta(seconds=3)) == (article.title, article.published)


@pytest.mark.parametrize(
    ("kind", "types", "is_sent"),
    [
        ("dateline.article.corrected.v1", (), False),
        ("dateline.article.updated.v1", (), True),
        ("dateline.article.corrected.v1", ("dateline.article.corrected.v1",), True),
        ("dateline.article.updated.v1", ("dateline.article.corrected.v1",), False),
        ("another.programs.event", (), True),
    ],
)
def test_corrections_are_sent_to_those_who_ask_for_them(
    kind: str, types: tuple[str, ...], is_sent: bool
) -> None:
    """By the types that a consumer names."""
    assert is_sent == is_of_types(kind, types)
