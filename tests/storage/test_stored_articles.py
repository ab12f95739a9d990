"""How an article is stored: one string with a short head; hashes of versions before are read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from redis.exceptions import ResponseError

from service.articles.article import Detail, Draft, Entry
from service.articles.compose import compose
from service.articles.head import decode_head, is_json
from service.manage import erasure
from service.settings import Settings
from service.storage import keys
from service.storage.client import Script, lua_text
from service.storage.duplicates import Mark
from service.storage.store import Store
from tests.conftest import DAY, NOON
from tests.many_articles import archive_of
from tests.old_articles import all_as_hashes, as_hash, field_of, put_field
from tests.storage.backups import indexed
from tests.traces import traces

PATH = "media-center/coalition-news"
ORIGINAL = "0279c64d-c2b4-54a6-91a0-27e24c50c73e"
SHOWN = (
    "revision", "hash", "full", "published", "updated", "first_seen", "status", "marks",
    "corrections", "duplicate_of", "hidden_in", "erased",
)  # fmt: skip


def draft(guid: str = "1", title: str = "High tide", **fields: Any) -> Draft:
    """A cleaned article."""
    entry = Entry(
        guid=guid,
        title=title,
        content_html="<p>at noon</p>",
        categories=("Media Center/Coalition News",),
        **{"published": DAY, **fields},
    )
    return compose(entry, source="https://quay.example/feed")


async def kind_of(store: Store, article_id: str) -> str:
    """The Redis type of an article."""
    client: Any = store.client
    kind: bytes = await client.type(keys.article(0, article_id))
    return kind.decode()


async def states(store: Store) -> list[str]:
    """Ids of articles in every state that a head can describe."""
    later = NOON + timedelta(hours=1)
    drafts = [draft(str(n), f"Title {n}") for n in range(7)]
    undated = draft("undated", "Undated", published=None)
    receipts = await store.articles.append([*drafts, undated], now=NOON)
    ids = [receipt.id for receipt in receipts]
    await store.articles.append([draft("1", "Another title")], now=later)
    await store.articles.append([draft("2", "Title 2", image="https://quay.example/a")], now=later)
    await store.articles.append([draft("2", "Title 2", detail=Detail.TEASER)], now=later)
    await store.articles.withdraw(ids[3], now=later)
    await store.articles.erase(ids[4], now=later)
    marks = [
        Mark(article_id=ids[5], original=ORIGINAL, hidden_in=("all", PATH)),
        Mark(article_id=ids[6], original="no uuid", hidden_in=("all",)),
    ]
    assert marks == await store.duplicates.mark_all(marks)
    return ids


async def test_a_head_says_the_same_in_either_form(store: Store) -> None:
    """Whatever the state of the article; in its own form it takes less than half."""
    for article_id in await states(store):
        (short,) = await store.articles.heads([article_id])
        (article,) = await store.articles.get([article_id])
        assert "string" == await kind_of(store, article_id)
        fields = await as_hash(store.client, keys.article(0, article_id))
        long = orjson.loads(fields[b"head"])
        decoded = decode_head(short)
        assert {name: long[name] for name in SHOWN if name in long} == decoded
        assert is_json(fields[b"head"])
        assert not is_json(short)
        assert len(short) < len(fields[b"head"]) / 2
        assert article
        assert [article] == await store.articles.get([article_id])
        assert article.is_of(short)
        assert article.is_of(fields[b"head"])


async def test_an_old_article_is_written_as_a_new_one(store: Store) -> None:
    """By every script that writes it, and what the scripts answer is the same."""
    later = NOON + timedelta(hours=1)
    drafts = [draft(str(n)) for n in range(6)]
    receipts = await store.articles.append(drafts, now=NOON)
    ids = [receipt.id for receipt in receipts]
    await all_as_hashes(store.client)
    assert "hash" == await kind_of(store, ids[0])
    again = await store.articles.append(drafts, now=later)
    assert ["unchanged"] * 6 == [receipt.status for receipt in again]
    assert [r.event_id for r in receipts] == [r.event_id for r in again]
    changed = await store.articles.append([draft("0", "Low tide")], now=later)
    assert [("updated", 2)] == [(r.status, r.revision) for r in changed]
    image = draft("1", image="https://quay.example/a.jpg", detail=Detail.RECORD)
    assert ["corrected"] == [r.status for r in await store.articles.append([image], now=later)]
    withdrawn = await store.articles.withdraw(ids[2], now=later)
    erased = await store.articles.erase(ids[3], now=later)
    assert [2, 2] == [receipt and receipt.revision for receipt in (withdrawn, erased)]
    mark = Mark(article_id=ids[4], original=ORIGINAL, hidden_in=("all",))
    assert [mark] == await store.duplicates.mark_all([mark])
    assert ["string"] * 5 + ["hash"] == [await kind_of(store, i) for i in ids]
    articles = await store.articles.get(ids)
    assert ["Low tide", "High tide", "High tide", "", "High tide", "High tide"] == [
        article and article.title for article in articles
    ]


async def test_old_articles_are_indexed_and_removed(store: Store, settings: Settings) -> None:
    """Their index entries are those that they have."""
    drafts = [draft(str(n), f"Title {n}") for n in range(3)]
    receipts = await store.articles.append(drafts, now=NOON)
    await all_as_hashes(store.client)
    await indexed(store, settings)
    assert 3 == await store.category_index.count("all")
    assert "string" == await kind_of(store, receipts[0].id)
    idx = await field_of(store.client, keys.article(0, receipts[0].id), "idx")
    assert idx.startswith(b"1 ")
    assert idx.endswith(PATH.encode())


async def test_a_head_of_json_and_one_of_msgpack_are_known_alike(store: Store) -> None:
    """`heads` gives what was stored; an unknown id has none."""
    (receipt,) = await store.articles.append([draft()], now=NOON)
    (short,) = await store.articles.heads([receipt.id])
    await as_hash(store.client, keys.article(0, receipt.id))
    short_again, unknown = await store.articles.heads([receipt.id, ORIGINAL])
    assert is_json(short_again)
    assert decode_head(short) == {n: v for n, v in decode_head(short_again).items() if n in SHOWN}
    assert b"" == unknown


@pytest.mark.parametrize("ruined", [b"", b"x", b"not an article", b"\1", b"\1\0\0"])
async def test_a_string_of_somebody_else_costs_the_call(store: Store, ruined: bytes) -> None:
    """As a key of another type does; nothing is written."""
    client: Any = store.client
    await client.set(keys.article(0, draft().id), ruined)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.articles.append([draft()], now=NOON)
    assert ruined == await client.get(keys.article(0, draft().id))
    assert 0 == await store.event_stream.length(0)


async def test_an_article_that_is_cut_anywhere_costs_itself(store: Store) -> None:
    """Whatever is left of it is read as nothing, or as what it says; a push heals it."""
    client: Any = store.client
    whole, other = draft(), draft("2")
    await store.articles.append([whole, other], now=NOON)
    name = keys.article(0, whole.id)
    stored = await client.get(name)
    for length in range(9, len(stored), 7):
        await client.set(name, stored[:length])
        (_, intact) = await store.articles.get([whole.id, other.id])
        assert intact
    await client.set(name, stored[:60])
    (receipt,) = await store.articles.append([whole], now=NOON + timedelta(hours=1))
    assert ("created", 1) == (receipt.status, receipt.revision)
    assert None not in await store.articles.get([whole.id])


_ROUND_TRIP = """
-- ARGV texts. Returns each after it was packed and unpacked.
local answer = {}
for i = 1, #ARGV do answer[i] = unpack_text(pack_text(ARGV[i])) end
return answer
"""
TEXTS = [
    "", "=", "a", "abcd", "ABCD", "0" * 4, "0" * 16, "f" * 32, "f" * 64, "F" * 32, "0123456789a",
    "f" * 32 + "+", "+", "F" * 32 + "+", "f" * 32 + ".", "." + "f" * 16, "f" * 32 + "." + "0" * 16,
    "f" * 16 + "." + "0" * 32, "f" * 32 + "." + "xyz", "2017-12-22T16:41:07.123Z",
    "1999-99-99T99:99:99.999Z", "0999-01-01T00:00:00.000Z", "2017-12-22T16:41:07Z", ORIGINAL,
    ORIGINAL.upper(), ORIGINAL + "\n", "\1\0\0", "\0" * 9, "é 的", "x" * 100_000,
]  # fmt: skip


async def test_every_text_comes_back_as_it_was(store: Store) -> None:
    """Also one that only looks like a hash, a date or an id."""
    source = lua_text("article", "head") + _ROUND_TRIP
    script: Script[list[bytes]] = Script(store.client, source)
    assert [text.encode() for text in TEXTS] == await script(keys=["x"], args=TEXTS)


@pytest.mark.parametrize(
    "head", [b"\x80", b"\x81\xa1p", b"\x81\xa1p\xa1\x09", b"\x81\xa1p\x05", b"\xff", b"\xc0", b"[]"]
)
def test_a_head_that_cannot_be_read_is_a_value_error(head: bytes) -> None:
    """So it costs its article, as every stored value does."""
    with pytest.raises(ValueError, match=r"head|object"):
        decode_head(head)


async def test_a_ruined_head_costs_its_article(store: Store, settings: Settings) -> None:
    """And an erased one stays erased, in whichever form."""
    client: Any = store.client
    ids = await archive_of(store, settings, [draft("1"), draft("2")])
    await store.articles.erase(ids[0], now=NOON)
    for article_id in ids:
        name = keys.article(0, article_id)
        stored = await client.get(name)
        # The first byte of its map.
        await client.set(name, stored[:9] + b"\x8f" + stored[10:])
    receipts = await store.articles.append([draft("1"), draft("2", "New")], now=NOON)
    assert ["erased", "created"] == [receipt.status for receipt in receipts]
    assert 2 == receipts[1].revision


async def test_a_document_that_cannot_be_read_is_erased(store: Store) -> None:
    """A hand has changed it, or its dictionary is gone: it may hold the text all the same."""
    (receipt,) = await store.articles.append([draft()], now=NOON)
    await put_field(store.client, keys.article(0, receipt.id), "doc", b"about ultramarinefox")
    assert await traces(store.client, "ultramarinefox")
    done = await erasure.erase(store, [receipt.id], now=NOON)
    assert ["erased"] == [each.status for each in done.articles]
    assert [] == await traces(store.client, "ultramarinefox")
