"""Slots by themselves: who may send, exactly full and one more."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.storage.webhooks import Ack
from workers.deliver import slots
from workers.deliver.endpoint import Request, Turn
from workers.deliver.slots import SlotPool, Slots


@dataclass(eq=False)
class Idle:
    """An endpoint that has nothing to do."""

    id: str = ""
    is_suspect: bool = False
    is_confirmed: bool = True
    turn: Turn = field(default_factory=Turn)

    async def next(self) -> Request | Ack | None:
        """Return nothing to send."""
        return None

    async def apply_ack(self, ack: Ack) -> None:
        """Ignore the ack."""

    def stop_waiting(self) -> None:
        """Do nothing: it waits for nothing."""


def filled(pool: SlotPool, count: int) -> list[Idle]:
    """Endpoints that wait in a pool, in this order."""
    endpoints = [Idle() for _ in range(count)]
    for endpoint in endpoints:
        pool.join(endpoint)
    return endpoints


def test_a_pool_serves_as_many_as_it_has_slots_and_no_more() -> None:
    """The third of two slots waits until one is free, and comes in its order."""
    pool = SlotPool(2, max_in_flight=9)
    first, second, third = filled(pool, 3)
    assert [first, second, None] == [pool.next(0.0) for _ in range(3)]
    assert 2 == pool.in_flight
    pool.leave(first)
    assert third is pool.next(0.0)
    assert pool.next(0.0) is None


def test_a_request_stops_counting_exactly_when_it_is_stuck() -> None:
    """Not a moment before STUCK_AFTER_S; its slot is free then, and it is still in flight."""
    pool = SlotPool(1, max_in_flight=2)
    first, second, third = filled(pool, 3)
    assert first is pool.next(0.0)
    pool.free_stuck(slots.STUCK_AFTER_S - 0.001)
    assert pool.next(0.5) is None
    pool.free_stuck(slots.STUCK_AFTER_S)
    assert second is pool.next(1.0)
    assert 2 == pool.in_flight
    # Both may be stuck, and no third one is in flight.
    pool.free_stuck(9.0)
    assert pool.next(9.0) is None
    pool.leave(first)
    assert third is pool.next(9.0)


def test_an_endpoint_that_is_gone_takes_no_slot() -> None:
    """It is passed over, and no longer queued."""
    pool = SlotPool(1, max_in_flight=1)
    gone, other = filled(pool, 2)
    gone.turn.is_gone = gone.turn.is_queued = True
    assert other is pool.next(0.0)
    assert not gone.turn.is_queued


def test_suspects_fill_their_own_pool_alone() -> None:
    """With all of its slots taken, and one suspect more, a healthy endpoint starts at once."""
    both = Slots()
    for _ in range(slots.SUSPECT_SLOTS + 1):
        both.join(Idle(is_suspect=True))
    assert all(both.next(0.0) for _ in range(slots.SUSPECT_SLOTS))
    assert both.next(0.0) is None
    healthy = Idle()
    both.join(healthy)
    assert healthy.turn.is_queued
    assert healthy is both.next(0.0)


def test_the_healthy_fill_exactly_their_slots() -> None:
    """And one more waits, whatever is free among the suspects."""
    both = Slots()
    for _ in range(slots.HEALTHY_SLOTS + 1):
        both.join(Idle())
    assert all(both.next(0.0) for _ in range(slots.HEALTHY_SLOTS))
    assert both.next(0.0) is None


def test_unconfirmed_endpoints_take_no_slot_from_others() -> None:
    """However many wait and hang: the healthy and the suspect start at once."""
    pools = Slots()
    hanging = [Idle(is_confirmed=False) for _ in range(slots.MAX_UNCONFIRMED_IN_FLIGHT + 9)]
    for endpoint in hanging:
        pools.join(endpoint)
    started = 0
    for moment in range(20):
        while pools.next(float(moment)):
            started += 1
        pools.free_stuck(moment + slots.STUCK_AFTER_S)
    assert slots.MAX_UNCONFIRMED_IN_FLIGHT == started
    for endpoint in (Idle(is_suspect=True), Idle()):
        pools.join(endpoint)
        assert endpoint is pools.next(20.0)
    pools.leave(hanging[0])
    assert hanging[-9] is pools.next(20.0)
