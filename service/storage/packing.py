"""Commands encoded by hiredis inside redis-py: the only module that relies on redis-py's internals.

redis-py's blocking client uses hiredis to encode commands and to parse replies; its asyncio client
encodes them in Python, at 3 µs an argument. `use_hiredis` replaces that after it has compared the
output of both. If another version of either library differs, redis-py encodes the commands.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import hiredis
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError

logger = logging.getLogger(__name__)

# Every type of argument that storage sends, and a command name of two words.
_SAMPLES: tuple[tuple[Any, ...], ...] = (
    ("SET", "key", "é"),
    ("SCRIPT LOAD", b"return 1"),
    (b"ZADD", "key", 0, 1.5, "", -7),
)


def use_hiredis(pool: ConnectionPool) -> None:
    """Let hiredis encode the commands of a pool's connections, if its output is the same."""
    plain: Any = pool.connection_class
    if _is_usable(plain):
        pool.connection_class = _by_hiredis(plain)


class _HiredisPacking:
    """Methods that replace those of a redis-py connection."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a command; if its transport was closed meanwhile, raise a ConnectionError.

        uvloop raises a RuntimeError then, which redis-py does not treat as a lost connection; and
        redis-py an AttributeError, if another task has disconnected it (routing.py).
        """
        send: Any = super()
        connection: Any = self
        try:
            await send.send_packed_command(command, check_health=check_health)
        except (RuntimeError, AttributeError) as exc:
            if "closed" not in str(exc) and connection._writer is not None:
                raise
            raise RedisConnectionError("the connection was reset") from exc

    def pack_command(self, *args: Any) -> list[bytes]:
        """Encode a command in RESP; a name of two words, such as SCRIPT LOAD, is two arguments."""
        name, *others = args
        words = name.split() if isinstance(name, bytes) else name.encode().split()
        packed: bytes = hiredis.pack_command((*words, *others))
        return [packed]

    def pack_commands(self, commands: Any) -> list[bytes]:
        """Encode the commands of a pipeline, joined into one buffer."""
        return [b"".join([part for args in commands for part in self.pack_command(*args)])]


@cache
def _by_hiredis(plain: Any) -> type[Any]:
    return type("Connection", (_HiredisPacking, plain), {})


@cache
def _is_usable(plain: Any) -> bool:
    """Whether hiredis and redis-py encode the samples alike; logs a warning if not."""
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
            "redis-py encodes the commands itself, which is slower: hiredis does not fit it",
            extra={"reason": reason},
        )
    return not reason
