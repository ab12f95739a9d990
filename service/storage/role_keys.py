"""Keys without which a worker role cannot work, and their types.

If one of them holds something else, a loop fails on it at once and at each new start. So a start
waits until somebody has put it right, and says which key it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.storage import keys
from service.storage.client import of_wrong_type
from service.storage.commands import Client
from service.storage.partitions import registries
from service.storage.shards import Shards

_FIXED: dict[str, dict[str, str]] = {
    "ingest": {},
    "aggregate": {},
    "deliver": {keys.DELIVERERS: "zset"},
}  # fmt: skip

_OF_SOURCES = (keys.sources, keys.sources_polls, keys.sources_hosts)


def of_roles(roles: Iterable[str], *, shards: Shards) -> dict[str, str]:
    """Key → its type, as Redis calls it, of these worker roles."""
    needed: dict[str, str] = {}
    for role in roles:
        needed |= _FIXED[role]
        if role in ("aggregate", "deliver"):
            needed |= {keys.stream(shard): "stream" for shard in shards}
        if role == "ingest":
            for shard in shards:
                needed |= {keys.sources_due(shard): "zset", keys.pushes(shard): "stream"}
                needed |= {name(shard): "hash" for name in _OF_SOURCES}
        if role == "deliver":
            needed |= {registry: "hash" for _, registry in registries(shards)}
            needed |= {keys.endpoints_changes(shard): "stream" for shard in shards}
            needed |= {keys.webhook_deliverers(shard): "zset" for shard in shards}
        if role == "aggregate":
            needed |= {keys.dirty(shard): "zset" for shard in shards}
    return needed


async def check_types(client: Client, types: Mapping[str, str]) -> None:
    """Raise Unavailable, with advice, if one of these keys exists with another type."""
    if not types:
        return
    pipe = client.pipeline(transaction=False)
    for name in types:
        pipe.execute_command("TYPE", name)
    replies: list[bytes] = await pipe.execute()
    for (name, expected), reply in zip(types.items(), replies, strict=True):
        kind = reply.decode()
        if kind not in ("none", expected):
            raise of_wrong_type(f"{name} ({kind}, not {expected})")
