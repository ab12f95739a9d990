"""Commands written by hiredis, inside redis-py: the one place that relies on redis-py's insides.

redis-py's blocking client has hiredis write commands as well as read replies; its asyncio client
writes them in Python, at 3 µs an argument. `use_hiredis` replaces that, after it has compared both
ways. If another version of either library behaves otherwise, commands are written by redis-py.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

logger = logging.getLogger(__name__)

# Every type of argument that storage sends, and a name of two words.
_SAMPLES: tuple[tuple[Any, ...], ...] = (
    ("SET", "key", "é"),
    ("SCRIPT LOAD", b"return 1"),
    (b"ZADD", "key", 0, 1.5, "", -7),
)


def use_hiredis(pool: ConnectionPool) -> None:
    """Have the connections of a pool write commands by hiredis, if that does the same."""
    plain: Any = pool.connection_class
    if _is_usable(plain):
        pool.connection_class = _by_hiredis(plain)


class _HiredisPacking:
    """The methods of a connection that are replaced."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send it; a transport that was closed meanwhile is a lost connection.

        uvloop says so by a RuntimeError, which redis-py takes for a bug of its caller.
        """
        send: Any = super()
        try:
            await send.send_packed_command(command, check_health=check_health)
        except RuntimeError as exc:
            if "closed" not in str(exc):
                raise
            raise RedisConnectionError("the connection was reset") from exc

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command in RESP; some names, such as SCRIPT LOAD, are two arguments."""
        name, *others = args
        words = name.split() if isinstance(name, bytes) else name.encode().split()
        packed: bytes = hiredis.pack_command((*words, *others))
        return [packed]

    def pack_commands(self, commands: Any) -> list[bytes]:
        """Commands of a pipeline, to be sent at once."""
        return [b"".join([part for args in commands for part in self.pack_command(*args)])]


@cache
def _by_hiredis(plain: Any) -> type[Any]:
    return type("Connection", (_HiredisPacking, plain), {})


@cache
def _is_usable(plain: Any) -> bool:
    """Whether hiredis and redis-py write the samples alike; a warning says so if not."""
    try:
        ours, theirs = _by_hiredis(plain)(), plain()
        differs = [
            sample[0]
            for sample in _SAMPLES
            if b"".join(ours.pack_command(*sample)) != b"".join(theirs.pack_command(*sample))
        ]
        if b"".join(ours.pack_commands(_SAMPLES)) != b"".join(theirs.pack_commands(_SAMPLES)):
            differs.append("a pipeline")
        callable(plain.send_packed_command)
    except Exception as exc:  # noqa: BLE001 -- whatever another version raises, the plain way works
        reason = f"{type(exc).__name__}: {exc}"
    else:
        reason = f"different bytes for {differs[0]}" if differs else ""
    if reason:
        logger.warning(
            "redis-py writes the commands itself, which is slower: hiredis cannot be used in it",
            extra={"reason": reason},
        )
    return not reason
