"""Creators of categories: for whom a new category counts, and which ones are free. Pure.

A source may create MAX_CATEGORIES_PER_SOURCE categories: each is an index, a page and a feed in
several formats, and a publisher can name another one in every article. Categories that exist, and
those that the operator named, count for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from service.articles.categories import parse, with_ancestors


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCreator:
    """Who creates the categories of the articles of one call that no article had before."""

    name: str = ""
    """Id of a polled source. Empty: each article counts for the source URI that it names."""
    free: frozenset[str] = frozenset()
    """Category paths that the operator named, with all above them: they are not counted."""
    is_limited: bool = True


OF_EACH_SOURCE = CategoryCreator()
OPERATOR = CategoryCreator(is_limited=False)
"""For articles that the operator has already had in an archive."""


def free_paths(spellings: Iterable[str]) -> frozenset[str]:
    """The categories of these spellings, and all above them; empty spellings name none."""
    return frozenset(with_ancestors(tuple(parse(text).path for text in spellings if text)))


def nearest(path: str, steps: int) -> str:
    """The category that `steps` steps of a path, from the top, lead to; empty for no step."""
    return "/".join(path.split("/")[:steps])
