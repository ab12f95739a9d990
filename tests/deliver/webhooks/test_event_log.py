"""The events in memory: where they begin, what is forgotten, which webhooks are woken."""

from __future__ import annotations

import pytest

from service.articles.event import EVENT_TYPES, FIRST, Event, before
from service.storage.store import Store
from service.webhooks.selection import ALL_EVENTS
from workers.deliver.webhooks import event_log
from workers.deliver.webhooks.event_log import Backlog, EventLog
from workers.deliver.webhooks.selection_groups import SelectionGroups


def event(number: int, size: int = 2) -> Event:
    """The event of stream entry `number`-0, with so many bytes."""
    return Event(
        entry_id=f"{number}-0", shard=0, id=f"a_{number}", type=EVENT_TYPES[0], subject="a",
        time="2026-01-05T12:00:00Z", data=b" " * size,
    )  # fmt: skip


def log_of(store: Store, *numbers: int) -> EventLog:
    """A log that begins with these events."""
    start = before(f"{numbers[0]}-0")
    return EventLog(
        Backlog(0, store.event_stream), 0, [event(number) for number in numbers], start=start
    )


@pytest.mark.parametrize(
    ("entry_id", "expected"),
    [("5-0", "4-18446744073709551615"), ("5-1", "5-0"), ("5", "4-18446744073709551615"),
     ("1-0", "0-18446744073709551615"), ("0-2", "0-1"), ("0-1", FIRST), ("0-0", FIRST)],
)  # fmt: skip
def test_the_id_before_another(entry_id: str, expected: str) -> None:
    """Before the first of a millisecond is the last possible one of the millisecond before."""
    assert expected == before(entry_id)


async def test_one_that_stands_right_before_the_log_finds_all_in_it(store: Store) -> None:
    """And one that stands a little earlier does not: there may be events between."""
    log = log_of(store, 5, 6)
    assert 0 == log.offset_after(before("5-0"))
    assert log.offset_after("4-18446744073709551614") is None
    assert 1 == log.offset_after("5-0")
    assert 2 == log.offset_after("6-0") == log.end


async def test_a_log_that_is_exactly_full_forgets_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one event more it forgets a quarter, and offsets stay what they were."""
    monkeypatch.setattr(event_log, "MAX_EVENTS", 8)
    log = log_of(store, *range(1, 9))
    assert 0 == log.first
    log.extend([event(9)])
    assert (3, "3-0", 9) == (log.first, log.start, log.end)
    assert "4-0" == log[3].entry_id
    log.restart("20-0")
    assert (9, "20-0", "20-0") == (log.first, log.start, log.last_id)


async def test_bytes_are_bounded_and_the_newest_event_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is larger than all that is allowed."""
    monkeypatch.setattr(event_log, "MAX_BYTES", 100)
    log = log_of(store, 1)
    log.extend([event(2, 500)])
    assert (1, "2-0") == (log.first, log.last_id)


def test_all_that_wait_are_woken_though_they_stop_waiting_meanwhile() -> None:
    """A group holds what wakes its members, not the members."""
    groups = SelectionGroups({})
    group = groups.join(ALL_EVENTS)
    woken: list[int] = []

    def waker(number: int) -> None:
        def wake() -> None:
            woken.append(number)
            group.waiting.discard(wake)

        group.waiting.add(wake)

    waker(1)
    waker(2)
    groups.wake_all()
    assert [1, 2] == sorted(woken)
    assert set() == group.waiting
    assert group is groups.join(ALL_EVENTS)
    groups.leave(group)
    assert 1 == len(groups)
    groups.leave(group)
    assert 0 == len(groups)
