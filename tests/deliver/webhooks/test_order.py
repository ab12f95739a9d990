"""The deliver worker against real receivers: order, retries, and what ends a webhook."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.manage import webhooks
from service.settings import Settings
from service.storage.store import Store
from service.storage.webhooks import Ack, Settled
from tests.deliver.working import delivered, delivering, publish, subscribe
from tests.receiver import FakeReceiver
from tests.waiting import wait_until
from workers.deliver.endpoint import lease_of


async def test_events_come_in_order_and_signed(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Everything since the webhook was made, in the stream's order, with the event's id."""
    await publish(store, "before")
    await subscribe(store, receiver)
    expected = await publish(store, *(f"n{i}" for i in range(30)))
    async with delivering(store, settings):
        assert expected == await delivered(receiver, 30)
        more = await publish(store, "later")
        assert [*expected, *more] == await delivered(receiver, 31)
    assert 0 == receiver.forged
    assert "dateline.article.published.v1" == receiver.messages[0]["type"]
    assert {"type", "timestamp", "data"} == receiver.messages[0].keys()


@pytest.mark.parametrize("failure", [500, 503, 301, 404])
async def test_a_failure_is_retried_under_the_same_id_before_the_next(
    store: Store, settings: Settings, receiver: FakeReceiver, failure: int
) -> None:
    """Anything but 2xx: the same message again, and order is kept."""
    webhook_id = await subscribe(store, receiver)
    receiver.answers = [failure, failure]
    receiver.headers = {"Location": receiver.url}
    first, second = await publish(store, "a", "b")
    async with delivering(store, settings):
        await delivered(receiver, 2)
        assert [first, first, first, second] == receiver.seen

        async def statuses() -> bool:
            # The last is settled a moment after it arrived.
            attempts = await store.webhooks.attempts(webhook_id, limit=10)
            return [200, 200, failure, failure] == [a["status"] for a in attempts]

        await wait_until(statuses)


async def test_410_disables_and_keeps_the_cursor(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Gone is final: nothing is sent any more, and where it stood is still known."""
    webhook_id = await subscribe(store, receiver)
    receiver.answers = [410]
    before = await store.webhooks.state(webhook_id)
    async with delivering(store, settings):
        await publish(store, "a", "b")

        async def disabled() -> str:
            return (await store.webhooks.state(webhook_id)).disabled

        assert "the receiver answered 410 Gone" == await wait_until(disabled)
    assert 1 == len(receiver.seen)
    assert before.cursors == (await store.webhooks.state(webhook_id)).cursors


async def test_failing_too_long_disables(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Past WEBHOOK_DISABLE_AFTER_S of nothing but failures the webhook is disabled, and says so."""
    webhook_id = await subscribe(store, receiver)
    receiver.answers = [500] * 50
    await publish(store, "a")
    async with delivering(store, settings.model_copy(update={"webhook_disable_after_s": 0.1})):

        async def shown() -> dict[str, object] | None:
            found = (await webhooks.all_public(store))[0]
            return found if found["disabled"] else None

        found = await wait_until(shown)
    assert isinstance(found, dict)
    assert (webhook_id, "disabled") == (found["id"], found["state"])
    assert str(found["disabled"]).startswith("every attempt failed since ")


async def test_a_receiver_that_hangs_is_a_failure_after_the_timeout(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """No answer in WEBHOOK_TIMEOUT_S is retried; another webhook is not held up meanwhile."""
    webhook_id = await subscribe(store, receiver)
    receiver.delay_s = 1
    async with FakeReceiver() as healthy, delivering(store, settings):
        await subscribe(store, healthy)
        await publish(store, "a")
        await delivered(healthy, 1)

        async def noted() -> list[dict[str, str | int]]:
            return await store.webhooks.attempts(webhook_id, limit=1)

        attempts = await wait_until(noted)
    assert isinstance(attempts, list)
    assert "no answer in 0.5 s" == attempts[0]["error"]


async def test_a_receiver_that_is_down_gets_all_when_it_is_back(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Refused connections are retried; nothing is left out."""
    webhook_id = await subscribe(store, receiver)
    await receiver.close()
    expected = await publish(store, "a", "b", "c")
    async with delivering(store, settings):

        async def failing() -> bool:
            return (await store.webhooks.state(webhook_id)).failures >= 2

        await wait_until(failing)
        await receiver.open()
        assert expected == await delivered(receiver, 3)
        assert 0 == (await store.webhooks.state(webhook_id)).failures


@pytest.mark.usefixtures("hasty")
async def test_only_what_matches_is_sent_and_the_cursor_passes_the_rest(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Categories include those below; what does not match moves the cursor."""
    webhook_id = await subscribe(store, receiver, categories=["Media Center"])
    (wanted,) = await publish(store, "in", category="Media Center/Coalition News")
    await publish(store, "out", category="Sports")
    newest = await store.event_stream.last_id(0)

    async def passed() -> bool:
        return (await store.webhooks.state(webhook_id)).cursors[0] == newest

    async with delivering(store, settings):
        assert [wanted] == await delivered(receiver, 1)
        await wait_until(passed)
    assert [wanted] == receiver.seen


async def test_private_addresses_are_refused_unless_allowed(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Without ALLOWED_NETWORKS no connection is made to loopback."""
    webhook_id = await subscribe(store, receiver)
    await publish(store, "a")
    async with delivering(store, settings.model_copy(update={"allowed_networks": ()})):

        async def noted() -> list[dict[str, str | int]]:
            return await store.webhooks.attempts(webhook_id, limit=1)

        attempts = await wait_until(noted)
    assert isinstance(attempts, list)
    assert "DATELINE_ALLOWED_NETWORKS" in attempts[0]["error"]
    assert [] == receiver.seen


async def test_a_test_message_is_sent_ahead_of_everything(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """`webhooks test` sends one signed message of a separate type, once."""
    webhook_id = await subscribe(store, receiver)
    message_id = await webhooks.request_test(store, webhook_id)
    (event_id,) = await publish(store, "a")
    async with delivering(store, settings):
        assert [message_id, event_id] == await delivered(receiver, 2)
    assert "dateline.webhook.test.v1" == receiver.messages[0]["type"]


async def test_a_rotated_key_signs_from_the_next_message_on(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Without a restart; without an overlap by the new key alone."""
    webhook_id = await subscribe(store, receiver)
    async with delivering(store, settings):
        await publish(store, "a")
        await delivered(receiver, 1)
        made = await webhooks.rotate(store, webhook_id, {"overlap_s": 0}, now=datetime.now(UTC))
        receiver.secret = made["secret"]
        await publish(store, "b")
        await delivered(receiver, 2)
    shown = await webhooks.all_public(store)
    assert "whsec_" not in str(shown)


async def test_a_removed_webhook_gets_nothing_more(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Once a worker knows of the removal nothing is sent, and no keys are left."""
    webhook_id = await subscribe(store, receiver)
    async with delivering(store, settings):
        await publish(store, "a")
        await delivered(receiver, 1)
        await webhooks.remove(store, webhook_id)
        async with FakeReceiver() as other:
            await subscribe(store, other)
            await publish(store, "b")
            await delivered(other, 1)
            # Who knows the new webhook knows of the removal before it.
            seen = len(receiver.seen)
            await publish(store, "c")
            await delivered(other, 2)
    assert seen == len(receiver.seen)
    assert [] == [key async for key in store.client.scan_iter(match=f"*{webhook_id}*")]


async def test_a_second_worker_waits_and_takes_over(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Two workers send nothing twice; when one stops, the other continues."""
    await subscribe(store, receiver)
    async with delivering(store, settings):
        first = await publish(store, "a")
        await delivered(receiver, 1)
        async with delivering(store, settings):
            second = await publish(store, "b")
            await delivered(receiver, 2)
    async with delivering(store, settings):
        third = await publish(store, "c")
        await delivered(receiver, 3)
    assert [*first, *second, *third] == receiver.seen


async def test_a_worker_whose_lease_was_taken_cannot_settle(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """A stopped process that wakes up late moves no cursor: its epoch is over."""
    webhook_id = await subscribe(store, receiver)
    name, shard = lease_of(webhook_id), store.webhooks.shard_of(webhook_id)
    old = await store.leases.take(name, token="old", ttl_ms=60_000, shard=shard)
    assert old
    await store.leases.give_up(old)
    assert await store.leases.take(name, token="new", ttl_ms=1, shard=shard)
    ack = Ack(endpoint_id=webhook_id, fields={"cursor:0": "9-9"})
    assert [Settled.LOST] == await store.webhooks.settle([(old, ack)], counters={})
    assert "9-9" not in (await store.webhooks.state(webhook_id)).cursors.values()


async def test_an_entry_that_is_no_event_stops_nobody(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """A stream entry that is not an event is skipped."""
    await subscribe(store, receiver)
    broken = {"id": "x", "type": "dateline.article.published.v1", "subject": "s", "time": "t"}
    await store.client.xadd("dateline:{0}:events", {**broken, "data": "{"})
    await store.client.xadd("dateline:{0}:events", {"stray": "1"})
    expected = await publish(store, "a")
    async with delivering(store, settings):
        assert expected == await delivered(receiver, 1)
