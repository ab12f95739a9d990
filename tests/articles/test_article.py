"""Articles: the wire form, identity, what makes a revision; times on the wire."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles import times
from service.articles.article import NAMESPACE, Article, Enclosure, article_id
from service.articles.event import Event
from service.articles.hashes import content_hashes
from service.articles.text import without_forbidden
from tests.composing import NOON, article

moments = st.integers(10**8, 253 * 10**12).map(times.from_ms)
words = st.text(max_size=30).map(without_forbidden)


@given(
    st.builds(
        Article,
        id=words,
        source=words,
        guid=words,
        url=words,
        # Every article has one.
        title=words.map("T{}".format),
        summary=words,
        content_html=words,
        authors=st.tuples(words),
        categories=st.tuples(words, words),
        tags=st.tuples(),
        language=st.sampled_from(["", "en", "zh-Hant-TW"]),
        image=words,
        enclosures=st.tuples(
            st.builds(Enclosure, url=words, type=words, length=st.integers(0, 9**9))
        ),
        attribution=words,
        raw_published=words,
        published=moments,
        updated=moments,
        first_seen=moments,
        revision=st.integers(1, 10**6),
        content_hash=words,
        status=st.sampled_from(["live", "withdrawn"]),
    )
)
def test_the_wire_form_is_exact(given_article: Article) -> None:
    """An article read back from its JSON equals the article that was written."""
    assert given_article == Article.from_json(given_article.to_json())


@given(moments, moments)
def test_times_on_the_wire_order_as_text(one: datetime, other: datetime) -> None:
    """Fixed width: comparing texts compares times; milliseconds come back exact."""
    first, second = times.to_rfc3339(one), times.to_rfc3339(other)
    assert (one < other) == (first < second)
    assert 24 == len(first)
    assert one == times.from_rfc3339(first) == times.from_ms(times.to_ms(one))


def test_a_time_without_a_zone_is_none() -> None:
    """It could mean any of 38 moments."""
    with pytest.raises(ValueError, match="no time zone"):
        times.from_rfc3339("2017-12-22T00:00:00")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"text": "some\n\nwords"}, True), ({"text": "some\nwords"}, True),
        ({"categories": ["b", "a"]}, True),
        ({"title": "T"}, False), ({"text": "some word"}, False),
        ({"categories": ["a"]}, False),
    ],
)  # fmt: skip
def test_what_makes_a_revision(change: dict[str, Any], same: bool) -> None:
    """Title, text and categories; not breaks of lines, not order."""
    base: dict[str, Any] = {
        "title": "t", "text": "some words", "categories": ["a", "b"], "date": None,
    }  # fmt: skip
    assert same == (content_hashes(**base)[0] == content_hashes(**(base | change))[0])
    dated = [content_hashes(**(base | change | {"date": date})) for date in (None, NOON)]
    assert [True, False] == [a == b for a, b in zip(*dated, strict=True)]


def test_hashes_are_those_that_archives_hold() -> None:
    """Another hash would make a revision of every article, at the next poll of its source."""
    words: dict[str, Any] = {
        "title": "Fähre",
        "text": "One\n\ntwo\nthree",
        "categories": ["b", "a"],
    }
    date = datetime(2017, 12, 22, 15, 41, 7, tzinfo=UTC)
    parts = ["Fähre", "One two three", "2017-12-22T15:41:07.000Z", "a\nb"]
    expected = [
        hashlib.blake2b("\0".join(each).encode(), digest_size=16).hexdigest()
        for each in (parts[:2] + parts[3:], parts)
    ]
    assert expected == list(content_hashes(**words, date=date))


@pytest.mark.parametrize("value", [None, 5, [], {}, "x", [5]])
def test_an_event_of_another_program_has_no_article(value: Any) -> None:
    """Whatever stands in any of its fields, and in place of all of them."""
    fields = orjson.loads(article().to_json())
    documents = [value, *({**fields, name: value} for name in fields)]
    for document in documents:
        data = orjson.dumps(document)
        event = Event(entry_id="1-0", shard=0, id="x", type="t", subject="x", time="", data=data)
        assert event.article is None or isinstance(event.article, Article)
        assert isinstance(event.categories, frozenset)


def test_ids_of_two_sources_never_meet() -> None:
    """("a", "bc") is not ("ab", "c"); an id is a UUIDv5 and stays the same forever."""
    assert article_id("a", "bc") != article_id("ab", "c")
    assert "5" == article_id("a", "b")[14]


@pytest.mark.parametrize(("source", "guid"), [("a", "bc"), ("ab", "c"), ("", ""), ("ü", "字\n")])
def test_an_id_is_a_uuid_of_source_and_guid(source: str, guid: str) -> None:
    """Version 5 of RFC 9562, so that other programs can compute it."""
    assert str(uuid.uuid5(NAMESPACE, f"{source}\0{guid}")) == article_id(source, guid)
