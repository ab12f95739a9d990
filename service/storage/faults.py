"""Faults: which things fail now, and why. A fault of one thing must not stop the others.

A loop or server that meets an error of our own code or of the stored data isolates the thing that
caused it (a page, an event, a source, an endpoint, a stored value), reports it here and continues.
`dateline status`, `/readyz` and `/metrics` show the reports.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import orjson
from cachetools import LRUCache
from redis.exceptions import ResponseError

from service.articles import times
from service.errors import Unavailable
from service.storage import keys
from service.storage.client import redis_errors_as_unavailable
from service.storage.commands import Client
from service.storage.stored import decoded

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")

NOTE_EVERY_S = 1.0
"""Shortest time between two writes about one thing; reports in between are added up."""
MAX_KNOWN = 2_000
MAX_REASON = 500
_PART = b"part "
"""How the fields of faults of processes begin (`dateline up`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A thing whose processing failed."""

    kind: str
    """page, event, source, endpoint, article, stored value, loop."""
    name: str
    """Identifies it within its kind: a path, an id, a URL."""
    reason: str
    count: int
    """How often it failed."""
    first: str
    """Time of the first failure, RFC 3339."""
    last: str
    """Time of the last failure, RFC 3339."""


@dataclass(slots=True)
class _Report:
    count: int = 0
    due: float = 0.0


class Faults:
    """Writes the faults of this process to Redis, and reads those of all processes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reported: LRUCache[tuple[str, str], _Report] = LRUCache(MAX_KNOWN)

    async def report(self, kind: str, name: str, exc: BaseException, *, now: datetime) -> None:
        """Log a fault with its traceback (equal ones once a minute), count it, and store it in
        Redis. It never raises: who reports a fault goes on, whatever becomes of the report."""
        logger.error("a fault was isolated", extra={"kind": kind, "of": name}, exc_info=exc)
        report = self._reported.setdefault((kind, name), _Report())
        report.count += 1
        moment = time.monotonic()
        if moment < report.due:
            return
        report.due = moment + NOTE_EVERY_S
        count, report.count = report.count, 0
        await _written(self._note(kind, name, exc, count, now))

    async def _note(
        self, kind: str, name: str, exc: BaseException, count: int, now: datetime
    ) -> None:
        field, text = _field(kind, name), times.to_rfc3339(now)
        value = await self._client.hget(keys.FAULTS, field)
        before = decoded(_fault, value, what=f"fault {field}") if value else None
        fault = Fault(
            kind=kind,
            name=name,
            reason=reason_of(exc),
            count=count + (before.count if before else 0),
            first=before.first if before else text,
            last=text,
        )
        pipe = self._client.pipeline(transaction=False)
        pipe.hset(keys.FAULTS, mapping={field: orjson.dumps(fault)})
        pipe.expire(keys.FAULTS, keys.FAULTS_TTL_S)
        pipe.hincrby(keys.counters(0), f"faults_{kind.replace(' ', '_')}", count)
        await pipe.execute()
        if before is None:
            await self._prune(now)

    async def _prune(self, now: datetime) -> None:
        """Remove the faults that are over, and the oldest ones beyond FAULTS_MAX."""
        faults = sorted(await self._all(), key=lambda fault: fault.last, reverse=True)
        useless = [f for i, f in enumerate(faults) if i >= keys.FAULTS_MAX or _is_over(f, now)]
        if useless:
            await self._client.hdel(keys.FAULTS, *(_field(f.kind, f.name) for f in useless))

    async def clear(self, kind: str, name: str) -> None:
        """Remove a fault that this process reported: the same thing has succeeded now."""
        if self._reported.pop((kind, name), None) is not None:
            await _written(self._client.hdel(keys.FAULTS, _field(kind, name)))

    async def isolate(
        self, kind: str, name: str, work: Callable[[], Awaitable[Result]], *, now: datetime
    ) -> Result | None:
        """Return the result of `work`; if our code or the data makes it fail, report that and
        return None. Success clears an earlier fault.

        Raises:
            Unavailable: Redis cannot serve now.
        """
        try:
            with redis_errors_as_unavailable():
                result = await work()
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 -- reported
            await self.report(kind, name, exc, now=now)
            return None
        await self.clear(kind, name)
        return result

    async def erase_texts(self) -> int:
        """Remove all faults but those of processes: their reasons may repeat the text of an
        article. What fails again is reported again.

        Returns:
            The number of faults removed.
        """
        fields: list[bytes] = await self._client.hkeys(keys.FAULTS)
        quoting = [f.decode() for f in fields if not f.startswith(_PART)]
        return await self._client.hdel(keys.FAULTS, *quoting) if quoting else 0

    async def all(self, *, now: datetime) -> list[Fault]:
        """The faults of the last day, newest first."""
        faults = [fault for fault in await self._all() if not _is_over(fault, now)]
        return sorted(faults, key=lambda fault: fault.last, reverse=True)

    async def _all(self) -> list[Fault]:
        values: dict[bytes, bytes] = {}
        try:
            values = await self._client.hgetall(keys.FAULTS)
        except ResponseError as exc:
            if "WRONGTYPE" not in str(exc):
                raise
        faults = [
            decoded(_fault, value, what=f"fault {field!r}") for field, value in values.items()
        ]
        return [fault for fault in faults if fault]


def reason_of(exc: BaseException) -> str:
    """Type and text of an exception, or of the first one of a group, in one line."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return " ".join(f"{type(exc).__name__}: {exc}".split())[:MAX_REASON]


async def each_alone(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], Awaitable[None]],
    failed: Callable[[Item, Exception], Awaitable[None]],
) -> None:
    """Do `work` for all items at once; if our code or the data makes it fail, for each item alone,
    and call `failed` for those that fail alone. `work` must be idempotent.

    Raises:
        Unavailable: Redis cannot serve now; some items may be done.
    """
    try:
        with redis_errors_as_unavailable():
            await work(items)
    except Unavailable:
        raise
    except Exception as exc:  # noqa: BLE001 -- reported by `failed`
        if len(items) == 1:
            await failed(items[0], exc)
            return
        for item in items:
            await each_alone([item], work, failed)


def _field(kind: str, name: str) -> str:
    return f"{kind} {name}"


async def _written(writing: Awaitable[object]) -> None:
    """Wait for a write to Redis; log what it raises unless Redis cannot serve now."""
    try:
        with redis_errors_as_unavailable():
            await writing
    except Unavailable:
        return
    except Exception:
        logger.exception("a fault cannot be stored")


def _fault(stored: bytes) -> Fault:
    fault = Fault(**orjson.loads(stored))
    # Faults are sorted by this time and shown by their age.
    times.from_rfc3339(fault.last)
    return fault


def _is_over(fault: Fault, now: datetime) -> bool:
    age = now - times.from_rfc3339(fault.last)
    return age.total_seconds() > keys.FAULTS_TTL_S
