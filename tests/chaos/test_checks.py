"""The checks at the end of a run find what they are for."""

from __future__ import annotations

from typing import Any

import pytest

from chaos import checks
from chaos.checks import StreamEvent
from chaos.ledger import WITHDRAWN, Ledger, Record
from chaos.readers import EventReader, ids_in
from chaos.receivers import Receivers
from chaos.site import Sites

KEPT = {"id": "i", "guid": "g", "title": "a", "categories": ["harbour"]}


def event(name: str, *, subject: str = "i", content: str = "a", digest: str = "d") -> StreamEvent:
    """An event of an article in one category."""
    return StreamEvent(
        event_id=name, subject=subject, digest=digest, content=content, paths=("harbour",)
    )


@pytest.fixture
def ledger() -> Ledger:
    """With one article that was acknowledged."""
    ledger = Ledger(on_violation=lambda _: None)
    one = Record(guid="g", category="Harbour")
    ledger.records["g"] = one
    ledger.acked(one, "a", article_id="i", event_id="e", now_s=1)
    return ledger


def kinds(faults: checks.Faults) -> list[str]:
    """Of faults, in alphabetical order."""
    return sorted(kind for kind, _ in faults)


def test_an_article_that_is_there_is_no_fault(ledger: Ledger) -> None:
    """As its publisher and the stream have it."""
    assert [] == checks.check_articles(ledger, {"i": KEPT}, [event("e")])


@pytest.mark.parametrize(
    ("live", "events", "expected"),
    [
        ({}, [event("e")], ["lost", "the stream and the article differ"]),
        ({"i": {**KEPT, "title": "b"}}, [event("e", content="b")], ["lost"]),
        ({"i": {**KEPT, "title": "a"}}, [event("x")], ["an event is lost"]),
        ({"i": KEPT}, [event("e"), event("e")], ["doubled"]),
        ({"i": KEPT}, [event("e", content="b")], ["the stream and the article differ"]),
        ({}, [event("e"), event("f", content=WITHDRAWN)], ["lost"]),
    ],
)
def test_what_is_wrong_with_an_article_is_found(
    ledger: Ledger, live: dict[str, Any], events: list[StreamEvent], expected: list[str]
) -> None:
    """Lost, changed, without its event, with an event twice, withdrawn by nobody."""
    assert expected == kinds(checks.check_articles(ledger, live, events))


@pytest.mark.parametrize(
    ("seen", "has_cut", "expected"),
    [
        (["e1", "e2"], False, []),
        (["e2", "e1"], False, ["disordered"]),
        (["e1"], False, ["lost"]),
        (["e1", "x", "e2"], False, ["an event that is not on the stream"]),
        (["e1", "x", "e2"], True, []),
    ],
)
def test_what_is_wrong_with_a_webhook_is_found(
    ledger: Ledger, seen: list[str], has_cut: bool, expected: list[str]
) -> None:
    """Lost, out of order, or of nobody; after a cut, what was seen may be gone from the stream."""
    receivers = Receivers(ledger, seed=1)
    for receiver in receivers.webhooks.values():
        receiver.order = dict.fromkeys(seen, 0.0)
    faults = checks.check_webhooks(receivers, [event("e1"), event("e2")], has_cut=has_cut)
    assert sorted(expected * 3) == kinds(faults)


def test_an_id_of_two_contents_is_found(ledger: Ledger) -> None:
    """Between a receiver and the stream."""
    reader = EventReader(ledger, url="")
    reader.order, reader.digests = {"e": 0.0}, {"e": "other"}
    faults = checks.check_event_reader(reader, [event("e")], has_cut=False)
    assert ["an event id names two contents"] == kinds(faults)


def test_an_item_of_a_site_that_is_missing_or_twice_is_found() -> None:
    """Every item that was shown is there once."""
    sites = Sites()
    sites.shown = {"s0 n0": 0.0, "s0 n1": 0.0}
    live = {str(n): {"title": title} for n, title in enumerate(["s0 n0", "s0 n0", "p1"])}
    assert ["doubled", "lost"] == kinds(checks.check_sites(sites, live))


def test_a_feed_out_of_order_is_a_violation(ledger: Ledger) -> None:
    """Newest first, whatever the precision of the dates is."""
    items = '{{"items": [{}]}}'
    entries = [
        f'{{"id": "urn:uuid:{n}", "date_published": "2026-01-01T00:00:0{second}Z"}}'
        for n, second in ((1, "1.500"), (2, "1"), (3, "0"))
    ]
    assert ["1", "2", "3"] == ids_in("x.json", items.format(",".join(entries)).encode(), ledger)
    assert 0 == ledger.violations.total()
    ids_in("x.json", items.format(",".join(entries[::-1])).encode(), ledger)
    assert {"disordered": 2} == ledger.violations
