"""Mapping: from the categories that a source names to ours. Pure.

    mapping            category     an article goes to
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


def placed(names: Sequence[str], *, category: str, mapping: Mapping[str, str]) -> tuple[str, ...]:
    """Spellings of our categories for an article that names these; each once, in order.

    Args:
        category: of the source; empty if it has none.
        mapping: pattern → our spelling, or empty.
    """
    if not mapping:
        return (category,) if category else tuple(names)
    found: list[str] = []
    for name in names:
        ours = _ruled(name, mapping)
        if ours is None:
            found += [] if category else [name]
        elif ours:
            found.append(ours)
    if not found and category:
        found = [category]
    return tuple(dict.fromkeys(found))


def _ruled(name: str, mapping: Mapping[str, str]) -> str | None:
    """What the first rule that matches says; None if none does."""
    folded = fold(" ".join(name.split()))
    for pattern, ours in mapping.items():
        # Brackets are letters here.
        if fnmatchcase(folded, fold(pattern).replace("[", "[[]")):
            return ours
    return None
