"""Leases: one holder at a time for work that two processes must not do concurrently.

A lease can lapse while its holder is stopped (SIGSTOP, a long stall), so writes of the holder are
guarded by the epoch: a number that rises at each change of the holder, checked by the writing
script. A holder whose lease lapsed while the epoch is unchanged takes it again and continues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client

_TAKE = """
-- KEYS 1 lease 2 epoch  ARGV 1 token 2 ttl ms 3 epoch that the caller held, 0 if none
-- Returns the epoch if the caller holds the lease now, else 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
if epoch ~= tonumber(ARGV[3]) or epoch == 0 then epoch = redis.call('INCR', KEYS[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return epoch
"""

_LEAVE = 0

_GIVE_UP = """
-- KEYS 1 lease  ARGV 1 token
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that this process holds."""

    name: str
    token: str
    """Unique to this process."""
    epoch: int
    """Passed to the script of every guarded write."""


class Leases:
    """Distributed leases with fencing epochs."""

    def __init__(self, client: Client) -> None:
        self._take: Script[int] = Script(client, _TAKE)
        self._share: Script[list[int]] = lua_script(client, "share")
        self._give_up: Script[int] = Script(client, _GIVE_UP)

    async def take(
        self, name: str, *, token: str, ttl_ms: int, held: Lease | None = None
    ) -> Lease | None:
        """Take or renew a lease; None while another process holds it.

        Args:
            held: the lease as the caller last held it; a renewal keeps its epoch.
        """
        epoch = await self._take(
            keys=[keys.lease(name), keys.epoch(name)],
            args=[token, ttl_ms, held.epoch if held else 0],
        )
        return Lease(name=name, token=token, epoch=epoch) if epoch else None

    async def share(
        self, names: Sequence[str], *, token: str, ttl_ms: int, held: Mapping[str, Lease]
    ) -> tuple[int, dict[str, Lease]]:
        """Take or renew a fair share of these leases, among all processes that call this.

        Args:
            held: by name, the leases as the caller last held them.

        Returns:
            The number of leases in a fair share, and the leases that the caller holds now. These
            may be more: it gives up the surplus when its work under those leases is finished.
        """
        epochs = [held[name].epoch if name in held else 0 for name in names]
        fair, *granted = await self._share(keys=_keys(names), args=[token, ttl_ms, *epochs])
        return fair, {
            name: Lease(name=name, token=token, epoch=epoch)
            for name, epoch in zip(names, granted, strict=True)
            if epoch
        }

    async def leave(self, names: Sequence[str], *, token: str) -> None:
        """Release every lease that `share` took, at an orderly shutdown."""
        await self._share(keys=_keys(names), args=[token, _LEAVE])

    async def give_up(self, lease: Lease) -> None:
        """Release a lease now instead of at its expiry."""
        await self._give_up(keys=[keys.lease(lease.name)], args=[lease.token])


def _keys(names: Sequence[str]) -> list[str]:
    return [keys.DELIVERERS, *(k for n in names for k in (keys.lease(n), keys.epoch(n)))]
