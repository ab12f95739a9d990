"""One bad webhook or subscription costs itself, whatever is stored of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.webhooks.selection import Selection
from tests.deliver.working import delivered, delivering, publish, registry_of, subscribe
from tests.receiver import FakeReceiver
from tests.waiting import wait_until
from workers.deliver import dispatcher, worker


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that made our code raise is tried again soon."""
    monkeypatch.setattr(dispatcher, "AFTER_BUG_S", 0.1)


async def until_at_fault(store: Store, endpoint_id: str) -> None:
    """Wait until the endpoint is reported."""

    async def is_reported() -> bool:
        faults = await store.faults.all(now=datetime.now(UTC))
        return ("endpoint", endpoint_id) in [(fault.kind, fault.name) for fault in faults]

    await wait_until(is_reported)


@pytest.mark.parametrize("key", [keys.endpoint, keys.attempts, keys.dead_letters, keys.replays])
async def test_a_key_of_the_wrong_type_costs_its_webhook(
    store: Store, settings: Settings, receiver: FakeReceiver, redis: Redis, key: object
) -> None:
    """Each of the keys that a webhook has; the others are sent everything, once."""
    bad = await subscribe(store, receiver)
    assert callable(key)
    name = key(store.webhooks.shard_of(bad), bad)
    await redis.delete(name)
    await redis.set(name, "planted")
    good = FakeReceiver()
    async with good, delivering(store, settings):
        await subscribe(store, good)
        sent = await publish(store, "1", "2", "3")
        assert sent == await delivered(good, 3)
        await until_at_fault(store, bad)
    await redis.delete(name)


@pytest.mark.parametrize("key", [keys.SUBSCRIBERS, keys.HUB_ASKED, keys.VIEWS, keys.VIEWS_CHANGED])
async def test_keys_of_the_hub_and_of_views_stop_no_webhook(
    store: Store, settings: Settings, receiver: FakeReceiver, redis: Redis, key: str
) -> None:
    """A key of the wrong type is reported, and costs what needs it alone."""
    await redis.set(key, "planted")
    await subscribe(store, receiver)
    async with delivering(store, settings):
        assert await publish(store, "1") == await delivered(receiver, 1)
        name = (
            "deliver views" if key in (keys.VIEWS, keys.VIEWS_CHANGED) else "deliver subscriptions"
        )
        await until_loop_at_fault(store, name)
    await redis.delete(key)


async def until_loop_at_fault(store: Store, name: str) -> None:
    """Wait until a loop is reported under this name."""

    async def is_reported() -> bool:
        faults = await store.faults.all(now=datetime.now(UTC))
        return ("loop", name) in [(fault.kind, fault.name) for fault in faults]

    await wait_until(is_reported)


async def test_subscriptions_that_could_not_be_read_are_read_later(
    store: Store, settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once their key is mended, without a restart."""
    monkeypatch.setattr(worker, "SAVE_EVERY_S", 0.01)
    await redis.set(keys.HUB_ASKED, "planted")
    async with delivering(store, settings):
        await until_loop_at_fault(store, "deliver subscriptions")
        await redis.delete(keys.HUB_ASKED)

        async def is_over() -> bool:
            return not await store.faults.all(now=datetime.now(UTC))

        await wait_until(is_over)


async def test_settings_that_cannot_be_read_cost_their_webhook(
    store: Store, settings: Settings, receiver: FakeReceiver, redis: Redis
) -> None:
    """A worker that starts, and one at work, serve the others."""
    await redis.hset(registry_of(store, "wh_before"), "wh_before", b"{")
    await subscribe(store, receiver)
    async with delivering(store, settings):
        (first,) = await publish(store, "1")
        assert [first] == await delivered(receiver, 1)
        await redis.hset(registry_of(store, "wh_after"), "wh_after", b"{")
        changes = keys.endpoints_changes(store.webhooks.shard_of("wh_after"))

        async def is_reported() -> bool:
            # Its partition may not have been loaded yet, and reads no changes before it is.
            await redis.xadd(changes, {"id": "wh_after"})
            faults = await store.faults.all(now=datetime.now(UTC))
            return ("endpoint", "wh_after") in [(fault.kind, fault.name) for fault in faults]

        await wait_until(is_reported)
        (second,) = await publish(store, "2")
        assert [first, second] == await delivered(receiver, 2)


async def test_a_hub_subscription_that_cannot_be_read_costs_itself(
    store: Store, settings: Settings, receiver: FakeReceiver, redis: Redis
) -> None:
    """Webhooks and other subscriptions of its worker are served."""
    await redis.hset(keys.SUBSCRIBERS, "sub_bad", b"{}")
    await redis.hset(keys.HUB_ASKED, "sub_worse", b"\xff")
    await subscribe(store, receiver)
    async with delivering(store, settings):
        (first,) = await publish(store, "1")
        assert [first] == await delivered(receiver, 1)


async def test_a_selection_that_makes_our_code_raise_costs_its_webhooks(
    store: Store, settings: Settings, receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other selections are matched with the event."""
    matches = Selection.matches

    def failing(self: Selection, *args: object) -> bool:
        if "bad" in self.categories:
            raise RuntimeError("planted")
        return matches(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Selection, "matches", failing)
    good = FakeReceiver()
    async with good, delivering(store, settings):
        await subscribe(store, receiver, categories=["bad", "news"])
        await subscribe(store, good, categories=["news"])
        sent = await publish(store, "1", "2")
        assert sent == await delivered(good, 2)
    assert [] == receiver.ids
