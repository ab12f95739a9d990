"""Indexing: what one revision of an article changes in the category indexes. Pure.

`idx` is kept beside the article and says what the indexes hold of it, as text: revision, score
(published in ms, or `-`), and the categories, all joined by spaces. It makes the step from any
revision to any later one computable, in whatever order and however often events come.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from service import articles as article_rules
from service import categories
from service.articles import Article
from service.pages import Period

_NO_SCORE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One category that an index step touches."""

    category: str
    score: int | None
    """Published in ms; None takes the article out."""
    periods: tuple[str, ...]
    """Pages of the category that show something else from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStep:
    """All that one revision changes; applied at once by index.lua."""

    article_id: str
    revision: int
    before: bytes
    """`idx` as it was read."""
    after: bytes
    """`idx` to keep."""
    stamp_ms: int
    """When the event happened; becomes the version of the pages."""
    touches: tuple[Touch, ...]


def fold(article: Article, before: bytes, *, stamp_ms: int, zone: tzinfo) -> IndexStep | None:
    """The step from what the indexes hold (`idx`, empty if nothing) to this revision.

    None if they hold this revision or a later one already.
    """
    revision, old_score, old_categories = _read(before)
    if revision >= article.revision:
        return None
    live = article.status == article_rules.LIVE
    score = article_rules.to_ms(article.published) if live else None
    new_categories = (
        [categories.ALL, *categories.with_ancestors(article.categories)] if live else []
    )
    touches = [
        Touch(
            category=path,
            score=score if path in new_categories else None,
            periods=_periods(
                zone,
                old_score if path in old_categories else None,
                score if path in new_categories else None,
            ),
        )
        for path in dict.fromkeys([*new_categories, *old_categories])
    ]
    shown = _NO_SCORE if score is None else str(score)
    return IndexStep(
        article_id=article.id,
        revision=article.revision,
        before=before,
        after=" ".join([str(article.revision), shown, *new_categories]).encode(),
        stamp_ms=stamp_ms,
        touches=tuple(touches),
    )


def _read(idx: bytes) -> tuple[int, int | None, list[str]]:
    if not idx:
        return 0, None, []
    revision, score, *paths = idx.decode().split(" ")
    return int(revision), None if score == _NO_SCORE else int(score), paths


def _periods(zone: tzinfo, *scores_ms: int | None) -> tuple[str, ...]:
    days = [Period.of(article_rules.from_ms(ms), zone) for ms in scores_ms if ms is not None]
    return tuple(dict.fromkeys(str(period) for day in days for period in day.enclosing()))
