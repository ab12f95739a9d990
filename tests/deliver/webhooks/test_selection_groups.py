"""Selections are found by what an event is: the same ones as if each was matched, and few more."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles.article import Article
from service.articles.event import EVENT_TYPES, Event
from service.feeds.query import parse_query
from service.feeds.view import View
from service.webhooks.selection import Selection
from tests.composing import article
from workers.deliver.webhooks.selection_groups import SelectionGroup, SelectionGroups

PATHS = ("news", "news/local", "sport", "a")
TAGS = ("Fog", "Ferry", "news")
WORDS = ("fog", "Fähre", "c++", "技术", "don't", "e-mail", '"the ferry"', "ai", "naïve", "ไทย")
TEXTS = (
    "The fog and the ferry.", "Die Fähre, said ai技术 in an E-Mail", "naive don't C++ ไทยครับ", "",
)  # fmt: skip
QUERIES = (
    *(f"q={word.replace('+', '%2B')}" for word in WORDS), "q=fog ferry", "lang=en", "lang=pt,de-at",
    "tag=fog", "tag=fog&tag=ferry", "any=news,fog", "all=news,ferry", "none=sport", "author=Ann O",
    "source=site.example", "source=https://site.example/feed&q=fog", "",
)  # fmt: skip
VIEWS = {
    "foggy": View(
        name="foggy", title="", category="news", query="q=fog", private=False, created="",
        filter=parse_query("q=fog", zone=UTC).filter,
    )
}  # fmt: skip
SELECTIONS = st.builds(
    Selection,
    categories=st.lists(st.sampled_from(PATHS), max_size=2, unique=True).map(tuple),
    types=st.sampled_from([(), EVENT_TYPES[:1]]),
    query=st.sampled_from(QUERIES),
    view=st.sampled_from(["", "foggy", "gone"]),
)
EVENTS = st.builds(
    lambda kind, **fields: event_of(article(**fields), kind),
    st.sampled_from(EVENT_TYPES),
    categories=st.lists(st.sampled_from(PATHS), max_size=2).map(tuple),
    tags=st.lists(st.sampled_from(TAGS), max_size=2).map(tuple),
    authors=st.lists(st.sampled_from(["Ann O", "ANN  O", "Bob"]), max_size=2).map(tuple),
    language=st.sampled_from(["", "en", "en-GB", "pt_BR", "de"]),
    source=st.sampled_from(["https://Site.example/feed", "https://u@site.example/", "urn:x"]),
    title=st.sampled_from(TEXTS),
    content_html=st.sampled_from([f"<p>{text}</p>" for text in TEXTS]),
    erased=st.booleans(),
)


def event_of(about: Article, kind: str = EVENT_TYPES[0]) -> Event:
    """An event of this article."""
    event = Event(entry_id="1-0", shard=0, id="e", type=kind, subject=about.id, time="", data=b"{}")
    event.__dict__["article"] = about
    return event


@given(st.lists(SELECTIONS, max_size=12, unique=True), EVENTS)
def test_the_groups_that_want_an_event_are_those_that_match_it(
    selections: list[Selection], event: Event
) -> None:
    """Whatever they were filed under, in whatever order they came and went."""
    groups = SelectionGroups(VIEWS)
    joined = [groups.join(selection) for selection in selections]
    for group in joined[::3]:
        groups.leave(group)
    left = [selection for number, selection in enumerate(selections) if number % 3]
    expected = {selection for selection in left if selection.matches(event, VIEWS)}
    assert expected == {group.selection for group in groups.wanting(event)}
    for group in [group for number, group in enumerate(joined) if number % 3]:
        groups.leave(group)
    assert [] == list(groups.candidates(event))


@pytest.mark.parametrize(
    "pattern",
    ["any=c{}", "tag=t{}", "source=s{}.example", "author=a{}", "q=word{}", "lang=en&q=word{}"],
)
def test_an_event_costs_candidates_and_not_all_groups(pattern: str) -> None:
    """Of a thousand different selections few are matched, whatever they select by."""
    groups = SelectionGroups({})
    for number in range(1_000):
        groups.join(Selection(query=str(parse_query(pattern.format(number), zone=UTC))))
    about = article(
        categories=("c7",), tags=("t7",), source="https://s7.example/", authors=("a7",),
        content_html="<p>word7</p>", language="en",
    )  # fmt: skip
    assert len(groups.candidates(event_of(about))) <= 2
    assert 1 == len(list(groups.wanting(event_of(about))))


def test_a_selection_is_filed_where_the_fewest_are() -> None:
    """All want the same tag, and each another category; or the other way round."""
    for same in ("tag=fog&any=c{}", "any=c1&tag=t{}"):
        groups = SelectionGroups({})
        for number in range(100):
            groups.join(Selection(query=str(parse_query(same.format(number), zone=UTC))))
        about = article(categories=("c1",), tags=("fog", "t1"))
        assert len(groups.candidates(event_of(about))) <= 2


def test_what_cannot_be_read_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A stored query that no version wrote gets nothing, an odd article is matched with all."""
    groups = SelectionGroups({})
    groups.join(Selection(query="no=such"))
    good = groups.join(Selection(categories=("news",)))
    event = event_of(article(categories=("news",), tags=(7,)))
    assert [good] == list[SelectionGroup](groups.wanting(event))
    assert "a selection has no labels" in caplog.messages
    assert "an event has no labels" in caplog.messages
