"""Stop all writes to an archive while it is copied to another Redis; what is read goes on.

Redis itself refuses them: `min-replicas-to-write` is set to a number that no primary has, so a
write of whatever process is answered NOREPLICAS, which dateline answers with 503. It is a setting
of a running server: one that started again, or a replica that took over, takes writes. So the end
of a copy checks that the primaries are the same runs and still refuse writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from service.errors import DatelineError
from service.storage import keys
from service.storage.client import each_primary
from service.storage.commands import Client

SETTING = "min-replicas-to-write"
NOBODY = "1000000"
"""More replicas than a primary can have."""
OLDEST_MAJOR = 7
"""Redis 6.2 does not look at the setting when a script writes."""


class WriteStop:
    """The stop of writes to one archive; every step can be repeated."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def begin(self, *, to: str, since: str) -> bool:
        """Refuse writes on every primary; True if all of them have done so since an earlier call.

        Args:
            to: where the archive is copied to, without a password; status and starts name it.
            since: RFC 3339.

        Raises:
            DatelineError: a server cannot refuse writes.
        """
        before = await self.noted()
        if before and await self.is_intact():
            return True
        for address, primary in await each_primary(self._client):
            await self._check(address, primary)
        if not before:
            fields = {"since": since, "to": to}
            for address, primary in await each_primary(self._client):
                fields[f"former {address}"] = (await primary.config_get(SETTING))[SETTING]
            await self._note(fields)
        else:
            # A server started again, and takes writes.
            await self._set({})
        runs = {f"run {a}": await _run_of(p) for a, p in await each_primary(self._client)}
        await self._note(runs)
        await self._set(dict.fromkeys(runs, NOBODY), default=NOBODY)
        return False

    async def is_intact(self) -> bool:
        """Whether no primary has taken a write since `begin`: they are the same runs, and refuse
        writes."""
        noted = await self.noted()
        runs = {name for name in noted if name.startswith(b"run ")}
        for address, primary in await each_primary(self._client):
            name = f"run {address}".encode()
            value = (await primary.config_get(SETTING)).get(SETTING)
            if noted.get(name) != (await _run_of(primary)).encode() or value != NOBODY:
                return False
            runs.discard(name)
        return bool(noted) and not runs

    async def end(self) -> bool:
        """Take writes again, as before; False if they were not stopped."""
        noted = await self.noted()
        if not noted:
            return False
        former = {
            name.decode().removeprefix("former "): value.decode()
            for name, value in noted.items()
            if name.startswith(b"former ")
        }
        await self._set(former, default=next(iter(former.values()), "0"))
        await self._client.delete(keys.MOVING)
        return True

    async def noted(self) -> dict[bytes, bytes]:
        """What is noted of the stop: `since`, `to`, and of each primary `run` and `former`, with
        its address; empty if writes are not stopped."""
        return await self._client.hgetall(keys.MOVING)

    async def _note(self, fields: Mapping[str, str]) -> None:
        for name, value in fields.items():
            await self._client.hset(keys.MOVING, name, value)

    async def _set(self, values: Mapping[str, str], *, default: str = "0") -> None:
        for address, primary in await each_primary(self._client):
            value = values.get(address, default)
            await primary.execute_command("CONFIG SET", SETTING, value)

    async def _check(self, address: str, primary: Client) -> None:
        what = f"Redis at {address}" if address else "Redis"
        version = str((await primary.info("server")).get("redis_version", "0"))
        if int(version.partition(".")[0]) < OLDEST_MAJOR:
            raise DatelineError(
                f"{what} is of version {version}, which cannot refuse the writes of scripts: stop "
                f"all of dateline, then use `dateline backup` and `dateline restore --shards`"
            )
        try:
            value = (await primary.config_get(SETTING)).get(SETTING)
            await primary.execute_command("CONFIG SET", SETTING, value or "0")
        except ResponseError as exc:
            raise DatelineError(
                f"{what} does not let its settings be changed ({exc}): stop all of dateline, then "
                f"use `dateline backup` and `dateline restore --shards`"
            ) from exc


async def runs_of(client: Client) -> set[str]:
    """What identifies the running primaries of a client, however they are addressed."""
    return {await _run_of(primary) for _, primary in await each_primary(client)}


async def _run_of(primary: Client) -> str:
    server: dict[str, Any] = await primary.info("server")
    return str(server["run_id"])
