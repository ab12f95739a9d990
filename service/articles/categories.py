"""Categories: paths of slugs, and how titles become them.

A category is a path such as `media-center/coalition-news`. Input spells it as a path of titles or
slugs joined by `/` (`Media Center/Coalition News`); the spelling is stored as the title of each
step. An article in a category is in all categories above it, and `all` is everything.

Rules of a slug: Unicode letters, marks and digits, joined by single hyphens, case-folded, NFC. `+`
and `#` at the end of a word are words: C, C++ and C# are `c`, `c-plus-plus` and `c-sharp`. A title
of symbols alone, such as an emoji, has a slug of its symbols. Two kinds of slugs would mean
something else in a feed's path and get a prefix: numbers (a date follows a category in the path)
and the reserved first steps.

Archives have slugs by the rules until November 2026, `former_slug`; `renamed` says which of their
categories get another path.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
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
# İ is folded to an i with a second dot above it.
_SECOND_DOT = "i\u0307"
# They choose how the character before them looks, or join emoji.
_INVISIBLE = re.compile("[\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_SIGNS_AT_END = re.compile(r"(?<=[^\W_])[+#♯]+(?![^\W_])")
_SIGN_NAMES = {"+": " plus", "#": " sharp", "♯": " sharp"}


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
    """The slug of one step; empty if the title has no letter, no digit and no symbol."""
    folded = _INVISIBLE.sub("", fold(title)).replace(_SECOND_DOT, "i")
    named = _SIGNS_AT_END.sub(_sign_names, folded)
    kinds = {unicodedata.category(char)[0] for char in named}
    return _slug(named, _is_letter if kinds & {"L", "N"} else _is_symbol)


def _sign_names(signs: re.Match[str]) -> str:
    return "".join(_SIGN_NAMES[sign] for sign in signs.group())


def former_slug(title: str) -> str:
    """The slug of one step by the rules until November 2026."""
    return _slug(fold(title), _is_letter)


def _slug(folded: str, is_part: Callable[[str], bool]) -> str:
    slug = "-".join("".join(c if is_part(c) else " " for c in folded).split())
    while len(slug.encode()) > MAX_SLUG_BYTES:
        slug = slug[:-1].rstrip("-")
    return f"no-{slug}" if slug.isdigit() else slug


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def _is_symbol(char: str) -> bool:
    """Emoji and other signs; those of ASCII mean something in a URL."""
    kind = unicodedata.category(char)
    return kind in ("So", "Sc", "Sm", "Sk", "Me") and not char.isascii()


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


def was_path(text: str) -> bool:
    """Whether the text was a category path in canonical spelling until November 2026."""
    steps = text.split("/")
    return len(steps) <= MAX_DEPTH and all(step and former_slug(step) == step for step in steps)


def renamed(titles: Mapping[str, str]) -> dict[str, str]:
    """Former path → present path, of the categories whose slug is another one now.

    Args:
        titles: path → title of all categories.
    """
    paths: dict[str, str] = {}
    for path in sorted(titles, key=lambda each: each.count("/")):
        above, slash, last = path.rpartition("/")
        title = titles[path]
        # A slug that no title explains was written by a hand, or as a slug.
        slug = slugify(title if former_slug(title) == last else last) or last
        present = f"{paths.get(above, above)}{slash}{slug}"
        if present != path and present not in RESERVED:
            paths[path] = present
    return paths


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
