"""Which keys a backup keeps, and when it reads them: one row for each pattern of `keys.py`.

The order makes every reference point backwards (docs/decisions.md): what says that something is
done is read before what was done, and what refers to an article is read after the article.
A key that no row names is kept with LAST: a backup loses nothing because a row is missing.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache


class Stage(Enum):
    """When a backup reads a key."""

    FIRST = "first"
    """Before the articles: it says what was taken in, so it must not be newer than they are."""
    ARTICLES = "articles"
    EVENTS = "events"
    """With the event stream, up to the entry at which the backup ends."""
    ENDPOINTS = "endpoints"
    """After the events, an endpoint with all its keys at a time; cursors end where events do."""
    LAST = "last"
    DERIVED = "derived"
    """Not read: a restore computes it from the articles."""
    LEFT_OUT = "left out"
    """A cache, a lease, or a note to processes that run now."""


RULES: tuple[tuple[str, Stage], ...] = (
    (r"dateline:\{\d+\}:sources(:(due|polls|hosts))?", Stage.FIRST),
    (r"dateline:\{\d+\}:pushes", Stage.FIRST),
    (r"dateline:\{\d+\}:article:.+", Stage.ARTICLES),
    (r"dateline:\{\d+\}:(events|trimmed)", Stage.EVENTS),
    (r"dateline:\{0\}:(endpoints|subscribers|hub:asked)", Stage.ENDPOINTS),
    (r"dateline:\{\d+\}:endpoints:\d+", Stage.ENDPOINTS),
    (r"dateline:\{\d+\}:(endpoint|attempts|dead|replays):.+", Stage.ENDPOINTS),
    (r"dateline:\{\d+\}:needed", Stage.DERIVED),
    (r"dateline:\{0\}:hub:(unconfirmed|(host|address):.+)", Stage.LAST),
    (r"dateline:\{0\}:(layout|operations|private)", Stage.LAST),
    (r"dateline:\{\d+\}:(subscriptions|counters|operations:unsent)", Stage.LAST),
    (r"dateline:\{0\}:tokens(:used)?", Stage.LAST),
    (r"dateline:\{0\}:views(:(changes|built))?", Stage.LAST),
    (r"dateline:\{\d+\}:(twins|urls|landmarks|epoch):.+", Stage.LAST),
    (r"dateline:\{0\}:bands:.+", Stage.LAST),
    (r"dateline:\{\d+\}:(categories(:created)?|dictionaries)", Stage.LAST),
    (r"dateline:\{0\}:categories:renamed", Stage.LAST),
    (r"dateline:\{\d+\}:(aliases|gone|removed|versions):.+", Stage.LAST),
    (r"dateline:\{0\}:(erasing|retention)", Stage.LAST),
    (r"dateline:\{\d+\}:events:(dead|tries)", Stage.LAST),
    (r"dateline:\{\d+\}:category:.+", Stage.DERIVED),
    (r"dateline:\{\d+\}:(dirty|sources:urls)", Stage.DERIVED),
    (r"dateline:\{\d+\}:(rendered:.+|probe|changes|reader)", Stage.LEFT_OUT),
    (r"dateline:\{0\}:(asked|deliverers|endpoints:changes|faults)", Stage.LEFT_OUT),
    (r"dateline:\{\d+\}:(deliverers:webhooks|changes:endpoints)", Stage.LEFT_OUT),
    (r"dateline:\{0\}:(restoring|moving)", Stage.LEFT_OUT),
    (r"dateline:\{\d+\}:sources:(claims|known|moving)", Stage.LEFT_OUT),
    (r"dateline:\{0\}:(previews|preview:.+)", Stage.LEFT_OUT),
    (r"dateline:\{\d+\}:pages:.+", Stage.LEFT_OUT),
    (r"dateline:\{0\}:buckets:.+", Stage.LEFT_OUT),
    (r"dateline:\{\d+\}:lease:.+", Stage.LEFT_OUT),
)


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], Stage], ...]:
    return tuple((re.compile(pattern, re.DOTALL), stage) for pattern, stage in RULES)


def stages_of(name: str) -> list[Stage]:
    """The stages of every row that names this key: one, or none for an unknown key."""
    return [stage for pattern, stage in _compiled() if pattern.fullmatch(name)]


def stage_of(name: str) -> Stage:
    """When a backup reads this key."""
    return next(iter(stages_of(name)), Stage.LAST)
