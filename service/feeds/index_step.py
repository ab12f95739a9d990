"""Indexing: what one revision of an article changes in the category indexes. Pure.

`idx` is kept beside the article and says what the indexes hold of it, as text: revision (with the
number of marks as a duplicate: `3.1`), score (published in ms, or `-`), and the categories, all
joined by spaces. It makes the step from any revision to any later one computable, in whatever order
and however often events come.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from service.articles import times
from service.articles.article import LIVE, Article
from service.articles.categories import with_ancestors_and_all
from service.feeds.page import VIEWS, Period

_NO_SCORE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChange:
    """One category that an index step changes."""

    category: str
    score: int | None
    """Published in ms; None takes the article out."""
    withdrawn: int | None
    """The same if it was withdrawn from here; None if not."""
    periods: tuple[str, ...]
    """Pages of the category that show something else from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStep:
    """All that one revision changes; applied at once by index.lua."""

    article_id: str
    revision: str
    """With the number of marks, `3.1`: what the indexes hold afterwards."""
    before: bytes
    """`idx` as it was read."""
    after: bytes
    """`idx` to keep."""
    stamp_ms: int
    """When the event happened; becomes the version of the pages."""
    changes: tuple[IndexChange, ...]


def index_step(
    article: Article,
    before: bytes,
    *,
    stamp_ms: int,
    zone: tzinfo,
    hide_duplicates: bool = True,
    views: Sequence[str] = (),
    all_views: Collection[str] = (),
) -> IndexStep | None:
    """The step from what the indexes hold (`idx`, empty if nothing) to this revision.

    None if they hold this revision (and mark) or a later one already.

    Args:
        views, all_views: paths of those that the article is in, and of all that there are.
    """
    held, old_score, old_categories = _read(before)
    if held >= (article.revision, article.duplicate_revision):
        return None
    live = article.status == LIVE
    score = times.to_ms(article.published) if live else None
    hidden = frozenset(article.hidden_in if hide_duplicates else ())
    new_categories = (
        [path for path in with_ancestors_and_all(article.categories) if path not in hidden]
        if live
        else []
    )
    new_categories += views if live else []
    # The index of a view that was removed is withdrawn.
    old_categories = [p for p in old_categories if not p.startswith(VIEWS) or p in all_views]
    changes = [
        IndexChange(
            category=path,
            score=score if path in new_categories else None,
            withdrawn=None if live else old_score,
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
        revision=f"{article.revision}.{article.duplicate_revision}",
        before=before,
        after=" ".join([_number(article), shown, *new_categories]).encode(),
        stamp_ms=stamp_ms,
        changes=tuple(changes),
    )


def reindex_step(
    article: Article, before: bytes, path: str, *, belongs: bool, stamp_ms: int, zone: tzinfo
) -> IndexStep | None:
    """The step that puts an article into one more index, or takes it out, at the same revision.

    None if there is nothing to do, or if the indexes hold another revision: its own step decides.
    """
    held, score, paths = _read(before)
    if held != (article.revision, article.duplicate_revision) or score is None:
        return None
    if not belongs and path not in paths:
        return None
    after = [known for known in paths if known != path] + ([path] if belongs else [])
    change = IndexChange(
        category=path,
        score=score if belongs else None,
        withdrawn=None,
        periods=_periods(zone, score),
    )
    return IndexStep(
        article_id=article.id,
        revision=f"{article.revision}.{article.duplicate_revision}",
        before=before,
        after=" ".join([_number(article), str(score), *after]).encode(),
        stamp_ms=stamp_ms,
        changes=(change,),
    )


def _number(article: Article) -> str:
    return (
        f"{article.revision}.{article.duplicate_revision}"
        if article.duplicate_revision
        else str(article.revision)
    )


def _read(idx: bytes) -> tuple[tuple[int, int], int | None, list[str]]:
    if not idx:
        return (0, 0), None, []
    number, score, *paths = idx.decode().split(" ")
    revision, _, marks = number.partition(".")
    held = int(revision), int(marks or 0)
    return held, None if score == _NO_SCORE else int(score), paths


def _periods(zone: tzinfo, *scores_ms: int | None) -> tuple[str, ...]:
    days = [Period.of(times.from_ms(ms), zone) for ms in scores_ms if ms is not None]
    return tuple(dict.fromkeys(str(period) for day in days for period in day.enclosing()))
