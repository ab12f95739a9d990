"""The list of all categories: its order, what one page shows of it, and where it continues."""

from __future__ import annotations

from itertools import pairwise

from service.feeds.category_list import CategoryList, Named

TITLES = {
    "a": "A", "a-b": "A B", "a/c": "C", "a/c/d": "D", "b": "B", "b/e": "E",
}  # fmt: skip
IN_ORDER = ["a", "a/c", "a/c/d", "a-b", "b", "b/e"]
LIST = CategoryList.of(TITLES, version="1")


def paths(named: list[Named] | tuple[Named, ...] | object) -> list[str]:
    """The paths of (path, title) pairs."""
    return [path for path, _ in named]  # type: ignore[attr-defined]


def test_a_category_stands_before_those_below_it_and_beside_its_siblings() -> None:
    """Also where a sibling's slug sorts before the slash: `a-b` is not between `a` and `a/c`."""
    assert IN_ORDER == paths(LIST.ordered)


def test_those_below_a_category() -> None:
    """Directly below; for `all`, those at the top; for an unknown path, none."""
    assert ["a", "a-b", "b"] == paths(LIST.below("all"))
    assert ["a/c"] == paths(LIST.below("a"))
    assert [] == paths(LIST.below("x"))


def test_an_overview_has_the_levels_that_fit() -> None:
    """All if they fit, else the upper levels; if these do not fit either, the first of them."""
    assert IN_ORDER == paths(LIST.overview(6))
    assert ["a", "a/c", "a-b", "b", "b/e"] == paths(LIST.overview(5))
    assert ["a", "a-b", "b"] == paths(LIST.overview(3))
    assert ["a", "a-b"] == paths(LIST.overview(2))


def test_parts_of_the_list_follow_each_other() -> None:
    """Each category is in one part, whatever the size; an unknown path has its place."""
    for size in range(1, 7):
        read: list[str] = []
        while part := paths(LIST.after(read[-1] if read else "", size)):
            read += part
        assert IN_ORDER == read
    assert ["a-b", "b"] == paths(LIST.after("a/x", 2))


def test_after_names_the_place_in_the_order_of_the_tree() -> None:
    """What is listed after a category begins with those below it."""
    for path, follows in pairwise(IN_ORDER):
        assert [follows] == paths(LIST.after(path, 1))
    assert [] == paths(LIST.after(IN_ORDER[-1], 1))
