"""What fails, is given up, sent again, or lost: operators are always notified."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.errors import InvalidInput
from service.manage import webhooks
from service.settings import Settings
from service.storage.store import Store
from tests.deliver.working import delivered, delivering, operations, publish, shown, subscribe
from tests.receiver import FakeReceiver
from tests.waiting import wait_until


async def resume(store: Store, webhook_id: str, start: str) -> dict[str, object]:
    """As the API does it."""
    return await webhooks.resume(store, webhook_id, {"from": start}, now=datetime.now(UTC))


async def disabled(store: Store, settings: Settings, receiver: FakeReceiver) -> str:
    """A webhook that is disabled, because its receiver answered 410 to the first event; its id."""
    webhook_id = await subscribe(store, receiver)
    receiver.answers = [410]
    await publish(store, "first")
    async with delivering(store, settings):

        async def gone() -> bool:
            return (await shown(store, webhook_id))["state"] == "disabled"

        await wait_until(gone)
    return webhook_id


@pytest.mark.parametrize("start", ["cursor", "now", "time", "event"])
async def test_a_disabled_webhook_resumes_where_the_order_says(
    store: Store, settings: Settings, receiver: FakeReceiver, start: str
) -> None:
    """Where it stood, now, at a time, or after an event; what came meanwhile was kept."""
    webhook_id = await disabled(store, settings, receiver)
    later = await publish(store, "second", "third")
    first = (await store.event_stream.newest(0, count=9))[0]
    given = {"time": first.time, "event": later[0]}.get(start, start)
    expected = {
        "cursor": [first.id, *later], "now": [], "time": [first.id, *later], "event": later[1:]
    }[start]  # fmt: skip
    async with delivering(store, settings):
        await resume(store, webhook_id, given)

        async def active() -> bool:
            return (await shown(store, webhook_id))["state"] == "active"

        await wait_until(active)
        expected += await publish(store, "last")
        assert expected == await delivered(receiver, len(expected))
    await operations(store, "disabled")


async def test_what_comes_during_a_resume_is_not_lost(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """An order that no worker has seen yet waits for one."""
    webhook_id = await disabled(store, settings, receiver)
    await resume(store, webhook_id, "now")
    assert "resuming" == (await shown(store, webhook_id))["state"]
    expected = await publish(store, "a")
    async with delivering(store, settings):
        assert expected == await delivered(receiver, 1)


async def test_operators_are_notified_of_failing_and_recovered(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """At the third failure in a row, and at the first success after that; as CloudEvents."""
    webhook_id = await subscribe(store, receiver)
    receiver.answers = [500] * 4
    await publish(store, "a")
    async with delivering(store, settings):
        await delivered(receiver, 1)
        failing, recovered = await operations(store, "failing", "recovered")
    assert webhook_id == failing["subject"] == failing["data"]["webhook"]
    assert (3, 500) == (failing["data"]["failures"], failing["data"]["status"])
    assert failing["data"]["failing_since"] == recovered["data"]["failing_since"]
    assert {"specversion", "id", "source", "type", "time", "data"} <= failing.keys()


async def test_skip_gives_up_after_the_schedule_and_goes_on(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """An event that is given up is in the dead letters, and can be sent again from there."""
    webhook_id = await subscribe(store, receiver, on_failure="skip")
    receiver.answers = [500] * 3
    started = datetime.now(UTC).isoformat()
    first, second = await publish(store, "a", "b")
    async with delivering(store, settings):
        assert [second] == await delivered(receiver, 1)
        (letter,) = await store.webhooks.dead_letters(webhook_id, limit=10)
        assert (first, 1, 500) == (letter["message_id"], letter["events"], letter["status"])
        made = await webhooks.replay(store, webhook_id, {"failures_since": started})
        assert {"ranges": 1} == made
        assert [second, first] == await delivered(receiver, 2)
    assert [first] * 3 == receiver.seen[:3]


async def test_replays_send_the_same_ids_beside_what_comes(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """One event, a range, and what is new meanwhile; replays survive a change of workers."""
    webhook_id = await subscribe(store, receiver)
    ids = await publish(store, *(f"n{i}" for i in range(6)))
    async with delivering(store, settings):
        await delivered(receiver, 6)
        await webhooks.replay(store, webhook_id, {"event": ids[2]})
        assert [*ids, ids[2]] == await delivered(receiver, 7)
    events = await store.event_stream.newest(0, count=9)
    since = {"since": events[0].time}
    assert {"ranges": 1} == await webhooks.replay(store, webhook_id, since)
    assert (await shown(store, webhook_id))["replaying"]
    (new,) = await publish(store, "new")
    async with delivering(store, settings):
        await delivered(receiver, 14)

        async def over() -> bool:
            return not (await shown(store, webhook_id))["replaying"]

        await wait_until(over)
    assert sorted([*ids, new]) == sorted(receiver.ids[7:])
    assert ids == [message_id for message_id in receiver.ids[7:] if message_id != new]


async def test_many_replays_wait_for_each_other(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """In the order in which they were asked for."""
    webhook_id = await subscribe(store, receiver)
    ids = await publish(store, "a", "b", "c")
    async with delivering(store, settings):
        await delivered(receiver, 3)
        for event_id in reversed(ids):
            await webhooks.replay(store, webhook_id, {"event": event_id})
        assert [*ids, *reversed(ids)] == await delivered(receiver, 6)


@pytest.mark.parametrize(
    ("fields", "match"),
    [({}, "one of event"), ({"event": "x", "since": "y"}, "one of event"),
     ({"event": "x_1"}, "x_1"),
     ({"since": "yesterday"}, "yesterday"), ({"event": 5}, "5"), ({"nope": 1}, "nope"),
     ({"since": "2026-01-05T12:00:00Z", "until": "x"}, "until"),
     ({"failures_since": "2026-01-05T12:00:00Z", "until": "2026-01-05T12:00:00Z"}, "one of")],
)  # fmt: skip
async def test_wrong_replays_are_refused(
    store: Store, receiver: FakeReceiver, fields: dict[str, object], match: str
) -> None:
    """The error names what is wrong."""
    webhook_id = await subscribe(store, receiver)
    with pytest.raises(InvalidInput, match=match):
        await webhooks.replay(store, webhook_id, fields)


async def test_an_event_that_the_webhook_does_not_get_is_not_replayed(
    store: Store, receiver: FakeReceiver
) -> None:
    """Said at once: it would be passed over in silence."""
    webhook_id = await subscribe(store, receiver, categories=["Sports"])
    (event_id,) = await publish(store, "a")
    with pytest.raises(InvalidInput, match="is not an event that this webhook gets"):
        await webhooks.replay(store, webhook_id, {"event": event_id})


async def test_events_dropped_before_they_were_sent_are_a_gap(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Counted, reported to operators, and passed; later events are delivered."""
    webhook_id = await subscribe(store, receiver)
    ids = await publish(store, *(f"n{i}" for i in range(9)))
    assert (0, 6, 0) == await store.event_stream.trim(0, min_id="0-0", max_entries=3)
    async with delivering(store, settings):
        assert ids[6:] == await delivered(receiver, 3)
        (gap,) = await operations(store, "gap")
    assert 1 == (await shown(store, webhook_id))["gaps"]
    attempts = await store.webhooks.attempts(webhook_id, limit=10)
    assert "dateline.webhook.gap.v1" == attempts[-1]["type"]
    assert {"after", "until", "shard", "webhook"} == gap["data"].keys()


async def test_trimming_behind_everybody_is_no_gap(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """What all have got may go."""
    webhook_id = await subscribe(store, receiver)
    await publish(store, "a", "b")
    async with delivering(store, settings):
        await delivered(receiver, 2)
    assert (2, 0, 0) == await store.event_stream.trim(0, min_id="9999999999999-0", max_entries=100)
    (event_id,) = await publish(store, "c")
    async with delivering(store, settings):
        assert event_id == (await delivered(receiver, 3))[-1]
    assert 0 == (await shown(store, webhook_id))["gaps"]


async def test_how_far_behind_a_webhook_is(
    store: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """Events that it wants and has not got, and since when the oldest waits."""
    webhook_id = await subscribe(store, receiver, categories=["Sports"])
    await publish(store, "a")
    await publish(store, "b", "c", category="Sports")
    found = await shown(store, webhook_id)
    assert (2, "active") == (found["waiting"], found["state"])
    assert found["waiting_since"]
    async with delivering(store, settings):
        await delivered(receiver, 2)
    found = await shown(store, webhook_id)
    assert (0, None) == (found["waiting"], found["waiting_since"])
