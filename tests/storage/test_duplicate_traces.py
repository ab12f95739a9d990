"""Traces and marks of duplicates in several shards: where they are, what a batch costs, and how
those of before get there."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from service.storage import keys, layout
from service.storage.client import each_primary
from service.storage.duplicate_moves import spread_duplicates
from service.storage.duplicates import Duplicates, Mark, Trace
from service.storage.shards import Shards, claim_shards, numbered, spread
from service.storage.store import Store, of_client, open_store
from tests.conftest import NOON
from tests.storage.backups import backed_up, drafts, restored
from tests.waiting import random_moment

NOW_MS = 1_700_000_000_000
WINDOW = NOW_MS // (3 * 86_400_000)
SIX = spread(6)


def id_of(number: int) -> str:
    """The id of an article."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def link_of(number: int) -> str:
    """A canonical URL."""
    return f"quay.example/{number}"


def landmarks_of(number: int) -> list[bytes]:
    """Twelve landmarks; the first bytes of all are alike, as those of real ones."""
    digests = (hashlib.sha256(f"{number} {n}".encode()).digest() for n in range(12))
    return [b"\x80\x00" + digest[:6] for digest in digests]


def trace(number: int, article: int) -> Trace:
    """The trace of an article whose link and words are those with a number."""
    return Trace(article_id=id_of(article), link=link_of(number), landmarks=landmarks_of(number))


def of_shards(store: Store, shards: Shards) -> Store:
    """The same Redis with other shards."""
    return of_client(store.client, shards=shards)


async def names(store: Store, pattern: str) -> list[str]:
    """The keys with such names."""
    return sorted([key.decode() async for key in store.client.scan_iter(match=pattern, count=999)])


async def calls(store: Store) -> Counter[str]:
    """How often each command was called, by clients and by scripts, on all primaries."""
    counts: Counter[str] = Counter()
    for _, primary in await each_primary(store.client):
        for name, stats in (await primary.info("commandstats")).items():
            counts[name.removeprefix("cmdstat_")] += stats["calls"]
    return counts


async def known(duplicates: Duplicates, count: int) -> list[tuple[Any, Any]]:
    """Who had the traces with these numbers, as other articles find them."""
    asked = [trace(number, 10**6 + number) for number in range(count)]
    owners = await duplicates.note(asked, now_ms=NOW_MS)
    return [(each.of_link, each.of_landmarks) for each in owners]


async def test_traces_are_spread_over_the_shards(store: Store) -> None:
    """Links and landmarks by their own hashes, whatever the article is; none is elsewhere."""
    duplicates = of_shards(store, SIX).duplicates
    await duplicates.note([trace(n, 1) for n in range(600)], now_ms=NOW_MS)
    links = Counter(name.split(":")[1] for name in await names(store, "dateline:*:urls:*"))
    buckets = Counter(name.split(":")[1] for name in await names(store, "dateline:*:landmarks:*"))
    assert {f"{{{tag}}}" for tag in SIX} == set(links) == set(buckets)
    assert 1.25 > max(links.values()) * len(links) / sum(links.values())
    assert {10, 11} == set(buckets.values())


@pytest.mark.parametrize("shards", [numbered(1), numbered(3), SIX, spread(100)])
async def test_what_was_noted_is_found(store: Store, shards: Shards) -> None:
    """By its link and by its landmarks, also in the window before, and not after that."""
    duplicates = of_shards(store, shards).duplicates
    for now_ms, article in ((NOW_MS, 1), (NOW_MS, 2), (NOW_MS + 3 * 86_400_000, 3)):
        (owners,) = await duplicates.note([trace(5, article)], now_ms=now_ms)
        before = [id_of(n) for n in range(article - 1, 0, -1)]
        assert tuple(before) == owners.of_link
        assert set(before) == set(owners.of_landmarks)
    (owners,) = await duplicates.note([trace(5, 4)], now_ms=NOW_MS + 9 * 86_400_000)
    assert (id_of(3), id_of(2)) == owners.of_link
    assert () == owners.of_landmarks
    assert [] == await names(store, f"dateline:*:landmarks:{WINDOW + 1}:*")


async def test_landmarks_of_a_window_end_by_themselves(store: Store) -> None:
    """Six days after the first article, and not after the last: every note would write that."""
    duplicates = of_shards(store, numbered(1)).duplicates
    (landmark, *_) = landmarks_of(1)
    one = Trace(article_id=id_of(1), link="", landmarks=[landmark])
    await duplicates.note([one], now_ms=NOW_MS)
    (name,) = await names(store, "dateline:*:landmarks:*")
    client: Any = store.client
    assert keys.LANDMARKS_TTL_S - 60 < await client.ttl(name) <= keys.LANDMARKS_TTL_S
    await client.expire(name, 600)
    await duplicates.note([one], now_ms=NOW_MS)
    assert 500 < await client.ttl(name) <= 600


async def test_a_batch_is_one_script_a_shard(store: Store) -> None:
    """Notes, marks, and what is left of removed articles, however many articles there are."""
    opened = of_shards(store, SIX)
    ids = [draft.id for draft in drafts(*map(str, range(80)))]
    await opened.articles.append(drafts(*map(str, range(80))), now=NOON)
    marks = [
        Mark(article_id=copy, original=original, hidden_in=("all",))
        for copy, original in zip(ids[:40], ids[40:], strict=True)
    ]
    traces = [trace(n, n) for n in range(64)]
    steps = (
        lambda: opened.duplicates.note(traces, now_ms=NOW_MS),
        lambda: opened.duplicates.mark_all(marks),
        lambda: opened.duplicates.leave([(i, link_of(n), i) for n, i in enumerate(ids)]),
    )
    for step in steps:
        await step()
        before = await calls(store)
        await step()
        done = await calls(store) - before
        assert len(SIX) == done["evalsha"]
        assert 0 == done["script|load"] + done["eval"]


async def test_scripts_that_a_server_forgot_are_sent_again(store: Store) -> None:
    """By SCRIPT FLUSH or a restart, in the midst of a pipeline too."""
    duplicates = of_shards(store, SIX).duplicates
    for article in (1, 2):
        await store.client.execute_command("SCRIPT FLUSH")
        (owners,) = await duplicates.note([trace(1, article)], now_ms=NOW_MS)
    assert (id_of(1),) == owners.of_link


async def test_marks_are_with_their_articles_and_twins_with_originals(store: Store) -> None:
    """Only what changed is returned; a twin stands once, and at most TWINS_MAX do."""
    opened = of_shards(store, SIX)
    texts = list(map(str, range(keys.TWINS_MAX + 9)))
    original, *copies = [draft.id for draft in drafts(*texts)]
    await opened.articles.append(drafts(*texts), now=NOON)
    marks = [Mark(article_id=i, original=original, hidden_in=("all",)) for i in copies]
    assert marks == await opened.duplicates.mark_all(marks)
    assert [] == await opened.duplicates.mark_all(marks)
    unmarked = [Mark(article_id=i) for i in (copies[3], id_of(1), copies[9])]
    assert [unmarked[0], unmarked[2]] == await opened.duplicates.mark_all(unmarked)
    articles = await opened.articles.get([copies[0], copies[3]])
    assert [original, ""] == [article.duplicate_of for article in articles if article]
    twins = await opened.duplicates.twins_of([original, copies[0]])
    assert {original: keys.TWINS_MAX} == {name: len(ids) for name, ids in twins.items()}
    expected = keys.twins(SIX.of(original), original)
    assert [expected] == await names(store, "dateline:*:twins:*")
    await opened.duplicates.leave([(i, "", original) for i in copies])
    assert {} == await opened.duplicates.twins_of([original])


async def before(store: Store, count: int) -> None:
    """What the version before kept of so many articles: all under one tag, landmarks in eight
    buckets."""
    client: Any = store.client
    one = numbered(1)
    await of_shards(store, one).duplicates.note([trace(n, n) for n in range(count)], now_ms=NOW_MS)
    for name in await names(store, "dateline:*:landmarks:*"):
        stored = await client.hgetall(name)
        await client.delete(name)
        for field, owners in stored.items():
            former = keys.landmarks(0, WINDOW, field[-1] % 8) if field else name
            if field:
                await client.hset(former, field, owners)
                await client.expire(former, 600)
    for number in range(count):
        await client.sadd(keys.twins(0, id_of(number)), id_of(number + 1), id_of(number + 2))


async def is_moved(store: Store, shards: Shards, count: int) -> None:
    """Whether all that `before` wrote is found, and none of it is where it was."""
    duplicates = of_shards(store, shards).duplicates
    expected = [((id_of(number),), (id_of(number),)) for number in range(count)]
    assert expected == await known(duplicates, count)
    twins = await duplicates.twins_of([id_of(number) for number in range(count)])
    expected_twins = [sorted(id_of(n + k) for k in (1, 2)) for n in range(count)]
    assert expected_twins == [twins[id_of(number)] for number in range(count)]
    if 0 not in shards.tags:
        assert [] == await names(store, "dateline:{0}:[tu][wr]*")
        assert [] == await names(store, "dateline:{0}:landmarks:*")


@pytest.mark.parametrize("shards", [numbered(1), numbered(3), SIX])
async def test_what_was_in_one_slot_moves_to_the_shards(store: Store, shards: Shards) -> None:
    """Also for one shard, where buckets are more now; a second time nothing changes."""
    await before(store, 300)
    await store.client.delete(keys.LAYOUT)
    await claim_shards(store.client, shards)
    for _ in range(2):
        await spread_duplicates(store.client)
    await is_moved(store, shards, 300)


async def test_a_move_that_is_cut_loses_nothing(store: Store) -> None:
    """It begins anew with what is left, as often as it must; two at once do no harm."""
    await before(store, 300)
    await store.client.delete(keys.LAYOUT)
    await claim_shards(store.client, SIX)
    for _ in range(20):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await spread_duplicates(store.client)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(spread_duplicates(store.client))
            await random_moment(0.02)
    await is_moved(store, SIX, 300)


async def test_what_is_newer_stays_newer(store: Store) -> None:
    """What a process noted in a shard before the move came to it."""
    await before(store, 3)
    await store.client.delete(keys.LAYOUT)
    await claim_shards(store.client, SIX)
    duplicates = of_shards(store, SIX).duplicates
    await duplicates.note([trace(0, 7)], now_ms=NOW_MS)
    await duplicates.note([trace(1, 8), trace(1, 9)], now_ms=NOW_MS)
    await spread_duplicates(store.client)
    owners = await known(duplicates, 3)
    expected = [(id_of(7), id_of(0)), (id_of(9), id_of(8)), (id_of(2),)]
    assert expected == [of_link for of_link, _ in owners]
    assert [set(each) for each in expected] == [set(of_landmarks) for _, of_landmarks in owners]


async def test_a_ruined_key_does_not_stop_the_move(store: Store) -> None:
    """Of another type here or there, or with odd values: it stays, and the rest is moved."""
    client: Any = store.client
    await before(store, 20)
    await client.delete(keys.LAYOUT)
    await claim_shards(client, SIX)
    await client.set("dateline:{0}:urls:zzz", "x")
    await client.set("dateline:{0}:urls:ffff", "x")
    await client.hset("dateline:{0}:urls:fffe", mapping={"": "", "short": "x", "x" * 8: "odd"})
    await client.hset("dateline:{0}:twins:x", "a", "b")
    await client.set(keys.twins(SIX.of("y"), "y"), "x")
    await client.sadd("dateline:{0}:twins:y", "a")
    await client.rpush("dateline:{0}:landmarks:5:0", "x")
    await spread_duplicates(client)
    assert {b"a"} == await client.smembers("dateline:{0}:twins:y")
    for name in ("urls:zzz", "urls:ffff", "urls:fffe", "twins:x", "twins:y", "landmarks:5:0"):
        assert await client.delete(f"dateline:{{0}}:{name}")
    await client.delete(keys.twins(SIX.of("y"), "y"))
    await is_moved(store, SIX, 20)


async def test_a_backup_of_before_is_moved_after_its_restore(
    base: Path, store: Store, target: Store
) -> None:
    """With the shards of its archive."""
    await store.client.flushdb()
    await claim_shards(store.client, SIX)
    await of_shards(store, SIX).articles.append(drafts("One"), now=NOON)
    await before(store, 30)
    version = layout.STEPS.index(spread_duplicates)
    await store.client.hset(keys.LAYOUT, "version", str(version))
    await backed_up(of_shards(store, SIX), base / "backup", shards=SIX)
    await restored(target, base / "backup", shards=SIX)
    await is_moved(target, SIX, 30)


async def test_an_archive_of_before_is_moved_at_a_start(store: Store, settings: Settings) -> None:
    """Of any process."""
    await store.client.flushdb()
    await claim_shards(store.client, SIX)
    await before(store, 10)
    async with open_store(settings.model_copy(update={"shards": len(SIX)})) as opened:
        await is_moved(opened, SIX, 10)


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("after", [numbered(3), SIX])
async def test_an_archive_in_other_shards_has_its_traces(
    base: Path, store: Store, target: Store, after: Shards, is_older: bool
) -> None:
    """Wherever they were in the backup, and whatever layout it has."""
    await store.client.flushdb()
    await claim_shards(store.client, numbered(1))
    await before(store, 30)
    if not is_older:
        await spread_duplicates(store.client)
    version = layout.STEPS.index(spread_duplicates) if is_older else layout.VERSION
    await store.client.hset(keys.LAYOUT, "version", str(version))
    await backed_up(store, base / "backup", shards=numbered(1))
    await restored(target, base / "backup", shards=after)
    await is_moved(target, after, 30)
