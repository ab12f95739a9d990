"""A backup that is restored in other shards: nothing is lost, doubled or sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.articles.aliases import aliases_of
from service.articles.article import Entry
from service.articles.compose import compose
from service.articles.encoded import encode
from service.articles.event import position
from service.articles.times import to_ms
from service.errors import InvalidSettings
from service.manage import sources, webhooks
from service.manage.erasure import erase
from service.settings import Settings
from service.sources.schedule import Poll
from service.storage import keys
from service.storage.backup_files import BackupFault
from service.storage.claims import Claimant
from service.storage.dead_events import dead_event
from service.storage.kept_keys import Stage, stages_of
from service.storage.partitions import home_of, partition_of
from service.storage.placement import _ENDPOINT_ROWS, ROWS, _rows, can_move
from service.storage.removals import mark_of
from service.storage.shards import ONE, Shards, numbered, shards_of, spread
from service.storage.store import Store, of_client
from service.storage.webhooks import Range
from service.websub.subscriber import HubSubscription
from tests.conftest import NOON
from tests.loops import at_work
from tests.receiver import FakeReceiver
from tests.storage.backups import backed_up, drafts, indexed, restored
from tests.storage.test_backup import example_keys, page
from tests.waiting import let_pass, wait_until
from workers.deliver.worker import DeliverWorker

KEPT = {Stage.FIRST, Stage.ARTICLES, Stage.EVENTS, Stage.ENDPOINTS, Stage.LAST}
LATER = NOON + timedelta(minutes=1)


@pytest.fixture
async def archive(store: Store) -> Store:
    """An archive with one shard, on one server or several."""
    await store.client.delete(keys.LAYOUT)
    return of_client(store.client, shards=ONE)


@pytest.mark.parametrize("name", example_keys())
def test_every_kept_key_of_a_shard_has_one_row(name: str) -> None:
    """A new key of shards must say where its records go when the shards are others."""
    key = example_keys()[name].replace("{3}", "{7}")
    is_kept = bool(KEPT.intersection(stages_of(key)))
    rest = key.partition("}:")[2]
    rows = [pattern for pattern, _ in (*_rows(), *_ENDPOINT_ROWS) if pattern.fullmatch(rest)]
    if "{7}" in key:
        assert int(is_kept) == len(rows), f"placement.py: {key}"


def test_every_row_names_a_key() -> None:
    """Nothing is left behind by a change."""
    names = [key.partition("}:")[2] for key in example_keys().values()]
    assert len(ROWS) == sum(
        any(pattern.fullmatch(name) for name in names) for pattern, _ in _rows()
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(1, 1, True), (3, 6, True), (3, 9, True), (2, 3, False), (6, 3, False), (1, 0, False)],
)
def test_shards_can_be_a_multiple(before: int, after: int, expected: bool) -> None:
    """Their streams are split, never joined: entries of two would have one id."""
    assert expected is can_move(before, after)


@pytest.mark.parametrize("after", [numbered(2), numbered(6), spread(3), spread(4), spread(1)])
async def test_feeds_articles_and_events_are_the_same(
    base: Path, archive: Store, target: Store, settings: Settings, after: Shards
) -> None:
    """The same bytes; each article and each event in the shard of its id, with its entry id."""
    titles = [f"Story {n}" for n in range(40)]
    await archive.articles.append(drafts(*titles), now=NOON)
    await archive.articles.append(drafts("Story 3", title="Another"), now=NOON)
    await archive.articles.withdraw(drafts("Story 7")[0].id, now=NOON)
    await indexed(archive, settings)
    gone = f"/articles/{drafts('Story 7')[0].id}"
    paths = ["/feeds/all.rss", "/feeds/media/news/2017/12/22.json", "/feeds.opml", gone]
    before = [await page(archive, settings, path) for path in paths]
    events = [(e.entry_id, e.id, e.data) for e in await archive.event_stream.newest(0, count=99)]
    await backed_up(archive, base / "backup")
    await restored(target, base / "backup", shards=after)
    moved = of_client(target.client, shards=after)
    assert after == await shards_of(target.client)
    its_settings = settings.model_copy(update={"shards": len(after)})
    assert before == [await page(moved, its_settings, path) for path in paths]
    split = [e for shard in after for e in await moved.event_stream.newest(shard, count=99)]
    assert sorted(events) == sorted((e.entry_id, e.id, e.data) for e in split)
    assert all(e.shard == after.of(e.subject) for e in split)
    ids = [draft.id for draft in drafts(*titles)]
    assert None not in await moved.articles.get(ids)
    (receipt, another) = await moved.articles.append(
        drafts("Story 1", "Story 99"), now=datetime.now(UTC)
    )
    assert ("unchanged", "created") == (receipt.status, another.status)


@pytest.mark.parametrize("after", [numbered(2), spread(3), Shards((5,))])
async def test_sources_are_in_the_shards_of_their_hosts(
    base: Path, archive: Store, target: Store, after: Shards
) -> None:
    """With their polls, due when they were; subscriptions where their ids say, pushes once."""
    for number in range(20):
        fields = {"url": f"http://h{number}.example/f", "paused": number > 15}
        source, _ = await sources.add(archive, fields, now=NOON)
        poll = orjson.dumps(Poll(etag=str(number)))
        await archive.client.hset(keys.sources_polls(0), source.id, poll)
        await archive.our_subscriptions.put(
            HubSubscription(id=f"s{number}", source_id=source.id, hub="h", topic="t", secret="x")
        )
        await archive.our_subscriptions.push(source.id, b"x", "text/xml", host=source.host)
    before = await archive.sources.all()
    await backed_up(archive, base / "backup")
    await restored(target, base / "backup", shards=after)
    moved = of_client(target.client, shards=after)
    assert before == await moved.sources.all()
    for source in before:
        assert await archive.sources.poll(source.id) == await moved.sources.poll(source.id)
    assert all([await moved.our_subscriptions.get(f"s{number}") for number in range(20)])
    claims, _ = await moved.claims.claim(
        claimant=Claimant(ordinal=0, token="t"), now_ms=to_ms(NOON), limit=99,
        lapse_ms=to_ms(LATER), spacing_ms=0,
    )  # fmt: skip
    assert 16 == len(claims)
    assert all(after.of(claim.source.host) == claim.shard for claim in claims)
    assert sorted(source.id for source in before) == sorted(
        await moved.our_subscriptions.drop_pushes()
    )


async def test_streams_go_on_after_their_last_entry(
    base: Path, archive: Store, target: Store
) -> None:
    """Also where its part of the stream is empty; and what was trimmed counts for all."""
    await archive.articles.append(drafts("One"), now=NOON)
    last_id = await archive.event_stream.last_id(0)
    client: Any = archive.client
    await client.set(keys.trimmed(0), "5-0")
    await backed_up(archive, base / "backup")
    await restored(target, base / "backup", shards=numbered(4))
    moved = of_client(target.client, shards=numbered(4))
    infos = [await target.client.execute_command("XINFO STREAM", keys.stream(n)) for n in range(4)]
    assert [last_id.encode()] * 4 == [info["last-generated-id"] for info in infos]
    assert ["5-0"] * 4 == [await moved.event_stream.trimmed(shard) for shard in range(4)]


def place(entry_id: bytes) -> tuple[int, int]:
    """The order of entries."""
    return position(entry_id.decode())


async def test_groups_go_on_where_they_were(base: Path, archive: Store, target: Store) -> None:
    """What another service has read is not read again, what is pending is pending once."""
    await archive.articles.append(drafts(*(f"Story {n}" for n in range(20))), now=NOON)
    client: Any = archive.client
    await client.xgroup_create(keys.stream(0), "other", id="0")
    read = await client.xreadgroup("other", "c-1", {keys.stream(0): ">"}, count=12)
    ids = [entry_id for entry_id, _ in read[0][1]]
    await client.xack(keys.stream(0), "other", *ids[:5])
    await backed_up(archive, base / "backup")
    shards = numbered(3)
    await restored(target, base / "backup", shards=shards)
    pending, new = [], []
    for shard in shards:
        name = keys.stream(shard)
        pending += [
            entry_id
            for _, entries in await target.client.xreadgroup("other", "c-1", {name: "0"}, count=99)
            for entry_id, _ in entries
        ]
        new += [
            entry_id
            for _, entries in await target.client.xreadgroup("other", "c-1", {name: ">"}, count=99)
            for entry_id, _ in entries
        ]
    assert ids[5:] == sorted(pending, key=place)
    assert 8 == len(new)
    assert place(max(ids, key=place)) < place(min(new, key=place))


async def test_no_webhook_is_sent_anything_twice(
    base: Path, archive: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """What was delivered is not sent again; what was not, and what comes after it, is sent once."""
    added = await webhooks.add(archive, {"url": receiver.url}, now=NOON)
    receiver.secret = added["secret"]
    titles = [f"Story {n}" for n in range(20)]
    await archive.articles.append(drafts(*titles[:10]), now=NOON)

    async def are_sent(count: int) -> bool:
        return len(receiver.seen) >= count

    async with at_work(DeliverWorker(archive, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(lambda: are_sent(10))
    await archive.articles.append(drafts(*titles[10:15]), now=NOON)
    await backed_up(archive, base / "backup")
    shards = numbered(4)
    await restored(target, base / "backup", shards=shards)
    moved = of_client(target.client, shards=shards)
    async with at_work(DeliverWorker(moved, settings, now=lambda: datetime.now(UTC)).run):
        await moved.articles.append(drafts(*titles[15:]), now=datetime.now(UTC))
        await wait_until(lambda: are_sent(20))
        await let_pass(0.3)
    assert sorted(titles) == sorted(message["data"]["title"] for message in receiver.messages)


async def test_replays_and_dead_letters_name_the_events_that_they_named(
    base: Path, archive: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """A replay under way goes on after what was sent, and ends; failures can be sent again."""
    added = await webhooks.add(archive, {"url": receiver.url}, now=NOON)
    receiver.secret = added["secret"]
    titles = [f"Story {n}" for n in range(12)]
    await archive.articles.append(drafts(*titles), now=NOON)
    events = await archive.event_stream.newest(0, count=99)
    last = events[-1].entry_id
    client: Any = archive.client
    state = {"cursor:0": last, "replay": events[3].entry_id, "until": f"cursor:0 {last}"}
    await client.hset(keys.endpoint(0, added["id"]), mapping=state)
    await client.rpush(keys.replays(0, added["id"]), str(Range(0, "0-0", events[7].entry_id)))
    letter = {"shard": 0, "first": events[9].entry_id, "last": events[9].entry_id, "events": 1}
    gone = {"shard": 0, "first": "5-1", "last": "5-1", "events": 1}
    for each in (gone, letter):
        await client.xadd(keys.dead_letters(0, added["id"]), {**each, "message_id": "x"})
    await backed_up(archive, base / "backup")
    shards = numbered(3)
    await restored(target, base / "backup", shards=shards)
    moved = of_client(target.client, shards=shards)
    assert "" == (await moved.webhooks.state(added["id"])).until
    letters = await moved.webhooks.dead_letters(added["id"], limit=9)
    assert [shards.of(events[9].subject), 0] == [each["shard"] for each in letters]

    async def is_over() -> bool:
        return not (await moved.webhooks.state(added["id"])).replays

    async with at_work(DeliverWorker(moved, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(is_over)
    sent = sorted(message["data"]["title"] for message in receiver.messages)
    assert sorted(titles[4:8]) == sent
    order = {"failures_since": "2020-01-01T00:00:00Z"}
    await webhooks.replay(moved, added["id"], order)
    async with at_work(DeliverWorker(moved, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(is_over)
    assert [titles[9]] == [message["data"]["title"] for message in receiver.messages[4:]]


def aliased(number: int, guid: str, source: str) -> Any:
    """An article that is known by its link, too."""
    link = f"https://{source}/story/{number}"
    entry = Entry(guid=guid, title=f"Story {number}", url=link, published=NOON)
    draft = compose(entry, source=source)
    return encode(draft, aliases=aliases_of(draft, is_own_link=True))


async def test_an_article_with_another_guid_is_still_the_same(
    base: Path, archive: Store, target: Store
) -> None:
    """Aliases are in the shard of their source; those of an erased article keep it away."""
    sources = [f"s{n}.example" for n in range(12)]
    first = [aliased(n, f"guid {n}", source) for n, source in enumerate(sources)]
    await archive.articles.append(first, now=NOON)
    await erase(archive, [first[0].id], now=NOON)
    await backed_up(archive, base / "backup")
    shards = numbered(4)
    await restored(target, base / "backup", shards=shards)
    moved = of_client(target.client, shards=shards)
    again = [aliased(n, f"new guid {n}", source) for n, source in enumerate(sources)]
    receipts = await moved.articles.append(again, now=LATER)
    assert [article.id for article in first] == [receipt.id for receipt in receipts]
    assert ["erased", *["unchanged"] * 11] == [receipt.status for receipt in receipts]
    buckets = [
        await target.client.hlen(name.decode())
        async for name in target.client.scan_iter(match="dateline:{*}:aliases:*", count=100)
    ]
    assert 11 * 2 < sum(buckets) < 12 * 4


async def test_what_retention_removed_stays_away(base: Path, archive: Store, target: Store) -> None:
    """Its mark does not say which article it is of, so each part has it."""
    (draft,) = drafts("One")
    client: Any = archive.client
    key, field = mark_of(draft.id, 0)
    await client.hset(key, field, "2026-01-01")
    await backed_up(archive, base / "backup")
    await restored(target, base / "backup", shards=numbered(2))
    moved = of_client(target.client, shards=numbered(2))
    (receipt,) = await moved.articles.append([draft], now=NOON, readmit=False)
    assert "removed" == receipt.status


async def test_dead_events_and_tries_are_with_their_event(
    base: Path, archive: Store, target: Store
) -> None:
    """A worker that comes next finds them where it looks."""
    await archive.articles.append(drafts(*(f"Story {n}" for n in range(6))), now=NOON)
    events = await archive.event_stream.newest(0, count=9)
    for event in events:
        dead = dead_event(
            group="aggregate", article_id=event.subject, entry_id=event.entry_id, reason="x",
            tries=1, now=NOON,
        )  # fmt: skip
        await archive.dead_events.put(dead)
        await archive.dead_events.begin_try("aggregate", event, process="a")
    await backed_up(archive, base / "backup")
    shards = numbered(3)
    await restored(target, base / "backup", shards=shards)
    moved = of_client(target.client, shards=shards)
    await moved.dead_events.remove("aggregate", [event.subject for event in events])
    assert [] == await moved.dead_events.all()
    split = [e for shard in shards for e in await moved.event_stream.newest(shard, count=9)]
    tries = [await moved.dead_events.begin_try("aggregate", e, process="b") for e in split]
    assert [2] * 6 == tries


async def test_what_no_version_wrote_costs_itself_alone(
    base: Path, archive: Store, target: Store, settings: Settings
) -> None:
    """Entries, aliases, tries and states of endpoints as other programs leave them."""
    await archive.articles.append(drafts("One"), now=NOON)
    client: Any = archive.client
    await client.xadd(keys.stream(0), {b"subject": b"\xff\xfe", "type": "x"})
    await client.xadd(keys.stream(0), {"other": "1"})
    await client.hset(keys.aliases(0, 1), mapping={b"12345678": b"short", b"": b""})
    await client.hset(keys.event_tries(0), mapping={"aggregate nothing": "a", "": "b"})
    await client.zadd(keys.gone(0, "all"), {b"\xff": 1})
    for number, order in enumerate(("x", "0 x y", "0 0-0 y")):
        name = f"wh_{number}"
        await client.hset(keys.endpoints(0, partition_of(name)), name, "{}")
        await client.hset(keys.endpoint(0, name), mapping={"cursor:0": "1-0", "resume": "["})
        await client.rpush(keys.replays(0, name), order)
        await client.xadd(keys.dead_letters(0, name), {"shard": "0", "first": "x"})
        letter = {"shard": "0", "first": "1-1", "last": order}
        await client.xadd(keys.dead_letters(0, name), letter)
    await backed_up(archive, base / "backup")
    await restored(target, base / "backup", shards=numbered(2))
    moved = of_client(target.client, shards=numbered(2))
    assert 3 == sum([await moved.event_stream.length(shard) for shard in range(2)])
    assert None not in await moved.articles.get([draft.id for draft in drafts("One")])
    assert 3 == await moved.webhooks.count()
    assert ["x"] == [
        reply.decode() for reply in await target.client.execute_command(
            "LRANGE", keys.replays(home_of("wh_0", numbered(2)), "wh_0"), 0, -1
        )
    ]  # fmt: skip


async def test_shards_that_do_not_fit_are_refused(
    base: Path, archive: Store, target: Store
) -> None:
    """Fewer, or no multiple; and a restore that was cut goes on with the same ones alone."""
    await archive.articles.append(drafts("One"), now=NOON)
    pair = of_client(archive.client, shards=numbered(2))
    await backed_up(pair, base / "two", shards=numbered(2))
    for count in (1, 3):
        with pytest.raises(InvalidSettings, match="2, or a multiple of that"):
            await restored(target, base / "two", shards=numbered(count))
    manifest = await backed_up(archive, base / "backup")
    await target.client.execute_command("SET", keys.RESTORING, f"{manifest.id} 0 1")
    with pytest.raises(BackupFault, match="that one again"):
        await restored(target, base / "backup")
    await restored(target, base / "backup", shards=numbered(2))
    assert None is await target.client.get(keys.RESTORING)
