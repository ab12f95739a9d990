"""Policies of retention: how they are written, and what they keep."""

from __future__ import annotations

from datetime import timedelta

import pytest

from service.articles.retention import KEEPS_ALL, RetentionPolicy
from service.articles.times import to_ms
from service.errors import InvalidInput
from tests.conftest import NOON

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("730d", "all=730d"),
        ("36h", "all=36h"),
        ("2w 5000 articles", "all=14d 5000 articles"),
        ("1 article", "all=1 articles"),
        (
            "ALL=1d, Media Center/Harbour News=90 d  5000 articles,archive=keep,",
            "all=1d, media-center/harbour-news=90d 5000 articles, archive=keep",
        ),
    ],
)
def test_rules_have_one_spelling(text: str, expected: str) -> None:
    """Whatever the spelling was, and what is written is read again."""
    policy = RetentionPolicy.parse(text)
    assert expected == str(policy)
    assert policy == RetentionPolicy.parse(str(policy))


@pytest.mark.parametrize(
    "text",
    [
        "365", "news=", "=", "news=365", "keep 3d", "3d keep", "3 months", "3d 4d", "-3d", "3.5d",
        "5 articles 3d", "0d", "0 articles", "99999d", "999999w", "9999999d", "!!!=3d",
        "a/b/c/d/e/f/g/h/i=3d",
        "news=3d, News=4d", "３d", "3d5 articles", "3d\n5 articles", "news=3d=4d\0",
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused(text: str) -> None:
    """A bare number could be days or articles, and a wrong guess would remove an archive."""
    with pytest.raises(InvalidInput, match=r"^policy: "):
        RetentionPolicy.parse(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sports", "sports"),
        ("sports/football", "sports/football"),
        ("sports/football/cup/final", "sports/football"),
        ("sports/tennis", "sports"),
        ("sportsmen", "all"),
        ("all", "all"),
    ],
)
def test_the_nearest_rule_governs(path: str, expected: str) -> None:
    """Of a category and those above it, not of one with a similar name."""
    policy = RetentionPolicy.parse("1d, sports=2d, sports/football=keep")
    rule = policy.rule_of(path)
    assert rule is not None
    assert expected == rule.path
    assert RetentionPolicy.parse("sports=2d").rule_of("news") is None


def test_a_floor_is_the_higher_of_both_limits() -> None:
    """Too old or too many is enough; without limits nothing is."""
    (rule,) = RetentionPolicy.parse("2d 10 articles").rules
    (keeping,) = RetentionPolicy.parse("keep").rules
    two_days_ago = float(to_ms(NOON - timedelta(days=2)))
    newer = two_days_ago + 1, "id"
    assert newer == rule.floor(newer, now=NOON)
    assert (two_days_ago, "") == rule.floor((0.0, "id"), now=NOON)
    assert (two_days_ago, "") == rule.floor(None, now=NOON)
    assert KEEPS_ALL == keeping.floor(None, now=NOON)


@pytest.mark.parametrize(
    ("paths", "is_expired"),
    [
        (["news"], True),
        ([], True),
        (["news", "news/local"], True),
        (["sports"], False),
        (["news", "sports"], False),
        (["archive/1999"], False),
        (["news", "archive/1999"], False),
    ],
)
def test_an_article_stays_while_one_category_keeps_it(paths: list[str], is_expired: bool) -> None:
    """Five days old, where news is kept for three, sports for nine and the archive for good."""
    policy = RetentionPolicy.parse("3d, sports=9d, archive=keep")
    floors = {rule.path: rule.floor(None, now=NOON) for rule in policy.rules}
    place = float(to_ms(NOON - timedelta(days=5))), "id"
    assert is_expired == policy.is_expired(floors, place, paths)
    no_rule = RetentionPolicy.parse("news=3d")
    assert not no_rule.is_expired({"news": floors["all"]}, place, [])
    assert not no_rule.is_expired({"news": floors["all"]}, place, ["news", "sports"])
