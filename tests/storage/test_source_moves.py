"""Sources in the shards of their hosts: claims over all of them, and moves that are cut."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.articles.times import to_ms
from service.manage import sources as manage_sources
from service.sources.schedule import Poll
from service.sources.source import Source, make_source
from service.storage import keys, layout
from service.storage.claims import Claim, Claimant, Claims, Finished
from service.storage.layout import migrate
from service.storage.page_marks import FULL, PageMark
from service.storage.shards import ONE, claim_shards, numbered
from service.storage.source_moves import SourceMoves
from service.storage.store import Store, of_client
from tests.conftest import NOON
from tests.storage.backups import backed_up, restored

NOW_MS = to_ms(NOON)
SHARDS = numbered(3)
LAPSE_MS = NOW_MS + 60_000


@pytest.fixture
async def sharded(store: Store) -> Store:
    """The store with three shards."""
    await store.client.flushdb()
    return of_client(store.client, shards=await claim_shards(store.client, SHARDS))


def host_in(shard: int, number: int = 0) -> str:
    """A host of a shard, another one for each number."""
    hosts = (f"h{n}.example" for n in range(1_000))
    return [host for host in hosts if SHARDS.of(host) == shard][number]


async def add(store: Store, host: str, path: str = "", **fields: Any) -> Source:
    """A new source, due now."""
    source = make_source({"url": f"http://{host}/{path}", **fields}, created=NOON)
    assert await store.sources.add(source, due_ms=NOW_MS)
    return source


async def claim(
    store: Store, *, now_ms: int = NOW_MS, limit: int = 99, lapse_ms: int = 0
) -> list[Claim]:
    """The claims of a new worker."""
    claims, _ = await store.claims.claim(
        claimant=Claimant(ordinal=0, token=uuid.uuid4().hex), now_ms=now_ms, limit=limit,
        lapse_ms=lapse_ms or now_ms + 60_000, spacing_ms=0,
    )  # fmt: skip
    return claims


async def moved(store: Store, *, now_ms: int = NOW_MS, **fields: Any) -> tuple[Source, int, int]:
    """A source of shard 0 whose poll found it on a host of shard 1, due again then; and both."""
    source = await add(store, host_in(0), **fields)
    (held,) = await claim(store)
    changed = held.source.moved(f"http://{host_in(1)}/f", "moved")
    result = Finished(claim=held, poll=Poll(etag="e"), due_ms=now_ms, source=changed, known=b"k")
    await store.claims.finish([result], now_ms=now_ms)
    await store.client.hset(keys.page_marks(0, source.id), "a", orjson.dumps(["full", "c", "f", 0]))
    await store.client.execute_command("EXPIRE", keys.page_marks(0, source.id), 600)
    return changed, 0, 1


async def has(store: Store, shard: int, source_id: str) -> dict[str, bool]:
    """What a shard has of a source."""
    client: Any = store.client
    names = (
        keys.sources, keys.sources_polls, keys.sources_known, keys.sources_claims,
        keys.sources_moving,
    )  # fmt: skip
    fields = {name.__name__: await client.hexists(name(shard), source_id) for name in names}
    score = await client.zscore(keys.sources_due(shard), source_id)
    return {**fields, "sources_due": score is not None}


async def test_sources_are_spread_by_host_and_known_by_id(sharded: Store) -> None:
    """All that is done by id alone finds them in whatever shard they are."""
    added = [await add(sharded, host_in(n % 3, n), category="News") for n in range(9)]
    rows = [await sharded.client.hlen(keys.sources(shard)) for shard in SHARDS]
    assert [3, 3, 3] == rows
    assert 9 == await sharded.sources.count()
    assert {s.id for s in added} == {s.id for s in await sharded.sources.all()}
    for source in added:
        assert source == await sharded.sources.get(source.id)
        await manage_sources.change(sharded, source.id, {"category": "Town"}, now=NOON)
        assert await sharded.sources.remove(source.id)
        assert not await sharded.sources.remove(source.id)
    assert 0 == await sharded.sources.count()


async def test_a_call_claims_of_all_shards_and_no_more_than_its_limit(sharded: Store) -> None:
    """Whatever shard they are in: the rest of the limit goes to those that have more."""
    for number in range(12):
        await add(sharded, host_in(0, number))
    await add(sharded, host_in(1))
    assert 7 == len(await claim(sharded, limit=7))
    assert 6 == len(await claim(sharded, limit=7))
    assert [] == await claim(sharded)


async def test_no_shard_waits_behind_others(sharded: Store) -> None:
    """With a limit of one, each has its turn."""
    for number in range(12):
        await add(sharded, host_in(number % 3, number))
    hosts = [held.source.host for _ in range(6) for held in await claim(sharded, limit=1)]
    assert [2, 2, 2] == list(Counter(map(SHARDS.of, hosts)).values())


async def test_a_repeated_call_returns_its_claims_of_all_shards(sharded: Store) -> None:
    """Its reply was lost; also if the shards that it asked have nothing else."""
    added = {(await add(sharded, host_in(shard))).id for shard in SHARDS}
    worker = Claimant(ordinal=0, token="t")
    for _ in range(2):
        claims, _ = await sharded.claims.claim(
            claimant=worker, now_ms=NOW_MS, limit=9, lapse_ms=LAPSE_MS, spacing_ms=0
        )
        assert added == {held.source.id for held in claims}
    assert 3 == await sharded.claims.release(0, now_ms=NOW_MS)


async def test_only_shards_that_may_have_due_sources_are_asked(sharded: Store) -> None:
    """The others not before ASK_AGAIN_S."""
    client: Any = sharded.client
    for number in range(6):
        await add(sharded, host_in(0, number))
    await claim(sharded, limit=1)
    before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await claim(sharded, limit=1, lapse_ms=LAPSE_MS + 1)
    after = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert 1 == after - before


async def test_a_source_whose_host_changed_is_moved_by_its_next_claim(sharded: Store) -> None:
    """With its poll, known entries and page marks; its former host is free, and it is polled once,
    from its new shard."""
    source, former, new = await moved(sharded)
    assert (await has(sharded, former, source.id))["sources"]
    assert source == await sharded.sources.get(source.id)
    assert [] == await claim(sharded)
    assert not any((await has(sharded, former, source.id)).values())
    assert 0 == await sharded.client.hlen(keys.sources_hosts(former))
    marks = await sharded.page_marks.get(source, ["a"])
    assert {"a": PageMark(FULL, "c", "f")} == marks
    (held,) = await claim(sharded)
    assert (new, source, "e", b"k") == (held.shard, held.source, held.poll.etag, held.known)
    assert [] == await claim(sharded)


class Killed(BaseException):
    """The process ends here."""


def cut_at(store: Store, step: str) -> Callable[[], None]:
    """Have the moves of a store be killed before a step; call the result to undo that."""
    moves: Any = store.claims._moves
    kept = getattr(moves, step)

    class Cut:
        async def run_all(self, calls: object) -> None:
            raise Killed

    setattr(moves, step, Cut())
    return lambda: setattr(moves, step, kept)


@pytest.mark.parametrize("step", ["_arrive", "_leave", "_end", "_take_back"])
async def test_a_move_that_is_killed_anywhere_is_completed(sharded: Store, step: str) -> None:
    """By another process: nothing is lost, nothing is due in two shards, and reads find the source
    once in between."""
    source, former, new = await moved(sharded)
    cut_at(sharded, step)
    with pytest.raises(Killed):
        await claim(sharded)
    due = [(await has(sharded, shard, source.id))["sources_due"] for shard in SHARDS]
    assert sum(due) <= 1
    assert source == await sharded.sources.get(source.id)
    assert [source] == await sharded.sources.all()
    assert "e" == (await sharded.sources.poll(source.id)).etag
    other = of_client(sharded.client, shards=SHARDS)
    await other.claims.complete_moves()
    later_ms = NOW_MS + 61_000
    claims = [*await claim(other, now_ms=later_ms), *await claim(other, now_ms=later_ms)]
    assert [(new, source)] == [(held.shard, held.source) for held in claims]
    assert not any((await has(other, former, source.id)).values())


async def test_a_change_during_a_move_is_not_lost(sharded: Store) -> None:
    """The source stays where it was changed, and moves with its next claim."""
    source, former, new = await moved(sharded)
    cut_at(sharded, "_leave")
    with pytest.raises(Killed):
        await claim(sharded)
    await manage_sources.change(sharded, source.id, {"paused": True}, now=NOON)
    other = of_client(sharded.client, shards=SHARDS)
    stored = await other.sources.get(source.id)
    assert stored
    assert stored.paused
    assert [] == await claim(other, now_ms=NOW_MS + 61_000)
    await manage_sources.change(other, source.id, {"paused": False}, now=NOON)
    assert [] == await claim(other, now_ms=NOW_MS + 61_000)
    (held,) = await claim(other, now_ms=NOW_MS + 61_000)
    assert (new, False) == (held.shard, held.source.paused)
    assert not any((await has(other, former, source.id)).values())


async def test_a_source_that_is_removed_during_its_move_is_gone(sharded: Store) -> None:
    """From both shards, also what arrives after that."""
    source, former, new = await moved(sharded)
    undo = cut_at(sharded, "_leave")
    with pytest.raises(Killed):
        await claim(sharded)
    assert await sharded.sources.remove(source.id)
    assert 0 == await sharded.sources.count()
    undo()
    again = await add(sharded, host_in(0), "again")
    moves = SourceMoves(sharded.client, shards=SHARDS)
    (held,) = await claim(sharded)
    changed = held.source.moved(f"http://{host_in(1)}/g", "")
    finished = Finished(claim=held, poll=Poll(), due_ms=NOW_MS, source=changed)
    await sharded.claims.finish([finished], now_ms=NOW_MS)
    leave: Any = moves._leave

    class Removing:
        async def run_all(self, calls: Any) -> Any:
            await sharded.client.hdel(keys.sources(former), again.id)
            return await leave.run_all(calls)

    moves._leave = Removing()  # type: ignore[assignment]
    await moves.move([again.id], shard=former)
    assert not (await has(sharded, new, again.id))["sources"]
    assert None is await sharded.sources.get(again.id)


async def test_a_source_that_is_added_again_after_a_move_is_known(sharded: Store) -> None:
    """Its id is in the shard of another host."""
    source, _, _ = await moved(sharded)
    await claim(sharded)
    again = make_source({"url": source.added_url}, created=NOON)
    assert [False, True] == await sharded.sources.add_all(
        [again, make_source({"url": f"http://{host_in(2)}/"}, created=NOON)], due_ms=NOW_MS
    )
    assert 2 == await sharded.sources.count()


async def test_texts_are_erased_in_all_shards(sharded: Store) -> None:
    """What polls say of rejected entries."""
    for shard in SHARDS:
        source = await add(sharded, host_in(shard))
        poll = orjson.dumps(Poll(result="1 rejected (a text)"))
        await sharded.client.hset(keys.sources_polls(shard), source.id, poll)
    await sharded.sources.erase_texts()
    results = {(await sharded.sources.poll(s.id)).result for s in await sharded.sources.all()}
    assert {"1 rejected"} == results


async def of_before(store: Store) -> list[Source]:
    """An archive of three shards whose sources are all in the first one: due, claimed, paused."""
    of_then = of_client(store.client, shards=ONE)
    added = [await add(of_then, host_in(n % 3, n), paused=n in (4, 5)) for n in range(12)]
    for source in added[:3]:
        poll = orjson.dumps(Poll(etag=source.id))
        await store.client.hset(keys.sources_polls(0), source.id, poll)
    assert 2 == len(await claim(of_then, limit=2))
    await store.client.hset(keys.LAYOUT, "version", "2")
    return added


async def check_placed(store: Store, added: list[Source]) -> None:
    """Each is in its shard, once, with its poll; all that are not paused are claimed from there."""
    for shard in SHARDS:
        rows = {name.decode() for name in await store.client.hkeys(keys.sources(shard))}
        assert {s.id for s in added if SHARDS.of(s.host) == shard} == rows
    assert [s.id for s in added[:3]] == [(await store.sources.poll(s.id)).etag for s in added[:3]]
    claims = await claim(store, now_ms=NOW_MS + 61_000)
    assert {s.id for s in added if not s.paused} == {held.source.id for held in claims}
    assert all(held.shard == SHARDS.of(held.source.host) for held in claims)


async def test_sources_of_the_version_before_are_moved(sharded: Store) -> None:
    """By the layout's step, once, however often it is begun and by how many processes."""
    added = await of_before(sharded)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(migrate(sharded.client))
    await check_placed(sharded, added)
    assert str(layout.VERSION).encode() == await sharded.client.hget(keys.LAYOUT, "version")


@pytest.mark.parametrize("paused", [True, False])
async def test_two_processes_that_move_one_source_lose_it_not(sharded: Store, paused: bool) -> None:
    """The second one finds it gone, after it has read it."""
    of_then = of_client(sharded.client, shards=ONE)
    source = await add(of_then, host_in(1), paused=paused)
    moves, other = (SourceMoves(sharded.client, shards=SHARDS) for _ in range(2))
    leave: Any = moves._leave

    class Late:
        async def run_all(self, calls: Any) -> Any:
            await other.move([source.id], shard=0)
            return await leave.run_all(calls)

    moves._leave = Late()  # type: ignore[assignment]
    await moves.move([source.id], shard=0)
    assert source == await sharded.sources.get(source.id)
    assert 1 == await sharded.sources.count()
    assert [source] * (not paused) == [held.source for held in await claim(sharded)]


async def test_a_backup_of_the_version_before_is_moved_by_its_restore(
    sharded: Store, tmp_path: Path
) -> None:
    """Its sources are in the first shard."""
    added = await of_before(sharded)
    await backed_up(sharded, tmp_path / "b", shards=SHARDS)
    await sharded.client.flushdb()
    await restored(sharded, tmp_path / "b", shards=SHARDS)
    await check_placed(of_client(sharded.client, shards=SHARDS), added)


@pytest.mark.parametrize("step", ["_leave", "_end", ""])
async def test_a_backup_has_a_source_that_is_moved_once(
    sharded: Store, tmp_path: Path, step: str
) -> None:
    """And due after the restore, whatever moment of the move the backup found."""
    source, _, new = await moved(sharded)
    if step:
        cut_at(sharded, step)
        with pytest.raises(Killed):
            await claim(sharded)
    await backed_up(sharded, tmp_path / "b", shards=SHARDS)
    await sharded.client.flushdb()
    await restored(sharded, tmp_path / "b", shards=SHARDS)
    after = of_client(sharded.client, shards=SHARDS)
    assert 1 == await after.sources.count()
    later_ms = NOW_MS + 61_000
    claims = [*await claim(after, now_ms=later_ms), *await claim(after, now_ms=later_ms)]
    assert [(new, source)] == [(held.shard, held.source) for held in claims]


@pytest.mark.parametrize("note", [b"", b"x y", b"1 soon", b"\xff", b"77 5", b"1 ", b"1 nan"])
async def test_an_odd_note_ends_no_worker(sharded: Store, note: bytes) -> None:
    """It goes, and nothing becomes of it."""
    await sharded.client.hset(keys.sources_moving(0), "odd", note)
    await sharded.claims.complete_moves()
    assert 0 == await sharded.client.hlen(keys.sources_moving(0))
    assert [] == await claim(sharded)


async def test_a_script_that_servers_forgot_runs_on_each(sharded: Store) -> None:
    """All calls are answered, in order."""
    script: Any = Claims(sharded.client, shards=SHARDS)._turn
    await sharded.client.execute_command("SCRIPT FLUSH")
    calls = [([keys.sources_hosts(shard)], [0, 10, host_in(shard)]) for shard in (0, 1, 2, 0)]
    assert [0, 0, 0, 10] == await script.run_all(calls)
