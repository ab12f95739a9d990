"""The check of Redis at the start of a process: would this server keep articles?"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from redis.exceptions import RedisError, ResponseError

from service.errors import InvalidSettings, StartFailed, Unavailable
from service.storage import keys
from service.storage.client import each_primary, redis_errors_as_unavailable
from service.storage.commands import Client
from service.storage.routing import RoutedClient
from service.storage.shards import Shards, claim_shards
from service.storage.stored import text_of

logger = logging.getLogger(__name__)


async def check_server(
    client: Client, *, shards: Shards, allow_volatile: bool, restores: bool = False
) -> Shards:
    """Refuse a server that would lose articles or is not the one to name, a SHARDS that is not the
    archive's, an archive that is moved to another Redis, and one of which a backup restored only a
    part; only `restores`, the restore itself, works on that.

    Args:
        shards: those that the archive gets if it is new.

    Returns:
        The shards of the archive.

    Raises:
        Unavailable: Redis is not there, or cannot be written to now.
        StartFailed: it refuses a command that the check needs, or a restore is not complete.
        InvalidSettings: the archive was written with another SHARDS, Redis may drop data, or the
            URL names one node of a cluster.
    """
    try:
        with redis_errors_as_unavailable():
            primaries = await each_primary(client)
            if not isinstance(client, RoutedClient):
                await _check_role(client)
            if not restores and await client.get(keys.RESTORING):
                raise StartFailed(
                    "the archive is not complete: a restore is at work, or was cut; run "
                    "`dateline restore` with the same backup again"
                )
            if moving := await client.hget(keys.MOVING, "to"):
                raise StartFailed(
                    f"the archive is moved, or was moved, to {text_of(moving)}: set "
                    f"DATELINE_REDIS_URL and DATELINE_SHARDS as `dateline layout move` says at its "
                    f"end, or take it back with `dateline layout undo`"
                )
            of_archive = await claim_shards(client, shards)
            faults = []
            if len(of_archive) != len(shards):
                faults.append(
                    f"DATELINE_SHARDS={len(shards)}: the archive was written with "
                    f"{len(of_archive)}; set it back, or export and import into an empty Redis"
                )
            for address, primary in primaries:
                what = f"Redis at {address}" if address else "Redis"
                if not allow_volatile:
                    faults += [fault async for fault in _volatile(primary, what)]
                if isinstance(client, RoutedClient) and client.replicas:
                    await _warn_of_split(primary, what)
    except RedisError as exc:
        raise StartFailed(f"Redis refuses a command that dateline needs: {exc}") from exc
    if faults:
        raise InvalidSettings(faults)
    return of_archive


async def _check_role(client: Client) -> None:
    """Whether a plain URL names a primary on its own.

    Raises:
        Unavailable: it is a replica, perhaps only until its operator has ended a failover.
        InvalidSettings: it is a node of a cluster.
    """
    if (await _info(client, "cluster")).get("cluster_enabled"):
        raise InvalidSettings(
            [
                "DATELINE_REDIS_URL names one node of a cluster: write redis+cluster:// in place "
                "of redis://, and other nodes behind it, with commas (docs/scale.md)"
            ]
        )
    replication = await _info(client, "replication")
    if replication.get("role") == "slave":
        primary = f"{replication.get('master_host')}:{replication.get('master_port')}"
        raise Unavailable(
            "Redis is a replica",
            advice=f"DATELINE_REDIS_URL must name its primary, {primary}, or with "
            f"redis+sentinel:// the Sentinels that know it",
        )


async def _volatile(primary: Client, what: str) -> AsyncIterator[str]:
    """Why this server would lose articles."""
    policy = await _config(primary, "maxmemory-policy")
    if policy not in ("", "noeviction"):
        yield (
            f"{what} has maxmemory-policy {policy}, which drops articles when memory is short: "
            f"set noeviction (or DATELINE_ALLOW_VOLATILE_REDIS=true)"
        )
    if await _config(primary, "appendonly") == "no":
        yield (
            f"{what} has appendonly no, which loses articles when it stops: "
            f"set appendonly yes (or DATELINE_ALLOW_VOLATILE_REDIS=true)"
        )


async def _warn_of_split(primary: Client, what: str) -> None:
    if await _config(primary, "min-replicas-to-write") == "0":
        logger.warning(
            "a primary that its replicas have left goes on to take writes, which are not "
            "acknowledged and are lost: set min-replicas-to-write 1",
            extra={"server": what},
        )


async def _config(client: Client, name: str) -> str:
    # Hosted servers forbid CONFIG; their configuration is not checked.
    try:
        return (await client.config_get(name)).get(name, "")
    except ResponseError:
        return ""


async def _info(client: Client, section: str) -> dict[str, Any]:
    try:
        return await client.info(section)
    except ResponseError:
        return {}
