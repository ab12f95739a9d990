"""Mapping: from the categories that a source names to ours. Pure.

    mapping            categories   an article goes to
    -                  -            what it names
    -                  `News`       News, whatever it names
    `Port*` → `Harbour`  -          Harbour for each name that begins with Port; other names stay
    `Port*` → `Harbour`  `News`     Harbour for those; News if none of its names has a rule
    `Ads` → ``         …            nowhere for that name: an empty path drops it

Rules are tried in their order, without regard to case; `*` and `?` stand for any text and letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from service.articles.categories import fold


def placed(
    names: Sequence[str], *, categories: Sequence[str], mapping: Mapping[str, str]
) -> tuple[str, ...]:
    """Spellings of our categories for an article that names these; each once, in order.

    Args:
        categories: of the source; empty if it has none.
        mapping: pattern → our spelling, or empty.
    """
    if not mapping:
        return tuple(categories or names)
    spellings: list[str] = []
    for name in names:
        ours = _ruled(name, mapping)
        if ours is None:
            spellings += [] if categories else [name]
        elif ours:
            spellings.append(ours)
    return tuple(dict.fromkeys(spellings or categories))


def _ruled(name: str, mapping: Mapping[str, str]) -> str | None:
    """The category of the first rule that matches; None if no rule matches."""
    folded = fold(" ".join(name.split()))
    for pattern, ours in mapping.items():
        # Brackets have no special meaning here, as they have in fnmatch.
        if fnmatchcase(folded, fold(pattern).replace("[", "[[]")):
            return ours
    return None
