"""The ledger: what an article may be after answers and their absence, and what is a violation."""

from __future__ import annotations

import pytest

from chaos.ledger import WITHDRAWN, Ledger, Record, doubled, first_disorder


@pytest.fixture
def said() -> list[str]:
    """The violations that were said."""
    return []


@pytest.fixture
def ledger(said: list[str]) -> Ledger:
    """An empty ledger."""
    return Ledger(on_violation=said.append)


def record(ledger: Ledger) -> Record:
    """One that is in the ledger."""
    one = Record(guid="g", category="c")
    ledger.records["g"] = one
    return one


def test_an_acknowledged_content_is_the_only_one(ledger: Ledger) -> None:
    """A later one replaces it."""
    one = record(ledger)
    ledger.acked(one, "a", article_id="i", event_id="e1", now_s=1)
    assert {"a"} == one.allowed
    ledger.acked(one, "b", article_id="i", event_id="e2", now_s=2)
    assert {"b"} == one.allowed
    assert {"e1": "a", "e2": "b"} == {name: ack.content for name, ack in ledger.acks.items()}


def test_an_uncertain_content_may_be_there_at_any_time(ledger: Ledger) -> None:
    """Also after it was sent again, and after another one was acknowledged."""
    one = record(ledger)
    ledger.uncertain(one, "a")
    assert {"a"} == one.allowed
    ledger.acked(one, "b", article_id="i", event_id="e", now_s=1)
    assert {"a", "b"} == one.allowed


def test_what_is_cut_off_is_owed_until_it_is_acknowledged_again(ledger: Ledger) -> None:
    """What was acknowledged before stays acknowledged."""
    one, other = record(ledger), Record(guid="h", category="c")
    ledger.records["h"] = other
    ledger.acked(other, "x", article_id="j", event_id="e0", now_s=1)
    ledger.acked(one, "a", article_id="i", event_id="e1", now_s=5)
    assert 1 == ledger.cut(since_s=4, until_s=6)
    assert [one] == ledger.owed
    assert {"e0"} == ledger.acks.keys()
    ledger.acked(one, "a", article_id="i", event_id="e2", now_s=7)
    assert [] == ledger.owed


def test_an_id_that_changes_is_a_violation(ledger: Ledger, said: list[str]) -> None:
    """The id of an article never changes."""
    one = record(ledger)
    ledger.acked(one, "a", article_id="i", event_id="e1", now_s=1)
    ledger.acked(one, "a", article_id="j", event_id="e1", now_s=2)
    assert ["an article changed its id: i → j [(between faults)]"] == said


@pytest.mark.parametrize(
    ("status", "has_retry_after", "violations"), [(503, True, 0), (503, False, 1), (500, True, 1)]
)
def test_only_503_with_retry_after_is_fine(
    ledger: Ledger, said: list[str], status: int, has_retry_after: bool, violations: int
) -> None:
    """It is counted with the fault; anything else is a violation."""
    ledger.began("OOM")
    ledger.answered("POST", status, has_retry_after=has_retry_after)
    assert violations == len(said) == ledger.violations.total() == ledger.rows["OOM"].violations
    assert ledger.rows["OOM"].unavailable == (status == 503)


def test_the_table_has_a_line_for_each_fault(ledger: Ledger) -> None:
    """With the longest recovery of all times, and a sum."""
    for seconds in (1.0, 3.0, 2.0):
        ledger.began("OOM")
        ledger.recovered(seconds, "deliver" if seconds == 3 else "server")
    ledger.violate("lost", "x")
    *_, row, total = ledger.table().splitlines()
    assert "| OOM | 3 | 3.0 s | deliver |  |  | 1 |" == row
    assert "| all | 3 | 3.0 s |  |  |  | 1 |" == total


def test_contents_are_counted_by_what_is_known_of_them(ledger: Ledger) -> None:
    """Contents are acknowledged, withdrawn or uncertain."""
    one = record(ledger)
    ledger.acked(one, WITHDRAWN, article_id="i", event_id="e1", now_s=1)
    ledger.records["h"] = Record(guid="h", category="c")
    assert {"withdrawn": 1, "uncertain": 1} == ledger.by_content()


def test_what_comes_twice_and_what_is_out_of_order_is_named() -> None:
    """The first difference, or the number of those that are missing."""
    assert ["b"] == doubled(["a", "b", "b"])
    assert "" == first_disorder(["a", "b"], ["a", "b"])
    assert "number 0 is b, not a" == first_disorder(["b", "a"], ["a", "b"])
    assert "1 are missing" == first_disorder(["a"], ["a", "b"])
