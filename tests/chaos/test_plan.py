"""The plan of faults is a function of its seed, and has every fault."""

from __future__ import annotations

from itertools import islice

from chaos.faults import FAULTS
from chaos.plan import KINDS, ROLES, SHORT, STRIKES, rounds, short_rounds


def test_a_seed_has_one_plan() -> None:
    """The same strikes with the same times; another seed has others."""
    assert list(islice(rounds(7), 4)) == list(islice(rounds(7), 4))
    assert list(short_rounds(7)) == list(short_rounds(7))
    assert next(rounds(7)) != next(rounds(8))


def test_a_round_has_every_strike_once() -> None:
    """In random order; the roles run once and twice in turn."""
    first, second, third = islice(rounds(1), 3)
    assert [1, 2, 1] == [each.copies for each in (first, second, third)]
    pairs = [[(strike.kind, strike.target) for strike in each.strikes] for each in (first, second)]
    assert pairs[0] != pairs[1]
    assert sorted(STRIKES) == sorted(pairs[0]) == sorted(pairs[1])


def test_what_a_machine_cannot_have_is_left_out() -> None:
    """All other strikes are there."""
    kinds = {strike.kind for strike in next(rounds(1, without=["full disk"])).strikes}
    assert KINDS.keys() - {"full disk"} == kinds


def test_every_kind_can_be_done_and_is_planned() -> None:
    """Tables of the same kinds; each role is killed and stopped."""
    assert KINDS.keys() == FAULTS.keys() == {kind for kind, _ in STRIKES}
    assert set(SHORT) <= set(STRIKES)
    for kind in ("kill -9", "SIGSTOP"):
        assert {*ROLES, "redis"} == {target for each, target in STRIKES if each == kind}


def test_a_strike_lasts_as_long_as_its_kind() -> None:
    """Between the shortest and the longest time."""
    for strike in next(rounds(1)).strikes:
        shortest_s, longest_s = KINDS[strike.kind]
        assert shortest_s <= strike.hold_s <= longest_s
        assert 0 <= strike.amount <= 1
