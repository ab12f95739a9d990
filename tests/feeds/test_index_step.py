"""Index steps: any order and repetition of events gives one index."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.articles import categories
from service.articles.article import Article
from service.feeds.index_step import index_step, reindex_step
from tests.composing import NOON, article


def apply(indexes: dict[str, set[str]], step: Any) -> None:
    """What index.lua does to the sorted sets, on sets."""
    for change in step.changes:
        members = indexes.setdefault(change.category, set())
        members.discard("i")
        if change.score is not None:
            members.add("i")


REVISIONS = [
    article(revision=1),
    article(revision=2, categories=("c",)),
    article(revision=3, categories=("a/b", "c"), published=NOON + timedelta(days=40)),
    article(revision=4, status="withdrawn"),
    article(revision=5, categories=()),
]


@given(st.lists(st.sampled_from(REVISIONS), min_size=1, max_size=12))
def test_any_order_and_repetition_of_events_gives_one_index(events: list[Article]) -> None:
    """The index is that of the latest revision seen, and nothing of an older one is left."""
    idx, indexes = b"", dict[str, set[str]]()
    for event in events:
        step = index_step(event, idx, stamp_ms=1, zone=UTC)
        if step:
            apply(indexes, step)
            idx = step.after
    latest = max(events, key=lambda event: event.revision)
    expected = (
        {"all", *categories.with_ancestors(latest.categories)} if latest.status == "live" else set()
    )
    assert expected == {category for category, members in indexes.items() if members}
    assert index_step(latest, idx, stamp_ms=2, zone=UTC) is None


def test_a_move_changes_the_pages_it_leaves() -> None:
    """Old and new day, month and year, in old and new categories."""
    first = index_step(REVISIONS[0], b"", stamp_ms=1, zone=UTC)
    assert first
    moved = index_step(REVISIONS[2], first.after, stamp_ms=2, zone=UTC)
    assert moved
    changed = {change.category: change.periods for change in moved.changes}
    assert {"all", "a", "a/b", "c"} == changed.keys()
    assert ("live", "2017", "2017-12", "2017-12-22", "2018", "2018-01", "2018-01-31") == changed[
        "a"
    ]
    assert ("live", "2018", "2018-01", "2018-01-31") == changed["c"]


def test_what_is_kept_tells_revisions_and_other_changes_apart() -> None:
    """`idx` has the second number only where there is one, and both order steps."""
    first = index_step(article(revision=3), b"", stamp_ms=1, zone=UTC)
    assert first
    assert (b"3 ", "3.0") == (first.after[:2], first.version)
    marked = article(revision=3, duplicate_revision=1, corrections=1)
    second = index_step(marked, first.after, stamp_ms=2, zone=UTC)
    assert second
    assert (b"3.2 ", "3.2") == (second.after[:4], second.version)
    for known in (article(revision=3), article(revision=3, duplicate_revision=1), marked):
        assert index_step(known, second.after, stamp_ms=3, zone=UTC) is None
    assert index_step(article(revision=4), second.after, stamp_ms=3, zone=UTC)


def test_a_view_takes_an_article_in_and_out_at_the_same_revision() -> None:
    """Unless the indexes hold another revision: its own step decides then."""
    step = index_step(REVISIONS[0], b"", stamp_ms=1, zone=UTC)
    assert step
    path, options = "views/fog", {"stamp_ms": 2, "zone": UTC}
    entered = reindex_step(REVISIONS[0], step.after, path, belongs=True, **options)
    assert entered
    assert entered.after == step.after + b" views/fog"
    left = reindex_step(REVISIONS[0], entered.after, path, belongs=False, **options)
    assert left
    assert left.after == step.after
    assert reindex_step(REVISIONS[0], step.after, path, belongs=False, **options) is None
    assert reindex_step(REVISIONS[1], step.after, path, belongs=True, **options) is None
