"""Dictionaries: trained from the archive, used for new documents and old ones, never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.errors import Unavailable
from service.settings import Settings
from service.storage import keys
from service.storage.compression import Dictionary, compressed, dictionary_id
from service.storage.dictionary_training import SHARED_BY, trained
from service.storage.shards import ONE, Shards, numbered
from service.storage.store import Store, of_client, open_store
from tests.conftest import NOON
from tests.many_articles import ENOUGH, archive_of, compact, prose, stored_docs
from tests.old_articles import all_as_hashes, as_hash, put_field
from tests.storage.backups import backed_up, restored
from tests.storage.test_placement import aliased
from tests.traces import traces
from workers.aggregate import compaction
from workers.aggregate.compaction import Compaction

MARK = "ultramarinefox"


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of tests are small."""
    monkeypatch.setattr(compaction, "SAMPLES", ENOUGH)


@asynccontextmanager
async def another(settings: Settings) -> AsyncIterator[Store]:
    """The store of another process, which has read nothing yet."""
    async with open_store(settings, check=False) as opened:
        yield opened


async def ids_used(store: Store, ids: list[str]) -> set[int]:
    """Ids of the dictionaries that these documents need."""
    return {dictionary_id(doc) for doc in await stored_docs(store, ids)}


async def newest(store: Store, shard: int = 0) -> int:
    """Id of the dictionary that a shard compresses with."""
    return (await store.dictionaries.present(shard)).newest


async def test_old_and_new_articles_are_compressed_with_a_dictionary(
    store: Store, settings: Settings
) -> None:
    """Once there are enough to train one; another process reads them as they were."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    before = await store.articles.get(ids)
    long = sum(map(len, await stored_docs(store, ids)))
    assert {0} == await ids_used(store, ids)
    await compact(store)
    dictionary = await newest(store)
    assert dictionary
    assert {dictionary} == await ids_used(store, ids)
    assert sum(map(len, await stored_docs(store, ids))) < 0.8 * long
    (receipt,) = await store.articles.append([prose(ENOUGH)], now=NOON)
    assert {dictionary} == await ids_used(store, [receipt.id])
    async with another(settings) as other:
        assert before == await other.articles.get(ids)
        (last,) = await other.articles.get([receipt.id])
    assert last
    assert prose(ENOUGH).content_html == last.content_html


async def test_too_few_articles_are_left_as_they_are(store: Store, settings: Settings) -> None:
    """A dictionary of few articles would be of little use to the others."""
    ids = await archive_of(store, settings, [prose(n) for n in range(50)])
    await compact(store)
    assert 0 == await newest(store)
    assert {0} == await ids_used(store, ids)


async def test_ten_times_the_articles_get_a_new_dictionary(
    store: Store, settings: Settings
) -> None:
    """The former one stays, because a backup or a slow process may still need it."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    await compact(store)
    first = await newest(store)
    await compact(store)
    assert first == await newest(store)
    ids += await archive_of(store, settings, [prose(n) for n in range(ENOUGH, 2 * ENOUGH)])
    before = await store.articles.get(ids)
    await store.client.hset(keys.dictionaries(0), "articles", str(ENOUGH // 10))
    await compact(store)
    second = await newest(store)
    assert second != first
    fields = await store.client.hkeys(keys.dictionaries(0))
    assert {str(first).encode(), str(second).encode()} <= set(fields)
    async with another(settings) as other:
        assert before == await other.articles.get(ids)


async def test_a_sweep_that_was_cut_is_completed(store: Store, settings: Settings) -> None:
    """By the next run, of whichever worker."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    stop = asyncio.Event()
    stop.set()
    await Compaction(store, token="one").run(stop)
    dictionary = await newest(store)
    assert {0, dictionary} == await ids_used(store, ids)
    await compact(store, "two")
    assert {dictionary} == await ids_used(store, ids)
    assert dictionary == (await store.dictionaries.present(0)).swept


async def test_one_worker_at_a_time(store: Store, settings: Settings) -> None:
    """Under a lease."""
    await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    lease = await store.leases.take("compaction", token="other", ttl_ms=60_000)
    assert lease
    await compact(store)
    assert 0 == await newest(store)


async def test_every_shard_gets_the_dictionary(store: Store, settings: Settings) -> None:
    """Also where the worker that trained it was killed before the last one had it."""
    sharded = of_client(store.client, shards=numbered(3))
    ids = await archive_of(sharded, settings, [prose(n) for n in range(ENOUGH)])
    await compact(sharded)
    first = await newest(sharded)
    assert {first} == {await newest(sharded, shard) for shard in range(3)}
    assert {first} == await ids_used(sharded, ids)
    await store.client.hdel(keys.dictionaries(2), "newest", "articles", "swept")
    late = of_client(store.client, shards=numbered(3))
    await compact(late)
    assert {first} == {await newest(late, shard) for shard in range(3)}


async def test_an_article_without_its_dictionary_is_not_lost(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names what is missing; when it is back, the article can be read again."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    await compact(store)
    field = str(await newest(store))
    content = await store.client.hget(keys.dictionaries(0), field)
    assert content
    await store.client.hdel(keys.dictionaries(0), field)
    async with another(settings) as other:
        assert [None] == await other.articles.get(ids[:1])
        assert any(field in str(getattr(each, "reason", "")) for each in caplog.records)
        with pytest.raises(Unavailable, match=f"zstd dictionary {field}"):
            await other.articles.withdraw(ids[0], now=NOON)
        await store.client.hset(keys.dictionaries(0), field, content)
        assert None not in await other.articles.get(ids)
        receipt = await other.articles.withdraw(ids[0], now=NOON)
    assert receipt
    assert "withdrawn" == receipt.status


async def test_a_dictionary_that_redis_lost_comes_with_the_next_article(
    store: Store, settings: Settings
) -> None:
    """From a process that knows it: no article is stored without its dictionary."""
    await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    await compact(store)
    dictionary = await store.dictionaries.newest(0)
    assert dictionary
    await store.client.unlink(keys.dictionaries(0))
    (receipt,) = await store.articles.append([prose(ENOUGH)], now=NOON)
    assert "created" == receipt.status
    assert {dictionary.id} == await ids_used(store, [receipt.id])
    async with another(settings) as other:
        assert None not in await other.articles.get([receipt.id])


async def test_what_another_type_stands_under_costs_no_article(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Articles are compressed without a dictionary then."""
    await store.client.execute_command("SET", keys.dictionaries(0), "x")
    (receipt,) = await store.articles.append([prose(1)], now=NOON)
    assert "created" == receipt.status
    assert {0} == await ids_used(store, [receipt.id])
    assert any("zstd dictionaries" in each.message for each in caplog.records)
    await store.client.unlink(keys.dictionaries(0))


@pytest.mark.parametrize("content", [b"", b"no dictionary", b"\x37\xa4\x30\xec" + b"x" * 40])
async def test_a_ruined_dictionary_costs_no_article(store: Store, content: bytes) -> None:
    """Nor one that is named and missing."""
    await store.client.hset(keys.dictionaries(0), "newest", "77")
    await store.client.hset(keys.dictionaries(0), "77", content)
    (receipt,) = await store.articles.append([prose(1)], now=NOON)
    assert "created" == receipt.status
    assert {0} == await ids_used(store, [receipt.id])


async def test_an_article_that_changed_meanwhile_is_not_overwritten(
    store: Store, settings: Settings
) -> None:
    """Between being read by the sweep and being written."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    await compact(store)
    dictionary = await store.dictionaries.newest(0)
    assert dictionary
    (doc,) = await stored_docs(store, ids[:1])
    change = (ids[0], b"as it was before", compressed(b"{}" * 99, dictionary))
    assert 0 == await store.dictionaries.replace(0, [change], dictionary)
    assert [doc] == await stored_docs(store, ids[:1])
    same = (ids[0], doc, prose(0).to_doc())
    assert 1 == await store.dictionaries.replace(0, [same], dictionary)
    unknown = Dictionary(trained_otherwise())
    assert 0 == await store.dictionaries.replace(0, [(ids[0], same[2], doc)], unknown)


def trained_otherwise() -> bytes:
    """A dictionary of other articles."""
    content = trained([prose(n, words=90).to_doc() for n in range(5_000, 5_400)])
    assert content
    return content


async def test_odd_articles_do_not_stop_the_sweep(store: Store, settings: Settings) -> None:
    """A key of another type, and a document that a hand made unreadable."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    await store.client.execute_command("SET", keys.article(0, ids[0]), "x")
    await put_field(store.client, keys.article(0, ids[1]), "doc", b"\x28\xb5\x2f\xfdbroken")
    await compact(store)
    assert {await newest(store)} == await ids_used(store, ids[2:])
    await store.client.unlink(keys.article(0, ids[0]))


async def test_an_article_of_an_old_version_stays_unchanged(
    store: Store, settings: Settings
) -> None:
    """One without a hash of everything is compared in the form that it is stored in."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    name = keys.article(0, ids[0])
    head = orjson.loads((await as_hash(store.client, name))[b"head"])
    del head["full"]
    head["forms"] = {form.partition(":")[0]: head["hash"] for form in head["forms"]}
    await store.client.hset(name, "head", orjson.dumps(head))
    await compact(store)
    assert {0} == await ids_used(store, ids[:1])
    receipts = await store.articles.append([prose(1), prose(0), prose(2)], now=NOON)
    assert ["unchanged"] * 3 == [receipt.status for receipt in receipts]
    assert [ids[1], ids[0], ids[2]] == [receipt.id for receipt in receipts]
    late = replace(prose(0), image="https://quay.example/new.jpg")
    await put_field(store.client, name, "head", orjson.dumps(head))
    (receipt,) = await store.articles.append([late], now=NOON)
    assert "corrected" == receipt.status


async def test_the_sweep_shortens_what_versions_before_stored(
    store: Store, settings: Settings
) -> None:
    """Hashes become strings, and say the same."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    await store.articles.withdraw(ids[0], now=NOON)
    await store.articles.erase(ids[1], now=NOON)
    before = await store.articles.get(ids)
    client: Any = store.client
    await all_as_hashes(client)
    await compact(store)
    assert {b"string"} == {await client.type(keys.article(0, article_id)) for article_id in ids}
    assert before == await store.articles.get(ids)
    again = await store.articles.append([prose(n) for n in range(2, ENOUGH)], now=NOON)
    assert {"unchanged"} == {receipt.status for receipt in again}


async def test_a_dictionary_holds_no_text_of_few_articles(store: Store, settings: Settings) -> None:
    """So that an erased article leaves nothing in it; what many articles have in common stays."""
    few = [prose(n, more=f"said {MARK} of the harbour") for n in range(SHARED_BY - 1)]
    many = [prose(n, more="with the commonplace") for n in range(len(few), ENOUGH)]
    ids = await archive_of(store, settings, [*few, *many])
    await compact(store)
    assert await traces(store.client, "commonplace")
    assert keys.dictionaries(0) in await traces(store.client, "commonplace")
    for article_id in ids[: len(few)]:
        await store.articles.erase(article_id, now=NOON)
    await store.client.unlink(keys.stream(0))
    assert [] == await traces(store.client, MARK)


@pytest.mark.parametrize("shards", [ONE, numbered(3)])
async def test_a_backup_has_the_dictionaries(
    store: Store, settings: Settings, tmp_path: Path, shards: Shards
) -> None:
    """An archive that was restored can be read, each shard of it; and what is restored by what
    articles say, an alias here, is right."""
    ids = await archive_of(store, settings, [prose(n) for n in range(ENOUGH)])
    sources = [f"s{n}.example" for n in range(12)]
    first = [aliased(n, f"guid {n}", source) for n, source in enumerate(sources)]
    ids += [receipt.id for receipt in await store.articles.append(first, now=NOON)]
    await compact(store)
    before = await store.articles.get(ids)
    dictionary = await newest(store)
    assert {dictionary} == await ids_used(store, ids)
    await backed_up(store, tmp_path / "backup")
    client: Any = store.client
    await client.flushdb()
    await restored(of_client(client, shards=shards), tmp_path / "backup", shards=shards)
    late = of_client(client, shards=shards)
    assert before == await late.articles.get(ids)
    assert {dictionary} == {await newest(late, shard) for shard in shards}
    again = [aliased(n, f"new guid {n}", source) for n, source in enumerate(sources)]
    receipts = await late.articles.append(again, now=NOON)
    assert ids[ENOUGH:] == [receipt.id for receipt in receipts]


def test_texts_that_have_nothing_in_common_get_no_dictionary() -> None:
    """It would take memory and save nothing."""
    assert None is trained([bytes([n % 250 + 1]) * 40 for n in range(1_000)])
    assert None is trained([])
    assert None is trained([b"{}"] * 1_000)
