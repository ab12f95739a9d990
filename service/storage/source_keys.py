"""The Redis keys of sources and of what belongs to them; `keys.py`, which has all others, names
these, too. All that belongs to a source is in the shard of its row (source_rows.py)."""

from __future__ import annotations

PUSHES_MAX, PUSH_MAX_BYTES = 100, 2_000_000
PAGE_MARKS_TTL_S = 90 * 86_400


def sources(n: int) -> str:
    """Hash of the sources whose host is in this shard, id → its settings as JSON · permanent · API,
    CLI and ingest → ingest. All that belongs to a source is in the shard of its row."""
    return f"dateline:{{{n}}}:sources"


def sources_due(n: int) -> str:
    """Sorted set, one member a source that is not paused, score: ms when it is due, or until when a
    worker has claimed it · removed with the source · API, CLI, ingest → ingest."""
    return f"dateline:{{{n}}}:sources:due"


def sources_polls(n: int) -> str:
    """Hash, one field a source: what its polls left, as JSON · removed with the source · ingest."""
    return f"dateline:{{{n}}}:sources:polls"


def sources_hosts(n: int) -> str:
    """Hash, one field a host that is being asked or spared: JSON of `n`, ms from when on it may be
    asked, and `f`, source id → ms until when its claim holds · removed after that · ingest."""
    return f"dateline:{{{n}}}:sources:hosts"


def sources_claims(n: int) -> str:
    """Hash, one field a source that a worker has claimed: the worker, and ms until when its claim
    holds; removed with the claim · ingest."""
    return f"dateline:{{{n}}}:sources:claims"


def sources_known(n: int) -> str:
    """Hash, one field a source: what is remembered of the entries of its last document
    (sources/known_entries.py), removed with the source · ingest → ingest."""
    return f"dateline:{{{n}}}:sources:known"


def sources_moving(n: int) -> str:
    """Hash, one field a source that has left this shard and is not due in its new one yet: the tag
    of that, and ms when it is due there (source_moves.py) · removed then · ingest."""
    return f"dateline:{{{n}}}:sources:moving"


def sources_urls(n: int) -> str:
    """Hash, the URL at which a source is polled now, if it was added with another one → its id, in
    the shard of the URL's host · removed with the source · API, CLI, ingest → API, CLI. It may name
    a source that has gone on: its row counts."""
    return f"dateline:{{{n}}}:sources:urls"


def subscriptions(n: int) -> str:
    """Hash, one field a WebSub subscription of ours (id in its callback, which chooses the shard →
    JSON) · removed some time after its lease ended · ingest, servers → servers, ingest."""
    return f"dateline:{{{n}}}:subscriptions"


def pushes(n: int) -> str:
    """Stream of what hubs sent of the sources in this shard · capped at PUSHES_MAX entries of
    PUSH_MAX_BYTES, removed when they were taken in; what does not fit is polled instead · servers →
    ingest. Fields: source, body, type."""
    return f"dateline:{{{n}}}:pushes"


def page_marks(n: int, source_id: str) -> str:
    """Hash, one field an article of a source whose page was wanted (its id → JSON, see
    page_marks.py) · TTL PAGE_MARKS_TTL_S after the last, pruned to what its feed has, removed with
    the source · ingest."""
    return f"dateline:{{{n}}}:pages:{source_id}"
