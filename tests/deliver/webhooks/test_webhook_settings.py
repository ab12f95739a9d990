"""What each endpoint asked for: batches, formats, limits, selections; changed while at work."""

from __future__ import annotations

import time

import orjson
import pytest

from service.errors import InvalidInput
from service.manage import views, webhooks
from service.settings import Settings
from service.storage.store import Store
from tests.conftest import NOON
from tests.deliver.working import delivered, delivering, publish, shown, subscribe
from tests.receiver import FakeReceiver
from tests.waiting import wait_until


async def came(receiver: FakeReceiver, count: int) -> list[str]:
    """Ids of events, those in batches one by one, once there are that many."""

    async def enough() -> bool:
        return len(receiver.events) >= count

    await wait_until(enough)
    return receiver.events


async def test_a_batch_takes_what_waits_up_to_its_size(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """In order, each event once, in as few requests as it takes."""
    await subscribe(store, receiver, batch=10)
    expected = await publish(store, *(f"n{i}" for i in range(25)))
    async with delivering(store, settings):
        assert expected == await came(receiver, 25)
    assert [10, 10, 5] == [len(message["data"]) for message in receiver.messages]
    assert 0 == receiver.forged


async def test_a_batch_that_fails_comes_again_as_it_was(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """The same events under the same id, though more have come; over a change of workers, too."""
    webhook_id = await subscribe(store, receiver, batch=10)
    receiver.answers = [500]
    expected = await publish(store, "a", "b")
    slow = settings.model_copy(update={"webhook_retry_schedule_s": (0.5,)})
    async with delivering(store, slow):

        async def failed() -> bool:
            return (await shown(store, webhook_id))["failures"] == 1

        await wait_until(failed)
    expected += await publish(store, "c")
    async with delivering(store, slow):
        assert expected == await came(receiver, 3)
    first, second, _ = receiver.seen
    assert first == second
    assert [2, 1] == [len(message["data"]) for message in receiver.messages]


async def test_a_batch_lingers_for_more(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """One that is not full waits; what comes meanwhile goes with it; a full one goes at once."""
    await subscribe(store, receiver, batch=3, linger_ms=1_000)
    async with FakeReceiver() as witness, delivering(store, settings):
        await subscribe(store, witness)
        started = time.monotonic()
        await publish(store, "a")
        await delivered(witness, 1)
        await publish(store, "b")
        await came(receiver, 2)
        assert time.monotonic() - started > 0.9
        assert [2] == [len(message["data"]) for message in receiver.messages]
        await publish(store, "c", "d", "e")
        await came(receiver, 5)
        assert [2, 3] == [len(message["data"]) for message in receiver.messages]


async def test_cloudevents_are_signed_like_everything(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Their body is the event; the headers are those of Standard Webhooks."""
    await subscribe(store, receiver, format="cloudevents", payload="id")
    (event_id,) = await publish(store, "a")
    async with delivering(store, settings):
        await delivered(receiver, 1)
    (event,) = receiver.messages
    assert (event_id, "1.0") == (event["id"], event["specversion"])
    assert "revision" in event["data"]
    assert 0 == receiver.forged


async def test_a_rate_limit_holds_over_a_change_of_workers(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """No more requests than it allows, whichever worker sends them."""
    await subscribe(store, receiver, rate_per_s=10)
    await publish(store, *(f"n{i}" for i in range(30)))
    started = time.monotonic()
    async with delivering(store, settings):
        await delivered(receiver, 5)
    async with delivering(store, settings):
        await delivered(receiver, 20)
    assert 20 / (time.monotonic() - started) <= 10 + 10 / (time.monotonic() - started)
    assert time.monotonic() - started < 10


async def test_selections_are_followed(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """By query and by view, and anew from the moment that they change."""
    view = {"name": "foggy", "query": "q=fog"}
    await views.put(store, view, now=NOON)
    webhook_id = await subscribe(store, receiver, view="foggy")
    async with delivering(store, settings):
        await publish(store, "Rain")
        fog = await publish(store, "Fog one")
        await delivered(receiver, 1)
        await webhooks.change(store, webhook_id, {"view": None, "query": "q=rain"})

        async def changed() -> bool:
            await publish(store, f"Rain {time.monotonic()}")
            return len(receiver.ids) > 1

        await wait_until(changed)
    assert fog == receiver.ids[:1]
    titles = [message["data"]["title"].split()[0] for message in receiver.messages]
    assert {"Rain"} == set(titles[1:])


async def test_a_view_that_webhooks_follow_is_not_removed(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """They would silently get nothing more; and an unknown view is refused."""
    await views.put(store, {"name": "foggy", "query": "q=fog"}, now=NOON)
    webhook_id = await subscribe(store, receiver, view="foggy")
    with pytest.raises(InvalidInput, match=webhook_id):
        await views.remove(store, "foggy")
    with pytest.raises(InvalidInput, match="clear"):
        await subscribe(store, receiver, view="clear")
    await webhooks.remove(store, webhook_id)
    await views.remove(store, "foggy")


async def test_a_paused_webhook_gets_what_it_missed_when_it_goes_on(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Paused by its owner; the cursor stays."""
    webhook_id = await subscribe(store, receiver)
    async with FakeReceiver() as other, delivering(store, settings):
        await subscribe(store, other)
        await webhooks.change(store, webhook_id, {"paused": True})

        async def silent() -> bool:
            sent, expected = len(receiver.seen), len(other.ids)
            for number in range(3):
                await publish(store, f"n{number} {time.monotonic()}")
                await delivered(other, expected + number + 1)
            return len(receiver.seen) == sent

        await wait_until(silent)
        assert "paused" == (await shown(store, webhook_id))["state"]
        await webhooks.change(store, webhook_id, {"paused": False})
        await delivered(receiver, len(other.ids))
        assert other.ids == receiver.ids


async def test_custom_headers_and_answers_are_kept_in_the_log(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """The first 2 kB of an answer, its status and its time."""
    webhook_id = await subscribe(store, receiver, headers={"X-Team": "harbour"})
    receiver.answers = [500]
    await publish(store, "a")
    async with delivering(store, settings):
        await delivered(receiver, 1)
    newest, first = await store.webhooks.attempts(webhook_id, limit=10)
    assert (500, 1, 2_000) == (first["status"], first["attempt"], len(str(first["answer"])))
    assert (200, 2) == (newest["status"], newest["attempt"])
    assert "harbour" == receiver.request_headers[-1]["X-Team"]
    assert orjson.dumps(first)
