"""Leases: one holder at a time for work that two processes must not do concurrently.

A lease can lapse while its holder is stopped (SIGSTOP, a long stall), so writes of the holder are
guarded by the epoch: a number that rises at each change of the holder, checked by the writing
script. A holder whose lease lapsed while the epoch is unchanged takes it again and continues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value

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
    shard: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLeases:
    """Leases of one shard that all processes of a kind share."""

    names: tuple[str, ...]
    members: str
    """Key of the processes that share them."""
    shard: int = 0
    number: int = 0
    """Of several such groups: it decides which members have one lease more, so that not the same
    ones have it everywhere."""

    @property
    def keys(self) -> list[str]:
        """The keys of share.lua."""
        pairs = ((keys.lease(n, self.shard), keys.epoch(n, self.shard)) for n in self.names)
        return [self.members, *(key for pair in pairs for key in pair)]


class Leases:
    """Distributed leases with fencing epochs."""

    def __init__(self, client: Client) -> None:
        self._take: Script[int] = Script(client, _TAKE)
        self._share: Script[list[int]] = lua_script(client, "share")
        self._give_up: Script[int] = Script(client, _GIVE_UP)

    async def take(
        self, name: str, *, token: str, ttl_ms: int, held: Lease | None = None, shard: int = 0
    ) -> Lease | None:
        """Take or renew a lease; None while another process holds it.

        Args:
            held: the lease as the caller last held it; a renewal keeps its epoch.
        """
        epoch = await self._take(
            keys=[keys.lease(name, shard), keys.epoch(name, shard)],
            args=[token, ttl_ms, held.epoch if held else 0],
        )
        return Lease(name=name, token=token, epoch=epoch, shard=shard) if epoch else None

    async def share(
        self,
        shared: SharedLeases,
        *,
        token: str,
        ttl_ms: int,
        held: Mapping[str, Lease],
        most_new: int | None = None,
    ) -> tuple[int, dict[str, Lease]]:
        """Take or renew a fair share of these leases, among all processes that call this.

        Args:
            held: by name, the leases as the caller last held them.
            most_new: how many others are taken at most, so that the caller can prepare for them
                while these are valid.

        Returns:
            The number of leases in a fair share, and the leases that the caller holds now. These
            may be more: it gives up the surplus when its work under those leases is finished.
        """
        names = shared.names
        epochs = [held[name].epoch if name in held else 0 for name in names]
        most_new = len(names) if most_new is None else most_new
        args: list[Value] = [token, ttl_ms, most_new, shared.number, *epochs]
        fair, *granted = await self._share(keys=shared.keys, args=args)
        return fair, {
            name: Lease(name=name, token=token, epoch=epoch, shard=shared.shard)
            for name, epoch in zip(names, granted, strict=True)
            if epoch
        }

    async def leave(self, shared: SharedLeases, *, token: str) -> None:
        """Release every lease that `share` took, at an orderly shutdown."""
        await self._share(keys=shared.keys, args=[token, _LEAVE, 0, 0])

    async def give_up(self, lease: Lease) -> None:
        """Release a lease now instead of at its expiry."""
        await self._give_up(keys=[keys.lease(lease.name, lease.shard)], args=[lease.token])
