"""The pure core: articles, categories, pages, indexing, by tables and by hypothesis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles import categories, times
from service.articles.article import Article, Enclosure, article_id, content_hash
from service.articles.text import without_forbidden
from service.errors import InvalidInput
from service.feeds.index_step import index_step
from service.feeds.page import Page, Period, parse_page

PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2017, 12, 22, 12, tzinfo=UTC)
moments = st.integers(10**8, 253 * 10**12).map(times.from_ms)
words = st.text(max_size=30)


def article(**fields: Any) -> Article:
    """One."""
    made = Article(
        id="i", source="s", guid="g", url="u", title="t", summary="s", content_html="c",
        authors=(), categories=("a/b",), tags=(), language="", image="", enclosures=(),
        attribution="", raw_published="", published=NOON, updated=NOON, first_seen=NOON, revision=1,
        content_hash="h", status="live",
    )  # fmt: skip
    return replace(made, **fields)


@given(
    st.builds(
        Article,
        id=words,
        source=words.map(without_forbidden),
        guid=words.map(without_forbidden),
        url=words,
        title=words,
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
    """from_json(to_json(a)) == a."""
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
        ({"title": "T"}, False), ({"text": "some word"}, False), ({"date": None}, False),
        ({"categories": ["a"]}, False),
    ],
)  # fmt: skip
def test_what_makes_a_revision(change: dict[str, Any], same: bool) -> None:
    """Title, text, date, categories; not breaks of lines, not order."""
    base: dict[str, Any] = {
        "title": "t", "text": "some words", "date": NOON, "categories": ["a", "b"],
    }  # fmt: skip
    assert same == (content_hash(**base) == content_hash(**(base | change)))


def test_ids_of_two_sources_never_meet() -> None:
    """("a", "bc") is not ("ab", "c"); a UUIDv5, the same for ever."""
    assert article_id("a", "bc") != article_id("ab", "c")
    assert "5" == article_id("a", "b")[14]


@pytest.mark.parametrize(
    ("spelling", "path", "titles"),
    [
        ("Media Center/Old News", "media-center/old-news", ("Media Center", "Old News")),
        ("media-center", "media-center", ("media-center",)),
        ("  A /  / B ", "a/b", ("A", "B")),
        ("2017", "no-2017", ("2017",)),
        ("News/2017", "news/no-2017", ("News", "2017")),
        ("All", "category-all", ("All",)),
        ("News/All", "news/all", ("News", "All")),
        ("Views", "category-views", ("Views",)),
        ("مركز الإعلام", "مركز-الإعلام", ("مركز الإعلام",)),
        ("हिन्दी", "हिन्दी", ("हिन्दी",)),
        ("STRASSE & Straße", "strasse-strasse", ("STRASSE & Straße",)),
        ("a.b", "a-b", ("a.b",)),
    ],
)  # fmt: skip
def test_categories(spelling: str, path: str, titles: tuple[str, ...]) -> None:
    """Slugs of Unicode letters; titles keep their spelling; a slug is its own slug."""
    found = categories.parse(spelling)
    assert (path, titles) == (found.path, found.titles)
    assert path == categories.parse(path).path
    assert categories.is_path(path)


@pytest.mark.parametrize("spelling", ["", "/", "!!", "a/b/c/d/e/f/g/h/i"])
def test_no_categories(spelling: str) -> None:
    """Nothing to make a slug of, or too deep."""
    with pytest.raises(InvalidInput):
        categories.parse(spelling)
    assert not categories.is_path(spelling)


@given(st.text(max_size=200))
def test_any_slug_is_safe_in_a_path(text: str) -> None:
    """No dots, slashes, spaces or controls; bounded; stable."""
    slug = categories.slugify(text)
    assert not set(slug) & set("./\\ %?#\n\0")
    assert len(slug.encode()) <= categories.MAX_SLUG_BYTES + 3
    assert slug == categories.slugify(slug)


def test_titles_come_back_as_a_path_of_titles() -> None:
    """The inverse of parse, with guesses for what nobody spelt."""
    titles = {"a": "Ä/B", "a/b-c": "B C"}
    assert "Ä B/B C/D E" == categories.title_path("a/b-c/d-e", titles)
    assert ["a", "a/b", "a/b/c", "d"] == categories.with_ancestors(("a/b/c", "d", "a"))


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("all", Page("all")), ("a/b", Page("a/b")), ("a/2017", Page("a", Period(2017))),
        ("a/b/2017/12/22", Page("a/b", Period(2017, 12, 22))),
        ("a/2017/1/5", Page("a", Period(2017, 1, 5))),
        ("A/b", Page("a/b")), ("all/2016/02/29", Page("all", Period(2016, 2, 29))),
        ("a/no-2017", Page("a/no-2017")), ("a/no-2017/2018", Page("a/no-2017", Period(2018))),
        ("2017", None), ("a/2017/13", None), ("a/2017/02/29", None), ("a/17", None), ("", None),
        ("a//b", None), ("a/2017/12/22/1", None), ("../etc/passwd", None), ("a/\r\nX: 1", None),
        ("a/\x00", None), ("a.b", None), ("a/1969", None), ("a/9999", None),
        ("/".join("abcdefghi"), None),
        ("a/2017/00", None),
    ],
)  # fmt: skip
def test_the_grammar_of_paths(path: str, page: Page | None) -> None:
    """Categories and dates that can be, in any spelling that is meant; nothing else."""
    assert page == parse_page(path)


@given(st.text(max_size=60))
def test_whatever_is_asked_for_is_a_page_or_nothing(path: str) -> None:
    """And a page's own path leads to itself."""
    page = parse_page(path)
    assert page is None or page == parse_page(str(page))


@given(moments, st.sampled_from([UTC, PARIS, ZoneInfo("Asia/Kathmandu")]))
def test_a_moment_is_within_its_day_month_and_year(moment: datetime, zone: Any) -> None:
    """Whatever the zone and its changes of clock."""
    for period in Period.of(moment, zone).enclosing()[1:]:
        start, end = period.bounds(zone)
        assert start <= moment < end
        assert period == Period.parse(str(period))


def test_days_of_clock_changes() -> None:
    """23 and 25 hours."""
    for day, hours in ((Period(2026, 3, 29), 23), (Period(2026, 10, 25), 25)):
        start, end = day.bounds(PARIS)
        assert timedelta(hours=hours) == end.astimezone(UTC) - start.astimezone(UTC)


@pytest.mark.parametrize(
    ("period", "text", "title"),
    [
        (Period(2017, 12, 22), "2017-12-22", "Friday, 22 December 2017"),
        (Period(2026, 1, 5), "2026-01-05", "Monday, 5 January 2026"),
        (Period(2017, 12), "2017-12", "December 2017"),
        (Period(2017), "2017", "2017"),
        (Period(), "live", ""),
    ],
)
def test_periods_as_text(period: Period, text: str, title: str) -> None:
    """In keys, and for people."""
    assert (text, title) == (str(period), period.title())


def apply(held: dict[str, set[str]], step: Any) -> None:
    """What index.lua does to the sorted sets, on sets."""
    for touch in step.changes:
        members = held.setdefault(touch.category, set())
        members.discard("i")
        if touch.score is not None:
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
    idx, held = b"", dict[str, set[str]]()
    for event in events:
        step = index_step(event, idx, stamp_ms=1, zone=UTC)
        if step:
            apply(held, step)
            idx = step.after
    latest = max(events, key=lambda event: event.revision)
    expected = (
        {"all", *categories.with_ancestors(latest.categories)} if latest.status == "live" else set()
    )
    assert expected == {category for category, members in held.items() if members}
    assert index_step(latest, idx, stamp_ms=2, zone=UTC) is None


def test_a_move_touches_the_pages_it_leaves() -> None:
    """Old and new day, month and year, in old and new categories."""
    first = index_step(REVISIONS[0], b"", stamp_ms=1, zone=UTC)
    assert first
    moved = index_step(REVISIONS[2], first.after, stamp_ms=2, zone=UTC)
    assert moved
    touched = {touch.category: touch.periods for touch in moved.changes}
    assert {"all", "a", "a/b", "c"} == touched.keys()
    assert ("live", "2017", "2017-12", "2017-12-22", "2018", "2018-01", "2018-01-31") == touched[
        "a"
    ]
    assert ("live", "2018", "2018-01", "2018-01-31") == touched["c"]
