"""Indexing: what one version of an article changes in the category indexes. Pure.

`idx` is stored beside the article and records what the indexes contain of it. It is text, joined by
spaces: the article's version (the revision, and `.` and the number of other changes if there were
any: `3.1`), the score (published in ms, or `-` if the article is withdrawn) and the categories.
With it, the step from any version to any later one can be computed, in whatever order and however
often events arrive.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache

from service.articles import times
from service.articles.article import LIVE, Article
from service.articles.categories import with_ancestors_and_all
from service.feeds.page import VIEWS, Period

_NO_SCORE = "-"
_IDX = re.compile(rb"([0-9]{1,15})(?:\.([0-9]{1,15}))? (-|-?[0-9]{1,15})((?: .*)?)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChange:
    """What an index step changes in one category."""

    category: str
    score: int | None
    """When the article was published, in ms; None removes it from the index."""
    withdrawn: int | None
    """The previous score if the article was withdrawn; None otherwise."""
    periods: tuple[str, ...]
    """Periods of the category's pages that this step changes, `live` among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStep:
    """Everything that one version changes; index.lua applies it atomically."""

    article_id: str
    version: str
    """Version of the article (`Article.version`) in the indexes after the step, `3.1`."""
    content_hash: str
    """Content hash of that version. The step is not applied if the stored article is missing, is
    older, or has another content at this revision: Redis lost the end of its file meanwhile."""
    before: bytes
    """`idx` as it was read; the step is not applied if it has changed since."""
    after: bytes
    """`idx` after the step."""
    stamp_ms: int
    """Time of the event, in ms; becomes the version of the changed pages."""
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
    """Compute the step from what the indexes contain to this version.

    Args:
        before: `idx` of the article; empty if no index contains it.
        views: paths of the views that contain the article.
        all_views: paths of all views that exist.

    Returns:
        None if the indexes contain this version already, or a later one.
    """
    indexed, old_score, old_categories = _read(before)
    if indexed >= article.version:
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
    # The index of a removed view no longer exists, so there is nothing to take out of it.
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
    score_text = _NO_SCORE if score is None else str(score)
    return IndexStep(
        article_id=article.id,
        version="{}.{}".format(*article.version),
        content_hash=article.content_hash,
        before=before,
        after=" ".join([_number(article), score_text, *new_categories]).encode(),
        stamp_ms=stamp_ms,
        changes=tuple(changes),
    )


def reindex_step(
    article: Article, before: bytes, path: str, *, belongs: bool, stamp_ms: int, zone: tzinfo
) -> IndexStep | None:
    """Compute the step that adds an article to one index, or removes it, at the same version.

    None if there is nothing to change, or if the indexes contain another version: the step of that
    version includes this change.
    """
    indexed, score, paths = _read(before)
    if indexed != article.version or score is None:
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
        version="{}.{}".format(*article.version),
        content_hash=article.content_hash,
        before=before,
        after=" ".join([_number(article), str(score), *after]).encode(),
        stamp_ms=stamp_ms,
        changes=(change,),
    )


def removal_step(
    article: Article, before: bytes, *, stamp_ms: int, zone: tzinfo, all_views: Collection[str] = ()
) -> IndexStep:
    """Compute the step that takes an article out of all indexes, live or withdrawn: also out of
    those of withdrawn articles, whose pages named it."""
    _, score, paths = _read(before)
    if score is None:
        # `idx` does not say where a withdrawn article was.
        score, paths = times.to_ms(article.published), with_ancestors_and_all(article.categories)
    changes = [
        IndexChange(category=path, score=None, withdrawn=None, periods=_periods(zone, score))
        for path in paths
        if not path.startswith(VIEWS) or path in all_views
    ]
    return IndexStep(
        article_id=article.id,
        version="{}.{}".format(*article.version),
        content_hash=article.content_hash,
        before=before,
        after=b"",
        stamp_ms=stamp_ms,
        changes=tuple(changes),
    )


def _number(article: Article) -> str:
    revision, changes = article.version
    return f"{revision}.{changes}" if changes else str(revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What the indexes contain of an article, as its `idx` states it."""

    version: str
    """Version of the article, `3.1`; `0.0` if no index contains it."""
    score: int | None
    """When it was published, in ms; None if it was withdrawn or is not indexed."""
    paths: tuple[str, ...]
    """The categories and views that contain it."""

    @classmethod
    def of(cls, idx: bytes) -> Indexed:
        """Read an `idx`; an empty one is that of an article which was not indexed yet."""
        version, score, paths = _read(idx)
        return cls(version="{}.{}".format(*version), score=score, paths=tuple(paths))

    def without(self, paths: Collection[str]) -> bytes:
        """The `idx` of an article that these paths do not contain."""
        score = _NO_SCORE if self.score is None else str(self.score)
        number = self.version.removesuffix(".0")
        return " ".join([number, score, *(p for p in self.paths if p not in paths)]).encode()


def _read(idx: bytes) -> tuple[tuple[int, int], int | None, list[str]]:
    match = _IDX.fullmatch(idx)
    if match is None:
        # Empty, or made unreadable by a hand: as if no index contained the article.
        return (0, 0), None, []
    revision, changes, score, paths = match.groups()
    indexed = int(revision), int(changes or 0)
    score_ms = None if score == _NO_SCORE.encode() else int(score)
    return indexed, score_ms, paths.decode("utf-8", "replace").split()


# For each category of an article once, and for many articles of a day.
@lru_cache(1_000)
def _periods(zone: tzinfo, *scores_ms: int | None) -> tuple[str, ...]:
    names = [_periods_of(Period.of(times.from_ms(ms), zone)) for ms in scores_ms if ms is not None]
    return tuple(dict.fromkeys(name for each in names for name in each))


@lru_cache(1_000)
def _periods_of(day: Period) -> tuple[str, ...]:
    return tuple(str(period) for period in day.enclosing())
