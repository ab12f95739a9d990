"""Categories: paths of slugs, and how titles become them.

A category is a path such as `media-center/coalition-news`. Input spells it as a path of titles or
slugs joined by `/` (`Media Center/Coalition News`); the spelling is stored as the title of each
step. An article in a category is in all categories above it, and `all` is everything.

Rules of a slug: Unicode letters, marks and digits, joined by single hyphens, case-folded, NFC. Two
kinds of slugs would mean something else in a feed's path and get a prefix: numbers (a date
follows a category in the path) and the reserved first steps.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from service.articles.text import normalized
from service.errors import InvalidInput

ALL = "all"
# First steps of /feeds/… that are not categories.
RESERVED = frozenset({ALL, "views"})
# Deeper trees exist on no site seen; the bound keeps one article from touching hundreds of indexes.
MAX_DEPTH = 8
# Bytes of UTF-8: a path of eight such slugs, percent-encoded, stays under common URL limits.
MAX_SLUG_BYTES = 120
MAX_TITLE_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A category as one article names it."""

    path: str
    """Slugs joined by `/`, one at least."""
    titles: tuple[str, ...]
    """The spelling of each step, as many as the path has."""

    def lineage(self) -> list[tuple[str, str]]:
        """(path, title) of every category from the top down to this one."""
        slugs = self.path.split("/")
        return [("/".join(slugs[: i + 1]), title) for i, title in enumerate(self.titles)]


def slugify(title: str) -> str:
    """The slug of one step; empty if the title has no letter and no digit."""
    letters = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in fold(title))
    slug = "-".join(letters.split())
    while len(slug.encode()) > MAX_SLUG_BYTES:
        slug = slug[:-1].rstrip("-")
    return f"no-{slug}" if slug.isdigit() else slug


def fold(text: str) -> str:
    """The text without differences of case and of Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=4_096)
def parse(spelling: str) -> Category:
    """Parse `Media Center/Coalition News`, or the same path in slugs.

    Raises:
        InvalidInput: no step has a letter or digit, or there are more than MAX_DEPTH steps.
    """
    titles = [" ".join(step.split())[:MAX_TITLE_CHARS] for step in normalized(spelling).split("/")]
    steps = [(slug, title) for title in titles if (slug := slugify(title))]
    if not steps:
        raise InvalidInput("category", spelling, "needs at least one letter or digit")
    if len(steps) > MAX_DEPTH:
        raise InvalidInput("category", spelling, f"has more than {MAX_DEPTH} levels")
    first, title = steps[0]
    if first in RESERVED:
        steps[0] = (f"category-{first}", title)
    return Category(
        path="/".join(slug for slug, _ in steps), titles=tuple(title for _, title in steps)
    )


def is_path(text: str) -> bool:
    """Whether the text is a category path in canonical spelling (`all` is not: it is a page)."""
    try:
        return parse(text).path == text
    except InvalidInput:
        return False


def with_ancestors(paths: tuple[str, ...]) -> list[str]:
    """The paths and all above them, each once, sorted, without `all`."""
    lineage: set[str] = set()
    for path in paths:
        steps = path.split("/")
        lineage.update("/".join(steps[: i + 1]) for i in range(len(steps)))
    return sorted(lineage)


def with_ancestors_and_all(paths: tuple[str, ...]) -> list[str]:
    """Every index that an article of these categories is in: `all`, the paths and all above."""
    return [ALL, *with_ancestors(paths)]


def is_within(wanted: str, paths: Sequence[str]) -> bool:
    """Whether one of the category paths is `wanted` or below it."""
    return any(path == wanted or path.startswith(f"{wanted}/") for path in paths)


def title_of(path: str) -> str:
    """A title guessed from the last slug, for categories whose title is not known."""
    return path.rsplit("/", 1)[-1].replace("-", " ").title()


def title_path(path: str, titles: Mapping[str, str]) -> str:
    """`Media Center/Coalition News` for `media-center/coalition-news`; the inverse of `parse`.

    A slash inside a title becomes a space: it would read as one more step.
    """
    steps = path.split("/")
    above = ("/".join(steps[: i + 1]) for i in range(len(steps)))
    return "/".join((titles.get(p) or title_of(p)).replace("/", " ") for p in above)
