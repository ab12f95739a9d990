"""Copy any key of Redis into records of a backup, whatever its type and size.

Of small keys, many are read in a round trip; large ones in parts, so memory stays bounded.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from service.storage.backup_files import RecordWriter
from service.storage.commands import Client

T = TypeVar("T")
Keep = Callable[[bytes, bytes], bool]
"""Whether a member of a set, by the set's key and the member, belongs to the backup."""
# Items that are read at once of a key, and of all keys of a round trip of so many keys.
SMALL, AT_ONCE = 500, 100
# Entries of a stream, or articles, that are read at once, and the bytes that they shall have.
PAGE, PAGE_BYTES = 100, 4_000_000
_SIZES = {"hash": "HLEN", "set": "SCARD", "zset": "ZCARD", "list": "LLEN", "string": "STRLEN"}
_SCANS = {"hash": "HSCAN", "set": "SSCAN", "zset": "ZSCAN"}
_READS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "hash": ("HGETALL", ()),
    "set": ("SMEMBERS", ()),
    "zset": ("ZRANGE", (0, -1, "WITHSCORES")),
    "list": ("LRANGE", (0, -1)),
    "string": ("GET", ()),
}


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in parts of at most this size."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


class PageSize:
    """How many items to read at once so that memory stays bounded whatever their size.

    Redis cannot be asked for so many bytes of a stream, so the size of the items that were read
    last decides; the first pages are small.
    """

    def __init__(self) -> None:
        self.count = 10

    def note(self, sizes: Iterable[int]) -> None:
        """Take over the sizes in bytes of the items of a page."""
        items = total = 0
        for size in sizes:
            items, total = items + 1, total + size
        if items:
            fitting = PAGE_BYTES * items // max(total, 1)
            self.count = max(1, min(PAGE, fitting, self.count * 4))


class KeyReader:
    """Reads keys and streams of any type."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def copy(
        self, names: Sequence[bytes], file: RecordWriter, *, keep: Keep | None = None
    ) -> None:
        """Write the records of these keys; a key that is gone meanwhile has none."""
        for part in chunks(names, AT_ONCE):
            await self._copy_some(part, file, keep or _keep_all)

    async def _copy_some(self, names: Sequence[bytes], file: RecordWriter, keep: Keep) -> None:
        now_ms = time.time_ns() // 1_000_000
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.execute_command("TYPE", name)
            pipe.execute_command("PTTL", name)
        replies = iter(await pipe.execute())
        kinds: dict[bytes, str] = {}
        expires: dict[bytes, int] = {}
        for name, kind, ttl_ms in zip(names, replies, replies, strict=False):
            kinds[name] = kind if isinstance(kind, str) else kind.decode()
            expires[name] = now_ms + ttl_ms if ttl_ms > 0 else 0
        plain = [name for name in names if kinds[name] in _SIZES]
        pipe = self._client.pipeline(transaction=False)
        for name in plain:
            pipe.execute_command(_SIZES[kinds[name]], name)
        sizes = dict(zip(plain, await pipe.execute() if plain else [], strict=True))
        small = [n for n in plain if sizes[n] <= SMALL or kinds[n] not in _SCANS]
        pipe = self._client.pipeline(transaction=False)
        for name in small:
            command, args = _READS[kinds[name]]
            pipe.execute_command(command, name, *args)
        for name, reply in zip(small, await pipe.execute() if small else [], strict=True):
            self._put(file, kinds[name], name, reply, expires[name], keep)
        for name in names:
            if kinds[name] == "stream":
                await self._copy_stream(name, file)
            elif name not in small and kinds[name] in _SCANS:
                await self._copy_large(name, kinds[name], file, expires[name], keep)

    def _put(
        self, file: RecordWriter, kind: str, name: bytes, reply: Any, expires_ms: int, keep: Keep
    ) -> None:
        payload = _payload(kind, reply)
        if kind == "set":
            payload = [member for member in payload if keep(name, member)]
        if payload:
            file.put(kind, name, payload, expires_ms)

    async def _copy_large(
        self, name: bytes, kind: str, file: RecordWriter, expires_ms: int, keep: Keep
    ) -> None:
        cursor = 0
        while True:
            cursor, reply = await self._client.execute_command(
                _SCANS[kind], name, cursor, "COUNT", SMALL
            )
            self._put(file, kind, name, reply, expires_ms, keep)
            if not int(cursor):
                return

    async def _copy_stream(self, name: bytes, file: RecordWriter) -> None:
        # Before the entries, so that no group is ahead of them.
        groups = await self.groups(name)
        after, page = "-", PageSize()
        while entries := await self._client.xrange(name.decode(), min=after, count=page.count):
            page.note(size_of(fields) for _, fields in entries)
            payload = [[i, _payload("hash", fields)] for i, fields in entries]
            file.put("stream", name, payload)
            after = f"({entries[-1][0].decode()}"
        file.put("last-id", name, await self.last_id(name))
        for kind, record in groups:
            file.put(kind, name, record)

    async def last_id(self, name: bytes) -> bytes:
        """Id of the newest entry that a stream ever had; `0-0` if there is no such stream."""
        try:
            info = await self._client.execute_command("XINFO STREAM", name)
        except ResponseError as exc:
            if "no such key" not in str(exc):
                raise
            return b"0-0"
        last_id: bytes = info["last-generated-id"]
        return last_id

    async def groups(self, name: bytes) -> list[tuple[str, Any]]:
        """Records of the groups of a stream, and of what is pending in each."""
        try:
            groups = await self._client.xinfo_groups(name.decode())
        except ResponseError as exc:
            if "no such key" not in str(exc):
                raise
            return []
        records: list[tuple[str, Any]] = []
        for group in groups:
            records.append(("group", [group["name"], group["last-delivered-id"]]))
            if group["pending"]:
                records += [("pending", part) async for part in self._pending(name, group["name"])]
        return records

    async def _pending(self, name: bytes, group: bytes) -> AsyncIterator[list[Any]]:
        now_ms = time.time_ns() // 1_000_000
        after = "-"
        while entries := await self._client.xpending_range(
            name.decode(), group.decode(), min=after, max="+", count=SMALL
        ):
            yield [
                group,
                [
                    [
                        entry["consumer"],
                        entry["message_id"],
                        now_ms - entry["time_since_delivered"],
                        entry["times_delivered"],
                    ]
                    for entry in entries
                ],
            ]
            after = f"({entries[-1]['message_id'].decode()}"


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Bytes of the values of a hash or of a stream entry."""
    return sum(map(len, fields.values()))


def _keep_all(name: bytes, member: bytes) -> bool:
    return True


def _payload(kind: str, reply: Any) -> Any:
    """A reply as a record has it; redis-py gives dicts, sets and pairs."""
    if kind == "hash":
        return [part for pair in reply.items() for part in pair]
    if kind == "zset" and reply:
        # ZRANGE gives members and scores in turn, ZSCAN pairs of them.
        flat = [part for pair in reply for part in pair] if isinstance(reply[0], tuple) else reply
        return [float(part) if at % 2 else part for at, part in enumerate(flat)]
    return list(reply) if kind in ("set", "list") else reply
