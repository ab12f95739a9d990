"""The categories that a source may create, on a real server: counted, refused, filed elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.articles.article import Article, Draft, Entry
from service.articles.category_creator import OPERATOR, CategoryCreator, free_paths
from service.articles.compose import compose
from service.storage import keys
from service.storage.commands import Client
from service.storage.shards import Shards, numbered
from service.storage.store import Store, of_client
from tests.conftest import NOON


def draft(guid: str, *categories: str, source: str = "http://one.example", **fields: Any) -> Draft:
    """An article in these categories."""
    entry = Entry(guid=guid, title=guid, categories=categories, **fields)
    return compose(entry, source=source)


def created_in(store: Store) -> str:
    """The key with what each source has created."""
    return keys.categories_created(store.event_stream.shards.tags[0])


def limited(store: Store, limit: int, *, shards: Shards | None = None) -> Store:
    """Another process on the same Redis, with this limit."""
    shards = shards or store.event_stream.shards
    return of_client(store.client, shards=shards, max_categories=limit)


async def article(store: Store, draft: Draft) -> Article:
    """The article of a draft, as it is stored."""
    (stored,) = await store.articles.get([draft.id])
    assert stored
    return stored


async def test_what_a_source_cannot_create_is_filed_above_or_in_no_category(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Each step counts; a category is created with all of its steps or not at all; every article is
    kept, and the operator learns of it once."""
    capped = limited(store, 3)
    drafts = [
        draft("1", "Sport/Match 1"),
        draft("2", "Sport/Match 2", "Sport/Match 3"),
        draft("3", "Harbour"),
        draft("4", "Sport/Match 1", "Fog/Banks"),
    ]
    receipts = await capped.articles.append(drafts, now=NOON)
    assert ["created"] * 4 == [receipt.status for receipt in receipts]
    filed = [(await article(capped, each)).categories for each in drafts]
    assert [("sport/match-1",), ("sport/match-2", "sport"), (), ("sport/match-1",)] == filed
    titles = await capped.articles.category_titles()
    assert {"sport", "sport/match-1", "sport/match-2"} == set(titles)
    assert "Match 2" == titles["sport/match-2"]
    created = await capped.category_limit.all()
    assert ["http://one.example"] == list(created)
    note = created["http://one.example"].note
    assert note.startswith("has created 3 categories and may create no more since 2026-01-05T12")
    assert "'sport/match-3'" in note
    await limited(store, 3).articles.append(drafts, now=NOON)
    assert 1 == caplog.messages.count("a source may create no more categories")


async def test_what_is_sent_again_stays_where_it_is(store: Store) -> None:
    """The same article is unchanged, also once another source has created its category; so are
    articles of before there was a limit."""
    capped = limited(store, 1)
    old = draft("old", "Old", "Older", "Oldest")
    await store.articles.append([old], now=NOON)
    refused = draft("new", "Refused")
    await capped.articles.append([draft("first", "First"), refused], now=NOON)
    await capped.articles.append([draft("o", "Refused", source="http://two.example")], now=NOON)
    again = await limited(store, 0).articles.append([old, refused], now=NOON)
    assert ["unchanged", "unchanged"] == [receipt.status for receipt in again]
    assert ("old", "older", "oldest") == (await article(capped, old)).categories
    assert () == (await article(capped, refused)).categories
    changed = draft("new", "Refused", summary="Another text")
    (receipt,) = await capped.articles.append([changed], now=NOON)
    assert "updated" == receipt.status
    assert ("refused",) == (await article(capped, changed)).categories


async def test_what_exists_and_what_the_operator_named_is_not_counted(store: Store) -> None:
    """Nor is it for a token's categories, or for an archive that is imported."""
    capped = limited(store, 1)
    await capped.articles.append([draft("1", "Shared", source="http://two.example")], now=NOON)
    creator = CategoryCreator(name="src_1", free=free_paths(["News/Local", ""]))
    drafts = [draft("2", "Shared", "News/Local", "News/Own"), draft("3", "News/Local/More")]
    await capped.articles.append(drafts, now=NOON, creator=creator)
    assert ("shared", "news/local", "news/own") == (await article(capped, drafts[0])).categories
    assert ("news/local",) == (await article(capped, drafts[1])).categories
    assert 1 == (await capped.category_limit.of("src_1")).created
    exported = draft("4", *(f"Kept {n}" for n in range(20)))
    await capped.articles.append([exported], now=NOON, creator=OPERATOR)
    assert 20 == len((await article(capped, exported)).categories)


async def test_a_raised_limit_lets_a_source_go_on(store: Store) -> None:
    """And its note is gone with the next category that it creates; a lowered one refuses."""
    await limited(store, 1).articles.append([draft("1", "A"), draft("2", "B")], now=NOON)
    raised = limited(store, 2)
    assert (await raised.category_limit.of("http://one.example")).note
    await raised.articles.append([draft("3", "C")], now=NOON)
    created = await raised.category_limit.of("http://one.example")
    assert (2, "") == (created.created, created.note)
    lowered = limited(store, 1)
    await lowered.articles.append([draft("4", "D")], now=NOON)
    assert {"a", "c"} == set(await lowered.articles.category_titles())


async def test_workers_at_once_do_not_pass_the_limit(store: Store) -> None:
    """Twenty processes name three hundred categories; the first forty exist, no other one."""

    async def append(number: int) -> None:
        capped = limited(store, 40)
        drafts = [draft(f"{number}-{n}", f"K {number} {n}") for n in range(15)]
        await capped.articles.append(drafts, now=NOON)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(append(number))
    assert 40 == len(await store.articles.category_titles())
    assert 40 == (await store.category_limit.of("http://one.example")).created
    stored = [i async for chunk in store.articles.all_ids() for i in chunk]
    articles = await store.articles.get(stored)
    assert 300 == len(articles)
    assert 40 == sum(bool(each and each.categories) for each in articles)


async def test_of_several_shards_all_count(store: Store) -> None:
    """A category that exists in one shard alone, as before there was a limit, is not created."""
    before = limited(store, 0, shards=numbered(3))
    old = [draft(str(n), f"K {n}") for n in range(30)]
    await before.articles.append(old, now=NOON, creator=OPERATOR)
    capped = limited(store, 2, shards=numbered(3))
    new = [draft(f"n{n}", f"K {n}") for n in range(33)]
    await capped.articles.append(new, now=NOON)
    filed = [(await article(capped, each)).categories for each in new]
    assert 32 == sum(map(bool, filed))
    assert 2 == (await capped.category_limit.of("http://one.example")).created


class Counted:
    """A client that counts pipelines."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.pipelines = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, transaction: bool) -> Any:
        """A pipeline of the real client."""
        self.pipelines += 1
        return self._client.pipeline(transaction=transaction)


async def test_known_categories_cost_no_call_and_new_ones_one_for_a_batch(store: Store) -> None:
    """However many sources and articles a batch has."""
    client: Any = Counted(store.client)
    counted = of_client(client)
    drafts = [draft(str(n), f"K {n}", source=f"http://{n % 7}.example") for n in range(50)]
    await counted.articles.append(drafts, now=NOON)
    assert 1 == client.pipelines
    await counted.articles.append([draft("x", "K 7"), draft("y", "K 8")], now=NOON)
    assert 1 == client.pipelines


async def test_refused_sources_do_not_fill_redis(store: Store) -> None:
    """What names its source itself can name any number: those without a category are not kept past
    a bound."""
    values = {f"http://{n}.example": b'{"created":0}' for n in range(10_000)}
    await store.client.hset(created_in(store), mapping=values)
    await limited(store, 0).articles.append(
        [draft("1", "A", source="http://new.example")], now=NOON
    )
    assert 10_000 == await store.client.hlen(created_in(store))


@pytest.mark.parametrize("value", [b"[]", b"{", b"1", b'{"created":"x"}', b"null"])
async def test_a_value_that_cannot_be_read_counts_as_nothing(store: Store, value: bytes) -> None:
    """What another program wrote there costs no article, and hides no other source's count."""
    for name in ("http://one.example", "x"):
        await store.client.hset(created_in(store), name, value)
    await store.articles.append([draft("1", "A")], now=NOON)
    created = await store.category_limit.all()
    assert (0, 1) == (created["x"].created, created["http://one.example"].created)
