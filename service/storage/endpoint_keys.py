"""The keys of webhooks, by shard; `keys.py` has them, too, with what they have in common."""

from __future__ import annotations


def webhook_deliverers(n: int) -> str:
    """Sorted set · one member a deliver worker (its token) that shares the webhooks of a shard,
    score: the ms at which it is taken for gone, and removed · deliver."""
    return f"dateline:{{{n}}}:deliverers:webhooks"


def endpoints(n: int, partition: int) -> str:
    """Hash of the webhooks of a partition (id → its settings as JSON) · permanent, one field a
    webhook · API and CLI → deliver. The shard of a partition, as of all keys of its webhooks:
    partitions.py."""
    return f"dateline:{{{n}}}:endpoints:{partition}"


def endpoints_changes(n: int) -> str:
    """Stream · capped at about CHANGES_MAX entries · API, CLI → deliver. Field `id`: a webhook of
    this shard, or in {0} a subscription, that was made, changed, removed, or has a new order."""
    return f"dateline:{{{n}}}:changes:endpoints"


def needed(n: int) -> str:
    """Hash, one field a partition of webhooks: the cursors from which on they need events, see
    needed_events.py · permanent, computed when it is missing · API, CLI, deliver → aggregate."""
    return f"dateline:{{{n}}}:needed"


def unsent_operations(n: int) -> str:
    """Stream of events for OPERATIONS from a shard other than {0} · MAXLEN OPERATIONS_MAX,
    deleted when they were copied there · deliver."""
    return f"dateline:{{{n}}}:operations:unsent"


def endpoint(n: int, endpoint_id: str) -> str:
    """Hash, a webhook's cursors and retry state, or a subscription's · removed with it · deliver;
    fields `test` and `resume`, which order something, API and CLI."""
    return f"dateline:{{{n}}}:endpoint:{endpoint_id}"


def attempts(n: int, endpoint_id: str) -> str:
    """Stream of attempts · MAXLEN ATTEMPTS_MAX, removed with the webhook · deliver → API."""
    return f"dateline:{{{n}}}:attempts:{endpoint_id}"


def dead_letters(n: int, endpoint_id: str) -> str:
    """Stream of ranges of events that were given up · MAXLEN DEAD_LETTERS_MAX, removed with the
    webhook · deliver → API, CLI."""
    return f"dateline:{{{n}}}:dead:{endpoint_id}"


def replays(n: int, endpoint_id: str) -> str:
    """List of ranges to be sent again, `shard after until` · capped at REPLAYS_MAX, removed with
    the webhook · API, CLI → deliver."""
    return f"dateline:{{{n}}}:replays:{endpoint_id}"
