"""Consumer groups of the event stream: what is read, pending, claimed and needed."""

from __future__ import annotations

import pytest

from service.storage import keys
from service.storage.event_stream import AGGREGATE
from service.storage.store import Store
from tests.storage.test_storage import append, draft, home, neighbours


async def test_groups_survive_the_streams_deletion(store: Store) -> None:
    """NOGROUP and UNBLOCKED make it anew; making it twice is fine."""
    for _ in range(2):
        await store.event_stream.create_group(AGGREGATE)
    await store.client.delete(keys.stream(home(store)))
    assert [] == await store.event_stream.read_group(home(store), AGGREGATE, "c", count=5)
    await append(store, draft())
    assert 1 == len(await store.event_stream.read_group(home(store), AGGREGATE, "c", count=5))


async def pending(store: Store) -> int:
    """Events that were read and not acknowledged."""
    return sum(backlog.pending for backlog in await store.event_stream.backlogs())


async def test_what_was_trimmed_while_pending_is_acknowledged(store: Store) -> None:
    """On 6.2 and 7 alike, so that it does not come back forever; it is counted."""
    await store.event_stream.create_group(AGGREGATE)
    await append(store, *neighbours(store, 2))
    taken = await store.event_stream.read_group(home(store), AGGREGATE, "dead", count=5)
    await store.client.xtrim(keys.stream(home(store)), maxlen=0, approximate=False)
    stream = store.event_stream
    assert [] == await stream.read_pending(home(store), AGGREGATE, "dead", after="0-0", count=5)
    assert (2, 0) == (len(taken), await pending(store))
    assert 2 == (await store.counters())["events_lost_aggregate"]


async def test_claims_take_over_from_the_dead(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another consumer was given and never acknowledged; what vanished meanwhile, too."""
    monkeypatch.setattr("service.storage.event_stream.CLAIM_IDLE_MS", 0)
    await store.event_stream.create_group(AGGREGATE)
    await append(store, *neighbours(store, 2))
    taken = await store.event_stream.read_group(home(store), AGGREGATE, "dead", count=5)
    await store.client.xdel(keys.stream(home(store)), taken[0].entry_id)
    claimed = await store.event_stream.claim(home(store), AGGREGATE, "living", count=5)
    assert [taken[1].id] == [event.id for event in claimed]
    await store.event_stream.ack(AGGREGATE, claimed)
    assert [] == await store.event_stream.claim(home(store), AGGREGATE, "living", count=5)
    assert 0 == await pending(store)


async def test_what_a_group_needs(store: Store) -> None:
    """Its oldest pending entry, else the last one it was given."""
    await store.event_stream.create_group(AGGREGATE)
    assert "0-0" == await store.event_stream.needed_from(home(store), AGGREGATE)
    await append(store, *neighbours(store, 2))
    first, second = await store.event_stream.read_group(home(store), AGGREGATE, "c", count=5)
    assert first.entry_id == await store.event_stream.needed_from(home(store), AGGREGATE)
    await store.event_stream.ack(AGGREGATE, [first, second])
    assert second.entry_id == await store.event_stream.needed_from(home(store), AGGREGATE)


async def test_a_stream_that_is_gone_has_nothing_to_claim_and_nothing_is_needed(
    store: Store,
) -> None:
    """The sweep and the trim go on; the next read makes the group again."""
    await store.event_stream.create_group(AGGREGATE)
    await store.client.delete(keys.stream(home(store)))
    assert [] == await store.event_stream.claim(home(store), AGGREGATE, "c", count=5)
    assert "0-0" == await store.event_stream.needed_from(home(store), AGGREGATE)
