"""What goes wrong around a worker: Redis that answers BUSY, stalls, settings that change."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from chaos.redis_proxy import open_way
from service.articles.article import Entry
from service.articles.compose import compose
from service.articles.times import to_ms
from service.manage import webhooks
from service.settings import Settings
from service.storage.store import Store, open_store
from tests.deliver.working import (
    LEASES,
    delivered,
    delivering,
    leave_all,
    operations,
    publish,
    shared,
    shares,
    shown,
    subscribe,
    take_all,
)
from tests.loops import at_work
from tests.receiver import FakeReceiver
from tests.running import free_port
from tests.servers import serving
from tests.waiting import random_moment, wait_until
from workers.deliver.endpoint import WEBHOOK_LEASES, lease_of
from workers.deliver.worker import DeliverWorker

OLD = "1970-01-01T00:00:00Z"


@asynccontextmanager
async def outage(settings: Settings) -> AsyncIterator[None]:
    """A Redis that answers BUSY to everything, as one does that has a long script to run."""
    async with Redis.from_url(settings.redis_url) as busy, Redis.from_url(settings.redis_url) as us:
        await us.config_set("lua-time-limit", 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(_run_forever(busy))
            await wait_until(lambda: _is_busy(us))
            try:
                yield
            finally:
                await us.script_kill()
        await us.config_set("lua-time-limit", 5_000)


async def _is_busy(client: Redis) -> bool:
    try:
        await client.ping()
    except ResponseError as exc:
        return "BUSY" in str(exc)
    return False


async def _run_forever(client: Redis) -> None:
    with contextlib.suppress(ResponseError):
        await client.eval("while true do end", 0)


async def patched(store: Store, webhook_id: str, stop: asyncio.Event) -> None:
    """Change what changes nothing in what is sent, again and again."""
    for number in itertools.count():
        if stop.is_set():
            return
        with contextlib.suppress(ResponseError):
            await webhooks.change(store, webhook_id, {"rate_per_s": 900 + number % 10})
        await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("batch", [1, 7])
async def test_outages_at_any_moment_lose_nothing(
    store: Store,
    settings: Settings,
    receiver: FakeReceiver,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    """While it catches up, starts, takes over, stops, and while settings are changed; in order."""
    monkeypatch.setattr("workers.deliver.webhooks.event_log.MAX_EVENTS", 8)
    monkeypatch.setattr("workers.deliver.webhooks.registry.MAX_EVENTS", 8)
    monkeypatch.setattr("workers.deliver.webhooks.endpoint.READ", 3)
    monkeypatch.setattr("workers.runtime.LONGEST_WAIT_S", 0.2)
    webhook_id = await subscribe(store, receiver, batch=batch)
    expected = await publish(store, *(f"old{i}" for i in range(60)))
    for turn in range(4):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(patched(store, webhook_id, stop))
            async with delivering(store, settings):
                await random_moment(0.3)
                expected += await publish(store, *(f"n{turn} {i}" for i in range(10)))
                stop.set()
                async with outage(settings):
                    await random_moment(0.2)
                if turn % 2:
                    await random_moment(0.5)
    async with delivering(store, settings):

        async def all_there() -> bool:
            return set(expected) <= set(receiver.events)

        await wait_until(all_there, timeout_s=20)
    # What was in flight at a stop without Redis may have come again, and nothing else.
    assert len(receiver.events) - len(expected) <= 4 * batch
    assert expected == list(dict.fromkeys(receiver.events))
    assert 0 == (await shown(store, webhook_id))["gaps"]


async def test_endpoints_stay_if_the_worker_that_wanted_them_leaves(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """A worker that came and went before anything was handed over."""
    while (
        lease_of(webhook_id := await subscribe(store, receiver)) not in sorted(WEBHOOK_LEASES)[128:]
    ):
        await webhooks.remove(store, webhook_id)
    async with delivering(store, settings):
        receiver.delay_s = 0.3
        expected = await publish(store, *(f"n{i}" for i in range(5)))
        await shared(store, LEASES)
        await take_all(store, token="other", ttl_ms=60_000)

        async def hands_over() -> bool:
            (count,) = await shares(store)
            return count < LEASES

        # What has nothing in flight is left at once.
        await wait_until(hands_over)
        await leave_all(store, token="other")
        receiver.delay_s = 0
        assert expected == await delivered(receiver, 5)


@pytest.mark.parametrize("start", [OLD, "1969-01-01T00:00:00Z"])
async def test_from_before_all_time_is_from_the_beginning(
    store: Store, settings: Settings, receiver: FakeReceiver, start: str
) -> None:
    """A resume and a replay from such a time send every event."""
    webhook_id = await subscribe(store, receiver)
    expected = await publish(store, "a", "b")
    async with delivering(store, settings):
        await delivered(receiver, 2)
        await webhooks.resume(store, webhook_id, {"from": start}, now=datetime.now(UTC))
        await delivered(receiver, 4)
        await webhooks.replay(store, webhook_id, {"since": start})
        assert expected * 3 == await delivered(receiver, 6)


async def test_going_on_from_where_it_stands_sends_nothing_again(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Where that is, its worker knows."""
    webhook_id = await subscribe(store, receiver)
    receiver.delay_s = 0.02
    expected = await publish(store, *(f"n{i}" for i in range(20)))
    async with delivering(store, settings):
        await delivered(receiver, 3)
        await webhooks.resume(store, webhook_id, {}, now=datetime.now(UTC))
        assert expected == await delivered(receiver, 20)
    assert expected == receiver.seen


async def test_a_worker_that_stalls_notes_what_was_dropped_meanwhile(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Though it held all events in memory before."""
    webhook_id = await subscribe(store, receiver)
    await publish(store, "a")

    async def busy() -> None:
        async with open_store(settings, check=False) as other:
            await publish(other, *(f"n{i}" for i in range(20)))
            await other.event_stream.trim(0, min_id="0-0", max_entries=5)

    async with delivering(store, settings):
        await delivered(receiver, 1)
        thread = threading.Thread(target=lambda: asyncio.run(busy()))
        thread.start()
        # Not awaited: this loop is the worker's, and stands still.
        thread.join()
        await delivered(receiver, 6)
        await operations(store, "gap")
    assert 1 == (await shown(store, webhook_id))["gaps"]


async def test_what_failed_and_is_not_wanted_any_more_holds_up_no_other_shard(
    settings: Settings, receiver: FakeReceiver
) -> None:
    """With its selection changed while it waited to be sent again."""
    settings = settings.model_copy(update={"shards": 2, "webhook_retry_schedule_s": (1.5,)})
    async with open_store(settings, check=False) as store:
        await store.client.flushdb()
        webhook_id = await subscribe(store, receiver)
        receiver.answers = [500]
        async with delivering(store, settings):
            await publish(store, "old", category="Old")

            async def failed() -> bool:
                return bool((await shown(store, webhook_id))["failures"] == 1)

            await wait_until(failed)
            new = await publish(store, *(f"n{i}" for i in range(8)), category="New")
            await webhooks.change(store, webhook_id, {"categories": ["New"]})
            assert {*new} == {*await delivered(receiver, 8)}
        assert {0, 1} == {store.event_stream.shards.of(each.rpartition("_")[0]) for each in new}
        await store.client.flushdb()


@pytest.mark.usefixtures("hasty")
async def test_a_stream_that_was_trimmed_empty_is_no_gap(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Neither for a webhook that had everything nor for a new one."""
    first = await subscribe(store, receiver)
    await publish(store, "a")
    async with delivering(store, settings):
        await delivered(receiver, 1)
    far = f"{to_ms(datetime.now(UTC)) + 1_000}-0"
    assert (1, 0, 0) == await store.event_stream.trim(0, min_id=far, max_entries=100)
    second = await subscribe(store, receiver, secret=receiver.secret)
    async with delivering(store, settings):
        await shared(store, LEASES)
        await publish(store, "b")
        await delivered(receiver, 3)
    assert [0, 0] == [(await shown(store, each))["gaps"] for each in (first, second)]


async def test_a_replay_of_what_is_not_wanted_ends(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Nothing is sent, and it does not wait forever."""
    webhook_id = await subscribe(store, receiver, categories=["Sports"])
    await publish(store, "a", "b")
    async with delivering(store, settings):
        await webhooks.replay(store, webhook_id, {"since": OLD})

        async def over() -> bool:
            return not (await shown(store, webhook_id))["replaying"]

        await wait_until(over)
    assert [] == receiver.seen


async def test_a_topic_that_is_looked_at_during_the_end_is_no_fault(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The look waits for Redis while the worker is stopped, and is rendered before it ends."""
    caplog.set_level("INFO")
    async with serving(free_port()) as server, open_way(server.embedded.port) as way:
        url = f"redis://:{server.embedded.password}@127.0.0.1:{way.port}"
        changed = settings.model_copy(update={"redis_url": url})
        async with open_store(changed) as opened:
            (draft,) = [compose(Entry(guid="a", title="A", categories=("News",)), source="s")]
            await opened.articles.append([draft], now=datetime.now(UTC))
            worker = DeliverWorker(opened, changed, now=lambda: datetime.now(UTC))
            async with at_work(worker.run):

                async def has_begun() -> bool:
                    return "took endpoints" in caplog.messages

                await wait_until(has_begun)
                way.hold()
                topics = worker._subscriptions._topics
                topic = topics.join("http://news.example/feeds/news.rss", lambda: None)

                async def is_looked_at() -> bool:
                    return topic.timer is None

                await wait_until(is_looked_at)
                releasing = asyncio.get_running_loop().call_later(1.0, way.release)
            releasing.cancel()
            assert topic.etag
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]
